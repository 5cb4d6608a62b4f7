//! Attempts as a proxy writes them: an intent and an end in a spool's log.

use std::path::Path;

use prost::Message;
use waybill_meter::{End, Identity, Log, Options, Spool, tally::orphan_of};
use waybill_proto::usage::v1::{Attempt, Event, Kind, Line, Source};

/// pico-USD of every settled attempt.
pub const AMOUNT: i64 = 600;

/// The attempt with this number; no two are alike.
fn attempt(number: u64) -> Attempt {
    let id = |kind: u8| {
        let mut id = [kind; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        id.to_vec().into()
    };
    Attempt {
        attempt_id: id(0xa5),
        generation_id: id(0x5a),
        number: 1,
        org: "default".into(),
        workspace: "main".into(),
        api_key: "first".into(),
        endpoint: "model@provider".into(),
        model: "author/model".into(),
        provider: "provider".into(),
        account: "account".into(),
        start_unix_us: 1_772_625_600_000_000,
        reservation_picousd: 2 * AMOUNT,
        bound: vec![line(200)],
        requested_model: "author/model".into(),
        surface: "/v1".into(),
        ..Attempt::default()
    }
}

fn line(quantity: u64) -> Line {
    let amount_picousd = AMOUNT / 100 * quantity.cast_signed();
    Line { meter: "input".into(), quantity, rate_picousd: AMOUNT / 100 * 1_000_000, amount_picousd, ..Line::default() }
}

/// Small segments, so that a suite rolls and releases them.
pub fn spool(folder: &Path) -> Spool {
    let options = Options { segment_bytes: 256 << 10, max_intent_bytes: 4096, max_end_bytes: 4096, ..Options::new(folder) };
    Spool::start(options, [1; 16], |intent| orphan_of(intent.payload)).expect("a spool").0
}

pub fn log(spool: &Spool, incarnation: u64) -> Log {
    spool.open(Identity { incarnation, process: 7, log: 0, logs: 1 }).expect("a log")
}

/// Writes these attempts, every seventh of which has failed.
pub fn write(log: &mut Log, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let attempt = attempt(number);
        let id: [u8; 16] = attempt.attempt_id[..].try_into().expect("16 bytes");
        log.intent(id, &attempt.encode_to_vec()).expect("room");
        let (end, event) = if number % 7 == 6 {
            (End::Failed, Event { kind: Kind::Failed.into(), ..Event::default() })
        } else {
            (End::Settled, Event { kind: Kind::Settled.into(), lines: vec![line(100)], amount_picousd: AMOUNT, ..Event::default() })
        };
        let event = Event { attempt: Some(attempt), source: Source::Provider.into(), outcome: "complete".into(), status: 200, ..event };
        log.end(id, end, &event.encode_to_vec()).expect("room");
    }
}

/// What these attempts cost, pico-USD.
pub fn cost(numbers: std::ops::Range<u64>) -> i128 {
    numbers.filter(|number| number % 7 != 6).map(|_| i128::from(AMOUNT)).sum()
}
