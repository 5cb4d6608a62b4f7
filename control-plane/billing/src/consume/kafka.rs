//! The consumer's shell: one thread that polls Kafka and commits to the ledger.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset,
    config::FromClientConfigAndContext,
    consumer::Consumer,
    error::KafkaError,
    message::{BorrowedMessage, Headers},
};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};
use waybill_kafka::{KafkaSettings, Property, SCHEMA_HEADER, SettingsError};
use waybill_proto::usage::v1::Spooled;

use super::{
    Consumed,
    client::{Context, Reader, fatal},
    partitions::{Limits, Outcome, Partitions, Taken},
};
use crate::{Error, Ledger, Progress};

/// Messages that are taken between two looks at what is due.
const ROUND: usize = 1000;

/// Longest sleep of the thread; a stop waits as long.
const NAP: Duration = Duration::from_millis(100);

/// After a failure of the client for good, before a new one is made.
const PAUSE: Duration = Duration::from_secs(2);

/// How the consumer works.
#[derive(Clone, Debug)]
pub struct Options {
    properties: Properties,
    topic: String,
    /// Consumers of one group share the partitions.
    pub group: String,
    /// Bounds; the defaults are right outside of tests.
    pub limits: Limits,
}

/// Holds a password, so it is not shown.
#[derive(Clone)]
struct Properties(Vec<Property>);

impl fmt::Debug for Properties {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Options {
    /// From these brokers. Reads the password's file.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn new(settings: &KafkaSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            properties: Properties(settings.properties(cfg!(feature = "kafka-tls"))?),
            topic: settings.topic.clone(),
            group: "waybill-billing".to_owned(),
            limits: Limits::default(),
        })
    }

    /// Sets a property of the client beside what the consumer needs, for tests.
    #[must_use]
    pub fn with_property(mut self, name: &'static str, value: &str) -> Self {
        self.properties.0.push((name, value.to_owned()));
        self
    }
}

/// Why the consumer could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operator's fault.
    #[error("the Kafka client refuses its settings: {0}")]
    Client(#[from] KafkaError),
    #[error("the consumer's thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Reads the topic into the ledger until `stop`, then commits what it has gathered and leaves the group.
///
/// # Errors
/// It could not be started. Once it runs it never gives up: what is wrong is in the log and in [`Consumed::health`].
pub async fn run(
    ledger: Arc<dyn Ledger>,
    options: Options,
    consumed: Arc<Consumed>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let stopping = Arc::new(AtomicBool::new(false));
    let first = make(&Handle::current(), &options, &ledger, &stopping)?;
    let (ended, end) = oneshot::channel::<()>();
    let thread = thread::Builder::new().name("wb-consume".to_owned()).spawn({
        let stopping = Arc::clone(&stopping);
        let runtime = Handle::current();
        move || {
            // Held for the thread's life: its drop tells the end, however it comes.
            let _ended = ended;
            let mut reader = Some(first);
            while !stopping.load(Ordering::Relaxed) {
                match reader.take().map_or_else(|| make(&runtime, &options, &ledger, &stopping), Ok) {
                    Ok(reader) => Work { reader: &reader, consumed: &consumed, is_full: false }.until_stopped(),
                    Err(error) => tracing::error!(%error, "the Kafka client cannot be made; trying again"),
                }
                if !stopping.load(Ordering::Relaxed) {
                    thread::sleep(PAUSE);
                }
            }
        }
    })?;
    // A sender that is gone means a stop, too.
    drop(stop.wait_for(|stop| *stop).await);
    stopping.store(true, Ordering::Relaxed);
    drop(end.await);
    if thread.join().is_err() {
        tracing::error!("the consumer's thread had panicked");
    }
    Ok(())
}

fn make(runtime: &Handle, options: &Options, ledger: &Arc<dyn Ledger>, stopping: &Arc<AtomicBool>) -> Result<Reader, KafkaError> {
    let mut config = ClientConfig::new();
    for (name, value) in &options.properties.0 {
        config.set(*name, value);
    }
    config
        .set("client.id", "waybill-billing")
        .set("group.id", &options.group)
        // Offsets are the ledger's.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "10000")
        .set("statistics.interval.ms", "2000")
        // What the client fetches ahead, for each partition.
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.wait.max.ms", "100")
        .set("allow.auto.create.topics", "false")
        .set("log.connection.close", "false")
        .set("reconnect.backoff.max.ms", "5000")
        .set("topic.metadata.refresh.interval.ms", "30000");
    let context = Context {
        topic: options.topic.clone(),
        partitions: Mutex::new(Partitions::of(options.topic.clone(), options.limits)),
        ledger: Arc::clone(ledger),
        runtime: runtime.clone(),
        stopping: Arc::clone(stopping),
        out_of_range: AtomicBool::new(false),
        began: Instant::now(),
        complaints: Mutex::default(),
    };
    let reader = Reader::from_config_and_context(&config, context)?;
    reader.subscribe(&[&options.topic])?;
    Ok(reader)
}

/// The thread's work with one client.
struct Work<'a> {
    reader: &'a Reader,
    consumed: &'a Consumed,
    is_full: bool,
}

impl Work<'_> {
    fn context(&self) -> &Context {
        self.reader.context()
    }

    /// Until the process stops or the client fails for good.
    fn until_stopped(mut self) {
        while !self.context().stopping.load(Ordering::Relaxed) {
            self.poll();
            if self.context().out_of_range.swap(false, Ordering::Relaxed) {
                self.context().check_ranges(self.reader);
            }
            self.commit(false);
            self.reclaim();
            self.hold_back();
            self.tell();
            if let Some(reason) = fatal(self.reader.client()) {
                tracing::error!(reason, "the Kafka consumer failed for good; a new one reads on from the ledger");
                return;
            }
        }
        self.commit(true);
        self.tell();
    }

    fn poll(&self) {
        let context = self.context();
        let due = context.partitions().next_due().map_or(NAP, |due| Duration::from_millis(due.saturating_sub(context.now())));
        let mut wait = due.min(NAP);
        for _ in 0..ROUND {
            match self.reader.poll(wait) {
                None => return,
                Some(Ok(message)) => self.take(&message),
                Some(Err(error)) => context.complain_of(&error, "reading"),
            }
            wait = Duration::ZERO;
        }
    }

    fn take(&self, message: &BorrowedMessage<'_>) {
        let context = self.context();
        let (partition, offset) = (message.partition(), message.offset());
        let record = record(message).unwrap_or_else(|(strange, stand_in)| {
            tracing::error!(topic = %context.topic, partition, offset, %strange, "a message on the usage topic is no usage record; it is set aside");
            stand_in
        });
        let taken = context.partitions().received(partition, offset, record, context.now());
        if let Taken::Back(next) = taken {
            tracing::warn!(partition, offset, next, "a message came too early; reading again from where the ledger goes on");
            context.seek(self.reader, partition, Offset::Offset(next));
        }
    }

    fn commit(&self, at_once: bool) {
        let context = self.context();
        loop {
            let now = context.now();
            let Some((partition, batch)) = context.partitions().due(now, at_once).map(|(partition, batch)| (partition, batch.clone()))
            else {
                return;
            };
            let committed = context.runtime.block_on(context.ledger.commit(&batch.records, Progress::Partition(&batch.progress)));
            let outcome = match committed {
                Ok(report) => {
                    let count = |number: usize| number as u64;
                    self.consumed.events.fetch_add(count(report.inserted), Ordering::Relaxed);
                    self.consumed.duplicates.fetch_add(count(report.duplicates), Ordering::Relaxed);
                    self.consumed.quarantined.fetch_add(count(report.quarantined), Ordering::Relaxed);
                    self.consumed.commits.fetch_add(1, Ordering::Relaxed);
                    self.consumed.failures.store(0, Ordering::Relaxed);
                    Outcome::Landed
                }
                Err(error @ Error::Fenced { .. }) => {
                    tracing::warn!(%error, "another consumer has this partition; what was gathered of it is dropped");
                    self.consumed.fenced.fetch_add(1, Ordering::Relaxed);
                    Outcome::Fenced
                }
                Err(error) => {
                    self.consumed.failures.fetch_add(1, Ordering::Relaxed);
                    context.complain("ledger", &error.to_string());
                    Outcome::Failed
                }
            };
            context.partitions().committed(partition, outcome, context.now());
            if outcome == Outcome::Fenced {
                context.pause(self.reader, &[partition]);
            }
            if outcome != Outcome::Landed && at_once {
                // The process stops: the next owner reads it again.
                return;
            }
        }
    }

    fn reclaim(&self) {
        let context = self.context();
        let partitions = context.partitions().to_reclaim(context.now());
        for partition in partitions {
            context.reclaim(self.reader, partition);
        }
    }

    /// Reads no more while the ledger does not take what there is.
    fn hold_back(&mut self) {
        let context = self.context();
        let (is_full, reading) = {
            let partitions = context.partitions();
            (partitions.is_full(), partitions.reading())
        };
        if is_full != self.is_full {
            self.is_full = is_full;
            let context = self.context();
            if is_full { context.pause(self.reader, &reading) } else { context.resume(self.reader, &reading) }
        }
    }

    fn tell(&self) {
        let context = self.context();
        self.consumed.tell(context.partitions().health(context.now()));
    }
}

/// Reads a message. One that is no usage record gives a stand-in that no ledger books: it lands in quarantine, in the batch's transaction.
fn record(message: &BorrowedMessage<'_>) -> Result<Spooled, (waybill_kafka::Strange, Spooled)> {
    let headers = message.headers();
    let version = headers.and_then(|headers| headers.iter().find(|header| header.key == SCHEMA_HEADER)).and_then(|header| header.value);
    waybill_kafka::read(message.key(), version, message.payload()).map_err(|strange| {
        // Sequence 0 is nobody's, and no kind is one that can be booked.
        let payload = message.payload().unwrap_or_default().to_vec().into();
        let place = format!("{}/{}@{}", message.topic(), message.partition(), message.offset());
        (strange, Spooled { attempt_id: place.into_bytes().into(), payload, ..Spooled::default() })
    })
}
