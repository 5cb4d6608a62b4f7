//! The spool of a process: recovered logs, living logs, the bound that all share and the thread that syncs them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::bound::{Bound, Full, Pressure};
use super::disk;
use super::durable::{Shared, lock};
use super::log::Log;
use super::plan::{Circumstances, Closed, IntentRecord};
use super::reader::Reader;
use super::record::{MAX_PAYLOAD_BYTES, record_bytes};
use super::recovery::{self, Outcome, Recovered, RecoveryError, at};
use super::report::{Given, LogReport, Report};
use super::segment::{Identity, Position, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::sync::{Progress, SyncThread, Syncer};

/// How many released logs are still reported. A process has one log per worker, and a new one for each that breaks.
const GONE: usize = 1024;

/// Offsets are 32 bits wide; this leaves recovery room beyond a segment for orphans that are longer than they should be.
const MAX_SEGMENT_BYTES: u32 = 1 << 30;

/// The limits of a spool.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the logs lie, one folder each.
    pub folder: PathBuf,
    /// The size of a segment. The spool's use is counted in whole segments while they are written.
    pub segment_bytes: u32,
    /// How much all logs of the process may take together, unread old ones included.
    pub bound_bytes: u64,
    /// The longest payload of an intent.
    pub max_intent_bytes: usize,
    /// The longest payload of an end; room of this size is kept for every open intent. Recovery's payloads are to keep to it as well.
    pub max_end_bytes: usize,
    /// The shortest time between two syncs of a log.
    pub sync_every: Duration,
}

impl Options {
    /// The defaults: segments of 64 MiB, 8 GiB in all, payloads of 4 KiB and 2 KiB, a sync every 5 ms.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            segment_bytes: 64 << 20,
            bound_bytes: 8 << 30,
            max_intent_bytes: 4096,
            max_end_bytes: 2048,
            sync_every: Duration::from_millis(5),
        }
    }

    fn check(&self) -> Result<(), StartError> {
        let one_attempt = record_bytes(self.max_intent_bytes) + record_bytes(self.max_end_bytes) + record_bytes(Closed::BYTES);
        let least = 2 * (SEGMENT_HEADER_BYTES as usize + one_attempt);
        if (self.segment_bytes as usize) < least || self.segment_bytes > MAX_SEGMENT_BYTES || !self.segment_bytes.is_multiple_of(8) {
            return Err(StartError::Segment { bytes: self.segment_bytes, least, most: MAX_SEGMENT_BYTES });
        }
        if self.max_intent_bytes.max(self.max_end_bytes) > MAX_PAYLOAD_BYTES {
            return Err(StartError::Payload { limit: MAX_PAYLOAD_BYTES });
        }
        Ok(())
    }
}

/// Why a spool could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operator's fault.
    #[error("a spool segment of {bytes} bytes will not do: it must be a multiple of 8 from {least} (twice the largest attempt) to {most}")]
    Segment { bytes: u32, least: usize, most: u32 },
    /// The operator's fault.
    #[error("no payload in the spool may be longer than {limit} bytes")]
    Payload { limit: usize },
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("the spool's sync thread could not be started: {0}")]
    Thread(#[source] io::Error),
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Retry when the spool has drained.
    #[error("the spool is full: {used} of {bound} bytes are used")]
    Full { used: u64, bound: u64 },
    /// The disk's fault. Retry with a new incarnation.
    #[error("spool log {path} could not be created: {error}")]
    File { path: PathBuf, error: io::Error },
    /// A fault of ours: incarnations are random and never used again.
    #[error("a spool log of this incarnation exists already")]
    Exists,
}

/// The spool of this process. Cheap to clone; the sync thread ends with the last clone and the last log.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub options: Options,
    pub bound: Arc<Bound>,
    pub syncer: Arc<Syncer>,
    boot: [u8; 16],
    logs: Mutex<BTreeMap<u64, Standing>>,
    /// The last logs that were released whole, for reports.
    gone: Mutex<VecDeque<LogReport>>,
    /// Only to end the thread when nothing needs it any more.
    _thread: Option<SyncThread>,
}

/// What is known of a log that lies in the folder.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// This process writes it, or has closed it: readable up to the durable position.
    Live(Arc<Shared>),
    /// Recovered, or closed by an earlier process: readable to its end.
    Dead(Arc<Dead>),
}

/// A log that gives out no more sequence numbers.
#[derive(Debug)]
pub(crate) struct Dead {
    pub header: Option<SegmentHeader>,
    pub given: Given,
}

impl Dead {
    fn standing(header: Option<SegmentHeader>, closed: Closed, released: u64) -> Standing {
        Standing::Dead(Arc::new(Self { header, given: Given::up_to(closed.last_seq + 1, released) }))
    }
}

impl Standing {
    pub(crate) fn given(&self) -> &Given {
        match self {
            Self::Live(shared) => &shared.given,
            Self::Dead(dead) => &dead.given,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Live(shared) => shared.is_closed(),
            Self::Dead(_) => true,
        }
    }

    fn report(&self, incarnation: u64) -> LogReport {
        // Asked in this order: the last number of a log is final once it is closed.
        let closed = self.is_closed();
        LogReport { incarnation, last_sequence: self.given().last(), closed }
    }
}

/// A log that lies in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogInfo {
    pub incarnation: u64,
    /// `None` if its headers could not be read.
    pub header: Option<SegmentHeader>,
    /// Nothing more will be written to it.
    pub closed: bool,
}

impl Inner {
    pub(crate) fn unix_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    pub(crate) fn standings(&self) -> Vec<(u64, Standing)> {
        lock(&self.logs).iter().map(|(incarnation, standing)| (*incarnation, standing.clone())).collect()
    }

    pub(crate) fn forget(&self, incarnation: u64) {
        if let Some(standing) = lock(&self.logs).remove(&incarnation) {
            let mut gone = lock(&self.gone);
            gone.push_back(standing.report(incarnation));
            if gone.len() > GONE {
                gone.pop_front();
            }
        }
    }
}

impl Spool {
    /// Recovers the logs that earlier processes left, then starts the sync thread. Nothing can be read or written before.
    ///
    /// `boot` names the machine's boot; `orphan` makes the payload of an `orphaned` event from the intent's, and must give the same for the
    /// same. The caller holds whatever lock makes it the folder's only process.
    pub fn start(
        options: Options,
        boot: [u8; 16],
        orphan: impl Fn(&IntentRecord<'_>) -> Vec<u8>,
    ) -> Result<(Self, Vec<Recovered>), StartError> {
        Self::build(options, boot, &orphan, true)
    }

    /// A spool without the thread: syncs happen by [`Self::pass`].
    #[cfg(test)]
    pub(crate) fn start_by_hand(
        options: Options,
        boot: [u8; 16],
        orphan: impl Fn(&IntentRecord<'_>) -> Vec<u8>,
    ) -> Result<(Self, Vec<Recovered>), StartError> {
        Self::build(options, boot, &orphan, false)
    }

    #[cfg(test)]
    pub(crate) fn pass(&self) {
        self.0.syncer.pass();
    }

    fn build(
        options: Options,
        boot: [u8; 16],
        orphan: &dyn Fn(&IntentRecord<'_>) -> Vec<u8>,
        thread: bool,
    ) -> Result<(Self, Vec<Recovered>), StartError> {
        options.check()?;
        let folder = options.folder.clone();
        disk::create_folder(&folder).map_err(at(&folder))?;
        let (mut logs, mut recovered, mut used) = (BTreeMap::new(), Vec::new(), 0);
        let mut buffer = Vec::new();
        for incarnation in disk::incarnations(&folder).map_err(at(&folder))? {
            let standing = match recovery::recover(&folder, Circumstances { incarnation, boot, poisoned: false }, orphan, &mut buffer)? {
                Outcome::Discarded => continue,
                Outcome::WasClosed(header, closed) => Dead::standing(header, closed, 0),
                Outcome::Closed(report) => {
                    let standing = Dead::standing(report.header, report.closed, 0);
                    recovered.push(report);
                    standing
                }
            };
            used += log_bytes(&disk::log_folder(&folder, incarnation))?;
            logs.insert(incarnation, standing);
        }
        let bound = Arc::new(Bound::new(options.bound_bytes, used));
        let syncer = Arc::new(Syncer::new(Arc::clone(&bound)));
        let thread = thread.then(|| SyncThread::start(Arc::clone(&syncer), options.sync_every)).transpose().map_err(StartError::Thread)?;
        Ok((
            Self(Arc::new(Inner { options, bound, syncer, boot, logs: Mutex::new(logs), gone: Mutex::default(), _thread: thread })),
            recovered,
        ))
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Opens a new log. It is durable, and thus may be announced, when this returns.
    pub fn open(&self, identity: Identity) -> Result<Log, OpenError> {
        let incarnation = identity.incarnation;
        let folder = disk::log_folder(&self.0.options.folder, incarnation);
        if lock(&self.0.logs).contains_key(&incarnation) || folder.exists() {
            return Err(OpenError::Exists);
        }
        let bytes = u64::from(self.0.options.segment_bytes);
        self.0.bound.take(bytes).map_err(|Full { used, bound }| OpenError::Full { used, bound })?;
        let header = SegmentHeader { identity, boot: self.0.boot, segment: 0, carried: 0, base_seq: 1, created_unix_ms: self.0.unix_ms() };
        let file = self.create(&folder, &header).map_err(|error| {
            // What is left of it is discarded by the next recovery, and is counted then if it is not.
            self.0.bound.give(bytes);
            let _ = disk::remove_log(&self.0.options.folder, &folder);
            OpenError::File { path: folder.clone(), error }
        })?;
        let file = Arc::new(file);
        let start = Position { segment: 0, offset: SEGMENT_HEADER_BYTES };
        let shared = Arc::new(Shared::new(header, folder, Arc::clone(&file), start));
        self.0.syncer.add(Arc::clone(&shared));
        lock(&self.0.logs).insert(incarnation, Standing::Live(Arc::clone(&shared)));
        Ok(Log::new(Arc::clone(&self.0), shared, file))
    }

    fn create(&self, folder: &Path, header: &SegmentHeader) -> io::Result<std::fs::File> {
        disk::create_folder(folder)?;
        let file = disk::create_segment(&disk::segment_path(folder, 0), self.0.options.segment_bytes.into())?;
        disk::write_whole(&file, &header.encode(), 0)?;
        file.sync_all()?;
        disk::sync_folder(folder)?;
        Ok(file)
    }

    /// Recovers, with doubt, a log that this process can no longer write: its open intents become `orphaned`. Until this has worked, or the
    /// next start has recovered it, the log is readable as far as it was synced.
    pub fn retire(&self, log: Log, orphan: impl Fn(&IntentRecord<'_>) -> Vec<u8>) -> Result<Recovered, RecoveryError> {
        let incarnation = log.incarnation();
        let shared = Arc::clone(log.shared());
        drop(log);
        shared.poison(&io::Error::other("retired"));
        self.0.syncer.remove(incarnation);
        // A sync that is under way ends first; none begins on a poisoned log.
        shared.settle();
        let before = log_bytes(&shared.folder)?;
        let about = Circumstances { incarnation, boot: self.0.boot, poisoned: true };
        let outcome = recovery::recover(&self.0.options.folder, about, &orphan, &mut Vec::new())?;
        let after = if shared.folder.exists() { log_bytes(&shared.folder)? } else { 0 };
        self.0.bound.give(before.saturating_sub(after));
        let recovered = match outcome {
            Outcome::Closed(recovered) => recovered,
            Outcome::WasClosed(header, closed) => Recovered { incarnation, header, closed, orphaned: 0, torn_bytes: 0, damage: Vec::new() },
            Outcome::Discarded => {
                // Its only segment lost its header to the failing disk before anything was admitted.
                self.0.forget(incarnation);
                let closed = Closed { last_seq: 0, doubt: true };
                return Ok(Recovered { incarnation, header: None, closed, orphaned: 0, torn_bytes: 0, damage: Vec::new() });
            }
        };
        let standing = Dead::standing(Some(shared.header), recovered.closed, shared.given.released());
        lock(&self.0.logs).insert(incarnation, standing);
        self.0.syncer.advance();
        Ok(recovered)
    }

    /// A reader that goes on where each cursor stands, and from the start of every other log.
    pub fn reader(&self, cursors: impl IntoIterator<Item = (u64, Position)>) -> Reader {
        Reader::new(self.clone(), cursors)
    }

    /// The logs that lie in the folder.
    pub fn logs(&self) -> Vec<LogInfo> {
        let info = |(incarnation, standing)| match standing {
            Standing::Live(shared) => LogInfo { incarnation, header: Some(shared.header), closed: shared.is_closed() },
            Standing::Dead(dead) => LogInfo { incarnation, header: dead.header, closed: true },
        };
        self.0.standings().into_iter().map(info).collect()
    }

    /// How far every log has written, and how much waits.
    pub fn report(&self) -> Report {
        let standings = self.0.standings();
        let waiting = |standing: &Standing| standing.given().last().saturating_sub(standing.given().released());
        let waiting_events = standings.iter().map(|(_, standing)| waiting(standing)).sum();
        let mut logs: Vec<LogReport> = lock(&self.0.gone).iter().copied().collect();
        logs.extend(standings.iter().map(|(incarnation, standing)| standing.report(*incarnation)));
        Report { logs, bytes: self.used_bytes(), bound_bytes: self.bound_bytes(), waiting_events }
    }

    /// How near the spool is to its bound.
    pub fn pressure(&self) -> Pressure {
        self.0.bound.pressure()
    }

    /// Where the logs lie.
    pub fn folder(&self) -> &Path {
        &self.0.options.folder
    }

    /// Bytes of disk that the spool takes.
    pub fn used_bytes(&self) -> u64 {
        self.0.bound.used()
    }

    pub fn bound_bytes(&self) -> u64 {
        self.0.bound.bytes()
    }

    /// How often something became readable; wait for more with [`Self::progress_after`].
    pub fn progress(&self) -> u64 {
        self.0.syncer.progress()
    }

    /// Resolves when something has become readable since `seen`, so that a reader need not poll.
    pub fn progress_after(&self, seen: u64) -> Progress {
        Progress::new(Arc::clone(&self.0.syncer), seen)
    }
}

fn log_bytes(log: &Path) -> Result<u64, RecoveryError> {
    Ok(disk::segments(log).map_err(at(log))?.iter().map(|(_, bytes)| bytes).sum())
}
