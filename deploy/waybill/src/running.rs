//! What the planes of one process ask of one another.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use waybill_admin::{Answer, Backlog, Fleet, Running};
use waybill_health::Keeper;
use waybill_meter::Spool;
use waybill_model::{id::GenerationId, snapshot::Snapshot};
use waybill_proto::{
    admin::v1::{EndpointHealthRow, RefusalRow, ReplicaStatus},
    sync::v1::EndpointHealth,
};
use waybill_proxy::{Configuration, Counters, Refusals};
use waybill_publish::Publisher;
use waybill_sync::Current;

use crate::consume::Consumed;

/// What the one replica of this process is called.
const LOCAL: &str = "local";

/// What workers read, as the proxy wants it.
pub struct InForce(pub Current);

impl Configuration for InForce {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.0.load()
    }

    fn deny_epoch(&self) -> u64 {
        self.0.denied().epoch()
    }

    fn is_denied(&self, key_uid: &str) -> bool {
        self.0.is_denied(key_uid)
    }

    fn advice(&self) -> Vec<EndpointHealth> {
        self.0.advised().all(Instant::now()).cloned().collect()
    }
}

/// What the admin service may ask of this process. The proxy is there a moment after the service.
pub struct Here {
    pub publisher: Publisher,
    pub spool: Spool,
    pub consumed: Arc<Consumed>,
    pub health: Arc<Keeper>,
    pub data_plane: OnceLock<(Vec<Arc<Counters>>, Arc<Refusals>)>,
}

impl Running for Here {
    fn fleet(&self) -> Answer<'_, Fleet> {
        let proxies = self.publisher.proxies().into_iter().map(|proxy| (LOCAL.to_owned(), proxy)).collect();
        let (build, revision) = (env!("CARGO_PKG_VERSION").to_owned(), self.publisher.world().revision());
        let replica = ReplicaStatus { replica: LOCAL.to_owned(), build, revision, error: String::new() };
        Box::pin(async { Fleet::new(vec![replica], proxies) })
    }

    fn health(&self, name: &str) -> Vec<EndpointHealthRow> {
        self.health.rows(name)
    }

    fn refusal(&self, generation: GenerationId) -> Option<RefusalRow> {
        let (_, refusals) = self.data_plane.get()?;
        let refused = refusals.find(generation)?;
        Some(RefusalRow {
            generation_id: refused.generation.to_string(),
            status: u32::from(refused.status),
            error_type: refused.error_type.to_owned(),
            message: refused.message,
            decision: Some(refused.decision),
            unix_us: i64::try_from(refused.unix_us).unwrap_or(i64::MAX),
        })
    }

    fn backlog(&self) -> Backlog {
        let ended = self.data_plane.get().map_or(0, |(counters, _)| counters.iter().map(|counters| counters.ended()).sum());
        Backlog { spool_bytes: self.spool.used_bytes(), lag_events: self.consumed.lag(ended) }
    }
}
