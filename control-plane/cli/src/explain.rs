//! `explain`: how a request was routed, tried and billed.

use std::fmt::Write;

use waybill_model::{id::GenerationId, money::print_usd};
use waybill_proto::{
    admin::v1::{EventRow, ExplainRequest, ExplainResponse, RefusalRow},
    usage::v1::{Attempt, Candidate, Decision, Event, Kind, Line},
};

use crate::{
    backend::Backend,
    error::Error,
    ledger::{attempt_id, kind, lane, tokens},
    show::{Format, Report, duration_us, message, or_dash, table, time_us, usd, word},
};

/// Explains a request.
pub async fn explain(id: &str, format: Format, backend: &dyn Backend) -> Result<Report, Error> {
    let response = backend.explain(ExplainRequest { id: id.to_owned() }).await?;
    Ok(Report::of(message(format, &response, || text(&response))?))
}

fn text(response: &ExplainResponse) -> String {
    match &response.refusal {
        Some(refusal) => refused(refusal),
        None => attempted(&response.attempts),
    }
}

/// Lines of `name  value`.
fn facts(text: &mut String, facts: &[(&str, String)]) {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in facts {
        writeln!(text, "{name:width$}  {value}").unwrap_or_default();
    }
}

fn refused(refusal: &RefusalRow) -> String {
    let mut text = String::new();
    let decision = refusal.decision.clone().unwrap_or_default();
    facts(
        &mut text,
        &[
            ("request", refusal.generation_id.clone()),
            ("refused", time_us(refusal.unix_us)),
            ("status", format!("{} {}", refusal.status, refusal.error_type)),
            ("message", refusal.message.clone()),
            ("revision", decision.revision.to_string()),
        ],
    );
    candidates(&mut text, &decision);
    text
}

fn attempted(rows: &[EventRow]) -> String {
    let attempts: Vec<(&EventRow, &Event, Attempt)> =
        rows.iter().filter_map(|row| row.event.as_ref().map(|event| (row, event, event.attempt.clone().unwrap_or_default()))).collect();
    let Some((_, _, first)) = attempts.first() else { return "no attempts\n".to_owned() };
    let generation = first.generation_id.as_ref().try_into().map_or_else(|_| "-".to_owned(), |id| GenerationId::from_bytes(id).to_string());
    let mut text = String::new();
    facts(
        &mut text,
        &[
            ("request", generation),
            (
                "asked for",
                format!("{} on {}{}", first.requested_model, or_dash(&first.surface), if first.streamed { ", streamed" } else { "" }),
            ),
            ("key", format!("{} of workspace {}, org {}", first.api_key, first.workspace, first.org)),
            ("revision", first.revision.to_string()),
            ("started", time_us(first.start_unix_us)),
            ("cost", cost(rows)),
        ],
    );
    if let Some(decision) = attempts.iter().find_map(|(_, _, attempt)| attempt.decision.as_ref()) {
        candidates(&mut text, decision);
    }
    for (row, event, attempt) in &attempts {
        show_attempt(&mut text, row, event, attempt);
    }
    text
}

/// What the request cost: the rule of the ledger, of which an orphan that nobody has resolved is pending.
fn cost(rows: &[EventRow]) -> String {
    let (mut booked, mut pending) = (0_i128, 0_i128);
    for row in rows {
        let Some(event) = &row.event else { continue };
        match (event.kind(), &row.adjusted) {
            (Kind::Orphaned, None) => pending += i128::from(event.amount_picousd),
            (Kind::Orphaned, Some(adjusted)) => booked += i128::from(adjusted.amount_picousd),
            _ => booked += i128::from(event.amount_picousd),
        }
    }
    let pending = if pending == 0 { String::new() } else { format!(", and up to {} pending", print_usd(pending)) };
    format!("{} USD{pending}", print_usd(booked))
}

fn candidates(text: &mut String, decision: &Decision) {
    if decision.candidates.is_empty() {
        return;
    }
    let mut candidates: Vec<&Candidate> = decision.candidates.iter().collect();
    candidates.sort_by_key(|candidate| (candidate.rank == 0, candidate.rank));
    let row = |candidate: &&Candidate| {
        let rank = if candidate.rank == 0 { "-".to_owned() } else { candidate.rank.to_string() };
        let reason = word(candidate.reason().as_str_name(), "REASON_");
        vec![rank, candidate.endpoint.clone(), reason, candidate.score.to_string(), candidate.detail.clone()]
    };
    let rows = candidates.iter().map(row).collect();
    let shown = table(&["RANK", "ENDPOINT", "REASON", "SCORE", "DETAIL"], rows, &[0, 3]);
    write!(text, "\ncandidates (seed {}, deny epoch {})\n{shown}", decision.seed, decision.deny_epoch).unwrap_or_default();
    if decision.more > 0 {
        writeln!(text, "and {} more", decision.more).unwrap_or_default();
    }
}

fn show_attempt(text: &mut String, row: &EventRow, event: &Event, attempt: &Attempt) {
    let status = if event.status == 0 { "no answer".to_owned() } else { format!("status {}", event.status) };
    let error =
        if event.error_type.is_empty() || event.error_type == event.outcome { String::new() } else { format!(", {}", event.error_type) };
    let finish = if event.finish_reason.is_empty() { String::new() } else { format!(", finish {}", event.finish_reason) };
    let price = if attempt.price_version.is_empty() { "none: served without a price".to_owned() } else { attempt.price_version.clone() };
    let unbounded = if attempt.unbounded.is_empty() { String::new() } else { format!(", unbounded: {}", attempt.unbounded.join(", ")) };
    writeln!(text, "\nattempt {}: {}", attempt.number, kind(event.kind())).unwrap_or_default();
    let mut lines = vec![
        ("  id", attempt_id(&attempt.attempt_id)),
        ("  endpoint", format!("{} ({} at {}, account {})", attempt.endpoint, attempt.provider_model, attempt.provider, attempt.account)),
        ("  lane", carried(attempt)),
        ("  ended", format!("{}, {status}{error}{finish}", or_dash(&event.outcome))),
        ("  timing", format!("first token {}, all {}", duration_us(event.first_token_us), duration_us(event.duration_us))),
        ("  tokens", tokens(event)),
        ("  price version", price),
        ("  amount", format!("{} USD by {}", usd(event.amount_picousd), word(event.source().as_str_name(), "SOURCE_"))),
        ("  reserved", format!("{} USD{}{unbounded}", usd(attempt.reservation_picousd), if event.overrun { ", overrun" } else { "" })),
    ];
    if !event.provider_answer_id.is_empty() {
        lines.push(("  answer", format!("{} by {}", event.provider_answer_id, or_dash(&event.model_served))));
    }
    if let Some(adjusted) = &row.adjusted {
        lines.push((
            "  adjusted",
            format!("to {} USD by {}", usd(adjusted.amount_picousd), word(adjusted.source().as_str_name(), "SOURCE_")),
        ));
    }
    facts(text, &lines);
    show_lines(text, &event.lines);
}

/// How the request and its answer crossed from the caller's dialect to the endpoint's.
fn carried(attempt: &Attempt) -> String {
    let fields = match attempt.notices {
        0 => String::new(),
        1 => ", one field approximated or dropped".to_owned(),
        many => format!(", {many} fields approximated or dropped"),
    };
    format!("{}{fields}", lane(attempt))
}

fn show_lines(text: &mut String, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    let row = |line: &Line| {
        let above = if line.above_input_tokens == 0 { "-".to_owned() } else { line.above_input_tokens.to_string() };
        let tier = if line.tier.is_empty() { "standard" } else { &line.tier };
        let (rate, amount) = (usd(line.rate_picousd), usd(line.amount_picousd));
        vec![format!("  {}", line.meter), tier.to_owned(), above, line.quantity.to_string(), rate, amount]
    };
    let rows = lines.iter().map(row).collect();
    text.push_str(&table(&["  METER", "TIER", "ABOVE", "QUANTITY", "USD PER MILLION", "USD"], rows, &[2, 3, 4, 5]));
}
