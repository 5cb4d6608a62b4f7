//! An attempt from its intent to its one terminal event.
//!
//! The value *is* the open attempt: it is made by writing the intent and unmade by writing the end. One that is dropped without an end, whatever
//! the reason, is written as `orphaned` (or as `failed` while no byte of its request has left), so no path through the code can leave an attempt
//! unbilled.

use std::{rc::Rc, sync::Arc};

use tokio::time::Instant;
use waybill_dialect::Reading;
use waybill_meter::{
    Durable, End,
    intent::{self, Intent, Reserved, Wish},
    tally::{self, Delivered, Ended, Facts},
};
use waybill_model::{
    id::AttemptId,
    price::{Bill, Tariff},
    snapshot::Endpoint,
};

use crate::worker::{Begun, Worker};

/// Why an attempt was not begun: nothing was sent, nothing is owed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotBegun(pub(crate) waybill_meter::Refusal);

/// The end could not be written: the last piece of the answer must not be shown.
#[derive(Debug, thiserror::Error)]
#[error("the end of the attempt could not be written to the spool: {0}")]
pub(crate) struct NotWritten(waybill_meter::Failure);

/// What is known when an attempt begins.
pub(crate) struct Beginning<'a> {
    pub(crate) endpoint: &'a Arc<Endpoint>,
    pub(crate) intent: Intent<'a>,
    pub(crate) wish: Wish,
    pub(crate) tier: Box<str>,
}

/// An open attempt.
pub(crate) struct Attempt {
    worker: Rc<Worker>,
    id: AttemptId,
    /// The reservation.
    bound: Bill,
    tariff: Option<Arc<Tariff>>,
    pub(crate) endpoint: Arc<Endpoint>,
    tier: Box<str>,
    request_bytes: u64,
    pub(crate) started: Instant,
    first_output: Option<Instant>,
    open: bool,
    /// It has an intent, and so it needs an end. An attempt that was allowed to pass a full spool has neither.
    recorded: bool,
    /// Its record leaves out what no bill needs.
    shed: bool,
    /// A byte of the request may have left.
    sent: bool,
    /// Where the intent or the end stands, for the strict mode.
    durable: Option<Durable>,
}

/// How an attempt was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// It counts for the request's cost: `settled` and `partial`.
    pub(crate) cost_picousd: i64,
}

impl Attempt {
    /// Reserves the bound and writes the intent.
    pub(crate) fn begin(worker: &Rc<Worker>, beginning: Beginning<'_>) -> Result<Self, NotBegun> {
        let Beginning { endpoint, intent, wish, tier } = beginning;
        let now = worker.unix_us();
        let id = AttemptId::new(now / 1000, worker.random_bytes());
        let tariff = endpoint.tariff(i64::try_from(now / 1000).unwrap_or(i64::MAX)).map(Arc::clone);
        let bound = intent::bound(wish, endpoint, tariff.as_deref());
        let shed = worker.sheds();
        let reserved = Reserved { attempt: id.as_bytes(), start_unix_us: now, tariff: tariff.as_deref(), bound: &bound, shed };
        let (recorded, durable) = match worker.begin(&intent, reserved).map_err(NotBegun)? {
            Begun::Recorded(durable) => (true, durable),
            Begun::Unbilled => (false, None),
        };
        worker.counters.attempts.add(1);
        worker.counters.unbilled.add(u64::from(!recorded));
        worker.counters.shed.add(u64::from(recorded && shed));
        worker.counters.unbounded.add(u64::from(!intent.unbounded.is_empty()));
        Ok(Self {
            worker: Rc::clone(worker),
            id,
            bound,
            tariff,
            endpoint: Arc::clone(endpoint),
            tier,
            request_bytes: wish.body_bytes,
            started: Instant::now(),
            first_output: None,
            open: true,
            recorded,
            shed,
            sent: false,
            durable,
        })
    }

    pub(crate) const fn id(&self) -> AttemptId {
        self.id
    }

    pub(crate) const fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// In strict mode, what must be on the disk before the next step may be seen outside. At most once per record.
    pub(crate) const fn take_durable(&mut self) -> Option<Durable> {
        self.durable.take()
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// From here on the provider may bill.
    pub(crate) const fn mark_sent(&mut self) {
        self.sent = true;
    }

    /// The provider has told which tier it serves: its prices hold, whatever was asked for.
    pub(crate) fn mark_tier(&mut self, served: Option<&str>) {
        if let Some(served) = served {
            self.tier = tier(served);
        }
    }

    /// The first output has come.
    pub(crate) fn mark_first_output(&mut self) {
        if self.first_output.is_none() {
            self.first_output = Some(Instant::now());
        }
    }

    /// The provider's own usage.
    pub(crate) fn settled(&mut self, reading: &Reading, facts: Facts<'_>) -> Result<Written, NotWritten> {
        let facts = self.timed(facts);
        let ended = tally::settled(&self.bound, self.tariff.as_deref(), &self.tier, reading, facts);
        self.end(ended)
    }

    /// Output without usage; `input_told` is what the provider counted of the input before it wrote.
    pub(crate) fn partial(&mut self, input_told: Option<Reading>, output_bytes: u64, facts: Facts<'_>) -> Result<Written, NotWritten> {
        let facts = self.timed(facts);
        let delivered = Delivered { request_bytes: self.request_bytes, input_told, output_bytes };
        let ended = tally::partial(&self.bound, self.tariff.as_deref(), &self.tier, &delivered, facts);
        self.end(ended)
    }

    /// Nothing is owed, on evidence.
    pub(crate) fn failed(&mut self, facts: Facts<'_>) -> Result<Written, NotWritten> {
        let facts = self.timed(facts);
        self.end(tally::failed(facts))
    }

    /// Nobody saw the end.
    pub(crate) fn orphaned(&mut self, facts: Facts<'_>) -> Result<Written, NotWritten> {
        let facts = self.timed(facts);
        let ended = tally::orphaned(&self.bound, facts);
        self.end(ended)
    }

    fn timed<'a>(&self, facts: Facts<'a>) -> Facts<'a> {
        let micros = |until: Instant| u64::try_from(until.duration_since(self.started).as_micros()).unwrap_or(u64::MAX);
        Facts { first_token_us: self.first_output.map_or(0, micros), duration_us: micros(Instant::now()), ..facts }
    }

    fn end(&mut self, ended: Ended<'_>) -> Result<Written, NotWritten> {
        if !self.open {
            return Ok(Written { cost_picousd: 0 });
        }
        self.open = false;
        let ended = if self.shed { ended.shed() } else { ended };
        let (end, amount_picousd, counters) = (ended.end, ended.bill.total.0, &self.worker.counters);
        let (input_tokens, output_tokens, overrun) = (ended.input_tokens, ended.output_tokens, ended.overrun);
        let cost_picousd = if matches!(end, End::Settled | End::Partial) { amount_picousd } else { 0 };
        if !self.recorded {
            // Counted where it began. To count its end too would be to wait for an event that never comes.
            return Ok(Written { cost_picousd });
        }
        let written = match self.worker.write_end(self.id.as_bytes(), &ended) {
            // Long names leave little room: the bill comes first, the provider's words are left out.
            Err(waybill_meter::Failure::TooLong { .. }) => self.worker.write_end(self.id.as_bytes(), &ended.terse()),
            written => written,
        };
        self.durable = written.map_err(NotWritten)?;
        match end {
            End::Settled => counters.settled.add(1),
            End::Partial => counters.partial.add(1),
            End::Failed => counters.failed.add(1),
            End::Orphaned => counters.orphaned.add(1),
        }
        counters.overruns.add(u64::from(overrun));
        counters.input_tokens.add(input_tokens);
        counters.output_tokens.add(output_tokens);
        counters.cost_nanousd.add(u64::try_from(amount_picousd / 1000).unwrap_or(0));
        Ok(Written { cost_picousd })
    }
}

/// A service tier as price books name it: the standard one has no name.
pub(crate) fn tier(word: &str) -> Box<str> {
    if matches!(word, "auto" | "default" | "standard" | "standard_only") { "".into() } else { word.into() }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.open {
            let written = if self.sent {
                self.orphaned(Facts { outcome: "abandoned", ..Facts::default() })
            } else {
                self.failed(Facts { outcome: "client_hang_up", ..Facts::default() })
            };
            if let Err(error) = written {
                // The intent stays open in the log, and recovery writes the orphan.
                tracing::error!(attempt = %self.id, %error, "an abandoned attempt is left to recovery");
            }
        }
    }
}
