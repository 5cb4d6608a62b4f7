//! Documents: resources as operators write them (YAML or JSON), with the position of every field.
//!
//! A document is `apiVersion: waybill/v1`, `kind`, `metadata`, `spec`; a file holds any number of them, divided by `---`.
//!
//! # Layout
//! - [`read`]: text → [`Document`]s, or every [`Fault`]. [`write`](fn@write): a resource → text.
//! - [`locate`]: a violation that a check found → the fault with its line. [`positions`]: where fields are, in any text of this form.
//!
//! # Invariants
//! - Pure: the caller reads the files.
//! - Pass 1 reads `apiVersion`, `kind` and the positions; pass 2 reads straight into that kind's generated type, so a field exists in
//!   documents exactly if it exists in the contract.
//! - Decimals stay text from the file to the integer.

mod decode;
mod fault;
mod read;
mod source;
mod spans;
#[cfg(test)]
mod tests;
mod write;

pub use fault::{Fault, FaultCode};
pub use read::{Document, locate, read};
pub use source::{DOCUMENT_BYTES, SOURCE_BYTES};
pub use spans::{Spans, positions};
pub use write::{Error, Shown, write};

/// The version of the contract that documents are written in.
pub const API_VERSION: &str = "waybill/v1";
