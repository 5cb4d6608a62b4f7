//! Events as proxies write them, and the whole content of a ledger as plain rows.

use std::path::Path;

use prost::Message;
use sqlx::{ConnectOptions, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use waybill_billing::{Scope, Sqlite};
use waybill_model::{
    id::{AttemptId, GenerationId},
    meter::{Meter, Quantities},
    price::{Bill, Rate, Tariff},
};
use waybill_proto::usage::v1::{Attempt, Closed, Event, Kind, Line, Source, Spooled};

/// 2026-03-04 12:00 UTC, a Wednesday.
pub const NOON_US: i64 = 1_772_625_600_000_000;

pub fn tariff() -> Tariff {
    let rate = |meter, above_input_tokens, picousd_per_million| Rate { meter, tier: "".into(), above_input_tokens, picousd_per_million };
    Tariff::new([
        rate(Meter::Input, 0, 2_500_000_000_000),
        rate(Meter::CacheRead, 0, 250_000_000_001),
        rate(Meter::Output, 0, 10_000_000_000_000),
        rate(Meter::Output, 2_000, 15_000_000_000_000),
    ])
}

fn wire(bill: &Bill) -> Vec<Line> {
    let line = |line: &waybill_model::price::Line| Line {
        meter: line.meter.name().into(),
        tier: line.tier.to_string(),
        above_input_tokens: line.above_input_tokens,
        quantity: line.quantity,
        rate_picousd: line.rate_picousd,
        amount_picousd: line.amount.0,
    };
    bill.lines.iter().map(line).collect()
}

pub fn attempt_id(number: u64) -> AttemptId {
    AttemptId::new(1_772_625_600_000 + number / 100, random(number))
}

pub fn generation_id(number: u64) -> GenerationId {
    GenerationId::new(1_772_625_600_000 + number / 100, random(number))
}

fn random(number: u64) -> [u8; 10] {
    let mut random = [7; 10];
    random[2..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    random
}

pub fn scope(key: u64) -> Scope {
    Scope { org: "acme".into(), workspace: format!("w-{}", key % 2), api_key: format!("key-{key}") }
}

/// The one attempt of request `number`, by one of three keys, priced by [`tariff`].
pub fn event(number: u64, kind: Kind) -> Event {
    let scope = scope(number % 3);
    let bound = tariff().bound(1_000 + number, 4_096);
    let used =
        Quantities::default().with(Meter::Input, 900 + number).with(Meter::CacheRead, 3 * number + 1).with(Meter::Output, 40 + number % 17);
    let bill = match kind {
        Kind::Settled | Kind::Partial => tariff().price(&used, ""),
        Kind::Orphaned => bound.clone(),
        _ => Bill::default(),
    };
    let attempt = Attempt {
        attempt_id: attempt_id(number).as_bytes().to_vec().into(),
        generation_id: generation_id(number).as_bytes().to_vec().into(),
        number: 1,
        org: scope.org,
        workspace: scope.workspace,
        api_key: scope.api_key,
        endpoint: format!("endpoint-{}", number % 5),
        model: format!("author/model-{}", number % 4),
        provider: "provider".into(),
        account: format!("account-{}", number % 2),
        provider_model: "model".into(),
        price_version: tariff().version().as_str().into(),
        revision: 12,
        start_unix_us: NOON_US + i64::try_from(number).expect("small") * 1_000,
        reservation_picousd: bound.total.0,
        bound: wire(&bound),
        requested_model: "author/model".into(),
        surface: "/v1".into(),
        ..Attempt::default()
    };
    let answered = matches!(kind, Kind::Settled | Kind::Partial);
    Event {
        attempt: Some(attempt),
        kind: kind.into(),
        source: Source::Provider.into(),
        lines: if kind == Kind::Orphaned { Vec::new() } else { wire(&bill) },
        amount_picousd: bill.total.0,
        provider_answer_id: if answered { format!("chatcmpl-{:016x}", number.wrapping_mul(0xd134_2543_de82_ef95)) } else { String::new() },
        outcome: "complete".into(),
        status: 200,
        duration_us: 1_000,
        ..Event::default()
    }
}

pub fn spooled(incarnation: u64, sequence: u64, event: &Event) -> Spooled {
    let attempt_id = event.attempt.as_ref().map(|attempt| attempt.attempt_id.clone()).unwrap_or_default();
    Spooled { incarnation, sequence, kind: event.kind, attempt_id, payload: event.encode_to_vec().into() }
}

pub fn closed(incarnation: u64, sequence: u64, last_sequence: u64, doubt: bool) -> Spooled {
    let payload = Closed { last_sequence, doubt }.encode_to_vec().into();
    Spooled { incarnation, sequence, kind: Kind::Closed.into(), payload, ..Spooled::default() }
}

pub async fn open(folder: &Path) -> Sqlite {
    Sqlite::open(&folder.join("waybill.db")).await.expect("it opens")
}

/// A connection past the ledger, to look at its file and to damage it.
pub async fn past(folder: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(folder.join("waybill.db")).connect().await.expect("it opens")
}

/// Every row of the ledger that has a meaning, in an order that does not depend on the order of arrival.
pub async fn content(folder: &Path) -> Vec<String> {
    const ALL: &str = "
        SELECT 'event', hex(hash), format('%d.%d kind %d amount %d', incarnation, sequence, kind, amount) FROM ledger_events UNION ALL
        SELECT 'posting', hex(e.hash), a.name || ' ' || p.amount FROM ledger_postings p JOIN ledger_accounts a ON a.id = p.account
            JOIN ledger_events e ON e.id = p.event UNION ALL
        SELECT 'balance', name, balance FROM ledger_accounts UNION ALL
        SELECT 'spend', api_key || ' ' || day, amount FROM ledger_key_usage UNION ALL
        SELECT 'sequences', incarnation, first || '-' || last FROM ledger_sequences UNION ALL
        SELECT 'closed', incarnation, last_sequence || ' ' || doubt FROM ledger_closed UNION ALL
        SELECT 'cursor', incarnation, segment || ' ' || offset FROM ledger_cursors UNION ALL
        SELECT 'quarantine', incarnation || '.' || sequence, hex(hash) FROM ledger_quarantine ORDER BY 1, 2, 3";
    let rows = sqlx::query(ALL).fetch_all(&mut past(folder).await).await.expect("rows");
    rows.iter().map(|row| (0..3).map(|column| row.get_unchecked::<String, _>(column)).collect::<Vec<_>>().join(" | ")).collect()
}
