//! The door: listeners, connections, bodies, keys, and answers in the caller's dialect.
//!
//! # Layout
//! - [`bind`], [`serve`], [`Drain`]: from a socket to a service, and the graceful end. [`read_body`]: a request's bytes within limits.
//! - [`authenticate`]: from a header to a key of the snapshot. [`error_answer`]: from an error to its answer. [`Limits`]: every limit, named.
//!
//! # Invariants
//! - Nothing here waits for anything but the client: no store, no database, no other thread.
//! - A fault of ours never answers 401.
//! - A bearer is never echoed, and an unknown one writes nothing anywhere.

mod accept;
mod authenticate;
mod body;
mod drain;
mod limits;
mod listen;
mod patient;
mod respond;

pub use accept::serve;
pub use authenticate::{Denied, authenticate};
pub use body::{BodyFault, read_body};
pub use drain::{Drain, Open};
pub use limits::{LimitError, Limits};
pub use listen::bind;
pub use respond::{Reply, error_answer, json_answer};
