//! `ledger`.

use std::fmt::Write;

use waybill_model::{id::AttemptId, money::print_usd};
use waybill_proto::{
    admin::v1::{
        AdjustRequest, Balance, BalancesRequest, EventRow, EventsRequest, Gap, QuarantineRequest, QuarantinedRow, RecomputeResponse,
        VerifyResponse, WriteOffRequest,
    },
    usage::v1::{Attempt, Event, Kind, Lane},
};

use crate::{
    backend::Backend,
    command::{LedgerArgs, LedgerVerb},
    error::Error,
    show::{Format, Report, message, or_dash, table, time_us, usd, word},
};

/// Rows of a table, unless the operator says otherwise.
const ROWS: u32 = 50;

/// Rows of one question; the ledger answers with at most ten thousand.
const PAGE: u32 = 5_000;

/// Reads or checks the ledger.
pub async fn ledger(args: &LedgerArgs, backend: &dyn Backend) -> Result<Report, Error> {
    let format = args.connection.output.unwrap_or_default();
    match &args.verb {
        LedgerVerb::Show { key, model, workspace, kind, limit } => {
            let all = if format == Format::Table { ROWS } else { u32::MAX };
            let request = EventsRequest {
                api_key: key.clone().unwrap_or_default(),
                model: model.clone().unwrap_or_default(),
                workspace: workspace.clone().unwrap_or_default(),
                limit: limit.unwrap_or(all),
                kind: kind.unwrap_or_default().into(),
                ..EventsRequest::default()
            };
            let rows = pages(request, backend).await?;
            Ok(Report::of(message(format, &rows, || events(&rows))?))
        }
        LedgerVerb::Verify => {
            let response = backend.verify().await?;
            let out = message(format, &response, || verified(&response))?;
            Ok(Report::of(out).refused_if(!response.faults.is_empty()))
        }
        LedgerVerb::Recompute => {
            let response = backend.recompute().await?;
            let out = message(format, &response, || recomputed(&response))?;
            Ok(Report::of(out).refused_if(!response.differences.is_empty()))
        }
        LedgerVerb::Adjust { attempt, amount, operator, reason } => {
            let request = AdjustRequest {
                attempt_id: attempt.clone(),
                amount_usd: amount.clone(),
                operator: operator.clone(),
                reason: reason.clone(),
            };
            let response = backend.adjust(request).await?;
            Ok(Report::of(message(format, &response, || events(response.row.as_slice()))?))
        }
        LedgerVerb::Gaps => {
            let response = backend.gaps().await?;
            Ok(Report::of(message(format, &response, || gaps(&response.gaps))?))
        }
        LedgerVerb::WriteOff { log, operator, reason } => {
            let request = WriteOffRequest { incarnation: *log, operator: operator.clone(), reason: reason.clone() };
            let response = backend.write_off(request).await?;
            Ok(Report::of(message(format, &response, || gaps(response.gap.as_slice()))?))
        }
        LedgerVerb::Quarantine { limit } => {
            let response = backend.quarantine(QuarantineRequest { limit: *limit }).await?;
            Ok(Report::of(message(format, &response, || quarantine(&response.rows))?))
        }
        LedgerVerb::Balances { prefix } => {
            let response = backend.balances(BalancesRequest { prefix: prefix.clone() }).await?;
            Ok(Report::of(message(format, &response, || balances(&response.balances))?))
        }
    }
}

/// As many events as are asked for, page by page from the newest on, in the order of their arrival.
async fn pages(mut request: EventsRequest, backend: &dyn Backend) -> Result<Vec<EventRow>, Error> {
    let mut pages = Vec::new();
    let mut left = request.limit;
    while left > 0 {
        request.limit = left.min(PAGE);
        let page = backend.events(request.clone()).await?;
        let count = u32::try_from(page.len()).unwrap_or(u32::MAX);
        let is_last = count < request.limit;
        request.before = page.first().map_or(0, |row| row.position);
        left = left.saturating_sub(count);
        pages.push(page);
        if is_last || request.before == 0 {
            break;
        }
    }
    Ok(pages.into_iter().rev().flatten().collect())
}

/// Events as a table.
fn events(rows: &[EventRow]) -> String {
    let header = ["TIME", "ATTEMPT", "KEY", "MODEL", "PROVIDER", "LANE", "KIND", "TOKENS", "USD"];
    table(&header, rows.iter().filter_map(|row| Some(event(row, row.event.as_ref()?))).collect(), &[8])
}

fn event(row: &EventRow, event: &Event) -> Vec<String> {
    let attempt = event.attempt.clone().unwrap_or_default();
    let resolved = row.adjusted.as_ref();
    let kind = resolved.map_or_else(|| kind(event.kind()), |by| format!("{} → {}", kind(event.kind()), kind(by.kind())));
    let amount = resolved.map_or(event.amount_picousd, |by| by.amount_picousd);
    vec![
        time_us(attempt.start_unix_us),
        attempt_id(&attempt.attempt_id),
        or_dash(&attempt.api_key),
        or_dash(&attempt.model),
        or_dash(&attempt.provider),
        lane(&attempt),
        kind,
        tokens(event),
        usd(amount),
    ]
}

/// The word of a kind.
pub fn kind(kind: Kind) -> String {
    word(kind.as_str_name(), "KIND_")
}

/// Whether the caller's own bytes were sent, or a translation, and between which dialects.
pub fn lane(attempt: &Attempt) -> String {
    let Attempt { caller_dialect, endpoint_dialect, .. } = attempt;
    match attempt.lane() {
        Lane::Unspecified => "-".to_owned(),
        Lane::Express => format!("express {endpoint_dialect}"),
        Lane::Translated => format!("{caller_dialect} → {endpoint_dialect}"),
    }
}

/// Input and output tokens.
pub fn tokens(event: &Event) -> String {
    format!("{} → {}", event.input_tokens, event.output_tokens)
}

/// `att-…`, or a dash for none.
pub fn attempt_id(bytes: &[u8]) -> String {
    bytes.try_into().map_or_else(|_| "-".to_owned(), |bytes| AttemptId::from_bytes(bytes).to_string())
}

fn verified(found: &VerifyResponse) -> String {
    let VerifyResponse { events, postings, attempts, incarnations, faults } = found;
    let mut text = format!("{events} events, {postings} postings, {attempts} attempts, {incarnations} incarnations: ");
    listed(&mut text, faults, "everything agrees", "faults");
    text
}

fn recomputed(found: &RecomputeResponse) -> String {
    let mut text = format!("{} events priced again, {} of them without a price: ", found.events, found.unpriced);
    listed(&mut text, &found.differences, "no difference", "differences");
    text
}

fn listed(text: &mut String, found: &[String], none: &str, some: &str) {
    if found.is_empty() {
        writeln!(text, "{none}").unwrap_or_default();
    } else {
        writeln!(text, "{} {some}\n{}", found.len(), found.join("\n")).unwrap_or_default();
    }
}

fn gaps(gaps: &[Gap]) -> String {
    let row = |gap: &Gap| {
        vec![
            format!("{:016x}", gap.incarnation),
            or_dash(&gap.proxy),
            gap.state.clone(),
            or_dash(&gap.missing.join(", ")),
            gap.last_sequence.to_string(),
            format!("{} s", gap.age_seconds),
        ]
    };
    table(&["LOG", "PROXY", "STATE", "MISSING", "LAST", "AGE"], gaps.iter().map(row).collect(), &[4, 5])
}

fn quarantine(rows: &[QuarantinedRow]) -> String {
    let row = |record: &QuarantinedRow| {
        vec![
            format!("{:016x}", record.incarnation),
            record.sequence.to_string(),
            kind(record.kind()),
            or_dash(&record.attempt_id),
            record.payload_bytes.to_string(),
            record.reason.clone(),
        ]
    };
    table(&["LOG", "SEQUENCE", "KIND", "ATTEMPT", "BYTES", "REASON"], rows.iter().map(row).collect(), &[1, 4])
}

fn balances(balances: &[Balance]) -> String {
    let row = |balance: &Balance| {
        let amount = balance.amount_picousd.parse::<i128>().map_or_else(|_| balance.amount_picousd.clone(), print_usd);
        vec![balance.account.clone(), amount]
    };
    table(&["ACCOUNT", "USD"], balances.iter().map(row).collect(), &[1])
}
