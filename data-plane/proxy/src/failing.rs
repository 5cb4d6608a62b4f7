//! An attempt that failed: its end is written, its error is told in the caller's words, and whether another may be tried is decided.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use waybill_dialect::{Classified, Dialect, Ending, ErrorBody, ErrorHeaders, ErrorType, Stream, StreamOptions, classify, read_answer};
use waybill_meter::tally::Facts;
use waybill_model::snapshot::Endpoint;
use waybill_route::Class;

use crate::{
    answer::Answer,
    attempt::{Attempt, NotWritten, Written},
    flight::{Flight, Tap, is_free, whole_end},
    outbound::dialect_of,
    trouble::{Here, Trouble},
};

/// Longest error answer of a provider that is read.
pub(crate) const ERROR_BYTES: usize = 1 << 20;

/// How one attempt went.
pub(crate) enum Went {
    Answered(Box<Response<Answer>>),
    /// It failed; another may be tried if the error says so.
    Failed(Failed),
}

pub(crate) struct Failed {
    pub(crate) error: ErrorBody,
    /// Another endpoint may succeed.
    pub(crate) elsewhere: bool,
    /// Another model may succeed.
    pub(crate) other_model: bool,
    /// What it cost all the same.
    pub(crate) cost_picousd: i64,
    pub(crate) class: Class,
}

pub(crate) fn failed(error: ErrorBody, class: Class, cost_picousd: i64) -> Went {
    Went::Failed(Failed { error, elsewhere: true, other_model: true, cost_picousd, class })
}

/// The intent could not be written.
pub(crate) fn not_begun(refusal: &waybill_meter::Refusal) -> ErrorBody {
    let error = ErrorBody::new(
        ErrorType::Server,
        format!("This request cannot be recorded, so it was not sent: {refusal}. It is no fault of the request; try again."),
    );
    let reason = if matches!(refusal, waybill_meter::Refusal::Full { .. }) { "spool_full" } else { "spool_unavailable" };
    error.with_status(503).with("reason", reason).with_retry_after(5)
}

/// The end could not be written.
pub(crate) fn withheld(error: &NotWritten) -> ErrorBody {
    tracing::error!(%error, "an answer is withheld");
    ErrorBody::new(
        ErrorType::Server,
        "The end of this answer could not be recorded, so it is withheld. It is a fault of this gateway; the request may be repeated.",
    )
    .with_status(503)
}

/// The request left and no answer came. What a stream has told all the same, usage or an error, decides its bill.
pub(crate) fn lost(flight: &mut Flight, trouble: &Trouble) -> Result<Went, ErrorBody> {
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
        Trouble::TooLarge(_) | Trouble::Stream(_) => (ErrorType::ProviderUnavailable, Class::Malformed),
    };
    Ok(failed(ErrorBody::new(kind, format!("The provider {provider} gave no answer: {trouble}.")), class, cost_picousd))
}

/// The provider answered with an error status.
pub(crate) async fn refused(mut flight: Flight, endpoint: &Endpoint, status: StatusCode, headers: &HeaderMap) -> Result<Went, ErrorBody> {
    let body = flight.body(ERROR_BYTES).await.unwrap_or_default();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let inner = flight.inner();
    let error_headers = ErrorHeaders {
        retry_after: header("retry-after"),
        retry_after_ms: header("retry-after-ms"),
        content_type: header("content-type"),
        now_s: inner.attempt.worker().unix_us() / 1_000_000,
    };
    let classified = classify(status.as_u16(), &error_headers, &body);
    let facts = Facts { outcome: "provider_error", error_type: classified.error_type.name(), status: status.as_u16(), ..Facts::default() };
    let usage = read_answer(dialect_of(endpoint), &body).ok().and_then(|answer| answer.usage);
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

pub(crate) fn judged(classified: &Classified, cost_picousd: i64) -> Failed {
    Failed {
        error: classified.to_body(),
        elsewhere: classified.retries_elsewhere(),
        other_model: classified.retries_with_other_model(),
        cost_picousd,
        class: class_of(classified),
    }
}

/// The provider answered in the other form. What it consumed is read if it can be, and another endpoint is tried.
pub(crate) async fn misplaced(mut flight: Flight, what: &str) -> Result<Went, ErrorBody> {
    let limit = flight.inner().attempt.worker().limits().answer_bytes;
    let body = flight.body(limit).await;
    let inner = flight.inner();
    let status = inner.status;
    let dialect = dialect_of(&inner.attempt.endpoint);
    let (written, told) = match body.as_ref().map(|body| (read_answer(dialect, body), body)) {
        Ok((Ok(answer), _)) => (whole_end(&mut inner.attempt, &answer, status, "misplaced_form"), answer.error_in_body),
        Ok((Err(_), body)) => events_end(&mut inner.attempt, dialect, body, status),
        Err(_) => (inner.attempt.orphaned(Facts { outcome: "misplaced_form", status, ..Facts::default() }), None),
    };
    let cost_picousd = written.map_err(|error| withheld(&error))?.cost_picousd;
    // Errors have one form where providers have it so; what they say is worth more than their form.
    if let Some(error) = told {
        return Ok(Went::Failed(judged(&error, cost_picousd)));
    }
    let provider = inner.attempt.endpoint.provider.display_name.clone();
    let error = ErrorBody::new(ErrorType::ProviderUnavailable, format!("The provider {provider} sent {what}."));
    Ok(failed(error, Class::Malformed, cost_picousd))
}

/// Writes the end of an attempt whose whole answer came as events, if it is any.
fn events_end(attempt: &mut Attempt, dialect: Dialect, body: &Bytes, status: u16) -> (Result<Written, NotWritten>, Option<Classified>) {
    let mut stream = Stream::new(dialect, StreamOptions { frame_bytes: body.len(), ..StreamOptions::default() });
    let mut unseen = Vec::new();
    let _ = stream.push(body, &mut unseen);
    stream.finish(&mut unseen);
    attempt.mark_tier(stream.service_tier());
    let told = stream.error().cloned();
    let facts = Facts {
        outcome: if told.is_some() { "provider_error" } else { "misplaced_form" },
        error_type: told.as_ref().map_or("", |error| error.error_type.name()),
        status,
        ..Facts::default()
    };
    let written = match stream.usage() {
        Some(reading) => attempt.settled(reading, facts),
        None if stream.output_started() => attempt.partial(stream.input_told(), stream.output().bytes(), facts),
        None if told.is_some() => attempt.failed(facts),
        None => attempt.orphaned(facts),
    };
    (written, told)
}

/// A stream that ended without any output: an error, an empty answer, or one that is whole all the same (a tool's silence, a length of 0).
pub(crate) fn barren(flight: &mut Flight) -> Result<Option<Went>, ErrorBody> {
    let inner = flight.inner();
    let Tap::Stream(stream) = &inner.tap else { return Ok(None) };
    let provider = inner.attempt.endpoint.provider.display_name.clone();
    let (failure, truncated) = (stream.provider().error().cloned(), stream.ending() == Ending::Truncated);
    if failure.is_none() && !stream.provider().is_empty() && !truncated {
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
