//! Publishing: from the store's events to what every proxy holds.
//!
//! # Layout
//!
//! Pure, events in and decisions out:
//! - [`stored`]: what lies in the store under the keys of the configuration and of the change log
//! - [`index`]: the store's events, commit by commit, become a world
//! - [`diff`]: how one world becomes another, by resource or by shard
//! - `changes`: which resources the last revisions touched; a session's place in it is its backlog
//! - `denials`: the deny overlay, for what must not wait for a revision
//! - `publication`: one revision as sessions see it
//! - [`session`]: the protocol with one proxy
//! - `debounce`: how long a change waits for the next one
//!
//! With a clock and channels:
//! - `publisher`: follows the store, serves sessions
//! - `fleet`: what every proxy has applied
//!
//! # Invariants
//!
//! - A world is shown only when `head` has arrived: no reader ever sees a part of a change set.
//! - `apply(diff(a, b), a) == b`, whatever the road.
//! - At most one push is on its way to a proxy; what changes meanwhile is merged into the next one. No queue grows with the number of changes.
//! - A proxy is never sent a revision below the one it holds.
//! - A deny entry never waits for a revision or for a push.

mod changes;
mod debounce;
mod denials;
pub mod diff;
mod fleet;
pub mod index;
mod publication;
mod publisher;
#[cfg(test)]
mod sample;
pub mod session;
pub mod stored;

pub use fleet::ProxyStatus;
pub use publication::Publication;
pub use publisher::{Error, Publisher, Stopped};
pub use session::{Refusal, Session};
