//! What an attempt did cost: from the provider's reading, or from what is known without one, to its one terminal event.
//!
//! An end is written with the bytes of its intent as the event's attempt, so that what an end says of its attempt is to the letter what the
//! intent said, and is encoded once.

use prost::Message;
use waybill_dialect::Reading;
use waybill_model::{
    meter::{Meter, Quantities},
    price::{Bill, Tariff},
};
use waybill_proto::usage::v1::{Attempt, Event, Kind, Source};

use crate::{
    spool::End,
    wire::{Writer, cut},
};

/// Most bytes of a text that is the provider's.
const TEXT_BYTES: usize = 128;

/// Most bytes of a cost that the provider reports.
const COST_BYTES: usize = 64;

/// What is known of the end besides the usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// How it ended: `complete`, `client_hang_up`, `upstream_cut`, `timeout`, ….
    pub outcome: &'static str,
    /// One of the stable error types; empty = none.
    pub error_type: &'static str,
    /// Status of the provider's answer; 0 = none came.
    pub status: u16,
    /// The provider's own word.
    pub finish_reason: &'a str,
    /// The provider's id of the answer.
    pub provider_answer_id: &'a str,
    /// The model the provider says it served.
    pub model_served: &'a str,
    /// From the start to the first output; 0 = none came.
    pub first_token_us: u64,
    /// From the start to the end.
    pub duration_us: u64,
}

/// The end of an attempt, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// How it ended.
    pub end: End,
    source: Source,
    /// What is owed.
    pub bill: Bill,
    facts: Facts<'a>,
    reported_cost: &'a str,
    /// All tokens that went in.
    pub input_tokens: u64,
    /// All tokens that came out.
    pub output_tokens: u64,
    /// The amount is above the reservation.
    pub overrun: bool,
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
pub fn settled<'a>(bound: &Bill, tariff: Option<&Tariff>, tier: &str, reading: &'a Reading, facts: Facts<'a>) -> Ended<'a> {
    let bill = priced(tariff, &quantities(reading), tier);
    Ended {
        overrun: bill.total > bound.total && tariff.is_some(),
        input_tokens: reading.total_input(),
        output_tokens: reading.total_output(),
        reported_cost: reading.reported_cost.as_deref().unwrap_or_default(),
        ..Ended::new(End::Settled, Source::Provider, bill, facts)
    }
}

/// What is known of an answer whose usage never came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The whole request.
    pub request_bytes: u64,
    /// The input, class by class, where the provider counted it before it began to write; its classes of output are not looked at.
    pub input_told: Option<Reading>,
    /// What the model has written.
    pub output_bytes: u64,
}

/// Usage never came: the input as the provider told it, what it did not tell as a quarter of the bytes, rounded up, and never more than the
/// reservation.
#[must_use]
pub fn partial<'a>(bound: &Bill, tariff: Option<&Tariff>, tier: &str, delivered: &Delivered, facts: Facts<'a>) -> Ended<'a> {
    let input = match &delivered.input_told {
        Some(told) => quantities(&Reading {
            output: 0,
            reasoning: 0,
            audio_output: 0,
            image_output: 0,
            searches: 0,
            reported_cost: None,
            ..told.clone()
        }),
        None => Quantities::default().with(Meter::Input, delivered.request_bytes.div_ceil(4)).with(Meter::Request, 1),
    };
    let quantities = input.with(Meter::Output, delivered.output_bytes.div_ceil(4));
    let mut bill = priced(tariff, &quantities, tier);
    if bill.total > bound.total && tariff.is_some() {
        bill.clone_from(bound);
    }
    Ended {
        input_tokens: quantities.input_total(),
        output_tokens: quantities.output_total(),
        ..Ended::new(End::Partial, Source::Estimated, bill, facts)
    }
}

/// Nothing is owed, on evidence: no byte of the request left, or the provider is known not to bill this status.
#[must_use]
pub fn failed(facts: Facts<'_>) -> Ended<'_> {
    Ended::new(End::Failed, Source::Provider, Bill::default(), facts)
}

/// Nobody saw the end: the whole reservation.
#[must_use]
pub fn orphaned<'a>(bound: &Bill, facts: Facts<'a>) -> Ended<'a> {
    Ended::new(End::Orphaned, Source::Reservation, bound.clone(), facts)
}

/// The payload of an orphan from the payload of its intent, for recovery. An intent that cannot be read gives an empty event, which billing
/// puts into quarantine.
#[must_use]
pub fn orphan_of(intent: &[u8]) -> Vec<u8> {
    let Ok(attempt) = Attempt::decode(intent) else { return Vec::new() };
    let event = Event {
        kind: Kind::Orphaned.into(),
        source: Source::Reservation.into(),
        lines: attempt.bound,
        amount_picousd: attempt.reservation_picousd,
        outcome: "crash".to_owned(),
        ..Event::default()
    };
    let mut payload = Vec::with_capacity(intent.len() + event.encoded_len() + 8);
    Writer(&mut payload).element(1, intent);
    // Writing to a Vec cannot fail.
    let _ = event.encode(&mut payload);
    payload
}

impl<'a> Ended<'a> {
    fn new(end: End, source: Source, bill: Bill, facts: Facts<'a>) -> Self {
        Self { end, source, bill, facts, reported_cost: "", input_tokens: 0, output_tokens: 0, overrun: false }
    }

    /// Writes the payload of the end's record, an encoded `usage.v1.Event` around the payload of the intent, behind what `out` holds.
    pub fn write(&self, intent: &[u8], out: &mut Vec<u8>) {
        let kind = match self.end {
            End::Settled => Kind::Settled,
            End::Partial => Kind::Partial,
            End::Failed => Kind::Failed,
            End::Orphaned => Kind::Orphaned,
        };
        let Facts { outcome, error_type, status, finish_reason, provider_answer_id, model_served, first_token_us, duration_us } =
            self.facts;
        let mut event = Writer(out);
        event.element(1, intent);
        event.signed(2, i32::from(kind).into());
        event.signed(3, i32::from(self.source).into());
        event.lines(4, &self.bill);
        event.signed(5, self.bill.total.0);
        event.text(6, cut(provider_answer_id, TEXT_BYTES));
        event.text(7, cut(model_served, TEXT_BYTES));
        event.text(8, cut(finish_reason, TEXT_BYTES));
        event.text(9, outcome);
        event.text(10, error_type);
        event.number(11, status.into());
        event.number(12, first_token_us);
        event.number(13, duration_us);
        event.text(14, cut(self.reported_cost, COST_BYTES));
        event.number(15, self.input_tokens);
        event.number(16, self.output_tokens);
        event.number(17, self.overrun.into());
    }

    /// The same without the times, of an attempt whose intent left out its detail.
    #[must_use]
    pub fn shed(self) -> Self {
        Self { facts: Facts { first_token_us: 0, duration_us: 0, ..self.facts }, ..self }
    }

    /// The same without the words that are not needed for the bill.
    #[must_use]
    pub fn terse(self) -> Self {
        let facts = Facts { provider_answer_id: "", model_served: "", finish_reason: "", error_type: "", ..self.facts };
        Self { facts, reported_cost: "", ..self }
    }
}

fn priced(tariff: Option<&Tariff>, quantities: &Quantities, tier: &str) -> Bill {
    tariff.map_or_else(|| Tariff::new([]).price(quantities, ""), |tariff| tariff.price(quantities, tier))
}

#[cfg(test)]
mod tests {
    use waybill_model::price::Rate;
    use waybill_proto::usage::v1::Line;

    use super::*;

    fn tariff() -> Tariff {
        let rate = |meter, picousd_per_million| Rate { meter, tier: "".into(), above_input_tokens: 0, picousd_per_million };
        Tariff::new([rate(Meter::Input, 2_000_000), rate(Meter::CacheRead, 500_000), rate(Meter::Output, 8_000_000)])
    }

    /// 100 tokens in and 50 out: 600.
    fn bound() -> Bill {
        tariff().bound(100, 50)
    }

    fn limit(total: i64) -> Bill {
        Bill { total: waybill_model::money::Picousd(total), ..bound() }
    }

    fn written(ended: &Ended<'_>, attempt: &Attempt) -> Event {
        let mut payload = Vec::new();
        ended.write(&attempt.encode_to_vec(), &mut payload);
        Event::decode(&payload[..]).expect("an event")
    }

    /// As billing reads it.
    fn read(ended: &Ended<'_>) -> (End, Event) {
        (ended.end, written(ended, &Attempt::default()))
    }

    fn lines(bill: &Bill) -> Vec<Line> {
        let line = |line: &waybill_model::price::Line| Line {
            meter: line.meter.name().to_owned(),
            tier: line.tier.to_string(),
            above_input_tokens: line.above_input_tokens,
            quantity: line.quantity,
            rate_picousd: line.rate_picousd,
            amount_picousd: line.amount.0,
        };
        bill.lines.iter().map(line).collect()
    }

    #[test]
    fn every_end_has_its_amount() {
        let reading = Reading { input: 10, cache_read: 90, output: 5, reasoning: 20, ..Reading::default() };
        let (end, event) = read(&settled(&limit(600), Some(&tariff()), "", &reading, Facts::default()));
        assert_eq!((end, event.amount_picousd, event.overrun), (End::Settled, 20 + 45 + 40 + 160, false));
        assert_eq!((event.input_tokens, event.output_tokens), (100, 25));
        let (_, event) = read(&settled(&limit(100), Some(&tariff()), "", &reading, Facts::default()));
        assert_eq!((event.amount_picousd, event.overrun), (265, true), "the provider's own count is billed even above the bound");
        let (end, event) = read(&failed(Facts::default()));
        assert_eq!((end, event.amount_picousd), (End::Failed, 0));
        let (end, event) = read(&orphaned(&limit(600), Facts::default()));
        assert_eq!((end, event.amount_picousd, event.lines), (End::Orphaned, 600, lines(&bound())));
    }

    #[test]
    fn a_partial_end_takes_the_input_that_was_told_and_estimates_the_rest() {
        let told = |reading: Reading| Some(reading);
        let rates = [("", Meter::Input, 2), ("", Meter::CacheRead, 1), ("", Meter::CacheWrite5m, 3), ("", Meter::CacheWrite1h, 4)]
            .into_iter()
            .chain([("", Meter::Output, 8), ("", Meter::Search, 1000), ("priority", Meter::Input, 20), ("priority", Meter::Output, 80)]);
        let rate = |(tier, meter, price): (&str, _, _)| Rate {
            meter,
            tier: tier.into(),
            above_input_tokens: 0,
            picousd_per_million: i64::from(price) * 1_000_000,
        };
        let tariff = Tariff::new(rates.map(rate));
        let cached = Reading { input: 5, cache_read: 900, cache_write_5m: 30, cache_write_1h: 7, ..Reading::default() };
        // Tier, bytes of the request, input told, bytes of output; amount, tokens in and out.
        let rows = [
            ("", 41, None, 9, 11 * 2 + 3 * 8, 11, 3),
            ("", 41, None, 0, 11 * 2, 11, 0),
            ("priority", 41, None, 9, 11 * 20 + 3 * 80, 11, 3),
            ("", 41, told(Reading { input: 100, ..Reading::default() }), 9, 100 * 2 + 3 * 8, 100, 3),
            ("", 40_000, told(cached.clone()), 9, 5 * 2 + 900 + 30 * 3 + 7 * 4 + 3 * 8, 942, 3),
            ("", 41, told(cached.clone()), 0, 5 * 2 + 900 + 30 * 3 + 7 * 4, 942, 0),
            ("priority", 41, told(Reading { input: 100, ..Reading::default() }), 9, 100 * 20 + 3 * 80, 100, 3),
            ("", 41, told(Reading { output: 77, reasoning: 5, searches: 1, ..cached }), 1, 5 * 2 + 900 + 30 * 3 + 7 * 4 + 8, 942, 1),
        ];
        for (tier, request_bytes, input_told, output_bytes, amount, input, output) in rows {
            let delivered = Delivered { request_bytes, input_told, output_bytes };
            let (end, event) = read(&partial(&limit(10_000), Some(&tariff), tier, &delivered, Facts::default()));
            assert_eq!((end, event.source()), (End::Partial, Source::Estimated), "{delivered:?}");
            assert_eq!((event.amount_picousd, event.input_tokens, event.output_tokens), (amount, input, output), "{delivered:?}");
            assert_eq!(event.lines.iter().map(|line| line.amount_picousd).sum::<i64>(), amount, "{delivered:?}");
            let (_, event) = read(&partial(&limit(amount - 1), Some(&tariff), tier, &delivered, Facts::default()));
            assert_eq!(event.amount_picousd, amount - 1, "never more than the reservation: {delivered:?}");
        }
    }

    #[test]
    fn recovery_makes_the_orphan_from_the_intent_alone_as_the_living_process_does() {
        let attempt = Attempt { reservation_picousd: 600, bound: lines(&bound()), ..Attempt::default() };
        let event = Event::decode(&orphan_of(&attempt.encode_to_vec())[..]).expect("an event");
        assert_eq!((event.amount_picousd, event.outcome.as_str(), event.attempt.as_ref()), (600, "crash", Some(&attempt)));
        assert_eq!(written(&orphaned(&bound(), Facts { outcome: "crash", ..Facts::default() }), &attempt), event);
        assert!(orphan_of(&[0xff; 3]).is_empty());
    }

    #[test]
    fn without_a_tariff_quantities_are_kept_and_the_amount_is_zero() {
        let reading = Reading { input: 10, output: 5, ..Reading::default() };
        let (_, event) = read(&settled(&Bill::default(), None, "", &reading, Facts::default()));
        assert_eq!(event.amount_picousd, 0);
        assert!(!event.overrun);
        assert_eq!(event.lines.iter().map(|line| line.quantity).sum::<u64>(), 16);
    }

    #[test]
    fn every_field_is_read_back_as_the_generated_code_has_it() {
        let long = "ü".repeat(100);
        let reading = Reading { input: 300, output: 1 << 33, reported_cost: Some("0.25".into()), ..Reading::default() };
        let facts = Facts {
            outcome: "complete",
            error_type: "server",
            status: 200,
            finish_reason: "stop",
            provider_answer_id: &long,
            model_served: "m",
            first_token_us: 7,
            duration_us: u64::MAX,
        };
        let attempt = Attempt { number: 3, ..Attempt::default() };
        let ended = settled(&limit(-1), Some(&tariff()), "", &reading, facts);
        let expected = Event {
            attempt: Some(attempt.clone()),
            kind: Kind::Settled.into(),
            source: Source::Provider.into(),
            lines: lines(&ended.bill),
            amount_picousd: ended.bill.total.0,
            provider_answer_id: "ü".repeat(64),
            model_served: "m".to_owned(),
            finish_reason: "stop".to_owned(),
            outcome: "complete".to_owned(),
            error_type: "server".to_owned(),
            status: 200,
            first_token_us: 7,
            duration_us: u64::MAX,
            reported_cost: "0.25".to_owned(),
            input_tokens: 300,
            output_tokens: 1 << 33,
            overrun: true,
        };
        assert_eq!(written(&ended, &attempt), expected);
        assert_eq!(written(&ended.clone().shed(), &attempt), Event { first_token_us: 0, duration_us: 0, ..expected.clone() });
        let terse = Event {
            provider_answer_id: String::new(),
            model_served: String::new(),
            finish_reason: String::new(),
            error_type: String::new(),
            reported_cost: String::new(),
            ..expected
        };
        assert_eq!(written(&ended.terse(), &attempt), terse);
    }
}
