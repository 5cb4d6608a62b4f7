//! Validation of the whole world: every fault of a set of resources at once, each with its field path.
//!
//! # Layout
//! - [`check`]: the whole world. [`alone`]: what can be said of one resource without the others.
//! - [`REFERENCES`]: which field names a resource of which kind.
//! - [`Violation`], [`Code`]: a fault. [`name_fault`]: the rule of names. [`limits`]: every ceiling by its name.
//!
//! # Invariants
//! - Pure, and linear in the number of resources and references: ten thousand endpoints are checked in milliseconds.
//! - Nothing stops at the first fault. A fault is reported once, at the field that has to change.

mod endpoint;
mod guardrail;
pub mod limits;
mod name;
mod nearest;
mod price;
mod provider;
mod reference;
#[cfg(test)]
mod tests;
mod violation;
mod vocabulary;
mod world;

pub use name::name_fault;
pub use nearest::nearest;
pub(crate) use nearest::or_nothing;
pub use provider::base_url_fault;
pub use reference::{REFERENCES, Reference, references};
pub use violation::{Code, UnknownCode, Violation};
pub use vocabulary::{
    DIALECTS, INPUT_MODALITIES, OUTPUT_MODALITIES, PARAMETERS, QUANTIZATIONS, REASONING_CONTROLS, RESERVED_HEADERS, SORTS,
};
pub use world::{alone, check};
