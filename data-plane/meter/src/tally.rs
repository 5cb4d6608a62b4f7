//! What an attempt did cost: from the provider's reading, or from what is known without one, to its one terminal event.
//!
//! Events are made without their attempt; [`payload`] puts the bytes of the intent in its place, so that what an end says of its attempt is to the
//! letter what the intent said, and is encoded once.

use prost::Message;
use waybill_dialect::Reading;
use waybill_model::{
    meter::{Meter, Quantities},
    price::{Bill, Tariff},
};
use waybill_proto::usage::v1::{Attempt, Event, Kind, Source};

use crate::{
    intent::{lines, truncate},
    spool::End,
};

/// What is known of the end besides the usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How it ended: `complete`, `client_hang_up`, `upstream_cut`, `timeout`, ….
    pub outcome: &'static str,
    /// One of the stable error types; empty = none.
    pub error_type: &'static str,
    /// Status of the provider's answer; 0 = none came.
    pub status: u16,
    /// The provider's own word.
    pub finish_reason: String,
    /// The provider's id of the answer.
    pub provider_answer_id: String,
    /// The model the provider says it served.
    pub model_served: String,
    /// From the start to the first output; 0 = none came.
    pub first_token_us: u64,
    /// From the start to the end.
    pub duration_us: u64,
}

/// The quantities of a provider's reading, by meter, with the request itself.
#[must_use]
pub fn quantities(reading: &Reading) -> Quantities {
    Quantities::default()
        // Tokens of fetched sources are input that the provider counts apart.
        .with(Meter::Input, reading.input.saturating_add(reading.citation))
        .with(Meter::CacheRead, reading.cache_read)
        .with(Meter::CacheWrite5m, reading.cache_write_5m)
        .with(Meter::CacheWrite1h, reading.cache_write_1h)
        .with(Meter::AudioInput, reading.audio_input)
        .with(Meter::Output, reading.output)
        .with(Meter::Reasoning, reading.reasoning)
        .with(Meter::AudioOutput, reading.audio_output)
        .with(Meter::ImageOutput, reading.image_output)
        .with(Meter::Request, 1)
        .with(Meter::Search, reading.searches)
}

/// The provider reported its usage: the event is priced from it, whatever the reservation was.
#[must_use]
pub fn settled(attempt: &Attempt, tariff: Option<&Tariff>, tier: &str, reading: &Reading, facts: Facts) -> (End, Event) {
    let quantities = quantities(reading);
    let bill = tariff.map_or_else(|| unpriced(&quantities), |tariff| tariff.price(&quantities, tier));
    let mut event = event(Kind::Settled, Source::Provider, &bill, facts);
    event.input_tokens = reading.total_input();
    event.output_tokens = reading.total_output();
    event.overrun = bill.total.0 > attempt.reservation_picousd && tariff.is_some();
    event.reported_cost = reading.reported_cost.as_deref().unwrap_or_default().to_owned();
    truncate(&mut event.reported_cost, 64);
    (End::Settled, event)
}

/// Output was delivered and usage never came: counted as a quarter of the bytes, rounded up, and never more than the reservation.
#[must_use]
pub fn partial(
    attempt: &Attempt,
    tariff: Option<&Tariff>,
    tier: &str,
    request_bytes: u64,
    output_bytes: u64,
    facts: Facts,
) -> (End, Event) {
    let quantities = Quantities::default()
        .with(Meter::Input, request_bytes.div_ceil(4))
        .with(Meter::Output, output_bytes.div_ceil(4))
        .with(Meter::Request, 1);
    let bill = tariff.map_or_else(|| unpriced(&quantities), |tariff| tariff.price(&quantities, tier));
    let mut event = event(Kind::Partial, Source::Estimated, &bill, facts);
    if bill.total.0 > attempt.reservation_picousd && tariff.is_some() {
        event.lines.clone_from(&attempt.bound);
        event.amount_picousd = attempt.reservation_picousd;
    }
    event.input_tokens = quantities.input_total();
    event.output_tokens = quantities.output_total();
    (End::Partial, event)
}

/// Nothing is owed, on evidence: no byte of the request left, or the provider is known not to bill this status.
#[must_use]
pub fn failed(facts: Facts) -> (End, Event) {
    (End::Failed, event(Kind::Failed, Source::Provider, &Bill::default(), facts))
}

/// Nobody saw the end: the whole reservation.
#[must_use]
pub fn orphaned(attempt: &Attempt, facts: Facts) -> (End, Event) {
    let mut event = event(Kind::Orphaned, Source::Reservation, &Bill::default(), facts);
    event.lines.clone_from(&attempt.bound);
    event.amount_picousd = attempt.reservation_picousd;
    (End::Orphaned, event)
}

/// The payload of an orphan from the payload of its intent, for recovery. An intent that cannot be read gives an empty event, which billing
/// puts into quarantine.
#[must_use]
pub fn orphan_of(intent: &[u8]) -> Vec<u8> {
    let facts = Facts { outcome: "crash", ..Facts::default() };
    Attempt::decode(intent).map(|attempt| payload(&orphaned(&attempt, facts).1, intent)).unwrap_or_default()
}

/// The payload of an event's record: the encoded event with the encoded attempt of its intent as field 1.
#[must_use]
pub fn payload(event: &Event, intent: &[u8]) -> Vec<u8> {
    use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
    let length = intent.len() as u64;
    let mut bytes = Vec::with_capacity(1 + encoded_len_varint(length) + intent.len() + event.encoded_len());
    encode_key(1, WireType::LengthDelimited, &mut bytes);
    encode_varint(length, &mut bytes);
    bytes.extend_from_slice(intent);
    // Writing to a Vec cannot fail.
    let _ = event.encode(&mut bytes);
    bytes
}

/// An event without the words that are not needed for the bill.
#[must_use]
pub fn terse(event: Event) -> Event {
    Event {
        provider_answer_id: String::new(),
        model_served: String::new(),
        finish_reason: String::new(),
        reported_cost: String::new(),
        error_type: String::new(),
        ..event
    }
}

fn unpriced(quantities: &Quantities) -> Bill {
    Tariff::new([]).price(quantities, "")
}

fn event(kind: Kind, source: Source, bill: &Bill, mut facts: Facts) -> Event {
    for text in [&mut facts.finish_reason, &mut facts.provider_answer_id, &mut facts.model_served] {
        truncate(text, 128);
    }
    Event {
        kind: kind.into(),
        source: source.into(),
        lines: lines(bill),
        amount_picousd: bill.total.0,
        provider_answer_id: facts.provider_answer_id,
        model_served: facts.model_served,
        finish_reason: facts.finish_reason,
        outcome: facts.outcome.to_owned(),
        error_type: facts.error_type.to_owned(),
        status: u32::from(facts.status),
        first_token_us: facts.first_token_us,
        duration_us: facts.duration_us,
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use waybill_model::price::Rate;

    use super::*;

    fn tariff() -> Tariff {
        let rate = |meter, picousd_per_million| Rate { meter, tier: "".into(), above_input_tokens: 0, picousd_per_million };
        Tariff::new([rate(Meter::Input, 2_000_000), rate(Meter::CacheRead, 500_000), rate(Meter::Output, 8_000_000)])
    }

    fn attempt(reservation: i64) -> Attempt {
        let bound = lines(&tariff().bound(100, 50));
        Attempt { reservation_picousd: reservation, bound, ..Attempt::default() }
    }

    #[test]
    fn every_end_has_its_amount() {
        let reading = Reading { input: 10, cache_read: 90, output: 5, reasoning: 20, ..Reading::default() };
        let (end, event) = settled(&attempt(600), Some(&tariff()), "", &reading, Facts::default());
        assert_eq!((end, event.amount_picousd, event.overrun), (End::Settled, 20 + 45 + 40 + 160, false));
        assert_eq!((event.input_tokens, event.output_tokens), (100, 25));
        let (_, event) = settled(&attempt(100), Some(&tariff()), "", &reading, Facts::default());
        assert_eq!((event.amount_picousd, event.overrun), (265, true), "the provider's own count is billed even above the bound");
        let (end, event) = partial(&attempt(600), Some(&tariff()), "", 40, 9, Facts::default());
        assert_eq!((end, event.amount_picousd), (End::Partial, 20 + 24));
        let (_, event) = partial(&attempt(600), Some(&tariff()), "", 40, 4000, Facts::default());
        assert_eq!(event.amount_picousd, 600, "an estimate never exceeds the reservation");
        let (end, event) = failed(Facts::default());
        assert_eq!((end, event.amount_picousd), (End::Failed, 0));
        let (end, event) = orphaned(&attempt(600), Facts::default());
        assert_eq!((end, event.amount_picousd, event.lines), (End::Orphaned, 600, attempt(600).bound));
    }

    #[test]
    fn recovery_makes_the_orphan_from_the_intent_alone() {
        let attempt = attempt(600);
        let event = Event::decode(&orphan_of(&attempt.encode_to_vec())[..]).expect("an event");
        assert_eq!((event.amount_picousd, event.outcome.as_str(), event.attempt), (600, "crash", Some(attempt)));
        assert!(orphan_of(&[0xff; 3]).is_empty());
    }

    #[test]
    fn without_a_tariff_quantities_are_kept_and_the_amount_is_zero() {
        let reading = Reading { input: 10, output: 5, ..Reading::default() };
        let (_, event) = settled(&attempt(0), None, "", &reading, Facts::default());
        assert_eq!(event.amount_picousd, 0);
        assert!(!event.overrun);
        assert_eq!(event.lines.iter().map(|line| line.quantity).sum::<u64>(), 16);
    }
}
