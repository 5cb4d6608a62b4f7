//! Simulations that join both planes over the real messages, in one process.

mod certificates;
mod health;
mod network;
mod sync;
