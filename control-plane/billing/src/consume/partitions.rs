//! The consumer's decisions: what is gathered of each partition, when it is committed, and what a failure means. Pure; time is an argument, in
//! milliseconds.
//!
//! Where a partition goes on is the ledger's word, and only a commit moves it. A message is taken only if it is the next one: what came before is
//! known, and what comes too early is asked for again from where it should have gone on, so that no message can be passed over by accident. (If
//! the same one comes again, the topic has a hole there.)
//!
//! A commit whose fate is unknown is repeated as it was. One that is *fenced* belongs to somebody else by now: what was gathered is dropped, and
//! the partition is asked of the ledger again only if the group still says that it is ours a good while later.

use std::collections::{BTreeMap, VecDeque};

use waybill_proto::usage::v1::Spooled;

use crate::progress::{Assignment, PartitionProgress};

/// What bounds the consumer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most records of one commit.
    pub batch_records: usize,
    /// How long a record may wait for others.
    pub gather_ms: u64,
    /// Records of all partitions at which no more is taken.
    pub held_records: usize,
    /// So long without a commit although there is something to commit is unhealthy.
    pub stalled_ms: u64,
    /// After so long a fenced partition that is still ours is claimed again.
    pub reclaim_ms: u64,
    /// The first pause after a failure of the ledger; it doubles up to the longest.
    pub pause_ms: u64,
    pub longest_pause_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_records: 2000,
            gather_ms: 50,
            held_records: 40_000,
            stalled_ms: 60_000,
            reclaim_ms: 30_000,
            pause_ms: 200,
            longest_pause_ms: 10_000,
        }
    }
}

/// Why a partition is not read any more. An operator must decide.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stop {
    /// Kafka has deleted what the ledger has not: what lay between is lost to this way.
    Deleted { next: i64, low: i64 },
    /// The ledger is further on than the topic: it is not the topic that the ledger knows.
    Beyond { next: i64, high: i64 },
}

/// A batch on its way into the ledger.
#[derive(Clone, Debug)]
pub struct Batch {
    pub records: Vec<Spooled>,
    pub progress: PartitionProgress,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Landed,
    /// Nothing was written, or everything, or nobody knows.
    Failed,
    /// Somebody else owns the partition, or the ledger stands elsewhere.
    Fenced,
}

/// What is to be done about a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    Gathered,
    /// It is known, or the partition is not read at present.
    Ignored,
    /// Read on from this offset: something lies between.
    Back(i64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Reading,
    /// Since when.
    Fenced(u64),
    /// It waits for an operator; since when.
    Stopped(u64),
}

#[derive(Debug)]
struct Partition {
    epoch: u64,
    state: State,
    stop: Option<Stop>,
    /// Where the ledger stands, or where it begins.
    stored: i64,
    /// The offset that is to come.
    next: i64,
    /// An early message that was seen.
    early: Option<i64>,
    /// With their offsets, in order.
    gathered: VecDeque<(i64, Spooled)>,
    /// When the first of them came.
    since: u64,
    committing: Option<Batch>,
    failures: u32,
    not_before: u64,
    /// One behind the last message, as far as it is known.
    high: i64,
    /// The last commit, or when there was something to commit again.
    progressed: u64,
}

impl Partition {
    fn lag(&self) -> i64 {
        self.high.saturating_sub(self.stored).max(0)
    }

    fn held(&self) -> usize {
        self.gathered.len() + self.committing.as_ref().map_or(0, |batch| batch.records.len())
    }

    fn drop_all(&mut self) {
        self.gathered.clear();
        self.committing = None;
        self.early = None;
    }
}

/// How the consumer is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Health {
    pub partitions: usize,
    /// Messages that are not in the ledger.
    pub lag: u64,
    /// Partitions with a lag and without a commit for too long.
    pub stalled: Vec<i32>,
    /// Partitions that somebody else has taken.
    pub fenced: Vec<i32>,
    /// Partitions that wait for an operator.
    pub stopped: Vec<(i32, Stop)>,
}

impl Health {
    /// Progress is health.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.stalled.is_empty() && self.stopped.is_empty()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Partitions {
    topic: String,
    limits: Limits,
    held: BTreeMap<i32, Partition>,
}

impl Partitions {
    /// Of this topic; none is held yet.
    #[must_use]
    pub const fn of(topic: String, limits: Limits) -> Self {
        Self { topic, limits, held: BTreeMap::new() }
    }

    /// The ledger has assigned a partition. `range` is what Kafka has, from the first offset to one behind the last, if it could be asked. Gives
    /// where to read on; `None` = it is stopped. A partition of which nothing is known begins at 0: to begin with whatever comes first would be
    /// to pass over what comes late.
    pub fn assigned(&mut self, partition: i32, assignment: Assignment, range: Option<(i64, i64)>, now: u64) -> Option<i64> {
        let next = assignment.next_offset.or(range.map(|(low, _)| low)).unwrap_or(0);
        let mut held = Partition {
            epoch: assignment.epoch,
            state: State::Reading,
            stop: None,
            stored: next,
            next,
            early: None,
            gathered: VecDeque::new(),
            since: now,
            committing: None,
            failures: 0,
            not_before: 0,
            high: range.map_or(next, |(_, high)| high),
            progressed: now,
        };
        held.stop = range.and_then(|range| out_of(range, held.next));
        if held.stop.is_some() {
            held.state = State::Stopped(now);
        }
        let reading = held.stop.is_none().then_some(next);
        self.held.insert(partition, held);
        reading
    }

    /// The group has given the partition to somebody else, or will.
    pub fn revoked(&mut self, partition: i32) {
        self.held.remove(&partition);
    }

    /// A message has come.
    pub fn received(&mut self, partition: i32, offset: i64, record: Spooled, now: u64) -> Taken {
        let Some(held) = self.held.get_mut(&partition).filter(|held| held.state == State::Reading) else { return Taken::Ignored };
        if offset < held.next {
            return Taken::Ignored;
        }
        if offset > held.next && held.early != Some(offset) {
            held.early = Some(offset);
            return Taken::Back(held.next);
        }
        held.early = None;
        held.next = offset + 1;
        if held.high <= offset {
            if held.lag() == 0 {
                held.progressed = now;
            }
            held.high = offset + 1;
        }
        if held.gathered.is_empty() {
            held.since = now;
        }
        held.gathered.push_back((offset, record));
        Taken::Gathered
    }

    /// The partition reaches up to here.
    pub fn reaches(&mut self, partition: i32, high: i64, now: u64) {
        if let Some(held) = self.held.get_mut(&partition).filter(|held| held.high < high) {
            if held.lag() == 0 {
                held.progressed = now;
            }
            held.high = high;
        }
    }

    /// The next partition whose batch is to be committed now. It stays its batch until [`Self::committed`].
    pub fn due(&mut self, now: u64, at_once: bool) -> Option<(i32, &Batch)> {
        let full = self.held_records() >= self.limits.held_records;
        let limits = self.limits;
        let is_due = |held: &Partition| {
            let retry = held.committing.is_some();
            let ripe = at_once || full || held.gathered.len() >= limits.batch_records || now.saturating_sub(held.since) >= limits.gather_ms;
            // What was gathered before a partition was stopped is in order, and perhaps nowhere else any more.
            !matches!(held.state, State::Fenced(_)) && now >= held.not_before && (retry || (ripe && !held.gathered.is_empty()))
        };
        // The longest waiting one, so that none starves.
        let (partition, held) = self.held.iter_mut().filter(|(_, held)| is_due(held)).min_by_key(|(_, held)| held.since)?;
        if held.committing.is_none() {
            let count = held.gathered.len().min(limits.batch_records);
            let next = held.gathered.get(count.checked_sub(1)?)?.0 + 1;
            let records = held.gathered.drain(..count).map(|(_, record)| record).collect();
            let (topic, from) = (self.topic.clone(), held.stored);
            let progress = PartitionProgress { topic, partition: *partition, epoch: held.epoch, from, next };
            held.committing = Some(Batch { records, progress });
        }
        held.committing.as_ref().map(|batch| (*partition, batch))
    }

    /// What became of the batch that was due.
    pub fn committed(&mut self, partition: i32, outcome: Outcome, now: u64) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        match outcome {
            Outcome::Landed => {
                held.stored = held.committing.take().map_or(held.stored, |batch| batch.progress.next);
                (held.failures, held.not_before, held.progressed, held.since) = (0, 0, now, now);
            }
            Outcome::Failed => {
                let pause = self.limits.pause_ms.saturating_mul(1 << held.failures.min(20)).min(self.limits.longest_pause_ms);
                held.failures = held.failures.saturating_add(1);
                held.not_before = now.saturating_add(pause);
            }
            Outcome::Fenced => {
                held.drop_all();
                held.state = State::Fenced(now);
            }
        }
    }

    /// Partitions that were taken from us and that the group still calls ours, and those that wait for an operator: they may be claimed again now.
    #[must_use]
    pub fn to_reclaim(&self, now: u64) -> Vec<i32> {
        let limit = self.limits.reclaim_ms;
        let due = self
            .held
            .iter()
            .filter(|(_, held)| matches!(held.state, State::Fenced(since) | State::Stopped(since) if now.saturating_sub(since) >= limit));
        due.map(|(partition, _)| *partition).collect()
    }

    /// A claim did not work: later again.
    pub fn not_reclaimed(&mut self, partition: i32, now: u64) {
        if let Some(held) = self.held.get_mut(&partition) {
            held.state = if held.stop.is_some() { State::Stopped(now) } else { State::Fenced(now) };
        }
    }

    /// Compares where a partition goes on with what Kafka has, and stops it if that is not there.
    pub fn check_range(&mut self, partition: i32, range: (i64, i64), now: u64) -> Option<Stop> {
        let held = self.held.get_mut(&partition).filter(|held| held.state == State::Reading)?;
        let stop = out_of(range, held.next)?;
        held.state = State::Stopped(now);
        held.stop = Some(stop.clone());
        Some(stop)
    }

    /// Records in memory.
    #[must_use]
    pub fn held_records(&self) -> usize {
        self.held.values().map(Partition::held).sum()
    }

    /// No more is to be taken until something was committed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.held_records() >= self.limits.held_records
    }

    /// The partitions that are read.
    #[must_use]
    pub fn reading(&self) -> Vec<i32> {
        self.held.iter().filter(|(_, held)| held.state == State::Reading).map(|(partition, _)| *partition).collect()
    }

    /// When a batch is due although nothing more comes.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        let due = |held: &Partition| match held.state {
            State::Reading | State::Stopped(_) if held.committing.is_some() => Some(held.not_before),
            State::Reading | State::Stopped(_) if !held.gathered.is_empty() => {
                Some(held.not_before.max(held.since + self.limits.gather_ms))
            }
            State::Fenced(since) | State::Stopped(since) => Some(since + self.limits.reclaim_ms),
            _ => None,
        };
        self.held.values().filter_map(due).min()
    }

    /// See [`Health`].
    #[must_use]
    pub fn health(&self, now: u64) -> Health {
        let mut health = Health { partitions: self.held.len(), ..Health::default() };
        for (partition, held) in &self.held {
            let lag = held.lag();
            health.lag = health.lag.saturating_add(lag.unsigned_abs());
            if let Some(stop) = &held.stop {
                health.stopped.push((*partition, stop.clone()));
            } else if lag > 0 && now.saturating_sub(held.progressed) >= self.limits.stalled_ms {
                health.stalled.push(*partition);
            }
            if matches!(held.state, State::Fenced(_)) {
                health.fenced.push(*partition);
            }
        }
        health
    }
}

fn out_of((low, high): (i64, i64), next: i64) -> Option<Stop> {
    match next {
        next if next < low => Some(Stop::Deleted { next, low }),
        next if next > high => Some(Stop::Beyond { next, high }),
        _ => None,
    }
}
