//! The world: the set of all resources at one revision, its hashes, and how it changes.
//!
//! This is what the control plane publishes and what a proxy holds as its *desired* set. Hashes are over content only, so two sides that hold
//! the same resources have the same root hash, whatever road each took.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use waybill_proto::model::v1::Resource;

use crate::resource::{Kind, metadata};

mod entry;
mod packed;
mod shard;

pub use entry::Entry;
pub(crate) use entry::Held;
pub(crate) use shard::Shard;

/// Digest of a resource, a shard or a world.
pub type Hash = [u8; 16];

/// How many shards the uids of a kind are divided into.
pub const SHARDS: usize = 256;

/// Where a resource stands.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its uid.
    pub uid: Box<str>,
}

impl Key {
    /// The place of a resource; `None` if it has no spec or no uid.
    #[must_use]
    pub fn of(resource: &Resource) -> Option<Self> {
        let uid = metadata(resource).uid.as_str();
        Kind::of(resource).filter(|_| !uid.is_empty()).map(|kind| Self { kind, uid: uid.into() })
    }

    /// The shard the uid falls into.
    #[must_use]
    pub fn shard(&self) -> u8 {
        shard_of(&self.uid)
    }

    fn place(&self) -> (Kind, u8) {
        (self.kind, self.shard())
    }
}

/// All resources at one revision. Cloning shares all of them, and a change copies the shards that it touches.
#[derive(Clone, Debug, Default)]
pub struct World {
    revision: u64,
    /// Those that are not empty.
    shards: BTreeMap<(Kind, u8), Arc<Shard>>,
    count: usize,
}

/// How one world becomes another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// The revision of the world it leads to.
    pub revision: u64,
    /// Shards that are sent whole: what is held there and not put goes.
    pub replace: Vec<(Kind, u8)>,
    /// Resources to add or replace.
    pub puts: Vec<Arc<Resource>>,
    /// Resources to take away.
    pub removes: Vec<Key>,
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision && self.root_hash() == other.root_hash()
    }
}

impl World {
    /// A world of these resources; those without kind or uid are left out.
    #[must_use]
    pub fn new(revision: u64, resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut world = Self { revision, ..Self::default() };
        world.extend(resources.into_iter().filter_map(Entry::new));
        world
    }

    /// The revision of this world.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The same resources under another revision.
    pub const fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// How many resources it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// It holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All entries, by kind, shard and uid.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &Entry)> {
        self.shards.iter().flat_map(|((kind, _), shard)| shard.entries().iter().map(|entry| (*kind, entry)))
    }

    /// All resources.
    pub fn resources(&self) -> impl Iterator<Item = Arc<Resource>> {
        self.iter().map(|(_, entry)| entry.resource())
    }

    /// All resources of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = Arc<Resource>> {
        self.shards_of(kind).flat_map(|(_, shard)| shard.entries().iter().map(Entry::resource))
    }

    /// All entries of one shard of a kind.
    pub fn of_shard(&self, kind: Kind, shard: u8) -> impl Iterator<Item = &Entry> {
        self.shards.get(&(kind, shard)).into_iter().flat_map(|shard| shard.entries())
    }

    pub(crate) fn shards_of(&self, kind: Kind) -> impl Iterator<Item = (u8, &Arc<Shard>)> {
        self.shards.range((kind, 0)..=(kind, u8::MAX)).map(|((_, number), shard)| (*number, shard))
    }

    /// One entry.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.shards.get(&key.place())?.get(&key.uid)
    }

    /// Adds or replaces a resource. Returns what stood there.
    pub fn put(&mut self, resource: Arc<Resource>) -> Option<Entry> {
        let place = Key::of(&resource)?.place();
        let before = Arc::make_mut(self.shards.entry(place).or_default()).put(Entry::new(resource)?);
        self.count += usize::from(before.is_none());
        before
    }

    /// Takes a resource away. Returns what stood there.
    pub fn remove(&mut self, key: &Key) -> Option<Entry> {
        let place = key.place();
        self.get(key)?;
        let shard = Arc::make_mut(self.shards.get_mut(&place)?);
        let before = shard.remove(&key.uid);
        if shard.entries().is_empty() {
            self.shards.remove(&place);
        }
        self.count -= usize::from(before.is_some());
        before
    }

    fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut by_place: BTreeMap<(Kind, u8), Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            by_place.entry((entry.kind(), shard_of(&entry.uid()))).or_default().push(entry);
        }
        for (place, entries) in by_place {
            let shard = Arc::make_mut(self.shards.entry(place).or_default());
            self.count -= shard.entries().len();
            shard.extend(entries);
            self.count += shard.entries().len();
        }
    }

    /// Hash of every shard that is not empty.
    #[must_use]
    pub fn shard_hashes(&self) -> BTreeMap<(Kind, u8), Hash> {
        self.shards.iter().map(|(place, shard)| (*place, shard.hash())).collect()
    }

    /// Hash of the whole content, without the revision: over the shards' hashes, so that a change costs the shards it touches.
    #[must_use]
    pub fn root_hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        for ((kind, number), shard) in &self.shards {
            hasher.update(kind.name().as_bytes());
            hasher.update(&[*number]);
            hasher.update(&shard.hash());
        }
        truncated(hasher.finalize())
    }

    /// Resources that are not the same in both worlds.
    #[must_use]
    pub fn differing(&self, other: &Self) -> BTreeSet<Key> {
        let mut places: BTreeSet<(Kind, u8)> = self.shards.keys().chain(other.shards.keys()).copied().collect();
        places.retain(|place| match (self.shards.get(place), other.shards.get(place)) {
            (Some(one), Some(other)) => !Arc::ptr_eq(one, other) && one.hash() != other.hash(),
            _ => true,
        });
        let mut keys = BTreeSet::new();
        for (kind, number) in places {
            for (from, to) in [(self, other), (other, self)] {
                let entries = from.of_shard(kind, number).map(|entry| (entry.key(), entry));
                keys.extend(entries.filter(|(key, entry)| to.get(key) != Some(entry)).map(|(key, _)| key));
            }
        }
        keys
    }

    /// The world after a delta; this one is not changed.
    #[must_use]
    pub fn apply(&self, delta: &Delta) -> Self {
        let puts = delta.puts.iter().filter_map(|resource| Entry::new(Arc::clone(resource)));
        self.change(delta.revision, &delta.replace, puts, &delta.removes)
    }

    /// The world after a change: shards that are sent whole, what is put, what is taken away.
    #[must_use]
    pub fn change(&self, revision: u64, replace: &[(Kind, u8)], puts: impl IntoIterator<Item = Entry>, removes: &[Key]) -> Self {
        let mut next = self.clone();
        next.revision = revision;
        for place in replace {
            if let Some(shard) = next.shards.remove(place) {
                next.count -= shard.entries().len();
            }
        }
        next.extend(puts);
        for key in removes {
            next.remove(key);
        }
        next
    }
}

fn shard_of(uid: &str) -> u8 {
    blake3::hash(uid.as_bytes()).as_bytes()[0]
}

fn truncated(hash: blake3::Hash) -> Hash {
    std::array::from_fn(|index| hash.as_bytes()[index])
}

#[cfg(test)]
mod tests {
    use waybill_proto::model::v1::{Metadata, Org, resource::Spec};

    use super::*;

    fn org(uid: &str, display_name: &str) -> Arc<Resource> {
        let metadata = Metadata { name: uid.to_owned(), uid: uid.to_owned(), generation: 1, ..Metadata::default() };
        Arc::new(Resource { metadata: Some(metadata), spec: Some(Spec::Org(Org { display_name: display_name.to_owned() })) })
    }

    #[test]
    fn the_same_content_has_the_same_hash_whatever_the_road() {
        let straight = World::new(2, [org("uid-a", "A"), org("uid-b", "B")]);
        let mut detour = World::new(1, [org("uid-b", "old"), org("uid-c", "C")]);
        detour = detour.apply(&Delta {
            revision: 2,
            puts: vec![org("uid-b", "B"), org("uid-a", "A")],
            removes: vec![Key { kind: Kind::Org, uid: "uid-c".into() }],
            ..Delta::default()
        });
        assert_eq!(straight, detour);
        assert_eq!(straight.shard_hashes(), detour.shard_hashes());
        assert_ne!(straight.root_hash(), World::new(2, [org("uid-a", "A")]).root_hash());
    }

    #[test]
    fn a_replaced_shard_drops_what_is_not_put_again() {
        let world = World::new(1, [org("uid-a", "A"), org("uid-b", "B")]);
        let shard = Key { kind: Kind::Org, uid: "uid-a".into() }.shard();
        let next = world.apply(&Delta { revision: 2, replace: vec![(Kind::Org, shard)], ..Delta::default() });
        assert_eq!(next.of_kind(Kind::Org).count(), 1);
        assert_eq!(world.len(), 2);
    }
}
