//! The writer of one log: intents, ends, rolls, the close.
//!
//! **Room.** Each segment is allocated whole, and at any time the room that is left in the current one holds the largest end of every open
//! intent and the `closed` record. An intent that would break this rolls the log to a new segment first, and is refused if there is none to
//! be had. So an end needs no new room, whatever became of the disk; and so recovery, which writes the same records, needs none either. (Two
//! things make recovery's file grow beyond its room: orphans that are longer than the largest end, and a machine that dies within a sync
//! interval of a roll and loses ends that the old segment had room for.)
//!
//! **Roll.** The open intents are written again behind the new segment's header, which says how many they are. Until they all are there the
//! old segment is the log's last one: a half-made successor is ignored.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::sync::Arc;

use super::bound::Full;
use super::disk;
use super::durable::{Durable, Poisoned, Rolled, Shared, give_back_tail};
use super::failpoint::failpoint;
use super::plan::Closed;
use super::record::{self, Head, Kind, Place, record_bytes};
use super::segment::{Position, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::spool::{Inner, Spool};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Settled,
    Partial,
    Failed,
    Orphaned,
}

impl From<End> for Kind {
    fn from(end: End) -> Self {
        match end {
            End::Settled => Self::Settled,
            End::Partial => Self::Partial,
            End::Failed => Self::Failed,
            End::Orphaned => Self::Orphaned,
        }
    }
}

/// Why an intent was not written; the attempt must not be sent. None is the caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Retry when the spool has drained.
    #[error("the spool is full: {used} of {bound} bytes are used")]
    Full { used: u64, bound: u64 },
    /// The file system has no room for a segment, though the bound allows one. Retry when it has.
    #[error("the disk of the spool is full: {0}")]
    DiskFull(#[source] io::Error),
    /// Retry when attempts have ended, or on another log.
    #[error("{open} attempts are open on this spool log, as many as a segment holds")]
    Crowded { open: usize },
    /// A fault of ours: the payload is over the named limit. Do not retry.
    #[error("an intent of {bytes} bytes is longer than the limit of {limit}")]
    TooLong { bytes: usize, limit: usize },
    /// A fault of ours. Do not retry under this attempt id.
    #[error("this attempt has an open intent already")]
    AlreadyOpen,
    /// Retry on a new log.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// Retry on a new log.
    #[error("the spool log is closed")]
    Closed,
}

/// Why an end was not written. Never for want of room.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The attempt will be orphaned by the recovery of this log. Do not retry.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// A fault of ours: the attempt has no intent, or has ended already. Do not retry.
    #[error("this attempt has no open intent")]
    NotOpen,
    /// A fault of ours: the payload is over the named limit. Retry with a shorter one.
    #[error("an end of {bytes} bytes is longer than the limit of {limit}")]
    TooLong { bytes: usize, limit: usize },
    /// A log is closed when its attempts have ended. Retry then.
    #[error("{open} attempts are still open on this spool log")]
    StillOpen { open: usize },
    /// A fault of ours. Do not retry.
    #[error("the spool log is closed")]
    Closed,
}

/// One log, owned by the one thread that writes it.
#[derive(Debug)]
pub struct Log {
    spool: Arc<Inner>,
    shared: Arc<Shared>,
    file: Arc<fs::File>,
    place: Place,
    at: Position,
    next_seq: u64,
    open: HashMap<[u8; 16], Open, BuildHasherDefault<ById>>,
    /// Bytes that the open intents take when they are carried forward.
    open_bytes: u64,
    /// Orders the open intents.
    serial: u64,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    serial: u64,
    payload: Box<[u8]>,
}

/// Attempt ids are random at their end and are made here, so that part is hash enough.
#[derive(Debug, Default)]
struct ById(u64);

impl Hasher for ById {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.last_chunk().map_or(self.0, |random| u64::from_be_bytes(*random));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Log {
    pub(crate) fn new(spool: Arc<Inner>, shared: Arc<Shared>, file: Arc<fs::File>) -> Self {
        let at = Position { segment: 0, offset: SEGMENT_HEADER_BYTES };
        let place = Place::of(shared.header.identity.incarnation, 0);
        Self { spool, shared, file, place, at, next_seq: 1, open: HashMap::default(), open_bytes: 0, serial: 0, buffer: Vec::new() }
    }

    /// Writes the intent of an attempt, which is about to be sent. After this its end is certain to find room.
    pub fn intent(&mut self, attempt: [u8; 16], payload: &[u8]) -> Result<Position, Refusal> {
        failpoint("intent.before");
        self.admissible(&attempt, payload)?;
        let bytes = record_bytes(payload.len()) as u64;
        if self.at.offset as u64 + bytes + self.kept(self.open.len() + 1) > self.spool.options.segment_bytes as u64 {
            self.make_room(bytes)?;
        }
        let position = self.append(Kind::Intent, 0, attempt, payload)?;
        self.serial += 1;
        self.open_bytes += bytes;
        self.open.insert(attempt, Open { serial: self.serial, payload: payload.into() });
        failpoint("intent.after");
        Ok(position)
    }

    /// Writes the end of an attempt: one per intent. Gives the event's sequence number.
    pub fn end(&mut self, attempt: [u8; 16], end: End, payload: &[u8]) -> Result<(u64, Position), Failure> {
        failpoint("end.before");
        if self.shared.is_closed() {
            return Err(Failure::Closed);
        }
        let limit = self.spool.options.max_end_bytes;
        if payload.len() > limit {
            return Err(Failure::TooLong { bytes: payload.len(), limit });
        }
        let intent_bytes = self.open.get(&attempt).map(|open| record_bytes(open.payload.len()) as u64).ok_or(Failure::NotOpen)?;
        let seq = self.next_seq;
        let position = self.append(end.into(), seq, attempt, payload)?;
        self.next_seq += 1;
        self.shared.given.give(seq);
        self.open.remove(&attempt);
        self.open_bytes -= intent_bytes;
        failpoint("end.after");
        Ok((seq, position))
    }

    /// The payload of an open attempt's intent.
    pub fn intent_of(&self, attempt: &[u8; 16]) -> Option<&[u8]> {
        self.open.get(attempt).map(|open| &*open.payload)
    }

    /// Ends the log: nothing is written to it hereafter, and all of it is durable.
    pub fn close(&mut self, doubt: bool) -> Result<Closed, Failure> {
        failpoint("close.before");
        if self.shared.is_closed() {
            return Err(Failure::Closed);
        }
        if !self.open.is_empty() {
            return Err(Failure::StillOpen { open: self.open.len() });
        }
        let closed = Closed { last_seq: self.next_seq - 1, doubt };
        self.append(Kind::Closed, self.next_seq, [0; 16], &closed.encode())?;
        self.shared.given.give(self.next_seq);
        self.shared.sync(&self.spool.bound)?;
        give_back_tail(&self.file, self.at.offset, self.spool.options.segment_bytes.into(), &self.spool.bound);
        self.shared.set_closed();
        self.spool.syncer.remove(self.incarnation());
        self.spool.syncer.advance();
        Ok(closed)
    }

    /// Resolves when the position that `intent` or `end` gave is on the disk (the *strict* mode waits for it).
    pub fn durable(&self, position: Position) -> Durable {
        Durable::new(Arc::clone(&self.shared), position)
    }

    /// The position up to which the log is known to be on the disk.
    pub fn durable_position(&self) -> Position {
        self.shared.durable()
    }

    pub fn incarnation(&self) -> u64 {
        self.shared.header.identity.incarnation
    }

    /// The spool that this log is part of.
    pub fn spool(&self) -> Spool {
        Spool::from_inner(Arc::clone(&self.spool))
    }

    /// The attempts that have an intent and no end.
    pub fn open_attempts(&self) -> impl ExactSizeIterator<Item = [u8; 16]> + '_ {
        self.open.keys().copied()
    }

    /// The sequence number of the last event; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    pub fn is_poisoned(&self) -> bool {
        self.shared.is_poisoned()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn admissible(&self, attempt: &[u8; 16], payload: &[u8]) -> Result<(), Refusal> {
        if self.shared.is_closed() {
            return Err(Refusal::Closed);
        }
        if self.shared.is_poisoned() {
            return Err(Poisoned.into());
        }
        let limit = self.spool.options.max_intent_bytes;
        if payload.len() > limit {
            return Err(Refusal::TooLong { bytes: payload.len(), limit });
        }
        if self.open.contains_key(attempt) {
            return Err(Refusal::AlreadyOpen);
        }
        Ok(())
    }

    /// Room that is kept for the ends of so many attempts and for `closed`.
    fn kept(&self, open: usize) -> u64 {
        (open * record_bytes(self.spool.options.max_end_bytes) + record_bytes(Closed::BYTES)) as u64
    }

    /// Rolls to a new segment for an intent of `bytes`.
    fn make_room(&mut self, bytes: u64) -> Result<(), Refusal> {
        let segment_bytes: u64 = self.spool.options.segment_bytes.into();
        // At most half of a segment for what was open before, or ever more of the disk's work would be to carry it on.
        let needed = self.open_bytes + bytes + self.kept(self.open.len() + 1);
        if u64::from(SEGMENT_HEADER_BYTES) + needed > segment_bytes / 2 {
            return Err(Refusal::Crowded { open: self.open.len() });
        }
        self.spool.bound.take(segment_bytes).map_err(|Full { used, bound }| Refusal::Full { used, bound })?;
        let segment = self.at.segment + 1;
        let path = disk::segment_path(&self.shared.folder, segment);
        let file = match disk::create_segment(&path, segment_bytes) {
            Ok(file) => Arc::new(file),
            Err(error) => {
                self.spool.bound.give(segment_bytes);
                return Err(self.no_segment(error));
            }
        };
        if let Err(error) = self.carry_forward(&file, segment) {
            // Recovery ignores what is left of the file, and its room stays counted until then.
            self.shared.poison(&error);
            return Err(Poisoned.into());
        }
        Ok(())
    }

    /// Out of room is a passing state, and the current segment is as good as before; anything else means the disk failed.
    fn no_segment(&self, error: io::Error) -> Refusal {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::DiskFull(error),
            _ => {
                self.shared.poison(&error);
                Poisoned.into()
            }
        }
    }

    fn carry_forward(&mut self, file: &Arc<fs::File>, segment: u32) -> io::Result<()> {
        let header = SegmentHeader {
            segment,
            carried: self.open.len() as u32,
            base_seq: self.next_seq,
            created_unix_ms: self.spool.unix_ms(),
            ..self.shared.header
        };
        disk::write_whole(file, &header.encode(), 0)?;
        failpoint("roll.middle");

        let mut carried: Vec<_> = self.open.iter().collect();
        carried.sort_unstable_by_key(|(_, open)| open.serial);
        let place = Place::of(header.identity.incarnation, segment);
        self.buffer.clear();
        for (attempt, open) in carried {
            let offset = SEGMENT_HEADER_BYTES + self.buffer.len() as u32;
            let head = Head { kind: Kind::Intent, carried: true, seq: 0, attempt: *attempt };
            record::encode(&mut self.buffer, place, offset, &head, &open.payload);
        }
        disk::write_whole(file, &self.buffer, SEGMENT_HEADER_BYTES.into())?;

        let behind = Rolled {
            file: std::mem::replace(&mut self.file, Arc::clone(file)),
            end: self.at.offset,
            counted: self.spool.options.segment_bytes.into(),
        };
        self.place = place;
        self.at = Position { segment, offset: SEGMENT_HEADER_BYTES + self.buffer.len() as u32 };
        self.shared.roll(Arc::clone(file), behind);
        self.shared.wrote(self.at);
        self.spool.syncer.touch();
        Ok(())
    }

    /// Writes one record with one system call.
    fn append(&mut self, kind: Kind, seq: u64, attempt: [u8; 16], payload: &[u8]) -> Result<Position, Poisoned> {
        if self.shared.is_poisoned() {
            return Err(Poisoned);
        }
        self.buffer.clear();
        record::encode(&mut self.buffer, self.place, self.at.offset, &Head { kind, carried: false, seq, attempt }, payload);
        if let Err(error) = disk::write_whole(&self.file, &self.buffer, self.at.offset.into()) {
            self.shared.poison(&error);
            return Err(Poisoned);
        }
        self.at.offset += self.buffer.len() as u32;
        self.shared.wrote(self.at);
        self.spool.syncer.touch();
        Ok(self.at)
    }

    /// Where the next record will be written, if it does not roll the log.
    #[cfg(test)]
    pub(crate) fn written(&self) -> Position {
        self.at
    }

    /// Replaces the file that is written, to have a write fail.
    #[cfg(test)]
    pub(crate) fn set_file(&mut self, file: fs::File) {
        self.file = Arc::new(file);
    }
}
