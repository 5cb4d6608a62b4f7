//! One revision as sessions see it: the world, its hash, and what leads to it. Proxies that a rollout has reached see the world with its change.

use std::{collections::BTreeSet, sync::Arc};

use waybill_model::{
    resource::Kind,
    world::{Hash, World},
};

use crate::{changes::Changes, denials::Denials, index::Step, rollout::Rollout};

/// What is published. Immutable, shared by all sessions.
#[derive(Clone, Debug)]
pub struct Publication {
    everybody: View,
    trial: Option<Trial>,
    changes: Changes,
    denials: Arc<Denials>,
}

/// What a proxy is to hold.
#[derive(Clone, Debug)]
pub struct View {
    /// The world.
    pub world: Arc<World>,
    /// Its root hash.
    pub root: Hash,
}

impl View {
    fn of(world: Arc<World>) -> Self {
        Self { root: world.root_hash(), world }
    }
}

/// What the members of a rollout are to hold.
#[derive(Clone, Debug)]
struct Trial {
    members: Arc<BTreeSet<String>>,
    view: View,
}

impl Trial {
    fn of(rollout: &Rollout, world: &World) -> Self {
        let members = rollout.members.iter().map(|member| member.proxy.clone()).collect();
        Self { members: Arc::new(members), view: View::of(Arc::new(rollout.change(world))) }
    }
}

impl Publication {
    /// The first publication of a process: nothing is known of how its world came about.
    #[must_use]
    pub fn first(world: Arc<World>) -> Self {
        let changes = Changes::since_revision(world.revision());
        Self { everybody: View::of(world), trial: None, changes, denials: Arc::default() }
    }

    /// The same while a rollout is on its way.
    #[must_use]
    pub fn with_rollout(self, rollout: Option<&Rollout>) -> Self {
        let trial = rollout.map(|rollout| Trial::of(rollout, self.world()));
        Self { trial, ..self }
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
        next.trial = step.rollout.map(|rollout| Trial::of(&rollout, &step.world));
        next.everybody = View::of(step.world);
        (next, urgent)
    }

    /// The revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.everybody.world.revision()
    }

    /// The world of all proxies that no rollout has reached.
    #[must_use]
    pub const fn world(&self) -> &Arc<World> {
        &self.everybody.world
    }

    /// What a proxy is to hold at this revision.
    #[must_use]
    pub fn view(&self, proxy: &str) -> &View {
        self.trial.as_ref().filter(|trial| trial.members.contains(proxy)).map_or(&self.everybody, |trial| &trial.view)
    }

    pub(crate) const fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn denials(&self) -> &Denials {
        &self.denials
    }
}
