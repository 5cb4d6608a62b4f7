//! An attempt that a provider answers: what was sent is billed, and what may be shown goes to the caller.

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use waybill_dialect::{AnswerOptions, ErrorBody, ErrorType, Step, openai};
use waybill_meter::{failpoint, tally::Facts};
use waybill_route::Class;

use crate::{
    answer::Answer,
    attempts::Accepted,
    failing::{Went, barren, failed, judged, lost, withheld},
    flight::{Flight, Tap, Trouble, whole_end},
    relay::{Relay, Showing},
    surface::Surface,
    worker::Worker,
};

/// What a translation could not carry as it was.
pub(crate) const WARNING: HeaderName = HeaderName::from_static("x-waybill-warning");

pub(crate) async fn whole(
    worker: &Rc<Worker>,
    accepted: &Accepted,
    mut flight: Flight,
    earlier: i64,
    headers: &HeaderMap,
) -> Result<Went, ErrorBody> {
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

pub(crate) async fn streamed(
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
    let showing = Showing { earlier_picousd: earlier, cost: accepted.cost, teller: accepted.teller(worker) };
    Ok(answered(accepted, Answer::Stream(Box::new(Relay::new(flight, showing, first, over))), headers))
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
