//! The attempts of one request: begun one after another until one answers, only while the caller has seen nothing.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use waybill_dialect::{
    AnswerOptions, Call, Classified, Ending, ErrorBody, ErrorHeaders, ErrorType, Step, StreamOptions, Target, classify,
    openai::{self, Stream},
};
use waybill_front::Denied;
use waybill_meter::{failpoint, intent::Wish, tally::Facts};
use waybill_model::{
    id::GenerationId,
    snapshot::{ApiKey, AsksUsage, Endpoint, Snapshot, Workspace},
};
use waybill_proto::usage::v1 as wire;
use waybill_route::{Class, Outcome, Plan};
use waybill_upstream::{Exchange, Payload};

use crate::{
    answer::Answer,
    attempt::{Attempt, Beginning, tier},
    flight::{Flight, Here, Tap, Trouble, head_limit, is_free, whole_end},
    outbound,
    relay::{Relay, Showing},
    surface::Surface,
    worker::Worker,
};

/// Longest error answer of a provider that is read.
const ERROR_BYTES: usize = 1 << 20;

/// A request that was let in, read and pinned to a snapshot.
pub(crate) struct Accepted {
    pub(crate) key: Arc<ApiKey>,
    pub(crate) workspace: Arc<Workspace>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) surface: Surface,
    pub(crate) generation: GenerationId,
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    /// The cost is spliced into the usage.
    pub(crate) cost: bool,
}

/// How one attempt went.
enum Went {
    Answered(Box<Response<Answer>>),
    /// It failed; another may be tried if the error says so.
    Failed(Failed),
}

struct Failed {
    error: ErrorBody,
    /// Another endpoint may succeed.
    elsewhere: bool,
    /// Another model may succeed.
    other_model: bool,
    /// What it cost all the same.
    cost_picousd: i64,
    class: Class,
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
                    Answer::Whole(_) => watch.ended(Outcome::Success),
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
    let request = outbound::request(endpoint, &attempt.id().to_string(), worker.hop(), &accepted.headers, call.stream, payload);
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

fn beginning(accepted: &Accepted, endpoint: &Arc<Endpoint>, number: u32, decision: Option<wire::Decision>) -> Beginning {
    let call = &accepted.call;
    let header = |name: &str| accepted.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let record = wire::Attempt {
        generation_id: accepted.generation.as_bytes().to_vec().into(),
        number,
        org: accepted.workspace.org.to_string(),
        workspace: accepted.workspace.name.to_string(),
        api_key: accepted.key.name.to_string(),
        endpoint: endpoint.name.to_string(),
        model: endpoint.model.to_string(),
        provider: endpoint.provider.name.to_string(),
        account: endpoint.account.name.to_string(),
        provider_model: endpoint.provider_model.to_string(),
        revision: accepted.snapshot.revision,
        unbounded: call.unbounded.iter().map(|cause| cause.name().to_owned()).collect(),
        decision,
        requested_model: call.model.to_string(),
        streamed: call.stream,
        surface: accepted.surface.name().to_owned(),
        http_referer: header("http-referer"),
        app_title: header("x-title"),
        ..wire::Attempt::default()
    };
    let wish = Wish { body_bytes: call.body_bytes, answers: call.n, max_output: call.max_output };
    let tier = call.service_tier.as_deref().map(tier).unwrap_or_default();
    Beginning { endpoint: Arc::clone(endpoint), record, wish, tier }
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

fn failed(error: ErrorBody, class: Class, cost_picousd: i64) -> Went {
    Went::Failed(Failed { error, elsewhere: true, other_model: true, cost_picousd, class })
}

/// The intent could not be written.
fn not_begun(refusal: &waybill_meter::Refusal) -> ErrorBody {
    let error = ErrorBody::new(
        ErrorType::Server,
        format!("This request cannot be recorded, so it was not sent: {refusal}. It is no fault of the request; try again."),
    );
    let reason = if matches!(refusal, waybill_meter::Refusal::Full { .. }) { "spool_full" } else { "spool_unavailable" };
    error.with_status(503).with("reason", reason).with_retry_after(5)
}

/// The end could not be written.
fn withheld(error: &crate::attempt::NotWritten) -> ErrorBody {
    tracing::error!(%error, "an answer is withheld");
    ErrorBody::new(
        ErrorType::Server,
        "The end of this answer could not be recorded, so it is withheld. It is a fault of this gateway; the request may be repeated.",
    )
    .with_status(503)
}

/// The request left and no answer came. What a stream has told all the same, usage or an error, decides its bill.
fn lost(flight: &mut Flight, trouble: &Trouble) -> Result<Went, ErrorBody> {
    let inner = flight.inner();
    inner.give_up();
    let facts = Facts { outcome: trouble.outcome(), status: inner.status, ..Facts::default() };
    let written = match inner.tap {
        Tap::Stream(_) => inner.close_stream(Some(trouble), Here::Complete),
        Tap::Whole(_) => inner.attempt.orphaned(facts),
    };
    let cost_picousd = written.map_err(|error| withheld(&error))?.cost_picousd;
    let provider = inner.attempt.endpoint.provider.display_name.clone();
    let (kind, class) = match trouble {
        Trouble::Timeout(..) => (ErrorType::Timeout, Class::FirstToken),
        Trouble::Upstream(failure) if failure.kind == waybill_upstream::Kind::Protocol => {
            (ErrorType::ProviderUnavailable, Class::Malformed)
        }
        Trouble::Upstream(_) => (ErrorType::ProviderUnavailable, Class::Cut),
        Trouble::TooLarge(_) | Trouble::Frame(_) => (ErrorType::ProviderUnavailable, Class::Malformed),
    };
    Ok(failed(ErrorBody::new(kind, format!("The provider {provider} gave no answer: {trouble}.")), class, cost_picousd))
}

/// The provider answered with an error status.
async fn refused(mut flight: Flight, endpoint: &Endpoint, status: StatusCode, headers: &HeaderMap) -> Result<Went, ErrorBody> {
    let body = flight.body(ERROR_BYTES).await.unwrap_or_default();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let error_headers =
        ErrorHeaders { retry_after: header("retry-after"), retry_after_ms: header("retry-after-ms"), content_type: header("content-type") };
    let classified = classify(status.as_u16(), &error_headers, &body);
    let inner = flight.inner();
    let facts = Facts { outcome: "provider_error", error_type: classified.error_type.name(), status: status.as_u16(), ..Facts::default() };
    let usage = openai::read_answer(&body).ok().and_then(|answer| answer.usage);
    let written = match usage {
        Some(reading) => inner.attempt.settled(&reading, facts),
        None if is_free(endpoint, status.as_u16()) => inner.attempt.failed(facts),
        None => inner.attempt.orphaned(facts),
    };
    let cost_picousd = written.map_err(|error| withheld(&error))?.cost_picousd;
    Ok(Went::Failed(judged(&classified, cost_picousd)))
}

/// What a provider's error says of its endpoint. An error that the request would meet anywhere says nothing, whatever its status: else one caller
/// whose prompts are refused could close an endpoint to all.
pub(crate) fn class_of(error: &Classified) -> Class {
    if !error.retries_elsewhere() {
        return Class::Caller;
    }
    let retry_after_ms = error.retry_after.and_then(|seconds| i64::try_from(seconds).ok()).map(|seconds| seconds.saturating_mul(1000));
    let status = if error.provider_status == 0 { error.status } else { error.provider_status };
    Class::of_status(status, retry_after_ms).unwrap_or(Class::Malformed)
}

fn judged(classified: &Classified, cost_picousd: i64) -> Failed {
    Failed {
        error: classified.to_body(),
        elsewhere: classified.retries_elsewhere(),
        other_model: classified.retries_with_other_model(),
        cost_picousd,
        class: class_of(classified),
    }
}

/// The provider answered in the other form. What it consumed is read if it can be, and another endpoint is tried.
async fn misplaced(mut flight: Flight, what: &str) -> Result<Went, ErrorBody> {
    let limit = flight.inner().attempt.worker().limits().answer_bytes;
    let body = flight.body(limit).await;
    let inner = flight.inner();
    let status = inner.status;
    let written = match body.as_deref().map(openai::read_answer) {
        Ok(Ok(answer)) => whole_end(&mut inner.attempt, &answer, status, "misplaced_form"),
        _ => inner.attempt.orphaned(Facts { outcome: "misplaced_form", status, ..Facts::default() }),
    };
    let cost_picousd = written.map_err(|error| withheld(&error))?.cost_picousd;
    let provider = inner.attempt.endpoint.provider.display_name.clone();
    let error = ErrorBody::new(ErrorType::ProviderUnavailable, format!("The provider {provider} sent {what}."));
    Ok(failed(error, Class::Malformed, cost_picousd))
}

async fn whole(worker: &Rc<Worker>, accepted: &Accepted, mut flight: Flight, earlier: i64, headers: &HeaderMap) -> Result<Went, ErrorBody> {
    let body = match flight.body(worker.limits().answer_bytes).await {
        Ok(body) => body,
        Err(trouble) => return lost(&mut flight, &trouble),
    };
    failpoint("attempt.body");
    let inner = flight.inner();
    let provider = inner.attempt.endpoint.provider.display_name.clone();
    let answer = match openai::read_answer(&body) {
        Ok(answer) => answer,
        Err(broken) => {
            let facts = Facts { outcome: "malformed", status: inner.status, ..Facts::default() };
            inner.attempt.orphaned(facts).map_err(|error| withheld(&error))?;
            let error =
                ErrorBody::new(ErrorType::ProviderUnavailable, format!("The provider {provider} sent no readable answer: {broken}."));
            return Ok(failed(error, Class::Malformed, 0));
        }
    };
    inner.attempt.mark_first_output();
    let written = whole_end(&mut inner.attempt, &answer, inner.status, "complete").map_err(|error| withheld(&error))?;
    if let Some(error) = &answer.error_in_body {
        return Ok(Went::Failed(judged(error, written.cost_picousd)));
    }
    if answer.empty {
        let error = ErrorBody::new(ErrorType::ProviderUnavailable, format!("The provider {provider} sent an empty answer."));
        return Ok(failed(error, Class::Empty, written.cost_picousd));
    }
    if let Some(durable) = inner.attempt.take_durable()
        && durable.await.is_err()
    {
        return Err(ErrorBody::new(ErrorType::Server, "The end of this answer could not be brought to the disk, so it is withheld.")
            .with_status(503));
    }
    let pieces = if accepted.cost {
        let options = AnswerOptions { add_fingerprint: accepted.surface == Surface::OpenRouter };
        openai::splice_cost(&body, &answer, earlier.saturating_add(written.cost_picousd), options).body.into_pieces()
    } else {
        vec![body]
    };
    Ok(answered(accepted, Answer::whole(pieces), headers))
}

async fn streamed(
    worker: &Rc<Worker>,
    accepted: &Accepted,
    mut flight: Flight,
    earlier: i64,
    headers: &HeaderMap,
) -> Result<Went, ErrorBody> {
    let (mut first, mut over) = (Vec::new(), None);
    let first_token = flight.inner().attempt.started + worker.limits().first_token_time;
    loop {
        let inner = flight.inner();
        let mut timer = crate::deadline::Deadline::default();
        let step = std::future::poll_fn(|context| {
            if let std::task::Poll::Ready(step) = inner.poll_frames(context, &mut first) {
                return std::task::Poll::Ready(step);
            }
            if timer.has_passed(first_token, context) {
                return std::task::Poll::Ready(Err(Trouble::Timeout(worker.limits().first_token_time, "first_token_time")));
            }
            std::task::Poll::Pending
        });
        let step = step.await;
        let ended = inner.ended;
        let Tap::Stream(stream) = &inner.tap else { break };
        if stream.output_started() {
            // All of it may have come in one piece.
            over = (!matches!(step, Ok(Step::More | Step::Holding))).then_some(step);
            break;
        }
        match step {
            // An error that the provider has told says more than that it then fell silent.
            Err(_) if stream.error().is_some() => inner.give_up(),
            Err(trouble) => return lost(&mut flight, &trouble),
            Ok(Step::Done) => over = Some(step),
            Ok(_) if ended => {}
            Ok(_) => continue,
        }
        if let Some(went) = barren(&mut flight)? {
            return Ok(went);
        }
        break;
    }
    failpoint("attempt.first_token");
    let showing = Showing {
        earlier_picousd: earlier,
        cost: accepted.cost,
        generation: accepted.generation.to_string(),
        model: accepted.call.model.to_string(),
        created_s: worker.unix_us() / 1_000_000,
    };
    Ok(answered(accepted, Answer::Stream(Box::new(Relay::new(flight, showing, first, over))), headers))
}

/// A stream that ended without any output: an error, an empty answer, or one that is whole all the same (a tool's silence, a length of 0).
fn barren(flight: &mut Flight) -> Result<Option<Went>, ErrorBody> {
    let inner = flight.inner();
    let Tap::Stream(stream) = &inner.tap else { return Ok(None) };
    let provider = inner.attempt.endpoint.provider.display_name.clone();
    let (failure, truncated) = (stream.error().cloned(), stream.ending() == Ending::Truncated);
    if failure.is_none() && !stream.is_empty() && !truncated {
        return Ok(None);
    }
    let written = inner.close_stream(None, Here::Complete).map_err(|error| withheld(&error))?;
    Ok(Some(match failure {
        Some(error) => Went::Failed(judged(&error, written.cost_picousd)),
        None => {
            let what = if truncated { "ended its stream before any output" } else { "sent an empty answer" };
            let class = if truncated { Class::Cut } else { Class::Empty };
            failed(ErrorBody::new(ErrorType::ProviderUnavailable, format!("The provider {provider} {what}.")), class, written.cost_picousd)
        }
    }))
}

/// The answer to the caller: of the provider's headers only the content type passes.
fn answered(accepted: &Accepted, answer: Answer, headers: &HeaderMap) -> Went {
    let mut response = Response::new(answer);
    let own = response.headers_mut();
    let kind = headers.get(header::CONTENT_TYPE).cloned();
    own.insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/json")));
    if accepted.call.stream {
        own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    Went::Answered(Box::new(response))
}
