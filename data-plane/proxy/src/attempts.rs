//! The attempts of one request: begun one after another until one answers, only while the caller has seen nothing.

use std::{cell::OnceCell, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use waybill_dialect::{Call, Dialect, ErrorBody, ErrorType, Fault, Limits, Passage, StreamOptions, Telling, neutral::Prompt};
use waybill_front::Denied;
use waybill_meter::{
    failpoint,
    intent::{Intent, Wish},
    tally::Facts,
};
use waybill_model::{
    id::GenerationId,
    snapshot::{ApiKey, Endpoint, Snapshot, Workspace},
};
use waybill_proto::usage::v1 as wire;
use waybill_route::{Class, Outcome, Plan};
use waybill_upstream::{Exchange, Payload};

use crate::{
    answer::Answer,
    answering::{streamed, whole},
    attempt::{Attempt, Beginning, tier},
    carriage::Carriage,
    failing::{Went, failed, lost, misplaced, not_begun, refused, withheld},
    flight::{Flight, Tap, head_limit},
    outbound::{self, Caller, Wanted},
    refusals::Refused,
    relay::Teller,
    stack::planned_at_home,
    surface::Surface,
    worker::Worker,
};

/// A request that was let in, read and pinned to a snapshot.
pub(crate) struct Accepted {
    pub(crate) key: Arc<ApiKey>,
    pub(crate) workspace: Arc<Workspace>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) surface: Surface,
    /// The caller's.
    pub(crate) dialect: Dialect,
    /// The request in the neutral form, read when the first endpoint of another dialect is to be tried.
    pub(crate) prompt: OnceCell<Result<Prompt, Fault>>,
    pub(crate) generation: GenerationId,
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    /// The cost is spliced into the usage.
    pub(crate) cost: bool,
}

impl Accepted {
    /// The machine that reads the stream of a provider.
    fn passage(&self, worker: &Worker, carriage: &Carriage) -> Passage {
        let openrouter = self.surface == Surface::OpenRouter;
        let show_usage = openrouter || self.call.usage_asked;
        let frame_bytes = worker.limits().frame_bytes;
        let options = StreamOptions { n: self.call.n, show_usage, omit_nulls: openrouter, frame_bytes };
        if !carriage.is_translated() {
            return Passage::express(carriage.dialect, options);
        }
        let Teller { dialect, generation: id, model, created_s } = self.teller(worker);
        Passage::translated(carriage.dialect, Telling { dialect, id, model, created_s, show_usage, openrouter }, options)
    }

    /// Tells errors to this caller once the head has gone out.
    pub(crate) fn teller(&self, worker: &Worker) -> Teller {
        Teller {
            dialect: self.dialect,
            generation: self.generation.to_string().into(),
            model: self.call.model.clone(),
            created_s: worker.unix_us() / 1_000_000,
        }
    }
}

/// The limits within which a request is read.
pub(crate) fn limits_of(limits: &waybill_front::Limits) -> Limits {
    Limits { body_bytes: limits.body_bytes, json_depth: limits.json_depth, json_keys: limits.json_keys, ..Limits::default() }
}

/// Makes the attempts of a plan.
///
/// # Errors
/// What the last attempt failed with, with what the ones before it did.
pub(crate) async fn run(
    worker: &Rc<Worker>,
    accepted: &Accepted,
    plan: &Plan,
    decision: wire::Decision,
) -> Result<Response<Answer>, ErrorBody> {
    let (mut decision, mut earlier) = (Some(decision), 0_i64);
    let mut declined: Vec<(Box<str>, Fault)> = Vec::new();
    let mut previous: Vec<(Box<str>, ErrorBody)> = Vec::new();
    let mut skip_model: Option<Box<str>> = None;
    let mut number = 0;
    for planned in &plan.attempts {
        let endpoint = &planned.endpoint;
        if skip_model.as_ref().is_some_and(|model| *model == endpoint.model) {
            continue;
        }
        if worker.is_denied(&accepted.key.uid) {
            // Revoked while its body came or another attempt ran: what has been sent is billed, nothing more is sent.
            return Err(Denied::Disabled.error());
        }
        let carriage = match Carriage::of(worker, accepted, endpoint) {
            Ok(carriage) => carriage,
            Err(fault) => {
                decline(&mut decision, endpoint, &fault);
                declined.push((endpoint.provider.name.clone(), fault));
                continue;
            }
        };
        number += 1;
        if number > 1 {
            worker.counters.failovers.add(1);
        }
        let mut watch = worker.watch(endpoint);
        // On the heap, and only while it runs: a future is moved on its way to its connection, and what is inside it would move with it.
        let went = Box::pin(one(worker, accepted, endpoint, carriage, Turn { number, decision: decision.take(), earlier })).await?;
        match went {
            Went::Answered(mut response) => {
                match response.body_mut() {
                    // How a stream ends is known when it has.
                    Answer::Stream(relay) => relay.watch(watch),
                    Answer::Whole(_) | Answer::Waiting(_) => watch.ended(Outcome::Success),
                }
                return Ok(*response);
            }
            Went::Failed(failed) => {
                watch.ended(Outcome::Failure(failed.class));
                earlier = earlier.saturating_add(failed.cost_picousd);
                previous.push((endpoint.provider.name.clone(), failed.error));
                if !failed.elsewhere && !failed.other_model {
                    break;
                }
                skip_model = (!failed.elsewhere).then(|| endpoint.model.clone());
            }
        }
    }
    if previous.is_empty() && !declined.is_empty() {
        // They took the places of those that speak the caller's own dialect, if there are any: these are never declined.
        if let Some((plan, decision)) = planned_at_home(worker, accepted) {
            return Box::pin(run(worker, accepted, &plan, decision)).await;
        }
        return Err(refuse(worker, accepted, &declined, decision.unwrap_or_default()));
    }
    let as_errors = declined.into_iter().map(|(provider, fault)| (provider, ErrorBody::from(&fault)));
    Err(last_error(as_errors.chain(previous).collect()))
}

/// An endpoint to whose dialect the request cannot be carried: nothing was sent, and `explain` tells it.
fn decline(decision: &mut Option<wire::Decision>, endpoint: &Endpoint, fault: &Fault) {
    let candidates = decision.iter_mut().flat_map(|decision| &mut decision.candidates);
    for candidate in candidates.filter(|candidate| *candidate.endpoint == *endpoint.name) {
        candidate.set_reason(wire::Reason::Dialect);
        candidate.rank = 0;
        candidate.detail = format!("speaks the dialect `{}`, which cannot carry {fault}", endpoint.provider.dialect);
    }
}

/// No endpoint can be reached from the caller's dialect. The first one that was to be tried says why.
fn refuse(worker: &Worker, accepted: &Accepted, declined: &[(Box<str>, Fault)], decision: wire::Decision) -> ErrorBody {
    worker.counters.refusals.add(1);
    let Some((provider, fault)) = declined.first() else { return last_error(Vec::new()) };
    let error = ErrorBody::from(fault).with("provider_name", provider.to_string());
    worker.remember(Refused {
        generation: accepted.generation,
        status: error.status,
        error_type: error.error_type.name(),
        message: error.message.clone(),
        decision,
        unix_us: worker.unix_us(),
    });
    error
}

/// The last error, with what came before it.
fn last_error(mut previous: Vec<(Box<str>, ErrorBody)>) -> ErrorBody {
    let Some((provider, error)) = previous.pop() else {
        return ErrorBody::new(ErrorType::ProviderUnavailable, "No endpoint was tried.").with_status(503);
    };
    let error = error.with("provider_name", provider.to_string());
    if previous.is_empty() {
        return error;
    }
    let before: Vec<String> =
        previous.iter().map(|(provider, error)| format!("{provider}: {} {}", error.status, error.error_type)).collect();
    error.with("previous_errors", before.join("; "))
}

/// Where an attempt stands among those of its request.
struct Turn {
    /// From 1.
    number: u32,
    /// On the first one.
    decision: Option<wire::Decision>,
    /// What the ones before it cost.
    earlier: i64,
}

/// One attempt. `Err` ends the request: the fault is ours.
async fn one(
    worker: &Rc<Worker>,
    accepted: &Accepted,
    endpoint: &Arc<Endpoint>,
    mut carriage: Carriage,
    turn: Turn,
) -> Result<Went, ErrorBody> {
    let earlier = turn.earlier;
    let beginning = beginning(accepted, endpoint, &carriage, turn);
    let mut attempt = Attempt::begin(worker, beginning).map_err(|refused| not_begun(&refused.0))?;
    if let Some(durable) = attempt.take_durable()
        && durable.await.is_err()
    {
        // Nothing was sent. The log is broken, so the end of this attempt goes where its intent went: to recovery.
        return Err(ErrorBody::new(
            ErrorType::Server,
            "The record of this request could not be brought to the disk. Nothing was sent; try again.",
        )
        .with_status(503));
    }
    let call = &accepted.call;
    let payload = Payload::new(std::mem::take(&mut carriage.pieces));
    let caller = Caller { dialect: accepted.dialect, headers: &accepted.headers };
    let wanted = if call.stream { Wanted::Stream } else { Wanted::Whole };
    let request = outbound::request(endpoint, attempt.id().to_string(), worker.hop(), caller, wanted, payload);
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            let message = format!("The provider's configuration makes no valid request: {error}.");
            attempt.failed(Facts { outcome: "configuration", ..Facts::default() }).map_err(|error| withheld(&error))?;
            return Ok(failed(ErrorBody::new(ErrorType::ProviderUnavailable, message), Class::Connect, 0));
        }
    };
    let exchange = match Exchange::start(worker.pool(), &endpoint.provider.origin, request).await {
        Ok(exchange) => exchange,
        Err(failure) => {
            attempt.failed(Facts { outcome: failure.kind.name(), ..Facts::default() }).map_err(|error| withheld(&error))?;
            let message = format!("The provider {} could not be reached ({}).", endpoint.provider.display_name, failure.kind.name());
            return Ok(failed(ErrorBody::new(ErrorType::ProviderUnavailable, message), Class::Connect, 0));
        }
    };
    attempt.mark_sent();
    failpoint("attempt.sent");
    let tap = if call.stream { Tap::Stream(Box::new(accepted.passage(worker, &carriage))) } else { Tap::Whole(Vec::new()) };
    let mut flight = Flight::new(attempt, exchange, tap);
    let (limit, name) = head_limit(worker.limits(), call.stream);
    let (status, headers) = match flight.head(limit, name).await {
        Ok(head) => head,
        Err(trouble) => return lost(&mut flight, &trouble),
    };
    failpoint("attempt.head");
    if !status.is_success() {
        return refused(flight, endpoint, status, &headers).await;
    }
    let is_events = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    match (call.stream, is_events) {
        (true, true) => streamed(worker, accepted, flight, earlier, &carriage, &headers).await,
        (false, false) => whole(worker, accepted, flight, earlier, carriage, &headers).await,
        (true, false) => misplaced(flight, "a whole answer where a stream was asked for").await,
        (false, true) => misplaced(flight, "a stream where a whole answer was asked for").await,
    }
}

fn beginning<'a>(accepted: &'a Accepted, endpoint: &'a Arc<Endpoint>, carriage: &Carriage, turn: Turn) -> Beginning<'a> {
    let call = &accepted.call;
    let header = |name: &str| accepted.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let intent = Intent {
        generation: accepted.generation.as_bytes(),
        number: turn.number,
        workspace: &accepted.workspace,
        key: &accepted.key,
        endpoint,
        revision: accepted.snapshot.revision,
        unbounded: call.unbounded.iter().map(|cause| cause.name()).collect(),
        decision: turn.decision,
        requested_model: &call.model,
        streamed: call.stream,
        surface: accepted.surface.name(),
        http_referer: header("http-referer"),
        app_title: header("x-title"),
        dialect: accepted.dialect.name(),
        lane: carriage.lane,
        notices: u32::try_from(carriage.notices.len()).unwrap_or(u32::MAX),
    };
    // A translation may be longer than what it was made of. What is spliced into the caller's own bytes (the provider's name of the model, the wish
    // for usage) is no prompt.
    let body_bytes = if carriage.is_translated() { call.body_bytes.max(carriage.bytes()) } else { call.body_bytes };
    let wish = Wish { body_bytes, answers: call.n, max_output: call.max_output };
    // No tier but the standard one has a name in both dialects.
    let asked = call.service_tier.as_deref().filter(|_| !carriage.is_translated());
    let tier = asked.map(tier).unwrap_or_default();
    Beginning { endpoint, intent, wish, tier }
}
