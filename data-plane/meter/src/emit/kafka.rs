//! The emitter's shell: reads the spool, hands records to the producer and to the second way, saves cursors, releases.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use waybill_kafka::{KafkaSettings, Property, SettingsError};

use super::{
    Emitted, Ingest, IngestFailed, Ingesting,
    cursors::CursorFile,
    delivery::{Delivery, Limits},
    producer::{LATER, NotTaken, Post, Producer},
};
use crate::spool::{Position, Reader, Spool};

/// Most records of one look into the spool.
const READ: usize = 2000;

/// After something has become readable, time for more to come: a look into the spool costs more than the record it finds.
const GATHER: Duration = Duration::from_millis(20);

/// How often cursors are saved and segments released.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// After a failure of the disk.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// With nothing due, the emitter looks up all the same.
const IDLE: Duration = Duration::from_secs(30);

/// When a process stops, so much silence of Kafka is enough to use the second way.
const STOP_SILENCE_MS: u64 = 2000;

/// How the emitter works.
#[derive(Clone, Debug)]
pub struct Options {
    properties: Properties,
    topic: String,
    /// Bounds; the defaults are right outside of tests.
    pub limits: Limits,
    /// How long a stop may wait for what is left.
    pub stop_time: Duration,
}

/// Holds a password, so it is not shown.
#[derive(Clone)]
struct Properties(Vec<Property>);

impl std::fmt::Debug for Properties {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Options {
    /// Towards these brokers. Reads the password's file.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn new(settings: &KafkaSettings) -> Result<Self, SettingsError> {
        let properties = Properties(settings.properties(cfg!(feature = "kafka-tls"))?);
        Ok(Self { properties, topic: settings.topic.clone(), limits: Limits::default(), stop_time: Duration::from_secs(60) })
    }

    /// Sets a property of the client beside what the emitter needs, for tests.
    #[must_use]
    pub fn with_property(mut self, name: &'static str, value: &str) -> Self {
        self.properties.0.push((name, value.to_owned()));
        self
    }
}

/// What a stop had to leave in the spool; the next start sends it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Left {
    /// Records that nobody has acknowledged.
    pub events: u64,
    /// Bytes of the spool.
    pub spool_bytes: u64,
}

/// Sends what is and what comes into the spool, until `stop`; then what is left, within the stop time.
///
/// The spool must have no other reader that releases.
pub async fn run(
    spool: Spool,
    options: Options,
    ingest: Option<Arc<dyn Ingest>>,
    emitted: Arc<Emitted>,
    mut stop: watch::Receiver<bool>,
) -> Left {
    let mut emitter = Emitter::new(&spool, options, ingest, emitted);
    let mut deadline: Option<Instant> = None;
    loop {
        let seen = spool.progress();
        // Asked before the reading: what is written before the stop is read after it.
        if *stop.borrow() && deadline.is_none() {
            deadline = Some(Instant::now() + emitter.options.stop_time);
            emitter.delivery.hurry(STOP_SILENCE_MS);
        }
        let drained = emitter.turn();
        if deadline.is_some_and(|deadline| drained || Instant::now() >= deadline) {
            return emitter.finish();
        }
        let due = emitter.due().min(deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now())));
        let stopping = deadline.is_some();
        let post = Arc::clone(&emitter.post);
        let readable = async {
            if emitter.behind {
                return;
            }
            spool.progress_after(seen).await;
            tokio::time::sleep(GATHER).await;
        };
        tokio::select! {
            () = readable => {}
            () = post.arrived() => {}
            answer = answered(&mut emitter.ingesting) => emitter.ingested(&answer),
            () = tokio::time::sleep(due) => {}
            _ = stop.changed(), if !stopping => {}
        }
    }
}

/// The answer of the second way, if it was asked.
async fn answered(ingesting: &mut Option<Ingesting<'static>>) -> Result<(), IngestFailed> {
    match ingesting {
        Some(answer) => {
            let answer = answer.await;
            *ingesting = None;
            answer
        }
        None => std::future::pending().await,
    }
}

struct Emitter {
    spool: Spool,
    options: Options,
    delivery: Delivery,
    reader: Reader,
    file: CursorFile,
    post: Arc<Post>,
    producer: Option<(u64, Producer)>,
    second: Option<Arc<dyn Ingest>>,
    ingesting: Option<Ingesting<'static>>,
    ingesting_count: u64,
    emitted: Arc<Emitted>,
    began: Instant,
    /// There is more to read at once: the last look was cut short.
    behind: bool,
    /// The producer's queue was full, or the disk failed: look again soon.
    again: Option<Duration>,
    /// Progress of the spool at the last look that found nothing more.
    looked: Option<u64>,
    moved: BTreeMap<u64, Position>,
    saved: Instant,
    second_way: bool,
}

impl Emitter {
    fn new(spool: &Spool, options: Options, second: Option<Arc<dyn Ingest>>, emitted: Arc<Emitted>) -> Self {
        let file = CursorFile::of(spool.folder());
        let cursors = file.load();
        Self {
            reader: spool.reader(cursors.iter().map(|(log, position)| (*log, *position))),
            delivery: Delivery::new(options.limits, cursors),
            spool: spool.clone(),
            options,
            file,
            post: Arc::default(),
            producer: None,
            second,
            ingesting: None,
            ingesting_count: 0,
            emitted,
            began: Instant::now(),
            behind: false,
            again: None,
            looked: None,
            moved: BTreeMap::new(),
            saved: Instant::now(),
            second_way: false,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One round of everything that can be done now; true if nothing is left to do.
    fn turn(&mut self) -> bool {
        let now = self.now();
        self.again = None;
        self.hear(now);
        let empty = self.read(now);
        self.produce(now);
        self.ingest(now);
        self.release(false);
        self.emitted.waiting.store(self.delivery.waiting() as u64, Ordering::Relaxed);
        empty && self.delivery.waiting() == 0
    }

    fn hear(&mut self, now: u64) {
        let (mut delivered, mut undelivered) = (0, 0);
        for report in self.post.take() {
            if report.delivered {
                delivered += 1;
                self.delivery.delivered(report.producer, report.ticket, report.log, now);
            } else {
                undelivered += 1;
                self.delivery.undelivered(report.producer, report.ticket, now);
            }
        }
        self.emitted.delivered.fetch_add(delivered, Ordering::Relaxed);
        self.emitted.undelivered.fetch_add(undelivered, Ordering::Relaxed);
        if let Some(number) = self.post.take_failed() {
            self.drop_producer(number, now);
        }
    }

    fn drop_producer(&mut self, number: u64, now: u64) {
        if let Some((_, producer)) = self.producer.take_if(|(running, _)| *running == number) {
            tracing::error!(
                number,
                waiting = self.delivery.waiting(),
                "the Kafka producer failed for good; a new one sends again what waits"
            );
            producer.end();
        }
        self.delivery.producer_failed(Some(number), now);
    }

    /// Reads what there is room for; true if there is nothing more now.
    fn read(&mut self, now: u64) -> bool {
        let seen = self.spool.progress();
        self.behind = false;
        if self.looked == Some(seen) {
            return true;
        }
        let room = self.delivery.room().min(READ);
        if room == 0 {
            return false;
        }
        match self.reader.next(room) {
            Ok(batch) if batch.is_empty() => {
                self.looked = Some(seen);
                true
            }
            Ok(batch) => {
                for damage in &batch.damage {
                    tracing::error!(?damage, "a range of the spool cannot be read; its events are missing from the ledger");
                }
                self.emitted.damaged.fetch_add(batch.damage.len() as u64, Ordering::Relaxed);
                self.behind = true;
                self.delivery.read(batch, now);
                false
            }
            Err(error) => {
                self.post.complain("spool", &error.to_string());
                self.again = Some(DISK_PAUSE);
                false
            }
        }
    }

    fn produce(&mut self, now: u64) {
        if self.delivery.wants_producer(now) {
            self.make_producer(now);
        }
        let Some((number, producer)) = &mut self.producer else { return };
        while let Some((ticket, record)) = self.delivery.unsent(now) {
            match producer.send(ticket, record) {
                Ok(()) => self.delivery.handed(ticket),
                Err(NotTaken::Later) => {
                    self.again = Some(LATER);
                    return;
                }
                Err(NotTaken::Failed(error)) => {
                    let number = *number;
                    self.post.complain("Fatal", &error);
                    return self.drop_producer(number, now);
                }
            }
        }
    }

    fn make_producer(&mut self, now: u64) {
        let number = self.delivery.producer_made();
        let Options { properties, topic, limits, .. } = &self.options;
        match Producer::make(&properties.0, topic, limits, number, &self.post) {
            Ok(producer) => {
                self.emitted.producers.fetch_add(1, Ordering::Relaxed);
                self.producer = Some((number, producer));
            }
            Err(error) => {
                self.post.complain("configuration", &error.to_string());
                self.delivery.producer_failed(Some(number), now);
            }
        }
    }

    fn ingest(&mut self, now: u64) {
        let Some(second) = &self.second else { return };
        if let Some(records) = self.delivery.ingest(now) {
            self.ingesting_count = records.len() as u64;
            let second = Arc::clone(second);
            self.ingesting = Some(Box::pin(async move { second.ingest(records).await }));
        }
        let open = self.delivery.second_way();
        if open != self.second_way {
            self.second_way = open;
            self.emitted.second_way.store(open.into(), Ordering::Relaxed);
            let waiting = self.delivery.waiting();
            if open {
                tracing::error!(waiting, "Kafka takes no usage records; they go to the control plane as well");
            } else {
                tracing::info!(waiting, "Kafka takes usage records again");
            }
        }
    }

    fn ingested(&mut self, answer: &Result<(), IngestFailed>) {
        let now = self.now();
        match answer {
            Ok(()) => self.emitted.ingested.fetch_add(self.ingesting_count, Ordering::Relaxed),
            Err(error) => {
                self.post.complain("ingest", &error.to_string());
                self.emitted.ingest_failures.fetch_add(1, Ordering::Relaxed)
            }
        };
        self.delivery.ingested(answer.is_ok(), now);
    }

    /// Saves the cursors that moved, then releases what lies behind them; about once a second, or at once.
    fn release(&mut self, at_once: bool) {
        self.moved.extend(self.delivery.take_moved());
        if self.moved.is_empty() || (!at_once && self.saved.elapsed() < SAVE_EVERY) {
            return;
        }
        self.saved = Instant::now();
        if let Err(error) = self.file.save(self.delivery.cursors(), true) {
            self.post.complain("spool", &format!("the emitter's cursors cannot be saved, so nothing is released: {error}"));
            return;
        }
        let mut kept = BTreeMap::new();
        for (log, position) in std::mem::take(&mut self.moved) {
            match self.reader.release(log, position) {
                Ok(true) => self.delivery.forget(log),
                Ok(false) => {}
                Err(error) => {
                    self.post.complain("spool", &error.to_string());
                    kept.insert(log, position);
                }
            }
        }
        self.moved = kept;
    }

    /// How long nothing needs to be done unless something is reported.
    fn due(&self) -> Duration {
        let now = self.now();
        let due = self.delivery.next_due(now).map(|due| Duration::from_millis(due - now));
        let save = (!self.moved.is_empty()).then(|| SAVE_EVERY.saturating_sub(self.saved.elapsed()));
        [due, save, self.again].into_iter().flatten().min().unwrap_or(IDLE)
    }

    fn finish(mut self) -> Left {
        self.release(true);
        if let Some((_, producer)) = self.producer.take() {
            producer.end();
        }
        let left = Left { events: self.spool.report().waiting_events, spool_bytes: self.spool.used_bytes() };
        if left.events > 0 {
            let Left { events, spool_bytes } = left;
            tracing::warn!(events, spool_bytes, "usage records are left in the spool; the next start on this folder sends them");
        }
        left
    }
}
