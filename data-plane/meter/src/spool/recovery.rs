//! Recovery: reads dead logs, has the planner decide, and does what it says.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::disk;
use super::failpoint::failpoint;
use super::plan::{self, Action, Circumstances, Closed, Closing, Damage, IntentRecord, Plan, Survey, TooLong};
use super::record::MAX_PAYLOAD_BYTES;
use super::segment::{HeaderFault, SegmentHeader};

/// Why a log could not be recovered. Nothing of it is lost; recovery may be run again.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The disk's fault. Retry when it works.
    #[error("spool file {path}: {error}")]
    File { path: PathBuf, error: io::Error },
    /// The operator's fault: an older program on a newer spool. Retry with the newer one.
    #[error("spool segment {path} is of format version {version}, which this program does not know")]
    Version { path: PathBuf, version: u32 },
    /// A fault of ours: what was made of an open intent cannot be written. Do not retry.
    #[error("an orphaned event of {bytes} bytes is longer than the limit of {limit}")]
    TooLong { bytes: usize, limit: usize },
}

/// What recovery did to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub incarnation: u64,
    /// `None` if no header could be read.
    pub header: Option<SegmentHeader>,
    pub closed: Closed,
    /// How many open intents became `orphaned`.
    pub orphaned: usize,
    /// Bytes of an interrupted write that were cut.
    pub torn_bytes: u32,
    pub damage: Vec<Damage>,
}

/// How a log stands after recovery.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It had admitted nothing and is gone.
    Discarded,
    /// It was closed before.
    WasClosed(Option<SegmentHeader>, Closed),
    Closed(Recovered),
}

/// Closes the log of `incarnation` if it is not closed. May die at any point and be run again.
///
/// `buffer` is where segments are read to: one for all logs, since fresh memory of that size costs more than the reading.
pub(crate) fn recover(
    spool: &Path,
    about: Circumstances,
    orphan: &dyn Fn(&IntentRecord<'_>) -> Vec<u8>,
    buffer: &mut Vec<u8>,
) -> Result<Outcome, RecoveryError> {
    let log = disk::log_folder(spool, about.incarnation);
    let poisoned = about.poisoned || disk::is_poisoned(&log).map_err(at(&log))?;
    let about = Circumstances { poisoned, ..about };
    let surveys = survey(&log, about, buffer)?;
    let header = surveys.iter().find_map(Survey::header);
    let plan = plan::plan(surveys, about, orphan);
    match plan.map_err(|TooLong { bytes }| RecoveryError::TooLong { bytes, limit: MAX_PAYLOAD_BYTES })? {
        Plan::Discard => {
            disk::remove_log(spool, &log).map_err(at(&log))?;
            Ok(Outcome::Discarded)
        }
        Plan::Trim { segment, end, closed } => {
            trim(&disk::segment_path(&log, segment), end)?;
            Ok(Outcome::WasClosed(header, closed))
        }
        Plan::Close(closing) => {
            close(&log, &closing)?;
            // A death before the parent folder was synced at the log's creation may have left the log's name to luck.
            disk::sync_folder(spool).map_err(at(spool))?;
            let Closing { closed, orphaned, torn, damage, .. } = closing;
            Ok(Outcome::Closed(Recovered { incarnation: about.incarnation, header, closed, orphaned, torn_bytes: torn, damage }))
        }
    }
}

/// Surveys as many of the last segments as the planner needs, and makes durable what it will build on.
fn survey(log: &Path, about: Circumstances, buffer: &mut Vec<u8>) -> Result<Vec<Survey>, RecoveryError> {
    let mut newest_first = Vec::new();
    for (number, _) in disk::segments(log).map_err(at(log))?.into_iter().rev() {
        let path = disk::segment_path(log, number);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(at(&path))?;
        file.sync_data().map_err(at(&path))?;
        let length = file.metadata().map_err(at(&path))?.len();
        let bytes = disk::read_at(&file, 0, usize::try_from(length).unwrap_or(usize::MAX), buffer).map_err(at(&path))?;
        newest_first.push(plan::survey(about.incarnation, number, bytes).map_err(|fault| match fault {
            HeaderFault::Version(version) => RecoveryError::Version { path: path.clone(), version },
            HeaderFault::Unreadable => RecoveryError::File { path: path.clone(), error: io::ErrorKind::InvalidData.into() },
        })?);
        if plan::is_enough(&newest_first, about) {
            break;
        }
    }
    Ok(newest_first)
}

fn close(log: &Path, closing: &Closing) -> Result<(), RecoveryError> {
    for number in &closing.discard {
        let path = disk::segment_path(log, *number);
        fs::remove_file(&path).map_err(at(&path))?;
    }
    let path = disk::segment_path(log, closing.segment);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(at(&path))?;
    let mut last = None;
    for write in &closing.writes {
        // Each step is durable before the next kind of step begins: a torn tail must be gone before records stand in its place.
        if last.is_some_and(|last| last != write.what) {
            file.sync_data().map_err(at(&path))?;
        }
        disk::write_whole(&file, &write.bytes, write.at.into()).map_err(at(&path))?;
        match write.what {
            Action::Cut => {}
            Action::Orphan => failpoint("recovery.orphaned"),
            Action::Close => failpoint("recovery.closed"),
        }
        last = Some(write.what);
    }
    file.sync_data().map_err(at(&path))?;
    disk::sync_folder(log).map_err(at(log))?;
    trim(&path, closing.end)
}

/// Gives back the unused end of a closed log's last segment.
fn trim(path: &Path, end: u32) -> Result<(), RecoveryError> {
    let file = OpenOptions::new().write(true).open(path).map_err(at(path))?;
    if file.metadata().map_err(at(path))?.len() > u64::from(end) {
        file.set_len(end.into()).map_err(at(path))?;
    }
    Ok(())
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> RecoveryError {
    let path = path.to_owned();
    move |error| RecoveryError::File { path, error }
}
