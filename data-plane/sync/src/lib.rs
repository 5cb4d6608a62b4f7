//! Staying in step with the control plane, and serving without it.
//!
//! # Layout
//!
//! Pure, events in and decisions out:
//! - `change`: collects Begin … Commit, and checks that it leads where it says
//! - `adopt`: compiles a desired world; what cannot be compiled keeps its last good version
//! - `overlay`: the deny overlay, the data plane's side
//! - [`subscriber`]: the protocol with the control plane
//! - `guard`: the crash guard: which generation to start from after a death
//! - `backoff`: when to connect again
//! - `container`: the bytes of the files
//! - `advised`: what the fleet knows of the endpoints' health
//!
//! With a clock, a disk and channels:
//! - `current`: what worker threads read
//! - `folder`: the files of last-known-good
//! - `keeper`: writes them behind the swap
//! - `outgoing`: what the other rooms have to say to the control plane
//! - `sync`: loads, subscribes, swaps
//!
//! With a network:
//! - `remote`: the replicas of the control plane
//! - `usage`: what only they know of the ledger
//!
//! # Invariants
//!
//! - A change is visible as a whole or not at all; the revision in force never goes back within a process.
//! - What is shown has the root hash that the control plane sent; a difference asks for a resync, it is never served.
//! - A resource that cannot be compiled never blocks the others. An `ApiKey` that cannot be compiled denies its own scope.
//! - A revoked key is refused whatever the revision, also after a restart: an entry is acknowledged when it is on the disk.
//! - With a folder, a start needs no control plane; a damaged file costs one generation, never the start.
//! - A revision that served is never blamed for a death.

mod adopt;
mod advised;
mod backoff;
mod change;
pub mod container;
mod current;
mod folder;
mod guard;
mod keeper;
mod outgoing;
mod overlay;
mod remote;
#[cfg(test)]
mod sample;
pub mod subscriber;
#[allow(clippy::module_inception)]
mod sync;
mod usage;

pub use adopt::{Held, Outcome, Panicked, adopt};
pub use advised::Advised;
pub use backoff::Obstacle;
pub use current::{Current, Refused};
pub use folder::FolderError;
pub use outgoing::Outgoing;
pub use overlay::{Denied, Overlay};
pub use remote::Remote;
pub use subscriber::{Identity, Lost};
pub use sync::{Secrets, Stream, Sync, Unreached};
pub use usage::{Unanswered, UsageClient};
