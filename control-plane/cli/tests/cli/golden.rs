//! What people read: explanations and tables, letter by letter.

use waybill_proto::{
    admin::v1::{
        ApplyChangeSetResponse, Balance, BalancesResponse, Change, EndpointHealthRow, EventRow, ExplainResponse, FieldChange, Gap,
        GapsResponse, GeneratedKey, HealthResponse, LedgerStatus, ProxyStatus, QuarantineResponse, QuarantinedRow, RefusalRow,
        ReplicaStatus, StatusResponse, WriteOffRequest, change::Action,
    },
    sync::v1::{ClassCount, EndpointHealth, ErrorClass, Verdict},
    usage::v1::{Attempt, Candidate, Decision, Event, Kind, Lane, Line, Reason, Source},
};

use crate::fake::{Fake, run};

fn candidate(endpoint: &str, reason: Reason, rank: u32, score: u64, detail: &str) -> Candidate {
    Candidate { endpoint: endpoint.to_owned(), reason: reason.into(), rank, score, detail: detail.to_owned() }
}

fn decision() -> Decision {
    Decision {
        revision: 7,
        deny_epoch: 3,
        seed: 42,
        candidates: vec![
            candidate("groq/llama", Reason::ContextLength, 0, 8_192, "needs 9000 tokens"),
            candidate("openai/gpt", Reason::Planned, 2, 250_000, ""),
            candidate("azure/gpt", Reason::Planned, 1, 1_000_000, ""),
        ],
        more: 2,
    }
}

fn attempt(number: u32, endpoint: &str) -> Attempt {
    let (provider, _) = endpoint.split_once('/').expect("provider/model");
    Attempt {
        attempt_id: vec![number as u8; 16].into(),
        generation_id: vec![9; 16].into(),
        number,
        org: "acme".to_owned(),
        workspace: "default".to_owned(),
        api_key: "ci".to_owned(),
        endpoint: endpoint.to_owned(),
        model: "openai/gpt".to_owned(),
        provider: provider.to_owned(),
        account: format!("{provider}-main"),
        provider_model: "gpt".to_owned(),
        price_version: "00112233aabbccdd".to_owned(),
        revision: 7,
        start_unix_us: 1_764_000_000_123_000 + i64::from(number) * 1_000_000,
        reservation_picousd: 90_000_000_000,
        unbounded: if number == 1 { vec!["tier".to_owned()] } else { Vec::new() },
        decision: (number == 1).then(decision),
        requested_model: "gpt".to_owned(),
        streamed: true,
        surface: "/v1".to_owned(),
        caller_dialect: "openai".to_owned(),
        endpoint_dialect: if number == 1 { "anthropic" } else { "openai" }.to_owned(),
        lane: if number == 1 { Lane::Translated } else { Lane::Express }.into(),
        notices: if number == 1 { 2 } else { 0 },
        ..Attempt::default()
    }
}

fn rows() -> Vec<EventRow> {
    let orphaned = Event {
        attempt: Some(attempt(1, "azure/gpt")),
        kind: Kind::Orphaned.into(),
        source: Source::Reservation.into(),
        amount_picousd: 90_000_000_000,
        outcome: "timeout".to_owned(),
        error_type: "timeout".to_owned(),
        duration_us: 61_000_000,
        ..Event::default()
    };
    let line = |meter: &str, quantity, rate_picousd, amount_picousd| Line {
        meter: meter.to_owned(),
        quantity,
        rate_picousd,
        amount_picousd,
        ..Line::default()
    };
    let settled = Event {
        attempt: Some(attempt(2, "openai/gpt")),
        kind: Kind::Settled.into(),
        source: Source::Provider.into(),
        lines: vec![line("input", 1_200, 150_000_000_000, 180_000_000), line("output", 34, 600_000_000_000, 20_400_000)],
        amount_picousd: 200_400_000,
        provider_answer_id: "chatcmpl-1".to_owned(),
        model_served: "gpt-2026".to_owned(),
        finish_reason: "stop".to_owned(),
        outcome: "complete".to_owned(),
        status: 200,
        first_token_us: 312_400,
        duration_us: 2_345_678,
        input_tokens: 1_200,
        output_tokens: 34,
        ..Event::default()
    };
    let row = |sequence, event| EventRow { incarnation: 1, sequence, event: Some(event), adjusted: None, position: sequence };
    vec![row(1, orphaned), row(2, settled)]
}

#[track_caller]
fn check(found: &str, expected: &str) {
    assert_eq!(found, expected, "\n{found}");
}

#[test]
fn an_explanation_tells_candidates_attempts_and_amounts() {
    let fake = Fake { explain: Some(ExplainResponse { attempts: rows(), refusal: None }), ..Fake::default() };
    let report = run(&fake, &["explain", "gen-x"]).expect("explained");
    check(&report.out, include_str!("golden/explain.txt"));
}

#[test]
fn a_refusal_is_explained_as_far_as_it_came() {
    let refusal = RefusalRow {
        generation_id: "gen-000000000000000000000000xx".to_owned(),
        status: 503,
        error_type: "no_endpoint".to_owned(),
        message: "no endpoint can serve this".to_owned(),
        decision: Some(decision()),
        unix_us: 1_764_000_000_123_000,
    };
    let fake = Fake { explain: Some(ExplainResponse { attempts: Vec::new(), refusal: Some(refusal) }), ..Fake::default() };
    let report = run(&fake, &["explain", "gen-x"]).expect("explained");
    check(&report.out, include_str!("golden/refusal.txt"));
}

#[test]
fn the_ledger_is_a_table_of_events() {
    let mut rows = rows();
    let adjusted = Event { kind: Kind::Adjusted.into(), amount_picousd: 1_000_000_000_000, ..Event::default() };
    rows.push(EventRow { sequence: 3, position: 3, adjusted: Some(adjusted), ..rows[0].clone() });
    let report = run(&Fake { events: rows, ..Fake::default() }, &["ledger", "show"]).expect("shown");
    check(&report.out, include_str!("golden/ledger.txt"));
}

#[test]
fn gaps_name_the_log_and_what_is_missing_of_it() {
    let gap = |incarnation, proxy: &str, state: &str, missing: &[&str], last_sequence, age_seconds| Gap {
        incarnation,
        proxy: proxy.to_owned(),
        process: 3,
        missing: missing.iter().map(|range| (*range).to_owned()).collect(),
        last_sequence,
        state: state.to_owned(),
        age_seconds,
    };
    let gaps = vec![
        gap(0x00ab_cdef_0123_4567, "p-1", "missing", &["4-7", "9"], 1_200, 4_000),
        gap(u64::MAX, "p-22", "open", &[], 31, 150),
        gap(7, "", "doubt", &[], 9, 31),
    ];
    let fake = Fake { gaps: GapsResponse { gaps }, ..Fake::default() };
    check(&run(&fake, &["ledger", "gaps"]).expect("shown").out, include_str!("golden/gaps.txt"));
    let words = ["ledger", "write-off", "00abcdef01234567", "--operator", "ann", "--reason", "the disk is gone"];
    check(&run(&fake, &words).expect("written off").out, include_str!("golden/write-off.txt"));
    let said = WriteOffRequest { incarnation: 0x00ab_cdef_0123_4567, operator: "ann".to_owned(), reason: "the disk is gone".to_owned() };
    assert_eq!(*fake.written_off.lock().expect("written off"), [said]);
}

#[test]
fn the_quarantine_shows_why_and_not_what() {
    let row = |sequence, kind: Kind, attempt: &str, reason: &str| QuarantinedRow {
        incarnation: 7,
        sequence,
        kind: kind.into(),
        attempt_id: attempt.to_owned(),
        reason: reason.to_owned(),
        payload_bytes: 363,
    };
    let rows = vec![
        row(12, Kind::Settled, "att-01kdm4f3v00000000000000000", "another content is booked under the same incarnation and sequence"),
        row(0, Kind::Unspecified, "", "the sequence number is missing or malformed"),
        row(3, Kind::Failed, "", "not shown"),
    ];
    let fake = Fake { quarantine: QuarantineResponse { rows }, ..Fake::default() };
    check(&run(&fake, &["ledger", "quarantine", "--limit", "2"]).expect("shown").out, include_str!("golden/quarantine.txt"));
}

#[test]
fn balances_are_in_usd() {
    let balance = |account: &str, amount: &str| Balance { account: account.to_owned(), amount_picousd: amount.to_owned() };
    let balances = vec![balance("receivable/default", "200400000"), balance("usage_revenue", "-10000000000000000000000000")];
    let fake = Fake { balances: BalancesResponse { balances }, ..Fake::default() };
    check(&run(&fake, &["ledger", "balances"]).expect("shown").out, include_str!("golden/balances.txt"));
}

#[test]
fn a_plan_tells_what_changes_and_sums_up() {
    let change = |action: Action, kind: &str, name: &str, fields: &[(&str, &str, &str)]| Change {
        action: action.into(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        generation: 2,
        fields: fields
            .iter()
            .map(|(path, before, after)| FieldChange { path: (*path).to_owned(), before: (*before).to_owned(), after: (*after).to_owned() })
            .collect(),
    };
    let response = ApplyChangeSetResponse {
        revision: 8,
        changes: vec![
            change(Action::Created, "ApiKey", "ci", &[]),
            change(Action::Changed, "PriceBook", "openai", &[("spec.asOf", "2026-01-01", "2026-02-01"), ("metadata.labels.team", "", "a")]),
            change(Action::Unchanged, "Org", "acme", &[]),
            change(Action::Deleted, "Model", "a/old", &[]),
        ],
        generated_keys: vec![GeneratedKey { name: "ci".to_owned(), key: "wb_live_text".to_owned() }],
        ..ApplyChangeSetResponse::default()
    };
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    std::fs::write(file.path(), "apiVersion: waybill/v1\nkind: Org\nmetadata: { name: acme }\nspec: {}\n").expect("written");
    let fake = Fake { apply: response, ..Fake::default() };
    let report = run(&fake, &["apply", "-f", &file.path().display().to_string()]).expect("applied");
    check(&report.out, include_str!("golden/plan.txt"));
    check(&report.note, "The text of the key `ci` is shown this once: keep it.\n");
}

#[test]
fn the_status_names_every_proxy_and_its_verdicts() {
    let verdict = Verdict {
        kind: "ProviderAccount".to_owned(),
        name: "openai".to_owned(),
        generation: 1,
        field: "secret".to_owned(),
        message: "the secret is not to be had".to_owned(),
        ..Verdict::default()
    };
    let whole = Verdict { generation: 7, message: "it ended two processes within seconds".to_owned(), ..Verdict::default() };
    let proxy = |name: &str, connected, applied_revision, stale_seconds| ProxyStatus {
        proxy: name.to_owned(),
        build: "0.1.0".to_owned(),
        applied_revision,
        stale_seconds,
        connected,
        ..ProxyStatus::default()
    };
    let ledger = LedgerStatus { events: 12, orphaned_open: 1, spool_bytes: 4_096, lag_events: 2, quarantined: 0, gap_oldest_seconds: 75 };
    let status = StatusResponse {
        replicas: vec![
            ReplicaStatus { replica: "c-1".to_owned(), build: "0.1.0".to_owned(), revision: 7, error: String::new() },
            ReplicaStatus { replica: "c-2".to_owned(), error: "no answer within 1 s".to_owned(), ..ReplicaStatus::default() },
        ],
        revision: 7,
        build: "0.1.0".to_owned(),
        proxies: vec![
            ProxyStatus {
                warnings: vec![verdict],
                replica: "c-1".to_owned(),
                spool_bytes: 4_300_000,
                spool_bound_bytes: 8 << 30,
                waiting_events: 12,
                ..proxy("p-1", true, 7, 0)
            },
            ProxyStatus { rejected: vec![whole], unbilled_requests: 3, ..proxy("p-2", false, 6, 75) },
        ],
        ledger: Some(ledger),
    };
    check(&run(&Fake { status, ..Fake::default() }, &["status"]).expect("shown").out, include_str!("golden/status.txt"));
}

fn health() -> HealthResponse {
    let counts = |counts: &[(ErrorClass, u64)]| -> Vec<ClassCount> {
        counts.iter().map(|(class, count)| ClassCount { class: (*class).into(), count: *count }).collect()
    };
    let row = |endpoint: &str, last_minute, reporters, open_breakers, advice| EndpointHealthRow {
        endpoint: endpoint.to_owned(),
        model: "openai/gpt".to_owned(),
        provider: "openai".to_owned(),
        advice,
        last_minute,
        reporters,
        open_breakers,
    };
    let advice = |weight_permille| EndpointHealth {
        endpoint: "gpt@openai".to_owned(),
        weight_permille,
        causes: counts(&[(ErrorClass::None, 4), (ErrorClass::Overloaded, 30), (ErrorClass::Connect, 61)]),
        reporters: 4,
        agreeing: 3,
        since_unix_ms: 1_764_000_000_123,
        until_unix_ms: 1_764_000_300_123,
    };
    HealthResponse {
        endpoints: vec![
            row("gpt@azure", counts(&[(ErrorClass::RateLimited, 2), (ErrorClass::None, 120)]), 4, 0, None),
            row("gpt@openai", counts(&[(ErrorClass::Connect, 61)]), 4, 2, Some(advice(0))),
            row("gpt@third", Vec::new(), 0, 0, Some(advice(50))),
        ],
    }
}

#[test]
fn health_tells_weights_counts_and_causes() {
    let fake = Fake { health: health(), ..Fake::default() };
    check(&run(&fake, &["health"]).expect("shown").out, include_str!("golden/health.txt"));
    check(&run(&fake, &["health", "gpt@openai", "-o", "json"]).expect("shown").out, include_str!("golden/health.json"));
    let quiet = run(&Fake::default(), &["health"]).expect("shown");
    assert_eq!((quiet.out.as_str(), quiet.note.is_empty()), ("", false));
}
