//! An attempt that a provider answers: what was sent is billed, and what may be shown goes to the caller.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use waybill_dialect::{
    AnswerOptions, BrokenAnswer, ErrorBody, ErrorType, Step,
    neutral::{Message, Notice, Shown, warning_header},
    read_answer, read_message, splice_cost, write_message,
};
use waybill_meter::{failpoint, tally::Facts};
use waybill_route::Class;

use crate::{
    answer::Answer,
    attempts::Accepted,
    carriage::Carriage,
    failing::{Went, barren, failed, judged, lost, withheld},
    flight::{Flight, Tap, whole_end},
    relay::{Relay, Showing, Teller},
    surface::Surface,
    trouble::Trouble,
    worker::Worker,
};

/// What a translation could not carry as it was.
pub(crate) const WARNING: HeaderName = HeaderName::from_static("x-waybill-warning");

pub(crate) async fn whole(
    worker: &Rc<Worker>,
    accepted: &Accepted,
    mut flight: Flight,
    earlier: i64,
    carriage: Carriage,
    headers: &HeaderMap,
) -> Result<Went, ErrorBody> {
    let body = match flight.body(worker.limits().answer_bytes).await {
        Ok(body) => body,
        Err(trouble) => return lost(&mut flight, &trouble),
    };
    failpoint("attempt.body");
    let inner = flight.inner();
    let provider = inner.attempt.endpoint.provider.display_name.clone();
    let unreadable = |broken: BrokenAnswer, cost_picousd| {
        let message = format!("The provider {provider} sent no readable answer: {broken}.");
        Ok(failed(ErrorBody::new(ErrorType::ProviderUnavailable, message), Class::Malformed, cost_picousd))
    };
    let answer = match read_answer(carriage.dialect, &body) {
        Ok(answer) => answer,
        Err(broken) => {
            let facts = Facts { outcome: "malformed", status: inner.status, ..Facts::default() };
            inner.attempt.orphaned(facts).map_err(|error| withheld(&error))?;
            return unreadable(broken, 0);
        }
    };
    inner.attempt.mark_first_output();
    // Read before the end is written, so that what cannot be told is not called complete.
    let message = carriage.is_translated().then(|| read_message(carriage.dialect, &body));
    let outcome = if matches!(message, Some(Err(_))) { "malformed" } else { "complete" };
    let written = whole_end(&mut inner.attempt, &answer, inner.status, outcome).map_err(|error| withheld(&error))?;
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
    let cost = accepted.cost.then(|| earlier.saturating_add(written.cost_picousd));
    match message.transpose() {
        Err(broken) => unreadable(broken, written.cost_picousd),
        Ok(None) => {
            let options = AnswerOptions { add_fingerprint: accepted.surface == Surface::OpenRouter };
            let pieces = match cost {
                Some(cost) => splice_cost(carriage.dialect, &body, &answer, cost, options).body.into_pieces(),
                None => vec![body],
            };
            Ok(answered(accepted, Answer::whole(pieces), Some(headers), &[]))
        }
        Ok(Some(message)) => {
            let (body, more) = translated(worker, accepted, &message, &answer, cost);
            let notices: Vec<Notice> = carriage.notices.into_iter().chain(more).collect();
            Ok(answered(accepted, Answer::whole([body]), None, &notices))
        }
    }
}

/// The answer of a provider in its caller's dialect.
fn translated(
    worker: &Worker,
    accepted: &Accepted,
    message: &Message,
    answer: &waybill_dialect::Answer,
    cost_picousd: Option<i64>,
) -> (Bytes, Vec<Notice>) {
    let Teller { dialect, generation, model, created_s } = accepted.teller(worker);
    let shown = Shown {
        id: &generation,
        model: &model,
        created_s,
        reading: answer.usage.as_ref(),
        cost_picousd,
        service_tier: answer.service_tier.as_deref(),
        openrouter: accepted.surface == Surface::OpenRouter,
    };
    write_message(dialect, message, &shown)
}

pub(crate) async fn streamed(
    worker: &Rc<Worker>,
    accepted: &Accepted,
    mut flight: Flight,
    earlier: i64,
    carriage: &Carriage,
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
        if stream.provider().output_started() {
            // All of it may have come in one piece.
            over = (!matches!(step, Ok(Step::More | Step::Holding))).then_some(step);
            break;
        }
        match step {
            // An error that the provider has told says more than that it then fell silent.
            Err(_) if stream.provider().error().is_some() => inner.give_up(),
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
    let showing =
        Showing { earlier_picousd: earlier, cost: accepted.cost, teller: accepted.teller(worker), key: Arc::clone(&accepted.key) };
    let headers = (!carriage.is_translated()).then_some(headers);
    Ok(answered(accepted, Answer::Stream(Box::new(Relay::new(flight, showing, first, over))), headers, &carriage.notices))
}

/// The answer to the caller: of the provider's `headers` only the content type passes, and none of a translated answer.
fn answered(accepted: &Accepted, answer: Answer, headers: Option<&HeaderMap>, notices: &[Notice]) -> Went {
    const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    let mut response = Response::new(answer);
    let own = response.headers_mut();
    let (kind, prefix) = if accepted.call.stream { (EVENTS, "text/event-stream") } else { (JSON, "application/json") };
    let theirs = headers.and_then(|headers| headers.get(header::CONTENT_TYPE));
    // What was read as JSON is JSON, whatever its provider calls it: clients go by the name.
    let theirs = theirs.filter(|kind| kind.as_bytes().starts_with(prefix.as_bytes()));
    own.insert(header::CONTENT_TYPE, theirs.cloned().unwrap_or(kind));
    if accepted.call.stream {
        own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    if !notices.is_empty()
        && let Ok(warning) = HeaderValue::from_str(&warning_header(notices))
    {
        own.insert(WARNING, warning);
    }
    Went::Answered(Box::new(response))
}
