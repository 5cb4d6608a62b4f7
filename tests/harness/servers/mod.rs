//! Real servers as children of a test: etcd, Kafka, PostgreSQL.
//!
//! `tests/run` fetches them and writes down where they are (`tests/real/fetch.py`); here they are configured, started, asked whether they are
//! ready, killed, paused and started again on the same ports and files.

mod certificates;
mod etcd;
mod found;
mod kafka;
mod node;
mod ports;
mod postgres;
mod scratch;

pub use certificates::{Authority, Identity, Names};
pub use etcd::{Etcd, EtcdSecurity};
pub use found::Missing;
pub use kafka::{Kafka, KafkaSetup, Sasl};
pub use node::Node;
pub use ports::PortBlock;
pub use postgres::Postgres;
pub use scratch::Scratch;
