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
    /// Bytes of a segment of it.
    pub segment_bytes: u32,
    /// How often the control plane lists its store anew; as it comes if left out.
    pub relist: Option<Duration>,
    /// After how long without Kafka events also go by the control plane.
    pub silence: Duration,
}

impl Default for Shape {
    /// The smallest cluster in which nothing is a single point of failure but the ledger's database.
    fn default() -> Self {
        Self {
            etcd: 3,
            kafka: 3,
            controls: 2,
            proxies: 3,
            consumers: 2,
            spool_bytes: 256 << 20,
            // Small, so that logs roll under the load of a test.
            segment_bytes: 384 << 10,
            relist: None,
            silence: Duration::from_secs(30),
        }
    }
}
