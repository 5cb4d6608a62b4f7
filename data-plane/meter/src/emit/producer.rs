//! The Kafka client of the emitter: its settings, its delivery reports, and what it complains of.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prost::Message as _;
use rdkafka::{
    ClientConfig, ClientContext, Message,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer},
};
use tokio::sync::Notify;
use waybill_kafka::{Complaints, Property, SCHEMA_HEADER, SCHEMA_VERSION, key};
use waybill_proto::usage::v1::Spooled;

use super::delivery::{Limits, Ticket};

/// What became of a record, by the word of a producer.
#[derive(Debug)]
pub struct Report {
    pub producer: u64,
    pub ticket: Ticket,
    pub log: u64,
    pub delivered: bool,
}

/// Where producers leave their reports.
#[derive(Debug, Default)]
pub struct Post {
    reports: Mutex<Vec<Report>>,
    /// The number of a producer that failed for good.
    failed: Mutex<Option<u64>>,
    arrived: Notify,
    complaints: Mutex<Complaints>,
}

impl Post {
    pub fn take(&self) -> Vec<Report> {
        std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn take_failed(&self) -> Option<u64> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Resolves when something has been left since the last [`Self::take`].
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn leave(&self, report: Report) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(report);
        if reports.len() == 1 {
            self.arrived.notify_one();
        }
    }

    fn fail(&self, producer: u64) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(producer);
        self.arrived.notify_one();
    }

    /// Says a complaint in the log, each kind once in a while.
    pub fn complain(&self, code: &str, reason: &str) {
        let code = waybill_kafka::kind(code, reason);
        let said = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).say(code, Instant::now());
        if let Some(before) = said {
            let advice = waybill_kafka::advice(code);
            tracing::error!(kafka = code, reason, before, "usage records wait in the spool: {advice}");
        }
    }
}

/// One producer's ear.
pub struct Context {
    producer: u64,
    post: Arc<Post>,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error, too.
        tracing::debug!(facility, message, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        self.post.complain(&code.map_or_else(|| error.to_string(), |code| format!("{code:?}")), reason);
        if code == Some(RDKafkaErrorCode::Fatal) {
            self.post.fail(self.producer);
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let (message, delivered) = match result {
            Ok(message) => (message, true),
            Err((error, message)) => {
                let code = error.rdkafka_error_code();
                // A purge is our own doing: the producer is being replaced or stopped.
                if !matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)) {
                    self.post.complain(&code.map_or_else(|| error.to_string(), |code| format!("{code:?}")), "a record was refused");
                }
                (message, false)
            }
        };
        let log = message.key().and_then(|key| key.try_into().ok()).map_or(0, u64::from_be_bytes);
        self.post.leave(Report { producer: self.producer, ticket: ticket as Ticket, log, delivered });
    }
}

/// A running producer.
pub struct Producer {
    client: ThreadedProducer<Context, NoCustomPartitioner>,
    headers: OwnedHeaders,
    topic: String,
    value: Vec<u8>,
}

/// Why a record was not taken.
pub enum NotTaken {
    /// The queue is full; later.
    Later,
    /// The producer is of no use any more, or refuses this record.
    Failed(String),
}

impl Producer {
    /// Makes a producer that reports under this number.
    ///
    /// # Errors
    /// The client refuses its configuration: a fault of the operator's, or a file that is gone.
    pub fn make(properties: &[Property], topic: &str, limits: &Limits, number: u64, post: &Arc<Post>) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        for (name, value) in properties {
            config.set(*name, value);
        }
        config
            .set("client.id", "waybill-emit")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            // A message that times out is a gap; the spool waits as long as it takes.
            .set("message.timeout.ms", "0")
            .set("compression.type", "lz4")
            .set("linger.ms", "20")
            // As the clients of other languages choose it, so that they find a log's partition.
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.messages", limits.window_records.max(1000).to_string())
            .set("queue.buffering.max.kbytes", "65536")
            .set("log.connection.close", "false")
            .set("reconnect.backoff.max.ms", "5000")
            .set("topic.metadata.refresh.interval.ms", "60000");
        let context = Context { producer: number, post: Arc::clone(post) };
        let headers = OwnedHeaders::new_with_capacity(1).insert(Header { key: SCHEMA_HEADER, value: Some(SCHEMA_VERSION) });
        Ok(Self {
            client: ThreadedProducer::from_config_and_context(&config, context)?,
            headers,
            topic: topic.to_owned(),
            value: Vec::new(),
        })
    }

    /// Hands a record to the client, which copies it.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub fn send(&mut self, ticket: Ticket, record: &Spooled) -> Result<(), NotTaken> {
        self.value.clear();
        // Writing to a Vec cannot fail.
        let _ = record.encode(&mut self.value);
        let key = key(record.incarnation);
        let message = BaseRecord::with_opaque_to(&self.topic, ticket as usize).key(&key).payload(&self.value).headers(self.headers.clone());
        match self.client.send(message) {
            Ok(()) => Ok(()),
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => Err(NotTaken::Later),
            Err((error, _)) => Err(NotTaken::Failed(error.to_string())),
        }
    }

    /// Ends it, which waits for its thread and throws away what it holds.
    pub fn end(self) {
        let client = self.client;
        tokio::task::spawn_blocking(move || drop(client));
    }
}

/// How often a full queue is looked at again.
pub const LATER: Duration = Duration::from_millis(20);
