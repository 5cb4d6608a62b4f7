//! Provider health: what all proxies counted, folded into one judgement of each endpoint.
//!
//! Every proxy counts the ends of its attempts by endpoint and class and reports them once a second. One replica at a time folds the counts of the
//! whole fleet into windows and decides which endpoints all proxies should leave out. The store holds the transitions alone; every replica
//! watches them and advises its proxies, which follow advice only while it is fresh.
//!
//! # Layout
//! The core, pure; the time is an argument:
//! - `classes`: which ends say something of an endpoint. `window`: counts of the last minute. `verdict`: when counts are bad.
//! - `places`: what the configuration says of endpoints. `fold`: what all proxies counted. `decide`: from counts and records to transitions.
//! - `simulation` (tests): fleets with a lying, a partitioned and a restarting proxy.
//!
//! The shell:
//! - `fleet`: [`Fleet`], what it needs of the others. `keeper`: [`Keeper`], the tasks of a replica. `records`: the transitions as they are stored.
//!
//! # Invariants
//! - One proxy, whatever it reports, ejects nobody for the others.
//! - No model is left with less than half of its endpoints, and none loses its last one.
//! - At most ten transitions are written at a time, once a second, each under the leader's fence.
//! - A record ends by itself: nobody has to be alive to let an endpoint come back.

mod classes;
mod decide;
mod fleet;
mod fold;
mod keeper;
mod places;
mod records;
#[cfg(test)]
mod simulation;
mod verdict;
mod window;

pub use decide::{EJECTED_MS, MOST_TRANSITIONS, TRIAL_AFTER_MS, TRIAL_PERMILLE, Transition, decide};
pub use fleet::{Fleet, States};
pub use fold::Fold;
pub use keeper::{ADVICE_TTL, Keeper};
pub use places::{Place, Places};
pub use records::Records;
pub use verdict::{AGREEING_PERCENT, LEAST_ATTEMPTS, LEAST_OF_OTHERS, MOST_OF_ONE};
