//! The proxy: the rooms of the data plane joined into a request's way, one thread per core.
//!
//! # Layout
//! - [`Proxy`], [`Settings`]: start and stop. `worker`: what one thread owns.
//! - `stack`: from a request to its answer; the only file that joins the rooms. `guarded`: what the Guardrails of a key come to. `surface`: paths. `models`, `account`, `count`: answers that are not
//!   calls.
//! - `attempts`: one after another until one answers; `answering`: the one that does; `failing`: those that do not. `attempt`: from the intent to
//!   the one end. `flight`: an attempt under way, and what becomes of it when its caller goes; `trouble`: how one ends that does not end well. `relay`:
//!   a stream on its way to the caller; `waiting`: before it has begun. `carriage`: the request as one endpoint is to get it; `outbound`: with its
//!   path and headers.
//! - `sightings`: what the workers have seen of each endpoint, to be reported and shown; `uptime`: how much of it was good.
//! - [`Configuration`], [`Books`]: what the proxy needs of others, as contracts. [`Counters`], [`Refusals`]: what it tells of itself.
//!
//! # Invariants
//! - The intent is in the spool before the first byte of the request leaves; the one terminal event is there before the last chunk is released.
//! - A request sees exactly one configuration revision.
//! - There is no failover after the first output has gone to the caller.
//! - The path of a request asks nobody outside this thread but the provider.

mod account;
mod answer;
mod answering;
mod attempt;
mod attempts;
mod books;
mod carriage;
mod configuration;
mod count;
mod counters;
mod deadline;
mod failing;
mod flight;
mod guarded;
mod models;
mod outbound;
mod refusals;
mod relay;
mod sightings;
mod stack;
mod start;
mod surface;
mod trouble;
mod uptime;
mod waiting;
mod worker;

pub use books::{Asked, Away, Books, Owner, Spent};
pub use configuration::Configuration;
pub use counters::{Counter, Counters};
pub use refusals::{Refusals, Refused};
pub use sightings::Sightings;
pub use start::{Proxy, Settings, SpoolFull, StartError};
pub use waybill_front::Limits;
