//! A stream on its way to the caller.
//!
//! What may pass passes at once; the terminal part is released only when the attempt's end is in the spool.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use waybill_dialect::{Dialect, Ending, ErrorBody, ErrorType, Step, error_frames};
use waybill_front::Denied;
use waybill_meter::{Durable, failpoint};
use waybill_model::snapshot::ApiKey;
use waybill_route::{Class, Outcome};

use crate::{
    failing::class_of,
    flight::{Flight, Tap},
    trouble::{Here, Trouble},
    worker::Watch,
};

/// What a stream shows besides the provider's frames.
pub(crate) struct Showing {
    /// Amount of earlier attempts of the request.
    pub(crate) earlier_picousd: i64,
    /// The cost is spliced in.
    pub(crate) cost: bool,
    pub(crate) teller: Teller,
    /// Whose answer it is.
    pub(crate) key: Arc<ApiKey>,
}

/// Tells an error after the head has gone out: in-band, in the caller's dialect, as the end of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    pub(crate) dialect: Dialect,
    pub(crate) generation: Box<str>,
    pub(crate) model: Box<str>,
    pub(crate) created_s: u64,
}

impl Teller {
    pub(crate) fn error(&self, error: &ErrorBody) -> Vec<Bytes> {
        error_frames(self.dialect, error, &self.generation, &self.model, self.created_s)
    }
}

/// See the module.
pub(crate) struct Relay {
    flight: Flight,
    showing: Showing,
    out: VecDeque<Bytes>,
    /// In strict mode, the end must be on the disk first.
    durable: Option<Durable>,
    closed: bool,
    /// The stream was over when the relay began.
    over: Option<Result<Step, Trouble>>,
    /// The breaker's view; dropped with a caller who hangs up, it says nothing.
    watch: Option<Watch>,
    /// State of the deny overlay when the key was looked up last.
    deny_epoch: Option<u64>,
}

impl Relay {
    /// Goes on with a flight whose first frames have come; `over` tells how its last step ended it, if one did.
    pub(crate) fn new(flight: Flight, showing: Showing, first: Vec<Bytes>, over: Option<Result<Step, Trouble>>) -> Self {
        Self { flight, showing, out: first.into(), durable: None, closed: false, over, watch: None, deny_epoch: None }
    }

    /// Tells the breaker how it ends.
    pub(crate) fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// The next piece: everything that is there, in one.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(durable) = &mut self.durable {
                let outcome = ready!(Pin::new(durable).poll(context));
                self.durable = None;
                if outcome.is_err() {
                    self.out.clear();
                    self.fail(&lost_end());
                }
            }
            if let Some(piece) = merged(&mut self.out) {
                return Poll::Ready(Some(piece));
            }
            if self.closed {
                return Poll::Ready(None);
            }
            let mut shown = Vec::new();
            let inner = self.flight.inner();
            let step = match self.over.take() {
                Some(step) => step,
                None if inner.ended => Ok(Step::Done),
                None => ready!(inner.poll_frames(context, &mut shown)),
            };
            let over = matches!(step, Ok(Step::Done) | Err(_)) || inner.ended;
            self.out.extend(shown);
            if over {
                // The end of the body is most often there already; seeing it now gives the connection back without another task.
                let inner = self.flight.inner();
                if step.is_ok() && !inner.ended {
                    let _ = inner.poll_pieces(context, &mut Vec::new());
                }
                self.close(step.err());
            } else if self.is_revoked() {
                self.closed = true;
                self.flight.inner().revoke();
                self.out.clear();
                self.fail(&Denied::Disabled.error());
            }
        }
    }

    /// The key was revoked; looked up anew only when some key was.
    fn is_revoked(&mut self) -> bool {
        let worker = self.flight.inner().attempt.worker();
        let epoch = worker.deny_epoch();
        self.deny_epoch.replace(epoch) != Some(epoch) && worker.is_denied(&self.showing.key.uid)
    }

    /// Writes the end, then lets the terminal part go.
    fn close(&mut self, trouble: Option<Trouble>) {
        self.closed = true;
        failpoint("attempt.end");
        let inner = self.flight.inner();
        let trouble = trouble.or_else(|| inner.conclude().err());
        if trouble.is_some() {
            inner.give_up();
        }
        let written = inner.close_stream(trouble.as_ref(), Here::Complete);
        let durable = inner.attempt.take_durable();
        let Tap::Stream(stream) = &mut inner.tap else { return };
        let failure = match (&trouble, stream.provider().error(), stream.ending()) {
            (Some(trouble), ..) => Some(ErrorBody::new(ErrorType::ProviderUnavailable, format!("The provider's stream broke: {trouble}."))),
            (None, Some(error), _) => Some(error.to_body()),
            (None, None, Ending::Truncated) => {
                Some(ErrorBody::new(ErrorType::ProviderUnavailable, "The provider ended its stream in the middle of the answer."))
            }
            (None, None, _) => None,
        };
        if let Some(mut watch) = self.watch.take() {
            watch.ended(match (&trouble, stream.provider().error(), stream.ending()) {
                (Some(Trouble::Timeout(..)), ..) => Outcome::Failure(Class::Stall),
                (Some(Trouble::Stream(_) | Trouble::TooLarge(_)), ..) => Outcome::Failure(Class::Malformed),
                (Some(Trouble::Upstream(_)), ..) | (None, None, Ending::Truncated) => Outcome::Failure(Class::Cut),
                (None, Some(error), _) => Outcome::Failure(class_of(error)),
                (None, None, _) => Outcome::Success,
            });
        }
        match written {
            Err(error) => {
                tracing::error!(%error, "the end of a stream is withheld");
                self.fail(&lost_end());
            }
            Ok(written) => {
                // Everything below waits for the disk in strict mode, because `durable` is looked at before `out`.
                self.durable = durable;
                match failure {
                    Some(failure) => self.fail(&failure),
                    None => {
                        let cost = self.showing.cost.then(|| self.showing.earlier_picousd.saturating_add(written.cost_picousd));
                        let mut tail = Vec::new();
                        stream.release(cost, &mut tail);
                        self.out.extend(tail);
                    }
                }
            }
        }
    }

    fn fail(&mut self, error: &ErrorBody) {
        self.out.extend(self.showing.teller.error(error));
    }
}

/// A fault of ours: the answer may not be shown as whole, since its bill could not be written.
fn lost_end() -> ErrorBody {
    ErrorBody::new(
        ErrorType::Server,
        "The end of this answer could not be recorded, so it is withheld. It is a fault of this gateway; the request may be repeated.",
    )
    .with_status(503)
}

/// All pieces in one: copying a burst of small frames costs less than a system call for each.
fn merged(out: &mut VecDeque<Bytes>) -> Option<Bytes> {
    const LARGE: usize = 16 << 10;
    let first = out.pop_front()?;
    if out.is_empty() || first.len() >= LARGE {
        return Some(first);
    }
    let mut all = BytesMut::with_capacity(first.len() + out.iter().map(Bytes::len).sum::<usize>());
    all.extend_from_slice(&first);
    for piece in out.drain(..) {
        all.extend_from_slice(&piece);
    }
    Some(all.freeze())
}
