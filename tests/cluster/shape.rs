//! How many of each, and with which bounds.

use std::time::Duration;

/// A cluster to be.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Nodes of etcd.
    pub etcd: usize,
    /// Nodes of Kafka.
    pub kafka: usize,
    /// Replicas of the control plane.
    pub controls: usize,
    /// Proxies.
    pub proxies: usize,
    /// Consumers of usage.
    pub consumers: usize,
    /// Bound of each proxy's spool.
    pub spool_bytes: u64,
    /// After how long without Kafka events also go by the control plane.
    pub silence: Duration,
}

impl Default for Shape {
    /// The smallest cluster in which nothing is a single point of failure but the ledger's database.
    fn default() -> Self {
        Self { etcd: 3, kafka: 3, controls: 2, proxies: 3, consumers: 2, spool_bytes: 256 << 20, silence: Duration::from_secs(30) }
    }
}
