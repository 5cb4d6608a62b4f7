//! A worker: one thread with a runtime, a listener, an upstream pool, a spool log and counters of its own. Nothing of it is shared.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use waybill_front::{Drain, Limits};
use waybill_meter::{
    Durable, Failure, Identity, Log, OpenError, Position, Pressure, Refusal, Spool,
    intent::{Intent, Reserved},
    tally::{Ended, orphan_of},
};
use waybill_model::{
    id::GenerationId,
    key::Pepper,
    snapshot::{Endpoint, Snapshot},
};
use waybill_route::{Advice, Health, Outcome};
use waybill_upstream::Pool;

use crate::{
    books::Books,
    configuration::Configuration,
    counters::Counters,
    refusals::{Refusals, Refused},
    sightings::Sightings,
    start::SpoolFull,
};

/// How often a worker tells what it saw of the endpoints, and asks what is advised.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// A worker that is too busy to ask what is advised does not follow what it was told for longer than this.
const ADVICE_LAPSE_MS: i64 = 5_000;

/// What all workers of a proxy are given.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) peppers: Arc<[Pepper]>,
    pub(crate) configuration: Arc<dyn Configuration>,
    pub(crate) books: Arc<dyn Books>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) sightings: Arc<Sightings>,
    pub(crate) spool: Spool,
    pub(crate) process: u64,
    pub(crate) strict: bool,
    pub(crate) spool_full: SpoolFull,
    /// This process in the header that stops loops.
    pub(crate) hop: Arc<str>,
}

/// How an attempt's beginning was written.
pub(crate) enum Begun {
    /// It stands in the spool; in strict mode, what must be on the disk before the request leaves.
    Recorded(Option<Durable>),
    /// The spool was full, and the setting lets the request pass without a record.
    Unbilled,
}

/// See the module.
pub(crate) struct Worker {
    shared: Shared,
    /// Its place among the workers, from 0.
    number: u32,
    pool: Pool,
    log: RefCell<Log>,
    /// The record that is being written.
    payload: RefCell<Vec<u8>>,
    health: RefCell<Health>,
    /// The revision whose endpoints the health is of.
    health_of: Cell<u64>,
    pub(crate) counters: Arc<Counters>,
    drain: Drain,
    random: Cell<u64>,
    /// The last attempt was sent without a record.
    unbilled: Cell<bool>,
}

impl Worker {
    pub(crate) fn new(shared: Shared, number: u32, pool: Pool, log: Log, counters: Arc<Counters>, seed: u64) -> Self {
        Self {
            shared,
            number,
            pool,
            log: RefCell::new(log),
            payload: RefCell::default(),
            health: RefCell::default(),
            health_of: Cell::new(0),
            counters,
            drain: Drain::new(),
            random: Cell::new(seed),
            unbilled: Cell::new(false),
        }
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) const fn drain(&self) -> &Drain {
        &self.drain
    }

    pub(crate) fn hop(&self) -> &str {
        &self.shared.hop
    }

    pub(crate) fn peppers(&self) -> &[Pepper] {
        &self.shared.peppers
    }

    pub(crate) fn books(&self) -> &dyn Books {
        &*self.shared.books
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.configuration.snapshot()
    }

    pub(crate) fn deny_epoch(&self) -> u64 {
        self.shared.configuration.deny_epoch()
    }

    pub(crate) fn is_denied(&self, key_uid: &str) -> bool {
        self.shared.configuration.is_denied(key_uid)
    }

    pub(crate) fn remember(&self, refused: Refused) {
        self.shared.refusals.push(refused);
    }

    /// Microseconds since 1970.
    pub(crate) fn unix_us(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since 1970.
    pub(crate) fn unix_ms(&self) -> i64 {
        i64::try_from(self.unix_us() / 1000).unwrap_or(i64::MAX)
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), seeded by the system. For ids and draws, never
    /// for secrets.
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn random_bytes(&self) -> [u8; 10] {
        let (first, second) = (self.random().to_le_bytes(), self.random().to_le_bytes());
        std::array::from_fn(|index| if index < 8 { first[index] } else { second[index - 8] })
    }

    /// The id of a new generation.
    pub(crate) fn generation(&self) -> GenerationId {
        GenerationId::new(self.unix_us() / 1000, self.random_bytes())
    }

    pub(crate) fn with_health<T>(&self, ask: impl FnOnce(&Health) -> T) -> T {
        ask(&self.health.borrow())
    }

    /// Hands over what was counted and takes what is advised. Once a second, apart from the requests.
    pub(crate) fn exchange_health(&self) {
        let (snapshot, now_unix_ms) = (self.snapshot(), self.unix_ms());
        let mut health = self.health.borrow_mut();
        if self.health_of.replace(snapshot.revision) != snapshot.revision {
            health.keep_of(&snapshot);
        }
        let until_unix_ms = now_unix_ms.saturating_add(ADVICE_LAPSE_MS);
        health.advise(Advice::new(&self.shared.configuration.advice(), until_unix_ms).into());
        self.shared.sightings.add(self.number, health.take_counts(), now_unix_ms);
    }

    /// What the workers of this proxy have seen.
    pub(crate) fn sightings(&self) -> &Sightings {
        &self.shared.sightings
    }

    /// Tells the breaker of an endpoint that a request leaves, and later how it ended.
    pub(crate) fn watch(self: &Rc<Self>, endpoint: &Arc<Endpoint>) -> Watch {
        self.health.borrow_mut().started(&**endpoint, self.unix_ms());
        Watch { worker: Rc::clone(self), endpoint: Arc::clone(endpoint), told: false }
    }

    /// Whether records are to leave out what no bill needs.
    pub(crate) fn sheds(&self) -> bool {
        self.shared.spool.pressure() == Pressure::Shed
    }

    /// Writes an intent, or lets the attempt pass without one if the spool is full and the setting says so.
    pub(crate) fn begin(&self, intent: &Intent<'_>, reserved: Reserved<'_>) -> Result<Begun, Refusal> {
        match self.write_intent(intent, reserved) {
            Ok(durable) => {
                self.unbilled.set(false);
                Ok(Begun::Recorded(durable))
            }
            Err(full @ (Refusal::Full { .. } | Refusal::DiskFull(_))) if self.shared.spool_full == SpoolFull::AllowUnbilled => {
                if !self.unbilled.replace(true) {
                    tracing::error!(reason = %full, "requests are sent without a record: nobody will be billed for them (spool-full: allow_unbilled)");
                }
                Ok(Begun::Unbilled)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Writes an intent. A log that has broken is replaced by a new one first.
    fn write_intent(&self, intent: &Intent<'_>, reserved: Reserved<'_>) -> Result<Option<Durable>, Refusal> {
        let (mut log, mut payload) = (self.log.borrow_mut(), self.payload.borrow_mut());
        payload.clear();
        intent.write(reserved, &mut payload);
        let (attempt, payload) = (reserved.attempt, &payload[..]);
        let position = match log.intent(*attempt, payload) {
            Err(Refusal::Poisoned(poisoned)) => {
                self.replace(&mut log).map_err(|error| {
                    tracing::error!(%error, "the spool log is broken and no new one can be opened");
                    Refusal::Poisoned(poisoned)
                })?;
                log.intent(*attempt, payload)?
            }
            written => written?,
        };
        Ok(self.when_strict(&log, position))
    }

    /// Writes an end around what the intent said.
    pub(crate) fn write_end(&self, attempt: &[u8; 16], ended: &Ended<'_>) -> Result<Option<Durable>, Failure> {
        let (mut log, mut payload) = (self.log.borrow_mut(), self.payload.borrow_mut());
        payload.clear();
        ended.write(log.intent_of(attempt).ok_or(Failure::NotOpen)?, &mut payload);
        let (_, position) = log.end(*attempt, ended.end, &payload)?;
        Ok(self.when_strict(&log, position))
    }

    fn when_strict(&self, log: &Log, position: Position) -> Option<Durable> {
        self.shared.strict.then(|| log.durable(position))
    }

    /// Goes on with a new incarnation. What was open in the old one becomes orphaned, with doubt.
    fn replace(&self, log: &mut Log) -> Result<(), OpenError> {
        let identity = Identity { incarnation: self.random(), process: self.shared.process, log: 0, logs: 1 };
        let fresh = self.shared.spool.open(identity)?;
        let broken = std::mem::replace(log, fresh);
        let incarnation = broken.incarnation();
        match self.shared.spool.retire(broken, |intent| orphan_of(intent.payload)) {
            Ok(recovered) => tracing::error!(incarnation, ?recovered, "a spool log broke; a new one is in use"),
            Err(error) => tracing::error!(incarnation, %error, "a spool log broke; the next start will recover it"),
        }
        Ok(())
    }

    /// Ends the log, after all attempts have ended.
    pub(crate) fn close(&self) {
        let mut log = self.log.borrow_mut();
        let doubt = log.is_poisoned();
        if let Err(error) = log.close(doubt) {
            tracing::error!(incarnation = log.incarnation(), %error, "a spool log was not closed; the next start will recover it");
        }
    }
}

/// The breaker's view of one attempt. Dropped without a word, nobody knows how it ended.
pub(crate) struct Watch {
    worker: Rc<Worker>,
    endpoint: Arc<Endpoint>,
    told: bool,
}

impl Watch {
    pub(crate) fn ended(&mut self, outcome: Outcome) {
        self.told = true;
        let (now, seed) = (self.worker.unix_ms(), self.worker.random());
        self.worker.health.borrow_mut().ended(&*self.endpoint, outcome, now, seed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.told {
            self.ended(Outcome::Unknown);
        }
    }
}

/// Serves until `stop` resolves, then drains within the limit.
pub(crate) async fn run(worker: Rc<Worker>, listener: std::net::TcpListener, stop: impl Future<Output = ()>) {
    let (drain, limits) = (worker.drain().clone(), worker.limits().clone());
    let served = {
        let worker = Rc::clone(&worker);
        let (drain, limits) = (drain.clone(), limits.clone());
        async move { waybill_front::serve(listener, &limits, &drain, move |request| crate::stack::answer(Rc::clone(&worker), request)).await }
    };
    let served = tokio::task::spawn_local(served);
    let exchanging = tokio::task::spawn_local(exchange_health(Rc::clone(&worker)));
    stop.await;
    drain.begin();
    let drained = tokio::time::timeout(limits.drain_time, drain.idle()).await;
    if drained.is_err() {
        tracing::warn!(open = drain.open_count(), limit = ?limits.drain_time, "what is still open after the drain time is cut (limit drain_time)");
    }
    exchanging.abort();
    worker.exchange_health();
    if let Ok(Err(error)) = served.await {
        tracing::error!(%error, "the listener failed");
    }
}

async fn exchange_health(worker: Rc<Worker>) -> std::convert::Infallible {
    let mut seconds = tokio::time::interval(HEALTH_PERIOD);
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        worker.exchange_health();
    }
}
