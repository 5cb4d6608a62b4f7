//! The neutral form and the dialects of the data plane: bytes in, decisions' facts out, bytes back.
//!
//! # Layout
//! - `call`: [`Call`], what a request asks for. `fault`: what can be wrong with it.
//! - `usage`: [`Reading`], what an attempt consumed, in disjoint classes.
//! - `error`: the closed vocabulary of errors, before a dialect gives them a shape.
//! - `body`: a body as slices of the original and what replaces parts of it.
//! - `json`: the one strict, lazy scan. `sse`: frames, whatever the cut points.
//! - [`neutral`]: the content of requests and answers, for translation between dialects.
//! - [`openai`]: chat completions.
//!
//! # Invariants
//! - Pure: no I/O, clock, randomness or `async`.
//! - No input panics, and no input takes more than linear time or a stack that grows with it.
//! - No parser differential: outside strings the request is valid JSON, and every field that is read here stands in
//!   it once and in one spelling.
//! - Outside the splices every byte is the caller's or the provider's own.
//! - Money is an integer or an exact decimal, never a float.

mod body;
mod call;
mod dialect;
mod error;
mod fault;
mod json;
mod named_set;
pub mod neutral;
pub mod openai;
mod sse;
mod usage;

pub use body::Body;
pub use call::{Call, DataCollection, MaxPrice, Need, Needs, Parameter, Parameters, ProviderPreferences, Sort, Unbounded, UnboundedCauses};
pub use dialect::Dialect;
pub use error::{ErrorBody, ErrorType};
pub use fault::{Fault, FaultKind};
pub use usage::{Reading, UsageFault};
