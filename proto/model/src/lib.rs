//! The domain that both planes share: ids, money, prices, keys, resources, snapshots. Pure: no I/O, clock, randomness or `async`.
//!
//! # Layout
//! - [`id`], [`money`], [`meter`], [`price`], [`key`]: the words of the trade.
//! - [`pattern`]: how lists name providers and models. [`guardrail`]: what holds for a key, and what refuses something.
//! - [`document`]: what operators write, as text with positions. [`check`]: all faults of the whole world.
//! - [`resource`], [`world`]: what operators write, as a set with hashes and deltas. [`compile`]: from there to the runtime [`snapshot`].
//!
//! # Invariants
//! - Money is integers of pico-USD; each line is rounded half to even once.

pub mod check;
pub mod compile;
pub mod document;
pub mod guardrail;
pub mod id;
pub mod key;
pub mod meter;
pub mod money;
pub mod pattern;
pub mod price;
pub mod resource;
pub mod snapshot;
pub mod world;
