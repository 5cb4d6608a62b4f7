//! Plays the steps of a body: waits, sends, breaks, and notes each thing before it happens.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::journal::Entry;
use crate::record::Outcome;
use crate::reply::{Payload, Step, Steps};
use crate::wire::Line;

/// Why an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the answer breaks off here, as it was told to")]
    OnPurpose,
    #[error("the record could not be kept, so the bytes it speaks of are not sent: {0}")]
    Unrecorded(#[from] std::io::Error),
    #[error("the request broke off: {0}")]
    Request(Box<dyn std::error::Error + Send + Sync>),
}

/// The connection an answer is played on.
#[derive(Clone)]
pub(crate) struct Stage {
    pub line: Arc<Line>,
    /// In HTTP/2 a broken answer ends its stream only; the connection carries others.
    pub own_connection: bool,
    /// The longest silence a stall may last.
    pub stall: Duration,
}

impl Stage {
    /// Ends the answer as `outcome`, on purpose.
    pub(crate) fn breaks(&self, entry: &mut Entry, outcome: Outcome) -> Broken {
        if outcome == Outcome::Reset && self.own_connection {
            self.line.end_by_reset();
        }
        match entry.over(outcome) {
            Ok(()) => Broken::OnPurpose,
            Err(error) => error.into(),
        }
    }
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A body being played.
pub(crate) struct Played {
    steps: Steps,
    length: Option<u64>,
    /// A last step that follows a wait.
    breaking: Option<Outcome>,
    wait: Option<Wait>,
    /// Flushes seen when the last bytes were handed over.
    flushes: u64,
    began: Instant,
    entry: Entry,
    stage: Stage,
}

impl Played {
    pub(crate) fn new(body: Payload, began: Instant, entry: Entry, stage: Stage) -> Self {
        let (steps, length): (Steps, _) = match body {
            Payload::Whole(bytes, marks) => {
                let length = bytes.len() as u64;
                (Box::new(std::iter::once(Step::Send(bytes, marks))), Some(length))
            }
            Payload::Steps(steps) => (steps, None),
        };
        let flushes = stage.line.flushes();
        Self { steps, length, breaking: None, wait: None, flushes, began, entry, stage }
    }

    /// Takes the next step: bytes to send, the end, or nothing but a wait begun.
    fn step(&mut self) -> Option<Result<Option<Bytes>, Broken>> {
        if let Some(outcome) = self.breaking.take() {
            return Some(Err(self.stage.breaks(&mut self.entry, outcome)));
        }
        match self.steps.next() {
            None => return Some(self.entry.over(Outcome::Ended).map(|()| None).map_err(Broken::from)),
            Some(Step::Send(bytes, _)) if bytes.is_empty() => {}
            Some(Step::Send(bytes, marks)) => {
                self.flushes = self.stage.line.flushes();
                return Some(self.release(bytes, marks).map(Some));
            }
            Some(Step::At(time)) => self.wait_until(self.began + time),
            Some(Step::Pause(time)) => self.wait_until(Instant::now() + time),
            Some(Step::Flush) => self.wait_for_flush(),
            Some(Step::Stall) => {
                self.wait_until(Instant::now() + self.stage.stall);
                self.breaking = Some(Outcome::Closed);
            }
            Some(Step::Reset) => self.break_after_flush(Outcome::Reset),
            Some(Step::Close) => self.break_after_flush(Outcome::Closed),
        }
        None
    }

    fn release(&mut self, bytes: Bytes, marks: crate::reply::Marks) -> Result<Bytes, Broken> {
        self.entry.releasing(bytes.len(), marks)?;
        // With a known length the last byte is the end; the server does not ask for more.
        if self.length.is_some() {
            self.entry.over(Outcome::Ended)?;
        }
        Ok(bytes)
    }

    fn wait_until(&mut self, instant: Instant) {
        if instant > Instant::now() {
            self.wait = Some(Box::pin(tokio::time::sleep_until(instant)));
        }
    }

    fn wait_for_flush(&mut self) {
        let line = self.stage.line.clone();
        self.wait = Some(Box::pin(line.flushed_since(self.flushes)));
    }

    fn break_after_flush(&mut self, outcome: Outcome) {
        self.wait_for_flush();
        self.breaking = Some(outcome);
    }
}

impl Body for Played {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.step() {
                None => {}
                Some(Ok(Some(bytes))) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Ok(None)) => return Poll::Ready(None),
                Some(Err(broken)) => return Poll::Ready(Some(Err(broken))),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
