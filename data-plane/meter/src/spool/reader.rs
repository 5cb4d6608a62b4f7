//! The reader: the events of all logs, each log in order, never past what is on the disk.
//!
//! The consumer commits a batch's records and its cursors in one transaction and then calls [`Reader::release`]. If the commit fails it
//! [rewinds](Reader::rewind) to the cursors that it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::disk;
use super::plan::Damage;
use super::record::{Kind, Place};
use super::scan::{Scanner, Step, Tail};
use super::segment::{Position, SEGMENT_HEADER_BYTES};
use super::spool::{Spool, Standing};

/// How much of a segment is read at a time; more only where a record, or damage, is longer.
const WINDOW_BYTES: usize = 1 << 20;

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub incarnation: u64,
    /// 0 for intents.
    pub seq: u64,
    pub kind: Kind,
    /// Zero for `closed`.
    pub attempt: [u8; 16],
    /// An intent that was written before and carried forward to this segment.
    pub carried: bool,
    pub payload: Vec<u8>,
}

/// What was read in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub records: Vec<Record>,
    /// The new cursor of every log whose cursor moved.
    pub cursors: BTreeMap<u64, Position>,
    /// Ranges that hold no valid record and were stepped over.
    pub damage: Vec<Damage>,
    /// Logs that are closed and now read to their end: once this batch is committed, [`Reader::release`] deletes them.
    pub finished: BTreeSet<u64>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.cursors.is_empty() && self.damage.is_empty() && self.finished.is_empty()
    }
}

/// The disk's fault; nothing was lost, retry when it works.
#[derive(Debug, thiserror::Error)]
#[error("spool file {path} could not be read or released: {error}")]
pub struct ReadError {
    pub path: PathBuf,
    pub error: io::Error,
}

/// Reads the logs of one spool for one consumer.
#[derive(Debug)]
pub struct Reader {
    spool: Spool,
    intents: bool,
    cursors: BTreeMap<u64, Position>,
    /// Of each log, which sequence number stands before which cursor that was given out, until that is released.
    passed: BTreeMap<u64, VecDeque<(Position, u64)>>,
    /// Logs that are closed and read to their end.
    finished: BTreeSet<u64>,
    /// The log that was read last; the next batch starts behind it, so that a busy log does not starve the others.
    turn: u64,
    /// Where windows are read to.
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(spool: Spool, cursors: impl IntoIterator<Item = (u64, Position)>) -> Self {
        Self {
            spool,
            intents: false,
            cursors: cursors.into_iter().collect(),
            passed: BTreeMap::new(),
            finished: BTreeSet::new(),
            turn: 0,
            buffer: Vec::new(),
        }
    }

    /// Reads intents too, carried ones included.
    #[must_use]
    pub fn with_intents(mut self) -> Self {
        self.intents = true;
        self
    }

    /// The next records, at most so many. An empty batch means that there is nothing more now.
    ///
    /// A log that cannot be read does not keep the others from being read; the error comes when it is its turn.
    pub fn next(&mut self, max_records: usize) -> Result<Batch, ReadError> {
        let mut logs = self.spool.inner().standings();
        let behind = logs.partition_point(|(incarnation, _)| *incarnation <= self.turn);
        logs.rotate_left(behind);
        let mut batch = Batch::default();
        for (incarnation, standing) in logs {
            if batch.records.len() >= max_records {
                break;
            }
            if self.finished.contains(&incarnation) {
                continue;
            }
            self.turn = incarnation;
            let from = self.cursors.get(&incarnation).copied();
            let mut walk = Walk::new(&self.spool, incarnation, standing, from, self.intents);
            let (records, damage) = (batch.records.len(), batch.damage.len());
            let at_end = match walk.run(max_records, &mut self.buffer, &mut batch) {
                Ok(at_end) => at_end,
                Err(error) => {
                    batch.records.truncate(records);
                    batch.damage.truncate(damage);
                    if batch.is_empty() {
                        return Err(error);
                    }
                    break;
                }
            };
            if from != Some(walk.at) {
                batch.cursors.insert(incarnation, walk.at);
            }
            if let Some(seq) = batch.records.get(records..).into_iter().flatten().map(|record| record.seq).max() {
                self.passed.entry(incarnation).or_default().push_back((walk.at, seq));
            }
            if at_end {
                batch.finished.insert(incarnation);
            }
        }
        self.cursors.extend(&batch.cursors);
        self.finished.extend(&batch.finished);
        Ok(batch)
    }

    /// Goes back to these cursors, after a batch could not be committed. A log that is not among them is read from its start.
    pub fn rewind(&mut self, cursors: impl IntoIterator<Item = (u64, Position)>) {
        self.cursors = cursors.into_iter().collect();
        self.passed.clear();
        self.finished.clear();
    }

    /// How far a log has been read.
    pub fn cursor(&self, incarnation: u64) -> Option<Position> {
        self.cursors.get(&incarnation).copied()
    }

    /// The process that writes or wrote this log; `None` if its headers cannot be read or it is gone.
    pub fn process_of(&self, incarnation: u64) -> Option<u64> {
        let standing = self.spool.inner().standings().into_iter().find(|(known, _)| *known == incarnation);
        match standing?.1 {
            Standing::Live(shared) => Some(shared.header.identity.process),
            Standing::Dead(dead) => dead.header.map(|header| header.identity.process),
        }
    }

    /// Deletes what the consumer has committed: whole segments behind the cursor, and the folder of a closed log whose end the cursor is.
    /// Returns whether the log is gone, and with it the need for its cursor. May die at any point and be called again.
    pub fn release(&mut self, incarnation: u64, cursor: Position) -> Result<bool, ReadError> {
        let inner = self.spool.inner();
        let folder = disk::log_folder(&inner.options.folder, incarnation);
        let Some((_, standing)) = inner.standings().into_iter().find(|(known, _)| *known == incarnation) else {
            return Ok(true);
        };
        if let Some(passed) = self.passed.get_mut(&incarnation) {
            while passed.front().is_some_and(|(position, _)| *position <= cursor) {
                passed.pop_front().into_iter().for_each(|(_, seq)| standing.given().release(seq));
            }
        }
        let segments = disk::segments(&folder).map_err(at(&folder))?;
        let whole = self.finished.contains(&incarnation) && self.cursors.get(&incarnation) == Some(&cursor);
        if whole && standing.is_closed() {
            disk::remove_log(&inner.options.folder, &folder).map_err(at(&folder))?;
            inner.bound.give(segments.iter().map(|(_, bytes)| bytes).sum());
            inner.forget(incarnation);
            self.finished.remove(&incarnation);
            self.cursors.remove(&incarnation);
            self.passed.remove(&incarnation);
            return Ok(true);
        }
        // What follows the last sync may be needed again, whatever the consumer believes to have read.
        let needed = match &standing {
            Standing::Live(shared) => cursor.segment.min(shared.durable().segment),
            Standing::Dead(_) => cursor.segment,
        };
        for (number, bytes) in segments.into_iter().take_while(|(number, _)| *number < needed) {
            let path = disk::segment_path(&folder, number);
            fs::remove_file(&path).map_err(at(&path))?;
            inner.bound.give(bytes);
        }
        Ok(false)
    }
}

/// One log, read for one batch.
struct Walk {
    incarnation: u64,
    folder: PathBuf,
    /// How far a live log may be read.
    limit: Option<Position>,
    closed: bool,
    at: Position,
    intents: bool,
}

/// Why a segment's walk stopped.
enum Stop {
    /// The batch has what was asked for.
    Full,
    /// All of the segment that may be read was read.
    SegmentEnd,
    /// There is no such file.
    Missing,
}

impl Walk {
    fn new(spool: &Spool, incarnation: u64, standing: Standing, from: Option<Position>, intents: bool) -> Self {
        let folder = disk::log_folder(&spool.inner().options.folder, incarnation);
        // Whether a log is closed is asked before how far it is durable, or its last records could come in between.
        let closed = standing.is_closed();
        let limit = match standing {
            Standing::Live(shared) => Some(shared.durable()),
            Standing::Dead(_) => None,
        };
        let mut at = from.unwrap_or_default();
        at.offset = at.offset.max(SEGMENT_HEADER_BYTES);
        Self { incarnation, folder, limit, closed, at, intents }
    }

    /// Reads into the batch; true if the log is closed and this is its end.
    fn run(&mut self, max_records: usize, buffer: &mut Vec<u8>, batch: &mut Batch) -> Result<bool, ReadError> {
        loop {
            if self.limit.is_some_and(|limit| limit <= self.at) {
                return Ok(self.closed);
            }
            let read_to = match self.segment(max_records, buffer, batch)? {
                Stop::Full => return Ok(false),
                Stop::SegmentEnd => Position { segment: self.at.segment + 1, offset: 0 },
                Stop::Missing => self.at,
            };
            let more = self.limit.is_none_or(|limit| limit.segment > self.at.segment);
            if !more || !self.enter_next(read_to, batch)? {
                return Ok(self.closed);
            }
        }
    }

    /// Reads the segment that the cursor is in.
    fn segment(&mut self, max_records: usize, buffer: &mut Vec<u8>, batch: &mut Batch) -> Result<Stop, ReadError> {
        let path = disk::segment_path(&self.folder, self.at.segment);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stop::Missing),
            file => file.map_err(at(&path))?,
        };
        let length = u32::try_from(file.metadata().map_err(at(&path))?.len()).unwrap_or(u32::MAX);
        let end = match self.limit {
            Some(limit) if limit.segment == self.at.segment => limit.offset.min(length),
            _ => length,
        };
        let mut window = WINDOW_BYTES;
        loop {
            let left = end.saturating_sub(self.at.offset) as usize;
            let bytes = disk::read_at(&file, self.at.offset.into(), left.min(window), buffer).map_err(at(&path))?;
            let start = self.at.offset;
            match self.window(bytes, max_records, batch) {
                None => return Ok(Stop::Full),
                Some(tail) if bytes.len() >= left || bytes.is_empty() => {
                    self.note_tail(tail, end, batch);
                    return Ok(Stop::SegmentEnd);
                }
                // What the window ends with can only be judged together with what follows.
                Some(_) if self.at.offset == start => window *= 2,
                Some(_) => window = WINDOW_BYTES,
            }
        }
    }

    /// Reads the records of a window; gives its tail unless the batch is full before.
    fn window(&mut self, bytes: &[u8], max_records: usize, batch: &mut Batch) -> Option<Tail> {
        let mut scanner = Scanner::new(bytes, self.at.offset, Place::of(self.incarnation, self.at.segment));
        while batch.records.len() < max_records {
            match scanner.step() {
                Step::Record { head, payload, end } => {
                    self.at.offset = end;
                    if head.kind != Kind::Intent || self.intents {
                        batch.records.push(Record {
                            incarnation: self.incarnation,
                            seq: head.seq,
                            kind: head.kind,
                            attempt: head.attempt,
                            carried: head.carried,
                            payload: payload.to_vec(),
                        });
                    }
                }
                Step::Damage { start, end } => {
                    self.list_damage(start, end, batch);
                    self.at.offset = end;
                }
                Step::End(tail) => return Some(tail),
            }
        }
        None
    }

    /// A whole segment has no torn tail: what is unreadable at its end is damage, stepped over once.
    fn note_tail(&mut self, tail: Tail, limit: u32, batch: &mut Batch) {
        let end = match tail {
            Tail::Clean { .. } => return,
            Tail::Torn { end, .. } | Tail::Damaged { end, .. } => end.next_multiple_of(8).min(limit.max(tail.at())),
        };
        self.list_damage(tail.at(), end, batch);
        self.at.offset = end;
    }

    /// Goes on to the next segment that there is; false if there is none.
    fn enter_next(&mut self, read_to: Position, batch: &mut Batch) -> Result<bool, ReadError> {
        let segments = disk::segments(&self.folder).map_err(at(&self.folder))?;
        let Some((next, _)) = segments.into_iter().find(|(number, _)| *number > self.at.segment) else {
            return Ok(false);
        };
        let next = Position { segment: next, offset: SEGMENT_HEADER_BYTES };
        // At the start of a log nobody has a cursor for, released segments are no damage.
        let fresh = self.at == Position { segment: 0, offset: SEGMENT_HEADER_BYTES };
        if next.segment > read_to.segment && !fresh {
            batch.damage.push(Damage { incarnation: self.incarnation, from: read_to, to: next });
        }
        self.at = next;
        Ok(true)
    }

    fn list_damage(&self, from: u32, to: u32, batch: &mut Batch) {
        let position = |offset| Position { segment: self.at.segment, offset };
        batch.damage.push(Damage { incarnation: self.incarnation, from: position(from), to: position(to) });
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ReadError {
    let path = path.to_owned();
    move |error| ReadError { path, error }
}
