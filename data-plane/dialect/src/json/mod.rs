//! One lazy, strict scan over JSON text: the only reader of requests and answers on the express lane.
//!
//! Nothing is built. The scan checks every byte against RFC 8259, so that no provider can read a
//! different structure out of the bytes that are forwarded, and hands out spans of what was asked for.

mod decimal;
mod scan;
mod string;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
mod write;

pub(crate) use decimal::{Decimal, DecimalError, print_picousd};
pub(crate) use scan::{Error, ErrorKind, Kind, Scan, ScanLimits, Span};
pub(crate) use string::{Text, unescaped, write_quoted};
pub(crate) use tree::{Members, Node, Tree};
pub(crate) use write::Writer;

/// Whether the text is one JSON object and nothing else.
pub(crate) fn is_object(text: &[u8]) -> bool {
    let mut scan = Scan::new(text, ScanLimits::ANSWER);
    scan.peek() == Ok(Kind::Object) && scan.skip().is_ok() && scan.end().is_ok()
}
