//! The deny overlay: keys that are refused whatever the revision in force. It has a counter of its own and outlives revisions.

use std::collections::{BTreeMap, HashSet};

use waybill_proto::sync::v1::Deny;

/// Most entries. A control plane that sends more has lost its way; what it has to say is in its revision as well.
pub const MAX_ENTRIES: usize = 1_000_000;

/// The overlay is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deny overlay holds {MAX_ENTRIES} entries, its limit")]
pub struct Full;

/// The entries, by uid: the newest of each. Lifts are kept until they may be forgotten too, so that an older denial that comes late does not
/// count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlay {
    entries: BTreeMap<Box<str>, Deny>,
    epoch: u64,
    floor: u64,
}

/// What worker threads ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    epoch: u64,
    uids: HashSet<Box<str>>,
}

impl Denied {
    /// The counter of the overlay.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The key with this uid is refused.
    #[must_use]
    pub fn contains(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }

    /// How many keys are refused by the overlay.
    #[must_use]
    pub fn len(&self) -> usize {
        self.uids.len()
    }

    /// None is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }
}

impl Overlay {
    /// An overlay as it was stored.
    #[must_use]
    pub fn stored(epoch: u64, floor: u64, entries: impl IntoIterator<Item = Deny>) -> Self {
        let entries = entries.into_iter().map(|entry| (entry.api_key_uid.as_str().into(), entry)).collect();
        Self { entries, epoch, floor }
    }

    /// Takes an entry. Returns whether it says anything new.
    ///
    /// # Errors
    /// There are too many.
    pub fn take(&mut self, entry: Deny) -> Result<bool, Full> {
        let known = self.entries.get(entry.api_key_uid.as_str());
        let stale = entry.revision <= self.floor || known.is_some_and(|known| known.epoch >= entry.epoch);
        if stale || entry.api_key_uid.is_empty() {
            // What it says is known, but that it was said is not: the counter moves.
            let newer = entry.epoch > self.epoch;
            self.epoch = self.epoch.max(entry.epoch);
            return Ok(newer);
        }
        if known.is_none() && self.entries.len() >= MAX_ENTRIES {
            return Err(Full);
        }
        self.epoch = self.epoch.max(entry.epoch);
        self.entries.insert(entry.api_key_uid.as_str().into(), entry);
        Ok(true)
    }

    /// No world below this revision can come into force again: entries it carries go. Returns whether any went.
    pub fn forget(&mut self, revision: u64) -> bool {
        let before = self.entries.len();
        self.floor = self.floor.max(revision);
        self.entries.retain(|_, entry| entry.revision > revision);
        self.entries.len() != before
    }

    /// The counter.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Entries up to this revision are forgotten.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.floor
    }

    /// All entries, lifts too.
    pub fn entries(&self) -> impl Iterator<Item = &Deny> {
        self.entries.values()
    }

    /// The uids that are refused.
    pub fn uids(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|(_, entry)| !entry.lift).map(|(uid, _)| &**uid)
    }

    /// What worker threads ask.
    #[must_use]
    pub fn denied(&self) -> Denied {
        Denied { epoch: self.epoch, uids: self.uids().map(Into::into).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uid: &str, epoch: u64, lift: bool) -> Deny {
        Deny { epoch, api_key_uid: uid.to_owned(), lift, revision: epoch / 10 }
    }

    #[test]
    fn the_newest_entry_of_a_key_counts_in_whatever_order_they_come() {
        let entries = [entry("a", 10, false), entry("a", 21, true), entry("b", 30, false), entry("a", 40, false)];
        let mut orders = vec![vec![0, 1, 2, 3], vec![3, 2, 1, 0], vec![1, 0, 3, 2], vec![0, 0, 3, 1, 2, 2]];
        for order in orders.drain(..) {
            let mut overlay = Overlay::default();
            for index in &order {
                overlay.take(entries[*index].clone()).unwrap();
            }
            assert_eq!((overlay.epoch(), overlay.uids().collect::<Vec<_>>()), (40, vec!["a", "b"]), "{order:?}");
        }
    }

    #[test]
    fn an_entry_goes_with_the_last_older_revision_and_does_not_come_back() {
        let mut overlay = Overlay::default();
        for entry in [entry("a", 10, false), entry("b", 20, false)] {
            assert_eq!(overlay.take(entry), Ok(true));
        }
        assert!(overlay.forget(1));
        assert!(overlay.denied().contains("b") && !overlay.denied().contains("a"));
        assert_eq!(overlay.take(entry("a", 11, false)), Ok(false));
        assert_eq!((overlay.epoch(), overlay.forget(1)), (20, false));
    }
}
