//! The usage transport: from the spool to the ledger, whatever lies between. One suite, run on both ways there are.
//!
//! # Layout
//! - `suite`: what every transport must keep. `events`: attempts as a proxy writes them.
//! - `direct`: the spool read in the ledger's own process. `kafka`: through a real Kafka. `tls`: through one that wants certificates and passwords.
//!
//! Kafka's part runs where `WAYBILL_TEST_KAFKA` names brokers (`host:port,…`; with more than one, topics have three replicas), and says so where it
//! does not; `WAYBILL_TEST_KAFKA_SASL` names some that want the user `app` with the password `app-secret` by `PLAIN` on an open line. The ledger is
//! a file: what every ledger must keep has a suite of its own.

mod direct;
mod events;
mod kafka;
mod suite;
mod tls;
