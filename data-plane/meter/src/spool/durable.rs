//! What a log's writer, the sync thread and the readers share: how far the log is written, and how far it is on the disk.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::bound::Bound;
use super::disk;
use super::report::Given;
use super::segment::{Position, SegmentHeader};

/// Locks; a panic elsewhere does not make the data behind our locks wrong, since each change under them is one assignment or push.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A write or a sync of the log failed: nothing more is admitted on it, and nothing that was not yet durable may be relied on.
/// Our fault; the attempt may be made anew on a new log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the spool log is poisoned: its disk failed")]
pub struct Poisoned;

/// The state of one live log.
#[derive(Debug)]
pub(crate) struct Shared {
    pub header: SegmentHeader,
    pub folder: PathBuf,
    written: AtomicU64,
    durable: AtomicU64,
    poisoned: AtomicBool,
    closed: AtomicBool,
    pub given: Given,
    files: Mutex<Files>,
    /// Held for the length of a sync, so that two never share the list of rolled files.
    syncing: Mutex<()>,
    waiters: Mutex<Vec<(Position, Waker)>>,
    /// Something to happen within the next sync, after the disk was asked and before its answer is published.
    #[cfg(test)]
    pub mid_sync: Mutex<Option<std::sync::mpsc::SyncSender<()>>>,
}

#[derive(Debug)]
struct Files {
    current: Arc<File>,
    /// Segments behind the current one that were not yet synced.
    rolled: Vec<Rolled>,
    /// The folder has a new name that is not yet durable.
    new_name: bool,
}

/// A segment that has a successor.
#[derive(Clone, Debug)]
pub(crate) struct Rolled {
    pub file: Arc<File>,
    /// Where its last record ends.
    pub end: u32,
    /// What it counts in the bound.
    pub counted: u64,
}

impl Shared {
    /// A new log whose first segment is durable up to `start`.
    pub(crate) fn new(header: SegmentHeader, folder: PathBuf, file: Arc<File>, start: Position) -> Self {
        Self {
            header,
            folder,
            written: AtomicU64::new(start.into()),
            durable: AtomicU64::new(start.into()),
            poisoned: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            given: Given::default(),
            files: Mutex::new(Files { current: file, rolled: Vec::new(), new_name: false }),
            syncing: Mutex::new(()),
            waiters: Mutex::new(Vec::new()),
            #[cfg(test)]
            mid_sync: Mutex::new(None),
        }
    }

    pub(crate) fn wrote(&self, position: Position) {
        self.written.store(position.into(), Ordering::Release);
    }

    pub(crate) fn durable(&self) -> Position {
        self.durable.load(Ordering::Acquire).into()
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.written.load(Ordering::Acquire) != self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn set_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Ends the life of the log; whoever waits for it learns so.
    pub(crate) fn poison(&self, why: &io::Error) {
        if !self.poisoned.swap(true, Ordering::AcqRel) {
            tracing::error!(error = %why, log = %self.folder.display(), "the disk failed under a spool log; the log is poisoned");
            disk::mark_poisoned(&self.folder);
        }
        self.wake(|_| true);
    }

    /// The writer goes on in `next`.
    pub(crate) fn roll(&self, next: Arc<File>, behind: Rolled) {
        let mut files = lock(&self.files);
        files.current = next;
        files.rolled.push(behind);
        files.new_name = true;
    }

    /// Replaces the file that is synced, to have a sync fail.
    #[cfg(test)]
    pub(crate) fn set_file(&self, file: Arc<File>) {
        lock(&self.files).current = file;
    }

    /// Brings everything written so far to the disk, publishes that, wakes who waited for it. A failure poisons the log.
    pub(crate) fn sync(&self, bound: &Bound) -> Result<(), Poisoned> {
        let _one_at_a_time = lock(&self.syncing);
        if self.is_poisoned() {
            return Err(Poisoned);
        }
        self.sync_files(bound).map_err(|error| {
            self.poison(&error);
            Poisoned
        })
    }

    /// Waits for a sync that is under way.
    pub(crate) fn settle(&self) {
        drop(lock(&self.syncing));
    }

    fn sync_files(&self, bound: &Bound) -> io::Result<()> {
        // Under the lock no roll happens, so all files up to `written` are among these.
        let (current, rolled, new_name, written) = {
            let mut files = lock(&self.files);
            let rolled = std::mem::take(&mut files.rolled);
            let new_name = std::mem::take(&mut files.new_name);
            (Arc::clone(&files.current), rolled, new_name, self.written.load(Ordering::Acquire))
        };
        for behind in &rolled {
            behind.file.sync_data()?;
        }
        current.sync_data()?;
        if new_name {
            disk::sync_folder(&self.folder)?;
        }
        #[cfg(test)]
        if let Some(rendezvous) = lock(&self.mid_sync).take() {
            // The channel holds nothing: each message is one meeting.
            let _ = rendezvous.send(()).and_then(|()| rendezvous.send(()));
        }
        // The room that a rolled segment kept for ends is needed until its successor is durable, and must be given back before a reader
        // can come to release the file.
        for behind in &rolled {
            give_back_tail(&behind.file, behind.end, behind.counted, bound);
        }
        self.durable.store(written, Ordering::Release);
        self.wake(|position| u64::from(position) <= written);
        Ok(())
    }

    fn wake(&self, due: impl Fn(Position) -> bool) {
        let woken: Vec<Waker> = {
            let mut waiters = lock(&self.waiters);
            waiters.extract_if(.., |(position, _)| due(*position)).map(|(_, waker)| waker).collect()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    fn state(&self, position: Position) -> Poll<Result<(), Poisoned>> {
        if self.durable() >= position {
            Poll::Ready(Ok(()))
        } else if self.is_poisoned() {
            Poll::Ready(Err(Poisoned))
        } else {
            Poll::Pending
        }
    }
}

/// Cuts the unused end of a finished segment. Failing to is no more than wasted room.
pub(crate) fn give_back_tail(file: &File, end: u32, counted: u64, bound: &Bound) {
    match file.set_len(end.into()) {
        Ok(()) => bound.give(counted.saturating_sub(end.into())),
        Err(error) => tracing::warn!(%error, "the unused end of a spool segment could not be given back"),
    }
}

/// Resolves when a position is on the disk, or when that can no longer be promised.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Durable {
    shared: Arc<Shared>,
    position: Position,
}

impl Durable {
    pub(crate) fn new(shared: Arc<Shared>, position: Position) -> Self {
        Self { shared, position }
    }
}

impl Future for Durable {
    type Output = Result<(), Poisoned>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let ready @ Poll::Ready(_) = self.shared.state(self.position) {
            return ready;
        }
        lock(&self.shared.waiters).push((self.position, context.waker().clone()));
        // The sync may have ended between the look and the entry, and then nobody wakes us.
        self.shared.state(self.position)
    }
}
