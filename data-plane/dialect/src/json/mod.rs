//! One lazy, strict scan over JSON text: the only reader of requests and answers on the express lane.
//!
//! Nothing is built. The scan checks every byte against RFC 8259, so that no provider can read a
//! different structure out of the bytes that are forwarded, and hands out spans of what was asked for.

mod decimal;
mod scan;
mod string;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use decimal::{Decimal, DecimalError, print_picousd};
pub(crate) use scan::{Error, ErrorKind, Kind, Scan, ScanLimits, Span};
pub(crate) use string::{Text, write_quoted};
