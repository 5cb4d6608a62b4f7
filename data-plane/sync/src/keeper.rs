//! Writes last-known-good behind the swap: one write at a time, on a thread that may wait, and of what came meanwhile only the newest.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

use crate::{
    adopt::Held,
    folder::{Folder, FolderError},
    guard::{Generation, Mark},
    overlay::Overlay,
};

/// The files and what is on its way to them.
#[derive(Debug)]
pub struct Keeper {
    folder: Option<Folder>,
    mark: Mark,
    /// The revision of the current generation on the disk.
    on_disk: Option<u64>,
    /// The revision that was proven last.
    proven: Option<u64>,
    held: Option<Held>,
    overlay: Option<Overlay>,
    writing: Option<JoinHandle<Written>>,
}

/// What a write did.
#[derive(Debug, Default)]
pub struct Written {
    /// The revision that is on the disk now, if one was written.
    revision: Option<u64>,
    /// The overlay is on the disk up to here, if it was written.
    pub deny_epoch: Option<u64>,
}

impl Keeper {
    /// A keeper of files that were loaded; `on_disk` is the current generation's revision.
    pub fn new(folder: Option<Folder>, mark: Mark, on_disk: Option<u64>) -> Self {
        let proven = on_disk.filter(|revision| mark.proves(*revision));
        Self { folder, mark, on_disk, proven, held: None, overlay: None, writing: None }
    }

    /// Keeps a generation.
    pub fn keep(&mut self, held: Held) {
        self.held = Some(held);
        self.begin();
    }

    /// Keeps the overlay.
    pub fn keep_overlay(&mut self, overlay: Overlay) {
        self.overlay = Some(overlay);
        self.begin();
    }

    /// Nothing is being written.
    pub const fn is_idle(&self) -> bool {
        self.writing.is_none()
    }

    /// Waits for the write under way. Safe to drop and call again. Never ends if there is none.
    pub async fn written(&mut self) -> Written {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let written = writing.await.unwrap_or_else(|error| {
            tracing::error!(%error, "writing last-known-good panicked");
            Written::default()
        });
        self.writing = None;
        self.on_disk = written.revision.or(self.on_disk);
        self.begin();
        written
    }

    /// Below this revision no world can come into force again: the oldest generation on the disk, or without a disk, what is in force.
    pub fn oldest(&self, in_force: u64) -> u64 {
        let Some(folder) = &self.folder else { return in_force };
        let generations = [Generation::Previous, Generation::Current].into_iter().filter_map(|generation| folder.revision(generation));
        generations.min().unwrap_or(0)
    }

    /// The mark to write before a revision is compiled, and where.
    pub fn attempt(&mut self, revision: u64) -> (Option<Folder>, Mark) {
        self.mark = self.mark.attempt(revision);
        (self.folder.clone(), self.mark)
    }

    /// The revision in force has served long enough, or the process ends in peace.
    pub fn prove(&mut self, in_force: u64) {
        self.proven = Some(in_force);
        let mark = self.mark.proven();
        if mark != self.mark {
            self.mark = mark;
            write_mark(self.folder.as_ref(), mark);
        }
    }

    fn begin(&mut self) {
        if self.writing.is_some() || (self.held.is_none() && self.overlay.is_none()) {
            return;
        }
        let (held, overlay) = (self.held.take(), self.overlay.take());
        let keep = self.on_disk.is_some() && self.on_disk == self.proven;
        let folder = self.folder.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || write(folder.as_ref(), held, overlay, keep)));
    }
}

/// Writes the crash guard's mark. A disk that does not take it costs the guard, not the service.
pub fn write_mark(folder: Option<&Folder>, mark: Mark) {
    if let Some(Err(error)) = folder.map(|folder| folder.write_mark(mark)) {
        tracing::error!(%error, "the crash guard's mark cannot be written");
    }
}

/// Milliseconds since 1970.
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The overlay first: it is what must not be lost. Without a folder there is nothing that outlives the process, and memory is all there is.
fn write(folder: Option<&Folder>, held: Option<Held>, overlay: Option<Overlay>, keep: bool) -> Written {
    let done = |result: Result<(), FolderError>, what: &str| {
        result.inspect_err(|error| tracing::error!(%error, what, "last-known-good cannot be written; this process goes on without")).is_ok()
    };
    let mut written = Written::default();
    if let Some(overlay) = overlay {
        let stored = folder.is_none_or(|folder| done(folder.write_overlay(&overlay), "deny overlay"));
        written.deny_epoch = stored.then(|| overlay.epoch());
    }
    if let Some(held) = held {
        let stored = folder.is_none_or(|folder| done(folder.write_generation(&held, unix_ms(), keep), "generation"));
        written.revision = stored.then(|| held.desired().revision());
    }
    written
}
