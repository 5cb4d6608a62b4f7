//! The world: the set of all resources at one revision, its hashes, and how it changes.
//!
//! This is what the control plane publishes and what a proxy holds as its *desired* set. Hashes are over content only, so two sides that hold
//! the same resources have the same root hash, whatever road each took.

use std::{collections::BTreeMap, sync::Arc};

use prost::Message;
use waybill_proto::model::v1::Resource;

use crate::resource::{Kind, metadata};

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
        blake3::hash(self.uid.as_bytes()).as_bytes()[0]
    }
}

/// One resource with the hash of its content.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The resource.
    pub resource: Arc<Resource>,
    /// Hash of its encoding.
    pub hash: Hash,
}

/// All resources at one revision. Cloning shares the resources.
#[derive(Clone, Debug, Default)]
pub struct World {
    revision: u64,
    entries: BTreeMap<Key, Entry>,
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
        let mut world = Self { revision, entries: BTreeMap::new() };
        for resource in resources {
            world.put(resource);
        }
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
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// It holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries by kind and uid.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// All resources of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        let from = Key { kind, uid: "".into() };
        self.entries.range(from..).take_while(move |(key, _)| key.kind == kind).map(|(_, entry)| &entry.resource)
    }

    /// One entry.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Adds or replaces a resource. Returns what stood there.
    pub fn put(&mut self, resource: Arc<Resource>) -> Option<Entry> {
        let key = Key::of(&resource)?;
        let hash = truncated(blake3::hash(&resource.encode_to_vec()));
        self.entries.insert(key, Entry { resource, hash })
    }

    /// Takes a resource away. Returns what stood there.
    pub fn remove(&mut self, key: &Key) -> Option<Entry> {
        self.entries.remove(key)
    }

    /// Hash of every shard that is not empty.
    #[must_use]
    pub fn shard_hashes(&self) -> BTreeMap<(Kind, u8), Hash> {
        let mut shards: BTreeMap<(Kind, u8), blake3::Hasher> = BTreeMap::new();
        for (key, entry) in &self.entries {
            let shard = shards.entry((key.kind, key.shard())).or_default();
            shard.update(key.uid.as_bytes());
            shard.update(&entry.hash);
        }
        shards.into_iter().map(|(place, hasher)| (place, truncated(hasher.finalize()))).collect()
    }

    /// Hash of the whole content, without the revision.
    #[must_use]
    pub fn root_hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        for (key, entry) in &self.entries {
            hasher.update(key.kind.name().as_bytes());
            hasher.update(key.uid.as_bytes());
            hasher.update(&entry.hash);
        }
        truncated(hasher.finalize())
    }

    /// The world after a delta; this one is not changed.
    #[must_use]
    pub fn apply(&self, delta: &Delta) -> Self {
        let mut next = self.clone();
        next.revision = delta.revision;
        if !delta.replace.is_empty() {
            next.entries.retain(|key, _| !delta.replace.contains(&(key.kind, key.shard())));
        }
        for resource in &delta.puts {
            next.put(Arc::clone(resource));
        }
        for key in &delta.removes {
            next.remove(key);
        }
        next
    }
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
