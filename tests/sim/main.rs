//! Simulations that join both planes over the real messages, in one process.

mod certificates;
mod cores;
mod health;
mod network;
mod rollout;
mod sync;
