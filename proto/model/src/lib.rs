//! The domain that both planes share: ids, money, prices, keys, resources, snapshots. Pure: no I/O, clock, randomness or `async`.
//!
//! # Layout
//! - [`id`], [`money`], [`meter`], [`price`], [`key`]: the words of the trade.
//!
//! # Invariants
//! - Money is integers of pico-USD; each line is rounded half to even once.

pub mod id;
pub mod key;
pub mod meter;
pub mod money;
pub mod price;
