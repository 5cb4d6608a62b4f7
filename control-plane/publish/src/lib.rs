//! Publishing: from the store's events to what every proxy holds.
//!
//! # Layout
//!
//! Pure, events in and decisions out:
//! - [`stored`]: what lies in the store under the keys of the configuration and of the change log
//! - [`index`]: the store's events, commit by commit, become a world
//! - [`rollout`]: a change set that reaches the proxies ring by ring, as stored
//! - [`diff`]: how one world becomes another, by resource or by shard
//! - `changes`: which resources the last revisions touched; a session's place in it is its backlog
//! - `denials`: the deny overlay, for what must not wait for a revision
//! - `publication`: one revision as sessions see it
//! - [`session`]: the protocol with one proxy
//! - [`conduct`]: from what is seen of the fleet to the next step of a rollout
//! - `pepper`: whether a proxy recognises the API keys that are made here
//! - `debounce`: how long a change waits for the next one
//! - `advised`: what all proxies are advised of the endpoints' health
//!
//! With a clock and channels:
//! - `publisher`: follows the store
//! - `serving`: one session with its stream
//! - `fleet`: what every proxy has applied, and what it told
//!
//! With a network:
//! - `listen`, `services`: the sync listener
//! - [`usage`]: the ledger, as proxies see it
//! - [`peers`]: the other replicas, and what all know together
//!
//! # Invariants
//!
//! - A world is shown only when `head` has arrived: no reader ever sees a part of a change set.
//! - `apply(diff(a, b), a) == b`, whatever the road.
//! - At most one push is on its way to a proxy; what changes meanwhile is merged into the next one. No queue grows with the number of changes.
//! - A proxy is never sent a revision below the one it holds.
//! - A deny entry never waits for a revision or for a push.

mod advised;
mod changes;
pub mod conduct;
mod debounce;
mod denials;
pub mod diff;
mod fleet;
pub mod index;
mod listen;
pub mod peers;
mod pepper;
mod publication;
mod publisher;
pub mod rollout;
#[cfg(test)]
mod sample;
mod services;
mod serving;
pub mod session;
pub mod stored;
pub mod usage;

pub use listen::{Limits, ServeError, Served, serve};
pub use peers::Peers;
pub use publication::{Publication, View};
pub use publisher::{Error, Figures, Publisher, RELIST, Stopped};
pub use session::{Refusal, Session};
pub use usage::Usage;
