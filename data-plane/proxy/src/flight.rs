//! An attempt under way: the exchange with the provider, the tap that reads its usage, and the clock.
//!
//! A flight that is dropped before its end has lost its caller, not its bill: it is read to its end in the background, or, where the provider is
//! known to stop billing, cancelled and estimated.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::{task::spawn_local, time::Instant};
use waybill_dialect::{Answer, Ending, FrameTooLarge, Passage, Step, StreamFault, read_answer};
use waybill_front::{Limits, Open};
use waybill_meter::tally::Facts;
use waybill_model::snapshot::{Endpoint, HangUp};
use waybill_upstream::{Exchange, Progress};

use crate::{
    attempt::{Attempt, NotWritten, Written},
    deadline::Deadline,
    outbound::dialect_of,
    trouble::{Here, Trouble},
};

/// What reads the usage out of the bytes.
pub(crate) enum Tap {
    /// The whole body, piece by piece.
    Whole(Vec<Bytes>),
    /// Frames.
    Stream(Box<Passage>),
}

pub(crate) struct Inner {
    pub(crate) attempt: Attempt,
    exchange: Exchange,
    pub(crate) tap: Tap,
    pub(crate) status: u16,
    pub(crate) ended: bool,
    deadline: Deadline,
    last: Instant,
    /// How it ends on this side if it is dropped while it is open.
    left: Here,
    /// Bytes of a stream before its first output.
    silent: usize,
}

/// See the module.
pub(crate) struct Flight(Option<Box<Inner>>);

impl Flight {
    pub(crate) fn new(attempt: Attempt, exchange: Exchange, tap: Tap) -> Self {
        let last = Instant::now();
        Self(Some(Box::new(Inner {
            attempt,
            exchange,
            tap,
            status: 0,
            ended: false,
            deadline: Deadline::default(),
            last,
            left: Here::HungUp,
            silent: 0,
        })))
    }

    /// The flight's parts. It has them until it is dropped.
    pub(crate) fn inner(&mut self) -> &mut Inner {
        // Only `drop` takes them, and nothing is called after it.
        self.0.as_mut().unwrap_or_else(|| unreachable!("a flight keeps its parts until it is dropped"))
    }

    /// Waits for status and headers.
    pub(crate) async fn head(&mut self, limit: Duration, name: &'static str) -> Result<(StatusCode, HeaderMap), Trouble> {
        let inner = self.inner();
        let at = inner.attempt.started + limit;
        let parts = poll_fn(|context| {
            if let Poll::Ready(parts) = inner.exchange.poll_head(context) {
                return Poll::Ready(parts.map_err(Trouble::from));
            }
            if inner.deadline.has_passed(at, context) {
                return Poll::Ready(Err(Trouble::Timeout(limit, name)));
            }
            Poll::Pending
        });
        let parts = parts.await?;
        inner.status = parts.status.as_u16();
        inner.last = Instant::now();
        Ok((parts.status, parts.headers))
    }

    /// Reads the whole body, at most so many bytes.
    pub(crate) async fn body(&mut self, limit: usize) -> Result<Bytes, Trouble> {
        let inner = self.inner();
        inner.tap = Tap::Whole(Vec::new());
        poll_fn(|context| inner.poll_whole(context, limit)).await?;
        let Tap::Whole(pieces) = &mut inner.tap else { return Ok(Bytes::new()) };
        let body = joined(pieces);
        pieces.clear();
        pieces.push(body.clone());
        Ok(body)
    }
}

impl Inner {
    fn poll_whole(&mut self, context: &mut Context<'_>, limit: usize) -> Poll<Result<(), Trouble>> {
        while !self.ended {
            let mut pieces = Vec::new();
            ready!(self.poll_pieces(context, &mut pieces))?;
            if let Tap::Whole(taken) = &mut self.tap {
                taken.append(&mut pieces);
                if taken.iter().map(Bytes::len).sum::<usize>() > limit {
                    return Poll::Ready(Err(Trouble::TooLarge(limit)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is there, within the limits of stall and total time.
    pub(crate) fn poll_pieces(&mut self, context: &mut Context<'_>, into: &mut Vec<Bytes>) -> Poll<Result<(), Trouble>> {
        match self.exchange.poll_body(context, into) {
            Poll::Ready(Ok(progress)) => {
                self.ended = progress == Progress::End;
                self.last = Instant::now();
                // A provider that always has more to say is never waited for.
                let total_time = self.attempt.worker().limits().total_time;
                if !self.ended && self.last > self.attempt.started + total_time {
                    return Poll::Ready(Err(Trouble::Timeout(total_time, "total_time")));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(failure)) => {
                self.ended = true;
                Poll::Ready(Err(failure.into()))
            }
            Poll::Pending => {
                let limits = self.attempt.worker().limits();
                let total = self.attempt.started + limits.total_time;
                // A whole answer may be thought over after its head was sent; only a stream is known to flow.
                let stall = if matches!(self.tap, Tap::Whole(_)) { total } else { self.last + limits.stall_time };
                let trouble = if stall < total {
                    Trouble::Timeout(limits.stall_time, "stall_time")
                } else {
                    Trouble::Timeout(limits.total_time, "total_time")
                };
                if self.deadline.has_passed(stall.min(total), context) {
                    return Poll::Ready(Err(trouble));
                }
                Poll::Pending
            }
        }
    }

    /// Takes what is there into the stream, which gives to `out` what may be shown. Ready when there is something new.
    pub(crate) fn poll_frames(&mut self, context: &mut Context<'_>, out: &mut Vec<Bytes>) -> Poll<Result<Step, Trouble>> {
        let mut pieces = Vec::new();
        ready!(self.poll_pieces(context, &mut pieces))?;
        let ended = self.ended;
        let Tap::Stream(stream) = &mut self.tap else { return Poll::Ready(Ok(Step::Done)) };
        let mut step = Step::More;
        for piece in &pieces {
            step = stream.push(piece, out)?;
        }
        if ended {
            let shown = out.len();
            if stream.finish(out) == Ending::Truncated {
                // An error is told next, and no reader may take it for a part of an unfinished frame.
                out.truncate(shown);
            }
        }
        if stream.provider().output_started() {
            self.attempt.mark_first_output();
        } else {
            // All of it is kept back, since another endpoint may have to answer.
            self.silent = self.silent.saturating_add(pieces.iter().map(Bytes::len).sum());
            let limit = self.attempt.worker().limits().frame_bytes;
            if self.silent > limit {
                return Poll::Ready(Err(StreamFault::Frame(FrameTooLarge { limit }).into()));
            }
        }
        Poll::Ready(Ok(step))
    }

    /// What is held back can be told to the caller, if it is no error. Asked before the end is written, since the end says whether it was.
    pub(crate) fn conclude(&mut self) -> Result<(), Trouble> {
        match &mut self.tap {
            Tap::Stream(stream) if stream.provider().error().is_none() => Ok(stream.conclude()?),
            Tap::Stream(_) | Tap::Whole(_) => Ok(()),
        }
    }

    /// Nothing more is wanted of the provider: its connection is closed with the flight, so that it does not go on working for nobody.
    pub(crate) const fn give_up(&mut self) {
        self.ended = true;
    }

    /// Nobody may have the rest: it is read and billed as for a caller who has gone.
    pub(crate) const fn revoke(&mut self) {
        self.left = Here::Revoked;
    }

    /// The provider is known not to bill answers of this status that come without usage.
    fn is_free(&self) -> bool {
        is_free(&self.attempt.endpoint, self.status)
    }

    /// Writes the one end of a streamed attempt from what the stream has told. `here` says how it ended on this side.
    pub(crate) fn close_stream(&mut self, trouble: Option<&Trouble>, here: Here) -> Result<Written, NotWritten> {
        self.end_stream(trouble, here, false)
    }

    /// The same; a stream that was cancelled before it told anything has cost its input all the same.
    fn end_stream(&mut self, trouble: Option<&Trouble>, here: Here, cancelled: bool) -> Result<Written, NotWritten> {
        let Tap::Stream(stream) = &self.tap else { return self.attempt.orphaned(Facts::default()) };
        let facts = stream_facts(stream, self.status, trouble, here);
        self.attempt.mark_tier(stream.provider().service_tier());
        let (told, bytes) = (stream.provider().input_told(), stream.provider().output().bytes());
        match stream.provider().usage() {
            Some(reading) => self.attempt.settled(reading, facts),
            None if stream.provider().output_started() => self.attempt.partial(told, bytes, facts),
            // An error and nothing else: as with a status of its own, providers do not bill it.
            None if stream.provider().error().is_some() => self.attempt.failed(facts),
            None if cancelled => self.attempt.partial(told, bytes, facts),
            None => self.attempt.orphaned(facts),
        }
    }

    /// Writes the one end of an attempt whose whole answer was read, or not.
    fn close_whole(&mut self, trouble: Option<&Trouble>, here: Here) -> Result<Written, NotWritten> {
        let Tap::Whole(pieces) = &self.tap else { return self.attempt.orphaned(Facts::default()) };
        let body = joined(pieces);
        let outcome = trouble.map_or(here.outcome(), Trouble::outcome);
        match read_answer(dialect_of(&self.attempt.endpoint), &body) {
            Ok(answer) if trouble.is_none() => whole_end(&mut self.attempt, &answer, self.status, outcome),
            // The status alone is evidence, with or without a readable body.
            _ if self.is_free() => self.attempt.failed(Facts { outcome, status: self.status, ..Facts::default() }),
            _ => self.attempt.orphaned(Facts { outcome, status: self.status, ..Facts::default() }),
        }
    }

    /// Reads on to the end for a caller who has gone, then writes the end.
    async fn drain(mut self: Box<Self>, _open: Open) {
        let answer_bytes = self.attempt.worker().limits().answer_bytes;
        let trouble = poll_fn(|context| self.poll_to_end(context, answer_bytes)).await.err();
        let written = match self.tap {
            Tap::Stream(_) => self.close_stream(trouble.as_ref(), self.left),
            Tap::Whole(_) => self.close_whole(trouble.as_ref(), self.left),
        };
        if let Err(error) = written {
            tracing::error!(attempt = %self.attempt.id(), %error, "the attempt of a caller who hung up is left to recovery");
        }
    }

    fn poll_to_end(&mut self, context: &mut Context<'_>, answer_bytes: usize) -> Poll<Result<(), Trouble>> {
        if self.status == 0 {
            let (limit, name) = head_limit(self.attempt.worker().limits(), matches!(self.tap, Tap::Stream(_)));
            let at = self.attempt.started + limit;
            match self.exchange.poll_head(context) {
                Poll::Ready(parts) => {
                    let parts = parts?;
                    self.status = parts.status.as_u16();
                    self.last = Instant::now();
                    let is_stream =
                        parts.headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
                    if !is_stream {
                        self.tap = Tap::Whole(Vec::new());
                    }
                }
                Poll::Pending if self.deadline.has_passed(at, context) => return Poll::Ready(Err(Trouble::Timeout(limit, name))),
                Poll::Pending => return Poll::Pending,
            }
        }
        if matches!(self.tap, Tap::Whole(_)) {
            return self.poll_whole(context, answer_bytes);
        }
        let mut shown = Vec::new();
        while !self.ended {
            ready!(self.poll_frames(context, &mut shown))?;
            shown.clear();
        }
        Poll::Ready(Ok(()))
    }

    /// Closes the connection of a provider that stops billing then, and writes what had been delivered.
    fn cancel(mut self: Box<Self>) {
        if let Err(error) = self.end_stream(None, self.left, true) {
            tracing::error!(attempt = %self.attempt.id(), %error, "a cancelled attempt is left to recovery");
        }
    }

    /// Lets the connection see the end of the answer, so that it can be used again.
    async fn finish(mut self: Box<Self>) {
        let mut pieces = Vec::new();
        while !self.ended {
            pieces.clear();
            if poll_fn(|context| self.poll_pieces(context, &mut pieces)).await.is_err() {
                return;
            }
        }
    }
}

/// Cut while it was still read, as when the drain time is over: what has been seen decides, not that nobody waited for the rest.
impl Drop for Inner {
    fn drop(&mut self) {
        if !self.attempt.is_open() {
            return;
        }
        let written = match self.tap {
            Tap::Stream(_) => self.close_stream(None, Here::Abandoned),
            Tap::Whole(_) => self.attempt.orphaned(Facts { outcome: Here::Abandoned.outcome(), status: self.status, ..Facts::default() }),
        };
        if let Err(error) = written {
            tracing::error!(attempt = %self.attempt.id(), %error, "an abandoned attempt is left to recovery");
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(inner) = self.0.take() else { return };
        if inner.attempt.is_open() {
            inner.attempt.worker().counters.hang_ups.add(1);
            // Providers that stop billing at a cancel do so for streams; a whole answer is billed in full everywhere.
            match (inner.attempt.endpoint.provider.hang_up, &inner.tap) {
                (HangUp::Cancel, Tap::Stream(_)) => inner.cancel(),
                _ => {
                    // Held from here on: the worker must not find itself idle before the task has begun.
                    let open = inner.attempt.worker().drain().open();
                    drop(spawn_local(inner.drain(open)));
                }
            }
        } else if !inner.ended && inner.status < 300 && matches!(inner.tap, Tap::Stream(_)) {
            drop(spawn_local(inner.finish()));
        }
    }
}

/// How long status and headers may take: a stream's head comes with its first token, a whole answer's when it has been written.
pub(crate) const fn head_limit(limits: &Limits, stream: bool) -> (Duration, &'static str) {
    if stream { (limits.first_token_time, "first_token_time") } else { (limits.total_time, "total_time") }
}

/// An error status that the provider does not bill, where no usage came with it: all of them unless its table names some.
pub(crate) fn is_free(endpoint: &Endpoint, status: u16) -> bool {
    let free = &endpoint.provider.free_statuses;
    status >= 300 && (free.is_empty() || free.contains(&status))
}

/// Writes the end of an attempt with a readable whole answer.
pub(crate) fn whole_end(attempt: &mut Attempt, answer: &Answer, status: u16, outcome: &'static str) -> Result<Written, NotWritten> {
    let facts = Facts {
        outcome: if answer.error_in_body.is_some() {
            "provider_error"
        } else if answer.empty {
            "empty_answer"
        } else {
            outcome
        },
        error_type: answer.error_in_body.as_ref().map_or("", |error| error.error_type.name()),
        status,
        finish_reason: answer.finish.as_deref().unwrap_or_default(),
        provider_answer_id: answer.id.as_deref().unwrap_or_default(),
        model_served: answer.model.as_deref().unwrap_or_default(),
        ..Facts::default()
    };
    attempt.mark_tier(answer.service_tier.as_deref());
    match &answer.usage {
        Some(reading) => attempt.settled(reading, facts),
        None if is_free(&attempt.endpoint, status) || (status < 300 && answer.error_in_body.is_some()) => attempt.failed(facts),
        None if status >= 300 => attempt.orphaned(facts),
        None if answer.empty => attempt.orphaned(facts),
        None => attempt.partial(None, answer.output.bytes(), facts),
    }
}

fn stream_facts<'a>(stream: &'a Passage, status: u16, trouble: Option<&Trouble>, here: Here) -> Facts<'a> {
    let outcome = match (stream.provider().error(), stream.ending(), trouble) {
        (Some(_), ..) => "provider_error",
        (None, _, Some(trouble)) => trouble.outcome(),
        (None, Ending::Truncated, None) if here == Here::Complete => "upstream_cut",
        (None, ..) => here.outcome(),
    };
    Facts {
        outcome,
        error_type: stream.provider().error().map_or("", |error| error.error_type.name()),
        status,
        finish_reason: stream.provider().finish_reason().unwrap_or_default(),
        provider_answer_id: stream.provider().id().unwrap_or_default(),
        model_served: stream.provider().model().unwrap_or_default(),
        ..Facts::default()
    }
}

/// One buffer of all pieces; a single piece is not copied.
fn joined(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [] => Bytes::new(),
        [only] => only.clone(),
        many => {
            let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
            many.iter().for_each(|piece| all.extend_from_slice(piece));
            all.freeze()
        }
    }
}
