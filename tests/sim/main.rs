//! Simulations that join both planes over the real messages, in one process.

mod sync;
