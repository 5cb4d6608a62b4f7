//! The operators' surface: resources in change sets, and the ledger read back.
//!
//! # Layout
//! The core, which needs no network:
//! - `admin`: [`Admin`], every verb. `surroundings`: the clock, randomness and running proxies it is given. `error`: [`Error`].
//! - `held`: the world at head, with the places of its keys. `asked`: a change set after the look at itself. `seal`: API keys.
//!   `plan`: what a change set does to a world; pure. `fields`: two specs compared field by field; pure.
//! - `commit`: a plan as one transaction. `sets`: more than one change set. `read`: resources read back. `ledger`: the ledger's verbs. `health`: the endpoints'.
//! - `wait`: until the fleet has applied a revision.
//!   `rollout`: the verbs on rollouts, and the job that conducts them.
//!
//! The transport:
//! - `serve`: [`serve`], gRPC with health, reflection and the [`OperatorToken`]. `service`: the verbs as services.
//! - `status`: the one place where an [`Error`] becomes a gRPC status. `details`: Google's error details.
//!
//! # Invariants
//! - A change set is one transaction, serialised by the head: what was validated is what it lands on.
//! - Nothing is written that the check of the whole world refuses, and a change set that changes nothing writes no revision.
//! - The text of a key is in one reply and in no record.
//! - Prices are in the ledger before they are in force, so that every bill can be computed again.

mod admin;
mod asked;
mod commit;
mod details;
mod error;
mod fields;
mod health;
mod held;
mod ledger;
mod plan;
mod read;
mod rollout;
mod seal;
mod serve;
mod service;
mod sets;
mod status;
mod surroundings;
mod wait;

pub use admin::{Admin, Parts};
pub use asked::{CHANGE_SET_BYTES, CHANGE_SET_RESOURCES, PLAN_RESOURCES};
pub use error::{Error, Fault};
pub use rollout::conduct_rollouts;
pub use serve::{OperatorToken, ServeError, serve};
pub use status::status;
pub use surroundings::{Alone, Answer, Backlog, Fleet, Host, Running, Surroundings};
