//! The emitter's decisions: which records are where, what may be released, which way is open. Pure; time is an argument, in milliseconds.
//!
//! Every record that was read from the spool waits in a *window* until either way has acknowledged it: Kafka by a delivery report, or the
//! control plane by answering `Ingest`. What both acknowledge is booked once, so neither asks the other. A log's cursor moves over the longest
//! beginning of its records that have all been acknowledged; only what lies behind a saved cursor may be deleted.
//!
//! **The second way** opens for a log when nothing of it was delivered for a while (30 s) although records wait, which is how a partition without
//! a leader looks, and for all logs when nothing at all was. It closes when Kafka delivers again. Records stay with the producer meanwhile.
//!
//! **A producer that fails for good** is replaced, after a pause that doubles with each failure, and all that waits is handed to the new one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use waybill_proto::usage::v1::Spooled;

use crate::spool::{Batch, Position};

/// What bounds the emitter.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most records that wait for an acknowledgement, and most that the producer holds.
    pub window_records: usize,
    /// Bytes of payload at which no more is read.
    pub window_bytes: usize,
    /// Silence after which the second way opens.
    pub silence_ms: u64,
    /// Most records of one `Ingest`.
    pub ingest_records: usize,
    /// Most bytes of payload of one `Ingest`; a single longer record goes alone.
    pub ingest_bytes: usize,
    /// The first pause after a failure of a producer or of the second way; it doubles up to `longest_pause_ms`.
    pub pause_ms: u64,
    pub longest_pause_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_records: 20_000,
            window_bytes: 32 << 20,
            silence_ms: 30_000,
            ingest_records: 1000,
            ingest_bytes: 1 << 20,
            pause_ms: 500,
            longest_pause_ms: 15_000,
        }
    }
}

/// Names a record for as long as the process lives; handed to the producer and given back by its reports.
pub type Ticket = u64;

/// A record that nobody has acknowledged.
#[derive(Debug)]
struct Waiting {
    record: Spooled,
    /// The present producer has it.
    handed: bool,
}

/// Records of one log that were read in one go.
#[derive(Debug)]
struct Chunk {
    /// The ticket behind its last record.
    to: Ticket,
    /// How many are not acknowledged.
    left: usize,
    /// Where the log goes on behind it.
    end: Position,
}

#[derive(Debug, Default)]
struct Track {
    chunks: VecDeque<Chunk>,
    waiting: usize,
    silence: Silence,
}

/// How long nothing has been delivered although something waits.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    since: Option<u64>,
    /// It lasted too long, and nothing has been delivered since.
    open: bool,
}

impl Silence {
    fn waits(&mut self, now: u64) {
        self.since.get_or_insert(now);
    }

    fn heard(&mut self, now: u64, waiting: bool) {
        *self = Self { since: waiting.then_some(now), open: false };
    }

    /// Nothing waits any more: what comes next begins to wait anew, unless the way is known to be silent.
    fn quiet(&mut self) {
        self.since = None;
    }

    fn judge(&mut self, now: u64, limit: u64) {
        self.open |= self.since.is_some_and(|since| now.saturating_sub(since) >= limit);
    }
}

/// Failures in a row, and when to try again.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    failures: u32,
    until: u64,
}

impl Pause {
    fn failed(&mut self, now: u64, limits: &Limits) {
        let length = limits.pause_ms.saturating_mul(1 << self.failures.min(20)).min(limits.longest_pause_ms);
        *self = Self { failures: self.failures.saturating_add(1), until: now.saturating_add(length) };
    }

    const fn is_over(&self, now: u64) -> bool {
        now >= self.until
    }
}

/// See the module.
#[derive(Debug)]
pub struct Delivery {
    limits: Limits,
    /// By ticket, from `first` on; acknowledged ones leave a hole until they are at the front.
    window: VecDeque<Option<Waiting>>,
    first: Ticket,
    waiting: usize,
    bytes: usize,
    logs: BTreeMap<u64, Track>,
    cursors: BTreeMap<u64, Position>,
    /// Logs whose cursor may have moved since it was last asked.
    moved: BTreeSet<u64>,
    /// Tickets to be handed to the producer, in the order of the log.
    unsent: VecDeque<Ticket>,
    /// Records that the present producer holds, acknowledged by the other way or not.
    held: usize,
    /// Numbers the producers; 0 = there was none.
    producer: u64,
    producer_up: bool,
    producer_pause: Pause,
    silence: Silence,
    ingesting: Vec<Ticket>,
    ingest_pause: Pause,
}

impl Delivery {
    /// Goes on where the cursors stand.
    #[must_use]
    pub fn new(limits: Limits, cursors: BTreeMap<u64, Position>) -> Self {
        Self {
            limits,
            window: VecDeque::new(),
            first: 0,
            waiting: 0,
            bytes: 0,
            logs: BTreeMap::new(),
            cursors,
            moved: BTreeSet::new(),
            unsent: VecDeque::new(),
            held: 0,
            producer: 0,
            producer_up: false,
            producer_pause: Pause::default(),
            silence: Silence::default(),
            ingesting: Vec::new(),
            ingest_pause: Pause::default(),
        }
    }

    /// How many records may be read from the spool now.
    #[must_use]
    pub fn room(&self) -> usize {
        // Holes take room, too: a log that nobody takes must not make the window endless.
        if self.bytes >= self.limits.window_bytes || self.window.len() >= 4 * self.limits.window_records {
            return 0;
        }
        self.limits.window_records.saturating_sub(self.waiting)
    }

    /// Takes what was read from the spool.
    pub fn read(&mut self, batch: Batch, now: u64) {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        let mut ends: BTreeMap<u64, Ticket> = BTreeMap::new();
        for record in batch.records {
            let ticket = self.first + self.window.len() as u64;
            *counts.entry(record.incarnation).or_default() += 1;
            ends.insert(record.incarnation, ticket + 1);
            let record = record.into_wire();
            self.bytes += record.payload.len();
            self.window.push_back(Some(Waiting { record, handed: false }));
            self.unsent.push_back(ticket);
            self.waiting += 1;
        }
        // A log that is read to its end without a further record is released from there.
        let ended = batch.finished.iter().filter(|log| !batch.cursors.contains_key(log));
        let standing = ended.filter_map(|log| Some((*log, self.read_to(*log)?)));
        let cursors: Vec<(u64, Position)> = standing.chain(batch.cursors.iter().map(|(log, end)| (*log, *end))).collect();
        let behind = self.first + self.window.len() as u64;
        for (log, end) in cursors {
            let left = counts.get(&log).copied().unwrap_or(0);
            let track = self.logs.entry(log).or_default();
            track.chunks.push_back(Chunk { to: ends.get(&log).copied().unwrap_or(behind), left, end });
            track.waiting += left;
            if left > 0 {
                track.silence.waits(now);
                self.silence.waits(now);
            }
            self.moved.insert(log);
        }
    }

    /// How far a log has been read: to the end of its last chunk, or to its cursor if nothing of it is under way.
    fn read_to(&self, log: u64) -> Option<Position> {
        let under_way = self.logs.get(&log).and_then(|track| track.chunks.back()).map(|chunk| chunk.end);
        under_way.or_else(|| self.cursors.get(&log).copied())
    }

    /// Whether a producer is to be made now. Tell its number with [`Self::producer_made`], or that it failed.
    #[must_use]
    pub const fn wants_producer(&self, now: u64) -> bool {
        !self.producer_up && self.producer_pause.is_over(now)
    }

    /// There is a new producer; gives the number under which it reports.
    pub const fn producer_made(&mut self) -> u64 {
        self.producer += 1;
        self.producer_up = true;
        self.producer
    }

    /// The producer with this number, or the attempt to make one, failed for good: what it holds is handed to the next one.
    pub fn producer_failed(&mut self, producer: Option<u64>, now: u64) {
        if producer.is_some_and(|number| number != self.producer || !self.producer_up) {
            return;
        }
        self.producer_up = false;
        self.producer_pause.failed(now, &self.limits);
        self.held = 0;
        self.unsent.clear();
        for (ticket, slot) in (self.first..).zip(&mut self.window) {
            if let Some(waiting) = slot {
                waiting.handed = false;
                self.unsent.push_back(ticket);
            }
        }
    }

    /// The next record for the producer, if it may hold more. It stays the next one until it was [handed](Self::handed).
    pub fn unsent(&mut self, now: u64) -> Option<(Ticket, &Spooled)> {
        if !self.producer_up || self.held >= self.limits.window_records || !self.producer_pause.is_over(now) {
            return None;
        }
        // What the other way has acknowledged meanwhile needs no sending.
        while let Some(ticket) = self.unsent.front().copied() {
            if self.slot(ticket).is_some_and(|waiting| !waiting.handed) {
                break;
            }
            self.unsent.pop_front();
        }
        let ticket = *self.unsent.front()?;
        Some((ticket, &self.slot(ticket)?.record))
    }

    /// The producer has taken the record.
    pub fn handed(&mut self, ticket: Ticket) {
        if self.unsent.front() == Some(&ticket) {
            self.unsent.pop_front();
        }
        self.held += 1;
        if let Some(waiting) = self.slot_mut(ticket) {
            waiting.handed = true;
        }
    }

    /// Kafka has the record of this log.
    pub fn delivered(&mut self, producer: u64, ticket: Ticket, log: u64, now: u64) {
        // A report of an earlier producer is as true as one of this one.
        if producer == self.producer {
            self.held = self.held.saturating_sub(1);
            self.producer_pause = Pause::default();
        }
        self.acknowledge(ticket);
        self.silence.heard(now, self.waiting > 0);
        if let Some(track) = self.logs.get_mut(&log) {
            track.silence.heard(now, track.waiting > 0);
        }
    }

    /// Kafka refused the record, or its fate is unknown; it is sent again after a pause.
    pub fn undelivered(&mut self, producer: u64, ticket: Ticket, now: u64) {
        if producer != self.producer || !self.producer_up {
            return;
        }
        self.held = self.held.saturating_sub(1);
        if let Some(waiting) = self.slot_mut(ticket) {
            waiting.handed = false;
            self.unsent.push_back(ticket);
            if self.producer_pause.is_over(now) {
                self.producer_pause.failed(now, &self.limits);
            }
        }
    }

    /// The records to send by the second way now, if it is open and idle. They are out until [`Self::ingested`].
    pub fn ingest(&mut self, now: u64) -> Option<Vec<Spooled>> {
        let limit = self.limits.silence_ms;
        self.silence.judge(now, limit);
        let mut any = self.silence.open;
        for track in self.logs.values_mut() {
            track.silence.judge(now, limit);
            any |= track.silence.open;
        }
        if !any || !self.ingesting.is_empty() || !self.ingest_pause.is_over(now) {
            return None;
        }
        let (mut records, mut tickets, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (ticket, waiting) in (self.first..).zip(&self.window) {
            let Some(Waiting { record, .. }) = waiting else { continue };
            if !self.silence.open && !self.logs.get(&record.incarnation).is_some_and(|track| track.silence.open) {
                continue;
            }
            bytes += record.payload.len();
            if records.len() == self.limits.ingest_records || (bytes > self.limits.ingest_bytes && !records.is_empty()) {
                break;
            }
            records.push(record.clone());
            tickets.push(ticket);
        }
        self.ingesting = tickets;
        (!records.is_empty()).then_some(records)
    }

    /// How the second way went: all of its records are in the ledger, or it is tried again after a pause.
    pub fn ingested(&mut self, taken: bool, now: u64) {
        let tickets = std::mem::take(&mut self.ingesting);
        if !taken {
            return self.ingest_pause.failed(now, &self.limits);
        }
        self.ingest_pause = Pause::default();
        for ticket in tickets {
            self.acknowledge(ticket);
        }
        if self.waiting == 0 {
            self.silence.quiet();
        }
        for track in self.logs.values_mut().filter(|track| track.waiting == 0) {
            track.silence.quiet();
        }
    }

    /// From now on so much silence is enough for the second way: the process stops, and what it holds should leave.
    pub fn hurry(&mut self, silence_ms: u64) {
        self.limits.silence_ms = self.limits.silence_ms.min(silence_ms);
        self.ingest_pause.until = 0;
        self.limits.longest_pause_ms = self.limits.longest_pause_ms.min(silence_ms.max(1));
    }

    /// Moves cursors over what has been acknowledged and gives those that moved, and those of logs that ended. They may be released once
    /// [`Self::cursors`] were saved.
    pub fn take_moved(&mut self) -> Vec<(u64, Position)> {
        let mut moved = Vec::new();
        for log in std::mem::take(&mut self.moved) {
            let Some(track) = self.logs.get_mut(&log) else { continue };
            let mut end = None;
            while track.chunks.front().is_some_and(|chunk| chunk.left == 0) {
                end = track.chunks.pop_front().map(|chunk| chunk.end);
            }
            if let Some(end) = end {
                self.cursors.insert(log, end);
                moved.push((log, end));
            }
        }
        moved
    }

    /// Where each log goes on after a restart.
    #[must_use]
    pub const fn cursors(&self) -> &BTreeMap<u64, Position> {
        &self.cursors
    }

    /// The log was released whole.
    pub fn forget(&mut self, log: u64) {
        self.logs.remove(&log);
        self.cursors.remove(&log);
    }

    /// Records that nobody has acknowledged.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether the second way is open for any log.
    #[must_use]
    pub fn second_way(&self) -> bool {
        self.silence.open || self.logs.values().any(|track| track.silence.open)
    }

    /// When something is due that nobody will report.
    #[must_use]
    pub fn next_due(&self, now: u64) -> Option<u64> {
        let silences = self.logs.values().map(|track| track.silence).chain([self.silence]).filter(|silence| !silence.open);
        let open = silences.filter_map(|silence| silence.since).min().map(|since| since.saturating_add(self.limits.silence_ms));
        open.into_iter().chain([self.producer_pause.until, self.ingest_pause.until]).filter(|due| *due > now).min()
    }

    fn slot(&self, ticket: Ticket) -> Option<&Waiting> {
        self.window.get(usize::try_from(ticket.checked_sub(self.first)?).ok()?)?.as_ref()
    }

    fn slot_mut(&mut self, ticket: Ticket) -> Option<&mut Waiting> {
        self.window.get_mut(usize::try_from(ticket.checked_sub(self.first)?).ok()?)?.as_mut()
    }

    fn acknowledge(&mut self, ticket: Ticket) {
        let Some(index) = ticket.checked_sub(self.first).and_then(|index| usize::try_from(index).ok()) else { return };
        let Some(Waiting { record, .. }) = self.window.get_mut(index).and_then(Option::take) else { return };
        self.waiting -= 1;
        self.bytes -= record.payload.len();
        while matches!(self.window.front(), Some(None)) {
            self.window.pop_front();
            self.first += 1;
        }
        let Some(track) = self.logs.get_mut(&record.incarnation) else { return };
        track.waiting -= 1;
        let chunk = track.chunks.partition_point(|chunk| chunk.to <= ticket);
        if let Some(chunk) = track.chunks.get_mut(chunk) {
            chunk.left -= 1;
            if chunk.left == 0 {
                self.moved.insert(record.incarnation);
            }
        }
    }
}
