//! What both ends of the usage topic agree on: how to reach the brokers, and the form of a record there. Knows no Kafka client.
//!
//! # Layout
//! - `settings`: [`KafkaSettings`], as it stands in a role's file, and what a client is configured with.
//! - `complaints`: what a client complains of, in the operator's words.
//! - `form`: topic, key, header and value of a record.
//!
//! # Invariants
//! - No password is held by the settings, shown by an error or written by `Debug`: there is a file that has it.
//! - A record that was written by one version of the form is never taken for one of another.

mod complaints;
mod form;
mod settings;

pub use complaints::{Complaints, advice, kind};
pub use form::{SCHEMA_HEADER, SCHEMA_VERSION, Strange, TOPIC, key, read};
pub use settings::{KafkaSettings, Mechanism, Property, Security, SettingsError};
