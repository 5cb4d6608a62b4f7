//! Journeys: a request's way through the real proxy to the sandbox and back, with its spool read afterwards.
//!
//! # Layout
//! - `fixture`: a proxy, the sandbox, a configuration, a key. `answers`: what callers see. `bills`: what is in the spool then.
//! - `dialects`: callers and providers who speak different ones.
//! - `guardrails`: what a key may not call.
//! - `lies`: providers that say what is not so.
//! - `silence`: providers and callers who say too little.
//! - `crowded`: a spool that is nearly full, and one that is.

mod answers;
mod bills;
mod crowded;
mod dialects;
mod fixture;
mod guardrails;
mod lies;
mod silence;
