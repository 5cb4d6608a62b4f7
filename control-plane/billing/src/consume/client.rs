//! The Kafka client of the consumer: what the group tells it, and what it complains of.
//!
//! The group's word is acted on inside `poll`, on the consumer's own thread, which may wait for the ledger there: without the ledger nothing can
//! be read anyway.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    client::Client,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};
use tokio::runtime::Handle;
use waybill_kafka::Complaints;

use super::partitions::{Partitions, Stop};
use crate::{Assignment, Error, Ledger};

/// Longest wait for the brokers' word on where a partition begins and ends.
const RANGE_TIME: Duration = Duration::from_secs(5);

/// Between two tries to have a partition assigned by the ledger.
const ASSIGN_PAUSE: Duration = Duration::from_secs(1);

pub type Reader = BaseConsumer<Context>;

/// What the thread and the client's callbacks share; both run on one thread, never at once.
pub struct Context {
    pub topic: String,
    pub partitions: Mutex<Partitions>,
    pub ledger: Arc<dyn Ledger>,
    pub runtime: Handle,
    /// The process stops.
    pub stopping: Arc<AtomicBool>,
    /// A fetch was out of range; which one, the client does not say.
    pub out_of_range: AtomicBool,
    pub began: Instant,
    pub complaints: Mutex<Complaints>,
}

impl Context {
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says a complaint in the log, each kind once in a while.
    pub fn complain(&self, code: &str, reason: &str) {
        let code = waybill_kafka::kind(code, reason);
        let said = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).say(code, Instant::now());
        if let Some(before) = said {
            let advice = waybill_kafka::advice(code);
            tracing::error!(kafka = code, reason, before, "usage records are not read: {advice}");
        }
    }

    pub fn complain_of(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.out_of_range.store(true, Ordering::Relaxed)
            }
            code => self.complain(&code.map_or_else(|| error.to_string(), |code| format!("{code:?}")), reason),
        }
    }

    /// The ledger's word on where to read on, tried until it comes or the process stops.
    fn assignment(&self, partition: i32) -> Option<Assignment> {
        while !self.stopping.load(Ordering::Relaxed) {
            match self.ask(partition) {
                Ok(assignment) => return Some(assignment),
                Err(error) => self.complain("ledger", &error.to_string()),
            }
            thread::sleep(ASSIGN_PAUSE);
        }
        None
    }

    fn ask(&self, partition: i32) -> Result<Assignment, Error> {
        self.runtime.block_on(self.ledger.assign(&self.topic, partition))
    }

    /// Takes a partition under a new epoch and says where to read on; `None` = it stays paused.
    fn claim(&self, partition: i32, assignment: Assignment, range: Option<(i64, i64)>) -> Option<Offset> {
        let now = self.now();
        let mut partitions = self.partitions();
        if let Some(next) = partitions.assigned(partition, assignment, range, now) {
            return Some(Offset::Offset(next));
        }
        let stopped = partitions.health(now).stopped.into_iter().find(|(number, _)| *number == partition);
        let (_, stop) = stopped?;
        say(&self.topic, partition, &stop);
        None
    }

    fn range(&self, reader: &Reader, partition: i32) -> Option<(i64, i64)> {
        reader.fetch_watermarks(&self.topic, partition, RANGE_TIME).inspect_err(|error| self.complain_of(error, "asking for offsets")).ok()
    }

    /// After a fetch that was out of range: finds whose it was, and stops it.
    pub fn check_ranges(&self, reader: &Reader) {
        let reading = self.partitions().reading();
        for partition in reading {
            let Some(range) = self.range(reader, partition) else {
                self.out_of_range.store(true, Ordering::Relaxed);
                continue;
            };
            let stopped = self.partitions().check_range(partition, range, self.now());
            if let Some(stop) = stopped {
                say(&self.topic, partition, &stop);
                self.pause(reader, &[partition]);
            }
        }
    }

    /// Claims a partition again that was fenced although the group still calls it ours, or that waits for an operator, who may have decided.
    pub fn reclaim(&self, reader: &Reader, partition: i32) {
        let claimed = match self.ask(partition) {
            Ok(assignment) => self.claim(partition, assignment, self.range(reader, partition)),
            Err(error) => {
                self.complain("ledger", &error.to_string());
                self.partitions().not_reclaimed(partition, self.now());
                return;
            }
        };
        if let Some(offset) = claimed {
            self.seek(reader, partition, offset);
            self.resume(reader, &[partition]);
        }
    }

    pub fn seek(&self, reader: &Reader, partition: i32, offset: Offset) {
        if let Err(error) = reader.seek(&self.topic, partition, offset, RANGE_TIME) {
            // What comes from the wrong place is not taken, and sought again.
            self.complain_of(&error, "seeking");
        }
    }

    pub fn pause(&self, reader: &Reader, partitions: &[i32]) {
        if let Err(error) = reader.pause(&self.list(partitions)) {
            self.complain_of(&error, "pausing");
        }
    }

    pub fn resume(&self, reader: &Reader, partitions: &[i32]) {
        if let Err(error) = reader.resume(&self.list(partitions)) {
            self.complain_of(&error, "resuming");
        }
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    fn take(&self, reader: &Reader, given: &TopicPartitionList) {
        let mut list = TopicPartitionList::new();
        let (mut resting, mut reading) = (Vec::new(), Vec::new());
        let mut asked = true;
        for element in given.elements() {
            let partition = element.partition();
            let offset = self.assignment(partition).and_then(|assignment| {
                // Brokers that do not answer for one partition are not waited for at the next: the group does not wait for us either.
                let range = asked.then(|| self.range(reader, partition)).flatten();
                asked = range.is_some();
                self.claim(partition, assignment, range)
            });
            if offset.is_some() {
                reading.push(partition)
            } else {
                resting.push(partition)
            }
            if let Err(error) = list.add_partition_offset(&self.topic, partition, offset.unwrap_or(Offset::End)) {
                self.complain_of(&error, "assigning");
            }
        }
        tracing::info!(partitions = list.count(), "partitions of the usage topic were assigned");
        if let Err(error) = reader.incremental_assign(&list) {
            self.complain_of(&error, "assigning");
        }
        if !resting.is_empty() {
            self.pause(reader, &resting);
        }
        if !reading.is_empty() {
            // A partition may have been paused when it was ours before.
            self.resume(reader, &reading);
        }
    }

    fn give(&self, reader: &Reader, taken: &TopicPartitionList) {
        tracing::info!(partitions = taken.count(), "partitions of the usage topic were taken away");
        for element in taken.elements() {
            self.partitions().revoked(element.partition());
        }
        if let Err(error) = reader.incremental_unassign(taken) {
            self.complain_of(&error, "giving back partitions");
        }
    }
}

fn say(topic: &str, partition: i32, stop: &Stop) {
    match stop {
        Stop::Deleted { next, low } => tracing::error!(
            "{topic}/{partition} STOPS: the ledger goes on at {next}, but Kafka has deleted everything before {low}. What lay between may still come \
             by the second way or from the proxies' spools; `waybill ledger gaps` shows what is missing. To go on without it: \
             `waybill kafka reset --partition {partition} --to earliest`, by a named operator"
        ),
        Stop::Beyond { next, high } => tracing::error!(
            "{topic}/{partition} STOPS: the ledger goes on at {next}, but Kafka ends at {high}. This is not the topic that the ledger knows: it was \
             made anew, or the brokers have lost what they had. Give a new topic another name (kafka.topic), or restore the old one"
        ),
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complain_of(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let now = self.now();
        let mut partitions = self.partitions();
        for (number, partition) in &topic.partitions {
            partitions.reaches(*number, partition.ls_offset.max(partition.hi_offset), now);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, reader: &Reader, word: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match word {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.take(reader, list),
            _ => self.give(reader, list),
        }
    }

    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        rdkafka::util::Timeout::After(Duration::from_millis(500))
    }
}

/// Why the client is of no use any more, if it is.
pub fn fatal(client: &Client<Context>) -> Option<String> {
    client.fatal_error().map(|(_, reason)| reason)
}
