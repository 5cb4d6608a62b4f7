//! What an attempt is meant to cost at most, before it is sent.
//!
//! The bound: input = min(bytes of the request, context window) at the dearest input meter; output = answers asked for × (asked maximum, else the
//! endpoint's, else the context window) at the dearest output meter; dearest band and tier that can be reached; plus the request fee. A token
//! is at least one byte, so the bytes bound the input. What this does not cover makes the attempt *unbounded*, with a named cause.

use waybill_model::{
    price::{Bill, Tariff},
    snapshot::Endpoint,
};
use waybill_proto::usage::v1::{Attempt, Line};

/// Output tokens that are reserved where neither the caller, the endpoint nor the model names a limit.
const UNKNOWN_WINDOW: u64 = 1 << 20;

/// What the bound is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wish {
    /// Bytes of the request body.
    pub body_bytes: u64,
    /// Answers asked for.
    pub answers: u32,
    /// Most output tokens of each, if the caller said so.
    pub max_output: Option<u64>,
}

/// The most that a wish can cost at an endpoint under a tariff; nothing without a tariff.
#[must_use]
pub fn bound(wish: Wish, endpoint: &Endpoint, tariff: Option<&Tariff>) -> Bill {
    let Some(tariff) = tariff else { return Bill::default() };
    let window = if endpoint.context_window == 0 { UNKNOWN_WINDOW } else { endpoint.context_window };
    let input = if endpoint.context_window == 0 { wish.body_bytes } else { wish.body_bytes.min(window) };
    let output = wish.max_output.unwrap_or(if endpoint.max_output == 0 { window } else { endpoint.max_output });
    tariff.bound(input, output.saturating_mul(u64::from(wish.answers.max(1))))
}

/// Writes a bill's lines as an event holds them.
#[must_use]
pub fn lines(bill: &Bill) -> Vec<Line> {
    let wire = |line: &waybill_model::price::Line| Line {
        meter: line.meter.name().to_owned(),
        tier: line.tier.to_string(),
        above_input_tokens: line.above_input_tokens,
        quantity: line.quantity,
        rate_picousd: line.rate_picousd,
        amount_picousd: line.amount.0,
    };
    bill.lines.iter().map(wire).collect()
}

/// Longest encoded intent or event. Names are short; what may grow is the decision, which is cut to fit.
pub const PAYLOAD_BYTES: usize = 4096;

/// What an event adds to the attempt it is of, at most: twelve lines and some short texts.
const EVENT_BYTES: usize = 1600;

/// Cuts the record of the decision until the attempt fits into a record together with its end: first the details, then candidates from the
/// end, counted in `more`.
pub fn fit(attempt: &mut Attempt) {
    use prost::Message;
    let limit = PAYLOAD_BYTES - EVENT_BYTES;
    for text in [&mut attempt.requested_model, &mut attempt.http_referer, &mut attempt.app_title] {
        truncate(text, 128);
    }
    if attempt.encoded_len() > limit
        && let Some(decision) = &mut attempt.decision
    {
        decision.candidates.iter_mut().for_each(|candidate| candidate.detail.clear());
    }
    while attempt.encoded_len() > limit
        && let Some(decision) = &mut attempt.decision
        && decision.candidates.pop().is_some()
    {
        decision.more += 1;
    }
}

/// Cuts a text to so many bytes at a character's boundary.
pub(crate) fn truncate(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use waybill_proto::usage::v1::{Candidate, Decision};

    use super::*;

    #[test]
    fn a_long_decision_is_cut_and_what_is_cut_is_counted() {
        let candidate = Candidate { endpoint: "e".repeat(100), detail: "d".repeat(500), ..Candidate::default() };
        let decision = Decision { candidates: vec![candidate; 64], more: 3, ..Decision::default() };
        let mut attempt = Attempt { decision: Some(decision), requested_model: "ü".repeat(500), ..Attempt::default() };
        fit(&mut attempt);
        assert!(attempt.encoded_len() <= PAYLOAD_BYTES - EVENT_BYTES);
        assert_eq!(attempt.requested_model, "ü".repeat(64));
        let decision = attempt.decision.expect("kept");
        assert!(!decision.candidates.is_empty());
        assert_eq!(decision.candidates.len() as u32 + decision.more, 67);
    }
}
