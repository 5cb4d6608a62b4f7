//! Journeys: a request's way through the real proxy to the sandbox and back, with its spool read afterwards.
//!
//! # Layout
//! - `fixture`: a proxy, the sandbox, a configuration, a key. `answers`: what callers see. `bills`: what is in the spool then.

mod answers;
mod bills;
mod fixture;
