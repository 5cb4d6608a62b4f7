//! `health`.

use waybill_proto::{
    admin::v1::{EndpointHealthRow, HealthRequest},
    sync::v1::{ClassCount, ErrorClass},
};

use crate::{
    backend::Backend,
    error::Error,
    show::{Format, Report, message, or_dash, table, time_us, word},
};

/// A healthy endpoint's share, in thousandths.
const WHOLE: u32 = 1000;

/// Shows what is known of the endpoints' health.
pub async fn health(name: &str, format: Format, backend: &dyn Backend) -> Result<Report, Error> {
    let response = backend.health(HealthRequest { name: name.to_owned() }).await?;
    let report = Report::of(message(format, &response, || text(&response.endpoints))?);
    let quiet = "No proxy has counted anything within the last minute, and nothing is ejected.\n";
    Ok(if response.endpoints.is_empty() { report.with_note(quiet) } else { report })
}

fn text(rows: &[EndpointHealthRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let header = ["ENDPOINT", "WEIGHT", "PROXIES", "BREAKERS", "LAST MINUTE", "WHY"];
    table(&header, rows.iter().map(line).collect(), &[1, 2, 3])
}

fn line(row: &EndpointHealthRow) -> Vec<String> {
    let weight = row.advice.as_ref().map_or(WHOLE, |advice| advice.weight_permille);
    vec![
        row.endpoint.clone(),
        format!("{}.{} %", weight / 10, weight % 10),
        row.reporters.to_string(),
        row.open_breakers.to_string(),
        or_dash(&counts(&row.last_minute)),
        why(row),
    ]
}

fn why(row: &EndpointHealthRow) -> String {
    let Some(advice) = row.advice.as_ref().filter(|advice| advice.weight_permille < WHOLE) else { return "-".to_owned() };
    let state = if advice.weight_permille == 0 { "ejected" } else { "on trial" };
    let at = |unix_ms: i64| time_us(unix_ms.saturating_mul(1000));
    format!(
        "{state} since {}, until {} at the latest: {} of {} proxies agreed, having counted {}",
        at(advice.since_unix_ms),
        at(advice.until_unix_ms),
        advice.agreeing,
        advice.reporters,
        or_dash(&counts(&advice.causes))
    )
}

/// `120 good, 3 connect, 1 rate_limited`: the good first, then the most frequent.
fn counts(counts: &[ClassCount]) -> String {
    let mut counts: Vec<&ClassCount> = counts.iter().collect();
    counts.sort_by_key(|count| (count.class() != ErrorClass::None, std::cmp::Reverse(count.count), count.class));
    let said = counts.iter().map(|count| {
        let class = if count.class() == ErrorClass::None { "good".to_owned() } else { word(count.class().as_str_name(), "ERROR_CLASS_") };
        format!("{} {class}", count.count)
    });
    said.collect::<Vec<_>>().join(", ")
}
