//! `status`.

use std::fmt::Write;

use waybill_proto::{
    admin::v1::{ProxyStatus, ReplicaStatus, StatusResponse},
    sync::v1::Verdict,
};

use crate::{
    backend::Backend,
    error::Error,
    show::{Format, Report, bytes, message, or_dash, table},
};

/// Shows the state of everything.
pub async fn status(format: Format, backend: &dyn Backend) -> Result<Report, Error> {
    let response = backend.status().await?;
    Ok(Report::of(message(format, &response, || text(&response))?))
}

fn text(status: &StatusResponse) -> String {
    let mut text = String::new();
    let in_step = status.proxies.iter().filter(|proxy| proxy.connected && proxy.applied_revision >= status.revision).count();
    writeln!(text, "revision  {}, applied by {in_step} of {} proxies", status.revision, status.proxies.len()).unwrap_or_default();
    writeln!(text, "build     {}", or_dash(&status.build)).unwrap_or_default();
    if let Some(ledger) = &status.ledger {
        writeln!(
            text,
            "ledger    {} events, {} on their way ({} bytes in the spools), {} orphaned and open, {} in quarantine",
            ledger.events, ledger.lag_events, ledger.spool_bytes, ledger.orphaned_open, ledger.quarantined
        )
        .unwrap_or_default();
        if ledger.gap_oldest_seconds > 0 {
            writeln!(text, "gaps      the oldest for {} s: see `waybill ledger gaps`", ledger.gap_oldest_seconds).unwrap_or_default();
        }
    }
    if status.replicas.len() > 1 || status.replicas.iter().any(|replica| !replica.error.is_empty()) {
        let rows = status.replicas.iter().map(replica_row).collect();
        write!(text, "\n{}", table(&["REPLICA", "STATE", "REVISION", "BUILD"], rows, &[2])).unwrap_or_default();
    }
    if !status.proxies.is_empty() {
        let header = ["PROXY", "STATE", "REPLICA", "REVISION", "STALE", "DENY EPOCH", "SPOOL", "WAITING", "BUILD"];
        let rows = status.proxies.iter().map(row).collect();
        write!(text, "\n{}", table(&header, rows, &[3, 4, 5, 7])).unwrap_or_default();
    }
    for replica in status.replicas.iter().filter(|replica| !replica.error.is_empty()) {
        writeln!(text, "{} does not answer: {}", replica.replica, replica.error).unwrap_or_default();
    }
    for proxy in &status.proxies {
        let verdicts = [("refused", &proxy.rejected), ("warns", &proxy.warnings)];
        for (word, verdict) in verdicts.iter().flat_map(|(word, verdicts)| verdicts.iter().map(move |verdict| (word, verdict))) {
            writeln!(text, "{} {word}: {}", proxy.proxy, said(verdict)).unwrap_or_default();
        }
        if proxy.unbilled_requests > 0 {
            writeln!(text, "{} served {} requests without a record", proxy.proxy, proxy.unbilled_requests).unwrap_or_default();
        }
    }
    text
}

fn row(proxy: &ProxyStatus) -> Vec<String> {
    vec![
        proxy.proxy.clone(),
        if proxy.connected { "connected" } else { "away" }.to_owned(),
        or_dash(&proxy.replica),
        proxy.applied_revision.to_string(),
        format!("{} s", proxy.stale_seconds),
        proxy.deny_epoch.to_string(),
        if proxy.spool_bound_bytes == 0 {
            or_dash("")
        } else {
            format!("{} of {}", bytes(proxy.spool_bytes), bytes(proxy.spool_bound_bytes))
        },
        proxy.waiting_events.to_string(),
        or_dash(&proxy.build),
    ]
}

fn replica_row(replica: &ReplicaStatus) -> Vec<String> {
    let answers = replica.error.is_empty();
    vec![
        replica.replica.clone(),
        if answers { "answers" } else { "silent" }.to_owned(),
        if answers { replica.revision.to_string() } else { or_dash("") },
        or_dash(&replica.build),
    ]
}

/// A verdict in words. One that names no resource is over a revision as a whole.
pub fn said(verdict: &Verdict) -> String {
    if verdict.kind.is_empty() {
        return format!("the whole revision {}: {}", verdict.generation, verdict.message);
    }
    let field = if verdict.field.is_empty() { String::new() } else { format!(" spec.{}:", verdict.field) };
    format!("{} {} (generation {}):{field} {}", verdict.kind, verdict.name, verdict.generation, verdict.message)
}
