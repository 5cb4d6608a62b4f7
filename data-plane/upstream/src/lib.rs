//! The way to providers: connections, their pool, and one exchange of a request for an answer.
//!
//! # Layout
//! - [`Connector`]: TCP and TLS. [`Pool`]: idle connections of one worker thread, by origin. [`Exchange`]: one request and its answer.
//! - [`get`]: a small document, for what a start needs to know of a provider.
//! - [`Failure`]: what went wrong, and whether a byte of the request had left, which decides about the bill.
//!
//! # Invariants
//! - A connection is driven by the task that uses it: there is no other task, no channel hop and no wake-up between the provider's bytes and
//!   the caller's, and bytes that are already there are taken together.
//! - Nothing here is shared between threads but the TLS configuration.
//! - `TCP_NODELAY` is set on every connection.

mod bell;
mod connect;
mod exchange;
mod failure;
mod get;
mod io;
mod payload;
mod pool;

pub use connect::Connector;
pub use exchange::{Exchange, Progress};
pub use failure::{Failure, Kind};
pub use get::{GetError, get};
pub use payload::Payload;
pub use pool::Pool;
