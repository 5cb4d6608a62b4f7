//! Which resources the last revisions touched. Shared by all sessions: each holds a revision, and what lies behind it is its backlog.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use waybill_model::world::Key;

/// Most revisions that are remembered. A proxy that is further behind is brought up by shard hashes.
const MAX_REVISIONS: usize = 1_024;

/// Most resources of all remembered revisions: beyond it, shards are as cheap to send.
const MAX_KEYS: usize = 100_000;

/// The revisions since `floor`, each with what it touched. Cloning shares the parts.
#[derive(Clone, Debug)]
pub struct Changes {
    floor: u64,
    revisions: VecDeque<(u64, Arc<BTreeSet<Key>>)>,
    keys: usize,
}

impl Changes {
    /// Nothing is known of how the world came to `revision`.
    pub const fn since_revision(revision: u64) -> Self {
        Self { floor: revision, revisions: VecDeque::new(), keys: 0 }
    }

    /// `revision` followed the last one and touched these.
    pub fn push(&mut self, revision: u64, keys: BTreeSet<Key>) {
        self.keys += keys.len();
        self.revisions.push_back((revision, Arc::new(keys)));
        while self.revisions.len() > MAX_REVISIONS || self.keys > MAX_KEYS {
            let Some((oldest, keys)) = self.revisions.pop_front() else { break };
            self.floor = oldest;
            self.keys -= keys.len();
        }
    }

    /// All that was touched after a revision; `None` if that is not known.
    ///
    /// A revision that was never shown here is not known either, though it lies in the range: several may have been merged into one step, and
    /// what was changed and changed back within the step is not listed.
    pub fn after(&self, revision: u64) -> Option<BTreeSet<Key>> {
        let first =
            if revision == self.floor { 0 } else { self.revisions.binary_search_by_key(&revision, |(revision, _)| *revision).ok()? + 1 };
        Some(self.revisions.iter().skip(first).flat_map(|(_, keys)| keys.iter().cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use waybill_model::resource::Kind;

    use super::*;

    fn keys(uids: impl IntoIterator<Item = u64>) -> BTreeSet<Key> {
        uids.into_iter().map(|uid| Key { kind: Kind::Org, uid: uid.to_string().into() }).collect()
    }

    #[test]
    fn a_backlog_is_merged_and_only_exact_places_are_known() {
        let mut changes = Changes::since_revision(4);
        changes.push(5, keys([1, 2]));
        changes.push(8, keys([2, 3]));
        let rows = [(3, None), (4, Some(keys([1, 2, 3]))), (5, Some(keys([2, 3]))), (6, None), (8, Some(keys([]))), (9, None)];
        for (revision, expected) in rows {
            assert_eq!(changes.after(revision), expected, "{revision}");
        }
    }

    #[test]
    fn the_oldest_revisions_are_forgotten_beyond_the_limits() {
        let mut changes = Changes::since_revision(0);
        for revision in 1..=MAX_REVISIONS as u64 + 10 {
            changes.push(revision, keys([revision]));
        }
        assert_eq!((changes.after(9), changes.after(10).map(|keys| keys.len())), (None, Some(MAX_REVISIONS)));
        let last = MAX_REVISIONS as u64 + 11;
        changes.push(last, keys(0..MAX_KEYS as u64 + 1));
        assert_eq!((changes.after(last - 1), changes.after(last)), (None, Some(keys([]))));
    }
}
