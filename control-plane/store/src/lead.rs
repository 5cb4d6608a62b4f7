//! Leadership of a job that must run once: a key that exists as long as its holder renews it.
//!
//! Leadership alone stops nobody who was slow. A leader's writes carry [`Leadership::fence`], so
//! that what a former leader still sends does not land.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{Compare, Entry, Key, Position, Relation, Target};

/// Who stands for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    /// The leader key of the job, from [`crate::keys::leader`].
    pub key: Key,
    /// Who it is that stands, for those who look the key up.
    pub holder: Bytes,
    /// How long leadership lasts without being renewed. etcd counts in whole seconds.
    pub ttl: Duration,
}

/// What came of standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Election {
    /// The candidate leads.
    Won(Leadership),
    /// Somebody else does; watch the key to learn when it goes.
    Held(Entry),
}

/// A term of leadership. Renew it well within its time to live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The leader key.
    pub key: Key,
    /// Where it was created: the number of this term, larger than that of every earlier one.
    pub created: Position,
    /// How long it lasts without being renewed.
    pub ttl: Duration,
}

impl Leadership {
    /// The compare that every write of the leader carries.
    pub fn fence(&self) -> Compare {
        Compare { key: self.key.clone(), target: Target::Created(self.created), relation: Relation::Equal }
    }
}

/// Tells how much time has passed. It never goes back, whatever happens to the wall clock.
pub trait Clock: Send + Sync {
    /// Time since some fixed start.
    fn elapsed(&self) -> Duration;
}

/// The machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicClock(Instant);

impl MonotonicClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
