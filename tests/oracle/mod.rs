//! The oracle: what a ledger must say of the requests that were sent, worked out from what the callers saw, what the provider recorded and what
//! the spools of the dead held. It shares no code with the product: prices, arithmetic, identifiers, the reader of the spool and of answers are its
//! own.
//!
//! # Layout
//! - `prices`: its price list. `call`: what a request of a number asks. `configuration`: what the product is given of both.
//! - `provider`: the process that answers, and its records. `load`: the callers, and what they saw. `shown`: what an answer says of its cost.
//! - `remains`: what a dead process has left in its spool. `rows`: what the ledger says in the end. `ids`: their names.
//! - `verdict`: all of these against one another.
//!
//! # Invariants
//! - What the ledger must say of an attempt is known before it is asked.
//! - Nothing is left out of the judgement: every request, every record, every event.

pub mod call;
pub mod configuration;
pub mod ids;
pub mod load;
pub mod prices;
pub mod provider;
pub mod remains;
pub mod rows;
pub mod shown;
pub mod verdict;
