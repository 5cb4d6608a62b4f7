//! The attempts of one request: begun one after another until one answers, only while the caller has seen nothing.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use waybill_dialect::{
    Call, Dialect, ErrorBody, ErrorType, StreamOptions, Target,
    openai::{self, Stream},
};
use waybill_front::Denied;
use waybill_meter::{
    failpoint,
    intent::{Intent, Wish},
    tally::Facts,
};
use waybill_model::{
    id::GenerationId,
    snapshot::{ApiKey, AsksUsage, Endpoint, Snapshot, Workspace},
};
use waybill_proto::usage::v1 as wire;
use waybill_route::{Class, Outcome, Plan};
use waybill_upstream::{Exchange, Payload};

use crate::{
    answer::Answer,
    answering::{streamed, whole},
    attempt::{Attempt, Beginning, tier},
    failing::{Went, failed, lost, misplaced, not_begun, refused, withheld},
    flight::{Flight, Tap, head_limit},
    outbound::{self, Caller, Wanted},
    relay::Teller,
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
    pub(crate) generation: GenerationId,
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    /// The cost is spliced into the usage.
    pub(crate) cost: bool,
}

impl Accepted {
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
        number += 1;
        if number > 1 {
            worker.counters.failovers.add(1);
        }
        let mut watch = worker.watch(endpoint);
        // On the heap, and only while it runs: a future is moved on its way to its connection, and what is inside it would move with it.
        let went = Box::pin(one(worker, accepted, endpoint, number, decision.take(), earlier)).await?;
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
    Err(last_error(previous))
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

/// One attempt. `Err` ends the request: the fault is ours.
async fn one(
    worker: &Rc<Worker>,
    accepted: &Accepted,
    endpoint: &Arc<Endpoint>,
    number: u32,
    decision: Option<wire::Decision>,
    earlier: i64,
) -> Result<Went, ErrorBody> {
    let mut attempt = Attempt::begin(worker, beginning(accepted, endpoint, number, decision)).map_err(|refused| not_begun(&refused.0))?;
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
    let payload = Payload::new(openai::rewrite(&accepted.body, call, &target(endpoint)).into_pieces());
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
    let tap = if call.stream {
        let strict = accepted.surface == Surface::OpenRouter;
        let show_usage = strict || call.usage_asked;
        let frame_bytes = worker.limits().frame_bytes;
        Tap::Stream(Box::new(Stream::new(StreamOptions { n: call.n, show_usage, omit_nulls: strict, frame_bytes })))
    } else {
        Tap::Whole(Vec::new())
    };
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
        (true, true) => streamed(worker, accepted, flight, earlier, &headers).await,
        (false, false) => whole(worker, accepted, flight, earlier, &headers).await,
        (true, false) => misplaced(flight, "a whole answer where a stream was asked for").await,
        (false, true) => misplaced(flight, "a stream where a whole answer was asked for").await,
    }
}

fn beginning<'a>(accepted: &'a Accepted, endpoint: &'a Arc<Endpoint>, number: u32, decision: Option<wire::Decision>) -> Beginning<'a> {
    let call = &accepted.call;
    let header = |name: &str| accepted.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let intent = Intent {
        generation: accepted.generation.as_bytes(),
        number,
        workspace: &accepted.workspace,
        key: &accepted.key,
        endpoint,
        revision: accepted.snapshot.revision,
        unbounded: call.unbounded.iter().map(|cause| cause.name()).collect(),
        decision,
        requested_model: &call.model,
        streamed: call.stream,
        surface: accepted.surface.name(),
        http_referer: header("http-referer"),
        app_title: header("x-title"),
    };
    let wish = Wish { body_bytes: call.body_bytes, answers: call.n, max_output: call.max_output };
    let tier = call.service_tier.as_deref().map(tier).unwrap_or_default();
    Beginning { endpoint, intent, wish, tier }
}

fn target(endpoint: &Endpoint) -> Target<'_> {
    Target {
        provider_model: &endpoint.provider_model,
        asks_usage: match endpoint.provider.asks_usage {
            AsksUsage::StreamOptions => waybill_dialect::AsksUsage::StreamOptions,
            AsksUsage::Always => waybill_dialect::AsksUsage::Always,
            AsksUsage::Never => waybill_dialect::AsksUsage::Never,
        },
        drop_gateway_fields: !endpoint.provider.takes_gateway_fields,
        max_output: None,
    }
}
