//! The index: the store's events, commit by commit, become a world and the rollout that is on its way. A change set is shown whole: when `head`
//! arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use waybill_model::{
    resource::Kind,
    world::{Key, World},
};
use waybill_store::{Entry, Event, keys};

use crate::{
    diff,
    rollout::Rollout,
    stored::{Head, Unreadable, resource_from_value},
};

/// The store contradicts itself: list it again; if that shows the same, the store needs an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The head cannot be read.
    #[error(transparent)]
    Head(#[from] Unreadable),
    /// There are resources, but no head says of which revision.
    #[error("the store holds {resources} resources and no head")]
    Headless {
        /// How many resources.
        resources: usize,
    },
    /// The head is not ahead of the one before.
    #[error("the head went from revision {from} to {to}")]
    Backwards {
        /// The revision shown last.
        from: u64,
        /// The revision that came.
        to: u64,
    },
}

/// Why a stored resource is not in the world as it is stored. Its last readable version stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind its key names.
    pub kind: String,
    /// The uid its key names.
    pub uid: String,
    /// What is wrong.
    pub message: String,
}

/// A new world and which resources changed on the way to it.
#[derive(Clone, Debug)]
pub struct Step {
    /// The world before.
    pub before: Arc<World>,
    /// The world now.
    pub world: Arc<World>,
    /// What may differ between the two, for one proxy or another.
    pub changed: BTreeSet<Key>,
    /// The rollout that is on its way now.
    pub rollout: Option<Arc<Rollout>>,
}

/// Follows the configuration of a store.
#[derive(Debug)]
pub struct Index {
    shown: Arc<World>,
    shown_rollout: Option<Arc<Rollout>>,
    staged: World,
    /// By id; those that have ended too.
    rollouts: BTreeMap<String, Rollout>,
    touched: BTreeSet<Key>,
    faults: BTreeMap<(String, String), String>,
}

impl Index {
    /// An index of a whole listing of [`keys::config`].
    ///
    /// # Errors
    /// The listing has no readable head.
    pub fn new(listing: &[Entry]) -> Result<Self, Error> {
        let mut index = Self {
            shown: Arc::default(),
            shown_rollout: None,
            staged: World::default(),
            rollouts: BTreeMap::new(),
            touched: BTreeSet::new(),
            faults: BTreeMap::new(),
        };
        let mut head = None;
        for entry in listing {
            match keys::place(&entry.key) {
                Some(keys::Place::Head) => head = Some(Head::from_value(&entry.value)?),
                Some(keys::Place::Resource { kind, uid }) => index.put(kind, uid, &entry.value),
                Some(keys::Place::Rollout { id }) => index.put_rollout(id, Some(&entry.value)),
                _ => {}
            }
        }
        match head {
            Some(head) => index.staged.set_revision(head.revision),
            None if index.staged.is_empty() => {}
            None => return Err(Error::Headless { resources: index.staged.len() }),
        }
        index.touched.clear();
        index.shown = Arc::new(index.staged.clone());
        index.shown_rollout = index.on_its_way();
        Ok(index)
    }

    /// The world of the last complete change set.
    #[must_use]
    pub const fn world(&self) -> &Arc<World> {
        &self.shown
    }

    /// The rollout that is on its way, as of the last complete change set.
    #[must_use]
    pub const fn rollout(&self) -> Option<&Arc<Rollout>> {
        self.shown_rollout.as_ref()
    }

    /// Stored resources that cannot be read.
    pub fn faults(&self) -> impl Iterator<Item = Fault> {
        self.faults.iter().map(|((kind, uid), message)| Fault { kind: kind.clone(), uid: uid.clone(), message: message.clone() })
    }

    /// Takes the events of one commit. Returns the new world if the change set is complete with it.
    ///
    /// # Errors
    /// The head cannot be read or went back. The index is then worth nothing: list again.
    pub fn follow(&mut self, events: &[Event]) -> Result<Option<Step>, Error> {
        let mut head = None;
        for event in events {
            match (keys::place(event.key()), event.value()) {
                (Some(keys::Place::Head), Some(value)) => head = Some(Head::from_value(value)?),
                (Some(keys::Place::Resource { kind, uid }), Some(value)) => self.put(kind, uid, value),
                (Some(keys::Place::Resource { kind, uid }), None) => self.remove(kind, uid),
                (Some(keys::Place::Rollout { id }), value) => self.put_rollout(id, value.map(AsRef::as_ref)),
                _ => {}
            }
        }
        let Some(head) = head else { return Ok(None) };
        let from = self.shown.revision();
        if head.revision <= from {
            return Err(Error::Backwards { from, to: head.revision });
        }
        self.staged.set_revision(head.revision);
        let world = Arc::new(self.staged.clone());
        let before = std::mem::replace(&mut self.shown, Arc::clone(&world));
        self.shown_rollout = self.on_its_way();
        Ok(Some(Step { before, world, changed: std::mem::take(&mut self.touched), rollout: self.shown_rollout.clone() }))
    }

    /// Takes a new listing over: after a watch has ended, or to find out whether it told the truth. Returns how the world changed, if it did.
    ///
    /// # Errors
    /// The listing has no readable head, or is older than the world that is shown.
    pub fn relist(&mut self, listing: &[Entry]) -> Result<Option<Step>, Error> {
        let next = Self::new(listing)?;
        let (from, to) = (self.shown.revision(), next.shown.revision());
        if to < from {
            return Err(Error::Backwards { from, to });
        }
        let delta = diff::diff(&self.shown, &next.shown);
        let Self { shown: before, shown_rollout: rollout_before, .. } = std::mem::replace(self, next);
        let is_same_rollout = rollout_before == self.shown_rollout;
        if delta.puts.is_empty() && delta.removes.is_empty() && from == to && is_same_rollout {
            return Ok(None);
        }
        let mut changed: BTreeSet<Key> = delta.puts.iter().filter_map(|resource| Key::of(resource)).chain(delta.removes).collect();
        if !is_same_rollout {
            changed.extend([&rollout_before, &self.shown_rollout].into_iter().flatten().flat_map(|rollout| rollout.keys()));
        }
        Ok(Some(Step { before, world: Arc::clone(&self.shown), changed, rollout: self.shown_rollout.clone() }))
    }

    fn put(&mut self, kind: String, uid: String, value: &[u8]) {
        match read(&kind, &uid, value) {
            Ok((key, resource)) => {
                self.faults.remove(&(kind, uid));
                self.staged.put(Arc::new(resource));
                self.touched.insert(key);
            }
            Err(message) => drop(self.faults.insert((kind, uid), message)),
        }
    }

    /// A step of a rollout touches all that it changes, since it may give it to a proxy or take it back.
    fn put_rollout(&mut self, id: String, value: Option<&[u8]>) {
        let known = value.and_then(|value| match Rollout::from_value(value) {
            Ok(rollout) => Some(rollout),
            Err(error) => {
                self.faults.insert(("rollout".to_owned(), id.clone()), error.to_string());
                None
            }
        });
        let before = self.rollouts.remove(&id);
        let steps = before.iter().chain(&known).flat_map(Rollout::keys);
        self.touched.extend(steps);
        if let Some(rollout) = known {
            self.rollouts.insert(id, rollout);
        }
    }

    /// There is at most one: admin begins no second one.
    fn on_its_way(&self) -> Option<Arc<Rollout>> {
        self.rollouts.values().find(|rollout| rollout.is_baking()).cloned().map(Arc::new)
    }

    fn remove(&mut self, kind: String, uid: String) {
        if let Ok(parsed) = kind.parse::<Kind>() {
            let key = Key { kind: parsed, uid: uid.as_str().into() };
            self.staged.remove(&key);
            self.touched.insert(key);
        }
        self.faults.remove(&(kind, uid));
    }
}

fn read(kind: &str, uid: &str, value: &[u8]) -> Result<(Key, waybill_proto::model::v1::Resource), String> {
    let resource = resource_from_value(value).map_err(|error| error.to_string())?;
    let key = Key::of(&resource).ok_or("it has no spec that this build knows, or no uid")?;
    if key.kind.name() != kind || &*key.uid != uid {
        return Err(format!("it says that it is {} {}", key.kind, key.uid));
    }
    Ok((key, resource))
}

#[cfg(test)]
mod tests;
