//! The resources of one kind whose uids fall into one shard.

use std::sync::OnceLock;

use super::{
    Hash,
    entry::{Entry, Wanted},
    truncated,
};

/// Never empty in a world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    /// By uid.
    entries: Vec<Entry>,
    hash: OnceLock<Hash>,
}

impl Shard {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn hash(&self) -> Hash {
        *self.hash.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            for entry in &self.entries {
                hasher.update(entry.uid().as_bytes());
                hasher.update(&entry.hash());
            }
            truncated(hasher.finalize())
        })
    }

    pub(super) fn get(&self, uid: &str) -> Option<&Entry> {
        let wanted = Wanted::new(uid);
        let place = self.entries.binary_search_by(|entry| entry.order_to(&wanted)).ok()?;
        self.entries.get(place)
    }

    /// Adds or replaces a resource. Returns what stood there.
    pub(super) fn put(&mut self, entry: Entry) -> Option<Entry> {
        self.hash = OnceLock::new();
        match self.entries.binary_search_by(|held| held.order(&entry)) {
            Ok(place) => Some(std::mem::replace(&mut self.entries[place], entry)),
            Err(place) => {
                self.entries.insert(place, entry);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<Entry> {
        let wanted = Wanted::new(uid);
        let place = self.entries.binary_search_by(|entry| entry.order_to(&wanted)).ok()?;
        self.hash = OnceLock::new();
        Some(self.entries.remove(place))
    }

    /// Adds or replaces many; of two with one uid the later one counts.
    pub(super) fn extend(&mut self, entries: Vec<Entry>) {
        self.hash = OnceLock::new();
        self.entries.reserve_exact(entries.len());
        self.entries.extend(entries);
        // Stable: of two with one uid the later one stays behind.
        self.entries.sort_by(Entry::order);
        self.entries.reverse();
        self.entries.dedup_by(|later, earlier| later.order(earlier).is_eq());
        self.entries.reverse();
        self.entries.shrink_to_fit();
    }
}
