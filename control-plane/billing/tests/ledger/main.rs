//! The ledger, through its public face.

mod adjust;
mod faults;
mod kill;
mod once;
mod query;
mod sample;
