//! This replica, as the admin service sees it: its proxies and those of the other replicas.

use std::sync::Arc;

use waybill_admin::{Answer, Backlog, Fleet, Running};
use waybill_health::Keeper;
use waybill_model::id::GenerationId;
use waybill_proto::admin::v1::{EndpointHealthRow, RefusalRow};
use waybill_publish::{Peers, Publisher};

/// See the module.
pub struct Replica {
    pub publisher: Publisher,
    pub peers: Peers,
    pub health: Arc<Keeper>,
}

impl Running for Replica {
    fn fleet(&self) -> Answer<'_, Fleet> {
        Box::pin(async {
            let known = self.peers.fleet().await;
            Fleet::new(known.replicas, known.proxies)
        })
    }

    fn health(&self, name: &str) -> Vec<EndpointHealthRow> {
        self.health.rows(name)
    }

    fn refusal(&self, _: GenerationId) -> Option<RefusalRow> {
        // Only the proxy that refused remembers it.
        None
    }

    fn backlog(&self) -> Backlog {
        let reports = self.publisher.proxies().into_iter().filter_map(|proxy| proxy.spool);
        reports.fold(Backlog::default(), |sum, report| Backlog {
            spool_bytes: sum.spool_bytes + report.spool_bytes,
            lag_events: sum.lag_events + report.waiting_events,
        })
    }
}
