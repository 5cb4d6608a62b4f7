//! The commands, on a backend that answers what the test says.

mod commands;
mod fake;
mod golden;
