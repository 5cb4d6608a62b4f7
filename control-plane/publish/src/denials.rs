//! The deny overlay, the control plane's side: keys that must stop at once, whatever revision a proxy holds.
//!
//! An entry's epoch is made of the revision it comes from and its place within it, so every replica that follows the store counts alike.

use std::collections::{BTreeMap, BTreeSet};

use waybill_model::{
    key::KeyHash,
    resource::Kind,
    world::{Key, World},
};
use waybill_proto::{model::v1::resource::Spec, sync::v1::Deny};

/// Most entries that are remembered. What is forgotten is in every later revision all the same.
const MAX_ENTRIES: usize = 100_000;

/// Bits of an epoch below the revision: a change set holds fewer resources than that.
const PLACE_BITS: u32 = 8;

/// The entries, by uid: the newest of each.
#[derive(Clone, Debug, Default)]
pub struct Denials {
    entries: BTreeMap<Box<str>, Deny>,
    by_epoch: BTreeSet<(u64, Box<str>)>,
}

/// A key that lets callers in, as far as its own record says.
fn usable(world: &World, key: &Key) -> bool {
    world.get(key).is_some_and(|entry| matches!(&entry.resource().spec, Some(Spec::ApiKey(spec)) if !spec.disabled))
}

/// The bytes a caller's key is recognised by.
fn hash(world: &World, key: &Key) -> Option<KeyHash> {
    world.get(key)?.key_hash().try_into().ok()
}

impl Denials {
    /// Follows a step of the world. Returns whether it revokes anything, so that its revision must not wait either.
    pub fn follow(&mut self, before: &World, after: &World, changed: &BTreeSet<Key>) -> bool {
        let mut urgent = false;
        let keys = changed.iter().filter(|key| key.kind == Kind::ApiKey);
        let mut place = 0;
        for key in keys {
            let (was, is) = (usable(before, key), usable(after, key));
            // A key that was there and comes back may have been denied by a replica that this one never saw.
            let lift = !was && is && (before.get(key).is_some() || self.entries.contains_key(&key.uid));
            if (was && !is) || lift {
                self.insert(Deny {
                    epoch: epoch(after.revision(), place),
                    api_key_uid: key.uid.to_string(),
                    lift,
                    revision: after.revision(),
                });
                place += 1;
            }
            urgent |= was && (!is || hash(before, key) != hash(after, key));
        }
        urgent
    }

    /// The counter: that of the newest entry.
    pub fn epoch(&self) -> u64 {
        self.by_epoch.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// Entries that are newer than an epoch, oldest first.
    pub fn after(&self, epoch: u64) -> Vec<Deny> {
        let newer = self.by_epoch.range((epoch.saturating_add(1), Box::default())..);
        newer.filter_map(|(_, uid)| self.entries.get(uid)).cloned().collect()
    }

    fn insert(&mut self, entry: Deny) {
        let uid: Box<str> = entry.api_key_uid.as_str().into();
        let place = (entry.epoch, uid.clone());
        if let Some(older) = self.entries.insert(uid.clone(), entry) {
            self.by_epoch.remove(&(older.epoch, uid));
        }
        self.by_epoch.insert(place);
        while self.entries.len() > MAX_ENTRIES {
            let Some((_, uid)) = self.by_epoch.pop_first() else { break };
            self.entries.remove(&uid);
        }
    }
}

/// The entry that lifts a denial whose history this replica has not seen; `None` if the key is not usable. It is newer than every entry of the
/// world's revision and older than every later one.
pub fn lift_of_unknown(world: &World, uid: &str) -> Option<Deny> {
    let key = Key { kind: Kind::ApiKey, uid: uid.into() };
    let epoch = epoch(world.revision(), (1 << PLACE_BITS) - 1);
    usable(world, &key).then(|| Deny { epoch, api_key_uid: uid.to_owned(), lift: true, revision: world.revision() })
}

/// Places beyond the last one share it, which costs no more than a repeated entry.
fn epoch(revision: u64, place: u64) -> u64 {
    let last = (1 << PLACE_BITS) - 1;
    revision.saturating_mul(1 << PLACE_BITS) | place.min(last)
}

#[cfg(test)]
mod tests;
