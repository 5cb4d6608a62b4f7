//! Simulations that join both planes over the real messages, in one process.

mod certificates;
mod network;
mod sync;
