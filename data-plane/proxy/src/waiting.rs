//! A caller of a stream who has heard nothing for a while: the head goes out and a sign of life after it, and the attempts go on behind them.
//!
//! Signs of life are no output: failing over stays possible. What is lost is only the status line, so that an error is told in-band.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use tokio::time::{Instant, Sleep, sleep, timeout};
use waybill_dialect::ErrorBody;

use crate::{answer::Answer, relay::Teller};

/// The attempts of a request, on their way.
pub(crate) type Making = Pin<Box<dyn Future<Output = Result<Response<Answer>, ErrorBody>>>>;

/// See the module.
pub(crate) struct Waiting {
    making: Making,
    /// How an error is told.
    teller: Teller,
    pause: Duration,
    /// When the next sign is due.
    next: Pin<Box<Sleep>>,
    /// The answer has come; what its head would have said goes before it.
    answer: Option<Answer>,
}

/// What comes out of waiting.
pub(crate) enum Heard {
    /// Bytes for the caller.
    Piece(Bytes),
    /// What follows in place of the waiting.
    Answer(Answer),
}

/// Waits for the answer to a stream. After `pause` the head goes out all the same.
///
/// # Errors
/// The attempts have failed before.
pub(crate) async fn wait(mut making: Making, pause: Duration, teller: Teller) -> Result<Response<Answer>, ErrorBody> {
    if let Ok(made) = timeout(pause, &mut making).await {
        return made;
    }
    let next = Box::pin(sleep(Duration::ZERO));
    let mut response = Response::new(Answer::Waiting(Box::new(Waiting { making, teller, pause, next, answer: None })));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

impl Waiting {
    /// What is next for the caller.
    pub(crate) fn poll_heard(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        if let Some(answer) = self.answer.take() {
            return Poll::Ready(Heard::Answer(answer));
        }
        if let Poll::Ready(made) = self.making.as_mut().poll(context) {
            return Poll::Ready(match made {
                Ok(response) => self.answered(response),
                Err(error) => Heard::Answer(Answer::whole(self.teller.error(&error))),
            });
        }
        if self.next.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.next.as_mut().reset(Instant::now() + self.pause);
        // Asked again, so that the task is woken for the next sign.
        let _ = self.next.as_mut().poll(context);
        Poll::Ready(Heard::Piece(Bytes::from_static(self.teller.dialect.keep_alive())))
    }

    fn answered(&mut self, response: Response<Answer>) -> Heard {
        let (head, answer) = response.into_parts();
        match head.headers.get(crate::answering::WARNING).and_then(|warning| warning.to_str().ok()) {
            Some(warning) => {
                self.answer = Some(answer);
                Heard::Piece(format!(": {}: {warning}\n\n", crate::answering::WARNING).into())
            }
            None => Heard::Answer(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use http_body::Body;
    use waybill_dialect::{Dialect, ErrorType};

    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn teller(dialect: Dialect) -> Teller {
        Teller { dialect, generation: "gen-1".into(), model: "m".into(), created_s: 7 }
    }

    /// Comes to `made` after so many seconds.
    fn after(seconds: u64, made: impl FnOnce() -> Result<Response<Answer>, ErrorBody> + 'static) -> Making {
        Box::pin(async move {
            sleep(Duration::from_secs(seconds)).await;
            made()
        })
    }

    /// Every piece of a body with the seconds since the beginning.
    async fn pieces(answer: Answer, most: usize, start: Instant) -> Vec<(u64, String)> {
        let (mut answer, mut seen) = (Box::pin(answer), Vec::new());
        while seen.len() < most {
            let Some(frame) = poll_fn(|context| answer.as_mut().poll_frame(context)).await else { break };
            let Ok(bytes) = frame.expect("it never fails").into_data() else { break };
            seen.push((start.elapsed().as_secs(), String::from_utf8_lossy(&bytes).into_owned()));
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_in_time_is_the_answer() {
        let made = wait(after(9, || Ok(Response::new(Answer::whole([Bytes::from_static(b"x")])))), PAUSE, teller(Dialect::OpenAi)).await;
        assert!(matches!(made.expect("an answer").body(), Answer::Whole(_)));
        let refused = wait(after(9, || Err(ErrorBody::new(ErrorType::NotFound, "gone"))), PAUSE, teller(Dialect::OpenAi)).await;
        assert_eq!(refused.err().map(|error| error.status), Some(404), "in time for its status");
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_come_at_their_time_and_the_answer_follows_them() {
        let start = Instant::now();
        let making = after(25, || {
            let mut response = Response::new(Answer::whole([Bytes::from_static(b"data: x\n\n")]));
            response.headers_mut().insert(crate::answering::WARNING, HeaderValue::from_static("seed: dropped"));
            Ok(response)
        });
        let response = wait(making, PAUSE, teller(Dialect::OpenAi)).await.expect("a head");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        let sign = ": waybill processing\n\n".to_owned();
        let warning = ": x-waybill-warning: seed: dropped\n\n".to_owned();
        let expected = [(10, sign.clone()), (20, sign), (25, warning), (25, "data: x\n\n".to_owned())];
        assert_eq!(pieces(response.into_body(), 9, start).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_behind_a_sign_of_life_is_in_band_and_silence_goes_on_being_told() {
        let start = Instant::now();
        let making = after(12, || Err(ErrorBody::new(ErrorType::Timeout, "nobody answered")));
        let response = wait(making, PAUSE, teller(Dialect::OpenAi)).await.expect("a head");
        let seen = pieces(response.into_body(), 9, start).await;
        assert_eq!((seen.len(), seen[0].0, seen[1].0), (3, 10, 12), "{seen:?}");
        assert!(seen[1].1.contains("nobody answered") && seen[1].1.contains("gen-1"), "{seen:?}");
        assert_eq!(seen[2].1, "data: [DONE]\n\n");

        let start = Instant::now();
        let response = wait(Box::pin(pending()), PAUSE, teller(Dialect::Anthropic)).await.expect("a head");
        let times: Vec<u64> = pieces(response.into_body(), 4, start).await.into_iter().map(|(time, _)| time).collect();
        assert_eq!(times, [10, 20, 30, 40]);
    }
}
