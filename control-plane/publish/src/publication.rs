//! One revision as sessions see it: the world, its hash, and what leads to it.

use std::sync::Arc;

use waybill_model::{
    resource::Kind,
    world::{Hash, World},
};

use crate::{changes::Changes, denials::Denials, index::Step};

/// What is published. Immutable, shared by all sessions.
#[derive(Clone, Debug)]
pub struct Publication {
    world: Arc<World>,
    root: Hash,
    changes: Changes,
    denials: Arc<Denials>,
}

impl Publication {
    /// The first publication of a process: nothing is known of how its world came about.
    #[must_use]
    pub fn first(world: Arc<World>) -> Self {
        let changes = Changes::since_revision(world.revision());
        Self { root: world.root_hash(), changes, denials: Arc::default(), world }
    }

    /// The publication after a step, and whether it must not wait, since it revokes a key.
    #[must_use]
    pub fn after(&self, step: Step) -> (Self, bool) {
        let mut next = self.clone();
        let touches_keys = step.changed.iter().any(|key| key.kind == Kind::ApiKey);
        let urgent = touches_keys && Arc::make_mut(&mut next.denials).follow(&step.before, &step.world, &step.changed);
        if step.world.revision() > self.revision() {
            next.changes.push(step.world.revision(), step.changed);
        } else {
            // The same revision with another content: the index was repaired, and the change log told the same untruth.
            next.changes = Changes::since_revision(step.world.revision());
        }
        next.root = step.world.root_hash();
        next.world = step.world;
        (next, urgent)
    }

    /// The revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.world.revision()
    }

    /// The world.
    #[must_use]
    pub const fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The world's root hash.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    pub(crate) const fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn denials(&self) -> &Denials {
        &self.denials
    }
}
