//! The ops listener: `/healthz`, `/readyz`, `/metrics`. On an address of its own, loopback unless told otherwise.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};
use waybill_billing::Ledger;
use waybill_meter::Spool;
use waybill_proxy::{Configuration, Counters};
use waybill_telemetry::{CONTENT_TYPE, Exposition};

use crate::consume::Consumed;

/// What the listener tells about.
pub struct Subject {
    pub counters: Vec<Arc<Counters>>,
    pub configuration: Arc<dyn Configuration>,
    pub spool: Spool,
    pub consumed: Arc<Consumed>,
    pub ledger: Arc<dyn Ledger>,
    /// Set when a signal has come: no new work, please.
    pub draining: Arc<AtomicBool>,
}

/// Serves until the process stops.
pub async fn serve(listener: TcpListener, subject: Arc<Subject>, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let router =
        Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(subject);
    axum::serve(listener, router).with_graceful_shutdown(async move { drop(stop.wait_for(|stop| *stop).await) }).await
}

/// The process runs.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Requests can be served: a configuration is in force and the spool has room.
async fn readyz(State(subject): State<Arc<Subject>>) -> (StatusCode, String) {
    if subject.draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    let revision = subject.configuration.snapshot().revision;
    if revision == 0 {
        return (StatusCode::SERVICE_UNAVAILABLE, "no configuration yet\n".to_owned());
    }
    let (used, bound) = (subject.spool.used_bytes(), subject.spool.bound_bytes());
    if used >= bound {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("the spool is full: {used} of {bound} bytes\n"));
    }
    (StatusCode::OK, format!("revision {revision}\n"))
}

async fn metrics(State(subject): State<Arc<Subject>>) -> impl IntoResponse {
    let mut text = Exposition::new();
    let workers: Vec<Vec<(&str, &str, u64)>> = subject.counters.iter().map(|counters| counters.read().collect()).collect();
    for position in 0..workers.first().map_or(0, Vec::len) {
        for (number, worker) in workers.iter().enumerate() {
            if let Some((name, help, value)) = worker.get(position) {
                text.counter(name, help, &[("worker", &number.to_string())], *value);
            }
        }
    }
    let snapshot = subject.configuration.snapshot();
    text.gauge("waybill_revision", "Revision of the configuration in force.", &[], snapshot.revision);
    text.gauge("waybill_deny_epoch", "Counter of the deny overlay.", &[], subject.configuration.deny_epoch());
    text.gauge("waybill_keys", "API keys in force.", &[], snapshot.key_count() as u64);
    text.gauge("waybill_spool_bytes", "Bytes of disk that the spool takes.", &[], subject.spool.used_bytes());
    text.gauge("waybill_spool_bound_bytes", "Most bytes the spool may take.", &[], subject.spool.bound_bytes());
    let consumed = &subject.consumed;
    text.counter("waybill_ledger_events", "Events booked by this process.", &[], consumed.events.load(Ordering::Relaxed));
    text.counter("waybill_ledger_quarantined", "Usage records set aside.", &[], consumed.quarantined.load(Ordering::Relaxed));
    text.counter("waybill_spool_damage", "Ranges of the spool that cannot be read.", &[], consumed.damaged.load(Ordering::Relaxed));
    text.gauge("waybill_ledger_failures", "Failures since the ledger last kept up.", &[], consumed.failures.load(Ordering::Relaxed));
    if let Ok(status) = subject.ledger.status().await {
        text.gauge("waybill_ledger_rows", "Events in the ledger.", &[], status.events);
        text.gauge("waybill_ledger_orphans", "Orphaned attempts that nobody has resolved.", &[], status.orphaned_open);
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text.finish())
}
