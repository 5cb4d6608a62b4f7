//! One request and its answer, driven by polling, so that whoever holds it can go on with it after its caller has gone.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body::Body;
use hyper::{body::Incoming, client::conn::TrySendError};
use waybill_model::snapshot::Origin;

use crate::{
    bell::Bells,
    failure::{Failure, Kind},
    payload::Payload,
    pool::{Line, Pool},
};

/// Bytes taken together before they are handed on.
const BATCH_BYTES: usize = 64 * 1024;

/// How far the body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// More may come.
    More,
    /// That was the end; the connection is back in the pool.
    End,
}

type Head = Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Payload>>>>>>;

enum State {
    Head(Head),
    Body(Incoming),
    /// The connection has ended in the middle; what came before has been handed on first.
    Broken(Failure),
    Done,
}

/// A request on its way, then its answer.
pub struct Exchange {
    line: Option<Line>,
    state: State,
}

impl Exchange {
    /// Sends a request. It returns when the request has been handed to a connection; nothing has been read by then.
    ///
    /// A connection that turns out to be dead before it took the request is replaced by a fresh one, once.
    ///
    /// # Errors
    /// No connection could be had: no byte of the request has left.
    pub async fn start(pool: &Pool, origin: &Origin, request: Request<Payload>) -> Result<Self, Failure> {
        let line = pool.line(origin, false).await?;
        let (mut exchange, mut request) = (Self::on(line), Some(request));
        loop {
            let Some(sent) = request.take() else { return Err(Failure::before(Kind::Reset, "the request was lost")) };
            match exchange.hand_over(sent).await {
                Ok(()) => return Ok(exchange),
                Err((back, was_fresh)) if !was_fresh => {
                    request = Some(back);
                    exchange = Self::on(pool.line(origin, true).await?);
                }
                Err(_) => {
                    return Err(Failure::before(
                        Kind::Reset,
                        format!("{} closed the connection before it took the request", origin.authority),
                    ));
                }
            }
        }
    }

    const fn on(line: Line) -> Self {
        Self { line: Some(line), state: State::Done }
    }

    /// Gives the request to the connection and lets it write. The request comes back if the connection died before it took it.
    async fn hand_over(&mut self, request: Request<Payload>) -> Result<(), (Request<Payload>, bool)> {
        let Some(line) = self.line.as_mut() else { return Ok(()) };
        let was_fresh = line.fresh;
        let mut head: Head = Box::pin(line.sender.try_send_request(request));
        let bells = Rc::clone(&line.bells);
        let first = poll_fn(|context| {
            Poll::Ready(bells.turn(context, || {
                line.advance();
                head.as_mut().poll(&mut bells.answer())
            }))
        });
        match first.await {
            Poll::Pending => self.state = State::Head(head),
            Poll::Ready(Ok(response)) => self.state = State::Head(Box::pin(std::future::ready(Ok(response)))),
            Poll::Ready(Err(mut error)) => match error.take_message() {
                Some(request) => return Err((request, was_fresh)),
                None => self.state = State::Head(Box::pin(std::future::ready(Err(error)))),
            },
        }
        Ok(())
    }

    /// Waits for status and headers.
    ///
    /// # Errors
    /// The connection ended or the answer is not HTTP. The request has left.
    pub fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Parts, Failure>> {
        let (State::Head(head), Some(line)) = (&mut self.state, self.line.as_mut()) else {
            return Poll::Ready(Err(Failure { kind: Kind::Protocol, request_left: true, message: "the head was taken before".into() }));
        };
        let bells = Rc::clone(&line.bells);
        let polled = bells.turn(context, || {
            line.advance();
            head.as_mut().poll(&mut bells.answer())
        });
        match ready!(polled) {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                self.state = State::Body(body);
                Poll::Ready(Ok(parts))
            }
            Err(error) => {
                self.state = State::Done;
                Poll::Ready(Err(Failure::after(error.error())))
            }
        }
    }

    /// Takes all bytes of the body that are there, at most about 64 KiB, as slices behind `into`. Ready with `More` only if there is at least
    /// one slice.
    ///
    /// # Errors
    /// The connection ended before the body did.
    pub fn poll_body(&mut self, context: &mut Context<'_>, into: &mut Vec<Bytes>) -> Poll<Result<Progress, Failure>> {
        match self.line.as_ref().map(|line| Rc::clone(&line.bells)) {
            Some(bells) => bells.turn(context, || self.poll_slices(&bells, into)),
            None => Poll::Ready(Ok(Progress::End)),
        }
    }

    fn poll_slices(&mut self, bells: &Bells, into: &mut Vec<Bytes>) -> Poll<Result<Progress, Failure>> {
        if matches!(self.state, State::Broken(_))
            && let State::Broken(failure) = std::mem::replace(&mut self.state, State::Done)
        {
            return Poll::Ready(Err(failure));
        }
        let (State::Body(body), Some(line)) = (&mut self.state, self.line.as_mut()) else { return Poll::Ready(Ok(Progress::End)) };
        let (mut taken, mut advanced, before) = (0, false, into.len());
        loop {
            match Pin::new(&mut *body).poll_frame(&mut bells.answer()) {
                Poll::Ready(Some(Ok(frame))) => {
                    advanced = false;
                    if let Ok(data) = frame.into_data() {
                        taken += data.len();
                        into.push(data);
                    }
                    if taken >= BATCH_BYTES {
                        return Poll::Ready(Ok(Progress::More));
                    }
                }
                Poll::Ready(Some(Err(error))) if into.len() > before => {
                    self.state = State::Broken(Failure::after(&error));
                    return Poll::Ready(Ok(Progress::More));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.state = State::Done;
                    return Poll::Ready(Err(Failure::after(&error)));
                }
                Poll::Ready(None) => {
                    self.finish();
                    return Poll::Ready(Ok(Progress::End));
                }
                Poll::Pending if !advanced => {
                    line.advance();
                    advanced = true;
                }
                Poll::Pending if into.len() > before => return Poll::Ready(Ok(Progress::More)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn finish(&mut self) {
        self.state = State::Done;
        if let Some(mut line) = self.line.take() {
            // One more turn lets the connection see the end of the message and want the next one.
            if line.advance() && line.sender.is_ready() {
                line.give_back();
            }
        }
    }
}
