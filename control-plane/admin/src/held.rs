//! The world at head, with what a transaction needs to know of it: where each key was last written.

use std::{collections::BTreeMap, sync::Arc};

use waybill_model::{
    resource::{Kind, metadata},
    world::{Key, World},
};
use waybill_proto::model::v1::Resource;
use waybill_publish::{
    rollout::Rollout,
    stored::{Head, resource_from_value},
};
use waybill_store::{Position, Read, Store, keys};

use crate::error::Error;

/// Where a resource stands: under which uid, last written when.
#[derive(Clone, Debug)]
pub struct Place {
    /// Kind and uid.
    pub key: Key,
    /// When its key was last put.
    pub modified: Position,
}

/// The world at one position of the head.
#[derive(Clone, Debug, Default)]
pub struct Held {
    head: Head,
    position: Position,
    world: World,
    names: BTreeMap<(Kind, Box<str>), Place>,
    /// By id; the last ones that ended too.
    rollouts: BTreeMap<String, Arc<Rollout>>,
}

impl Held {
    /// Reads the configuration, all of it at one position.
    pub async fn read(store: &dyn Store) -> Result<Self, Error> {
        let listing = store.list(&Read::now(keys::config())).await?;
        let mut held = Self::default();
        for entry in &listing.entries {
            match keys::place(&entry.key) {
                Some(keys::Place::Head) => {
                    held.head = Head::from_value(&entry.value)?;
                    held.position = entry.modified;
                }
                Some(keys::Place::Rollout { .. }) => held.put_rollout(Rollout::from_value(&entry.value)?),
                Some(keys::Place::Resource { .. }) => held.put(Arc::new(resource_from_value(&entry.value)?), entry.modified),
                _ => {}
            }
        }
        held.world.set_revision(held.head.revision);
        Ok(held)
    }

    /// The revision.
    pub const fn revision(&self) -> u64 {
        self.head.revision
    }

    /// The head.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// When the head was last put; [`Position::NONE`] before the first change set.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The world.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// The rollout that is on its way. There is at most one.
    pub fn rollout(&self) -> Option<&Arc<Rollout>> {
        self.rollouts.values().find(|rollout| rollout.is_baking())
    }

    /// The rollout on its way and the last ones that ended, the newest first.
    pub fn rollouts(&self) -> Vec<&Arc<Rollout>> {
        let mut all: Vec<&Arc<Rollout>> = self.rollouts.values().collect();
        all.sort_by_key(|rollout| std::cmp::Reverse(rollout.revision));
        all
    }

    /// Where the resource of this name stands.
    pub fn place(&self, kind: Kind, name: &str) -> Option<&Place> {
        self.names.get(&(kind, name.into()))
    }

    /// The resource of this name.
    pub fn find(&self, kind: Kind, name: &str) -> Option<Arc<Resource>> {
        Some(self.world.get(&self.place(kind, name)?.key)?.resource())
    }

    /// All resources by kind and name, from behind a name on.
    pub fn after(&self, after: Option<(Kind, Box<str>)>) -> impl Iterator<Item = (&(Kind, Box<str>), Arc<Resource>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.names.range((from, Unbounded)).filter_map(|(name, place)| Some((name, self.world.get(&place.key)?.resource())))
    }

    /// The next revision, after a commit at this position.
    pub fn next(&self, head: Head, position: Position) -> Self {
        let mut next = self.clone();
        next.world.set_revision(head.revision);
        (next.head, next.position) = (head, position);
        next
    }

    /// Puts a resource that was written at this position. A resource of a kind that this build does not know is left alone.
    pub fn put(&mut self, resource: Arc<Resource>, modified: Position) {
        if let Some(key) = Key::of(&resource) {
            let name = metadata(&resource).name.as_str().into();
            self.names.insert((key.kind, name), Place { key, modified });
            self.world.put(resource);
        }
    }

    /// Puts a step of a rollout.
    pub fn put_rollout(&mut self, rollout: Rollout) {
        self.rollouts.insert(rollout.id.clone(), Arc::new(rollout));
    }

    /// Forgets a rollout that has ended.
    pub fn forget_rollout(&mut self, id: &str) {
        self.rollouts.remove(id);
    }

    /// Takes a resource away.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        if let Some(place) = self.names.remove(&(kind, name.into())) {
            self.world.remove(&place.key);
        }
    }
}
