//! `status`.

use std::fmt::Write;

use waybill_proto::{
    admin::v1::{ProxyStatus, StatusResponse},
    sync::v1::Verdict,
};

use crate::{
    backend::Backend,
    error::Error,
    show::{Format, Report, message, or_dash, table},
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
    if !status.proxies.is_empty() {
        let rows = status.proxies.iter().map(row).collect();
        write!(text, "\n{}", table(&["PROXY", "STATE", "REVISION", "STALE", "DENY EPOCH", "BUILD"], rows, &[2, 3, 4])).unwrap_or_default();
    }
    for proxy in &status.proxies {
        let verdicts = [("refused", &proxy.rejected), ("warns", &proxy.warnings)];
        for (word, verdict) in verdicts.iter().flat_map(|(word, verdicts)| verdicts.iter().map(move |verdict| (word, verdict))) {
            writeln!(text, "{} {word}: {}", proxy.proxy, said(verdict)).unwrap_or_default();
        }
    }
    text
}

fn row(proxy: &ProxyStatus) -> Vec<String> {
    vec![
        proxy.proxy.clone(),
        if proxy.connected { "connected" } else { "away" }.to_owned(),
        proxy.applied_revision.to_string(),
        format!("{} s", proxy.stale_seconds),
        proxy.deny_epoch.to_string(),
        or_dash(&proxy.build),
    ]
}

fn said(verdict: &Verdict) -> String {
    let field = if verdict.field.is_empty() { String::new() } else { format!(" spec.{}:", verdict.field) };
    format!("{} {} (generation {}):{field} {}", verdict.kind, verdict.name, verdict.generation, verdict.message)
}
