//! What an attempt is meant to cost at most, before it is sent.
//!
//! The bound: input = min(bytes of the request, context window) at the dearest input meter; output = answers asked for × (asked maximum, else the
//! endpoint's, else the context window) at the dearest output meter; dearest band and tier that can be reached; plus the request fee. A token
//! is at least one byte, so the bytes bound the input. What this does not cover makes the attempt *unbounded*, with a named cause.

use waybill_model::{
    price::{Bill, Tariff},
    snapshot::{ApiKey, Endpoint, Workspace},
};
use waybill_proto::usage::v1::{Decision, Lane};

use crate::wire::{Writer, cut};

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

/// Longest encoded intent or event. Names are short; what may grow is the decision, which is cut to fit.
pub const PAYLOAD_BYTES: usize = 4096;

/// What an event adds to the attempt it is of, at most: twelve lines and some short texts.
const EVENT_BYTES: usize = 1600;

/// Most bytes of a text that is the caller's.
const TEXT_BYTES: usize = 128;

/// What is known of an attempt before it begins; all of it lies elsewhere.
#[derive(Clone, Debug)]
pub struct Intent<'a> {
    /// The request's id.
    pub generation: &'a [u8; 16],
    /// From 1.
    pub number: u32,
    /// Who pays.
    pub workspace: &'a Workspace,
    /// Whose key it is.
    pub key: &'a ApiKey,
    /// Where it goes.
    pub endpoint: &'a Endpoint,
    /// Of the configuration.
    pub revision: u64,
    /// Why the bound does not hold.
    pub unbounded: Vec<&'static str>,
    /// How the request was routed; on its first attempt.
    pub decision: Option<Decision>,
    /// As the caller spelt it.
    pub requested_model: &'a str,
    /// The answer is to come as a stream.
    pub streamed: bool,
    /// Where the request came in.
    pub surface: &'static str,
    /// The caller's attribution.
    pub http_referer: &'a str,
    /// The caller's attribution.
    pub app_title: &'a str,
    /// The caller's.
    pub dialect: &'static str,
    /// The way to the endpoint's dialect.
    pub lane: Lane,
    /// Fields of the request that a translation left out or approximated.
    pub notices: u32,
}

/// What is known of an attempt the moment it begins.
#[derive(Clone, Copy, Debug)]
pub struct Reserved<'a> {
    /// Its id.
    pub attempt: &'a [u8; 16],
    /// Microseconds since 1970.
    pub start_unix_us: u64,
    /// The prices in force.
    pub tariff: Option<&'a Tariff>,
    /// The most it may cost.
    pub bound: &'a Bill,
    /// The spool is nearly full: what no bill needs (the decision, the caller's attribution) is left out.
    pub shed: bool,
}

impl Intent<'_> {
    /// Writes the payload of the intent's record, an encoded `usage.v1.Attempt`, behind what `out` holds.
    ///
    /// The record of the decision is cut until the attempt fits into a record together with its end: first the details, then candidates from
    /// the end, counted in `more`.
    pub fn write(&self, reserved: Reserved<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let mut attempt = Writer(out);
        attempt.bytes(1, reserved.attempt);
        attempt.bytes(2, self.generation);
        attempt.number(3, self.number.into());
        attempt.text(4, &self.workspace.org);
        attempt.text(5, &self.workspace.name);
        attempt.text(6, &self.key.name);
        attempt.text(7, &self.endpoint.name);
        attempt.text(8, &self.endpoint.model);
        attempt.text(9, &self.endpoint.provider.name);
        attempt.text(10, &self.endpoint.account.name);
        attempt.text(11, &self.endpoint.provider_model);
        attempt.text(12, reserved.tariff.map_or("", |tariff| tariff.version().as_str()));
        attempt.number(13, self.revision);
        attempt.number(14, reserved.start_unix_us);
        attempt.signed(15, reserved.bound.total.0);
        attempt.lines(16, reserved.bound);
        for cause in &self.unbounded {
            attempt.element(17, cause.as_bytes());
        }
        attempt.text(19, cut(self.requested_model, TEXT_BYTES));
        attempt.number(20, self.streamed.into());
        attempt.text(21, self.surface);
        if !reserved.shed {
            attempt.text(22, cut(self.http_referer, TEXT_BYTES));
            attempt.text(23, cut(self.app_title, TEXT_BYTES));
        }
        attempt.text(24, self.dialect);
        attempt.text(25, &self.endpoint.provider.dialect);
        attempt.number(26, u64::from(i32::from(self.lane).unsigned_abs()));
        attempt.number(27, self.notices.into());
        attempt.number(28, reserved.shed.into());
        if let Some(decision) = self.decision.as_ref().filter(|_| !reserved.shed) {
            fit(&mut attempt, start, decision);
        }
    }
}

/// Writes the decision last, since it takes what room is left. The order of fields says nothing.
fn fit(attempt: &mut Writer<'_>, start: usize, decision: &Decision) {
    let before = attempt.0.len();
    let (mut named, mut detailed) = (decision.candidates.len(), true);
    loop {
        write_decision(attempt, decision, named, detailed);
        if attempt.0.len() - start <= PAYLOAD_BYTES - EVENT_BYTES || named == 0 {
            return;
        }
        attempt.0.truncate(before);
        named -= usize::from(!detailed);
        detailed = false;
    }
}

fn write_decision(attempt: &mut Writer<'_>, decision: &Decision, named: usize, detailed: bool) {
    let left_out = u32::try_from(decision.candidates.len().saturating_sub(named)).unwrap_or(u32::MAX);
    attempt.message(18, |writer| {
        writer.number(1, decision.revision);
        writer.number(2, decision.deny_epoch);
        writer.number(3, decision.seed);
        for candidate in decision.candidates.iter().take(named) {
            writer.message(4, |writer| {
                writer.text(1, &candidate.endpoint);
                writer.signed(2, candidate.reason.into());
                writer.number(3, candidate.rank.into());
                writer.number(4, candidate.score);
                writer.text(5, if detailed { &candidate.detail } else { "" });
            });
        }
        writer.number(5, decision.more.saturating_add(left_out).into());
    });
}

#[cfg(test)]
mod tests;
