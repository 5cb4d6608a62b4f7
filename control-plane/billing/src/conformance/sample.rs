//! Events as proxies write them.

use prost::Message;
use waybill_model::{
    id::{AttemptId, GenerationId},
    meter::{Meter, Quantities},
    price::{Bill, Rate, Tariff},
};
use waybill_proto::usage::v1::{Attempt, Closed, Event, Kind, Line, Source, Spooled};

/// 2026-03-04 12:00 UTC, a Wednesday.
pub const NOON_US: i64 = 1_772_625_600_000_000;

/// Prices of one model, with a dearer band of long contexts.
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

/// The id of attempt `number`; ids of neighbours are neighbours in time.
pub fn attempt_id(number: u64) -> AttemptId {
    AttemptId::new(1_772_625_600_000 + number / 100, random(number))
}

/// The id of its request.
pub fn generation_id(number: u64) -> GenerationId {
    GenerationId::new(1_772_625_600_000 + number / 100, random(number))
}

fn random(number: u64) -> [u8; 10] {
    let mut random = [7; 10];
    random[2..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    random
}

/// Org, workspace and name of a key.
pub fn owner(key: u64) -> (String, String, String) {
    ("acme".into(), format!("w-{}", key % 2), format!("key-{key}"))
}

/// The one attempt of request `number`, by one of three keys, priced by [`tariff`].
pub fn event(number: u64, kind: Kind) -> Event {
    let (org, workspace, api_key) = owner(number % 3);
    let bound = tariff().bound(1_000 + number % 100_000, 4_096);
    let used = Quantities::default()
        .with(Meter::Input, 900 + number % 100_000)
        .with(Meter::CacheRead, 3 * (number % 100_000) + 1)
        .with(Meter::Output, 40 + number % 17);
    let bill = match kind {
        Kind::Settled | Kind::Partial => tariff().price(&used, ""),
        Kind::Orphaned => bound.clone(),
        _ => Bill::default(),
    };
    let attempt = Attempt {
        attempt_id: attempt_id(number).as_bytes().to_vec().into(),
        generation_id: generation_id(number).as_bytes().to_vec().into(),
        number: 1,
        org,
        workspace,
        api_key,
        endpoint: format!("endpoint-{}", number % 5),
        model: format!("author/model-{}", number % 4),
        provider: "provider".into(),
        account: format!("account-{}", number % 2),
        provider_model: "model".into(),
        price_version: tariff().version().as_str().into(),
        revision: 12,
        start_unix_us: NOON_US + i64::try_from(number % 100_000).expect("small") * 1_000,
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

/// An event as a record of a log.
pub fn spooled(incarnation: u64, sequence: u64, event: &Event) -> Spooled {
    let attempt_id = event.attempt.as_ref().map(|attempt| attempt.attempt_id.clone()).unwrap_or_default();
    Spooled { incarnation, sequence, kind: event.kind, attempt_id, payload: event.encode_to_vec().into() }
}

/// The end of a log.
pub fn closed(incarnation: u64, sequence: u64, last_sequence: u64, doubt: bool) -> Spooled {
    let payload = Closed { last_sequence, doubt }.encode_to_vec().into();
    Spooled { incarnation, sequence, kind: Kind::Closed.into(), payload, ..Spooled::default() }
}
