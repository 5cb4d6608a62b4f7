//! Where a worker finds the configuration in force.

use std::sync::Arc;

use waybill_model::snapshot::Snapshot;
use waybill_proto::sync::v1::EndpointHealth;

/// The configuration in force, read by every request without a lock.
pub trait Configuration: Send + Sync {
    /// The snapshot; revision 0 = none has come yet.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Counter of the deny overlay.
    fn deny_epoch(&self) -> u64;

    /// The overlay refuses this key.
    fn is_denied(&self, key_uid: &str) -> bool;

    /// What the fleet advises on endpoints now; nothing when it has expired, or where there is no fleet. Asked once a second.
    fn advice(&self) -> Vec<EndpointHealth> {
        Vec::new()
    }
}
