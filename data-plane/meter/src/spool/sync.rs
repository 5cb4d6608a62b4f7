//! Group commit: one thread per process brings all dirty logs to the disk, at most once per interval.
//!
//! While nothing is written the thread is parked and costs nothing. The first write after a quiet time is synced at once, those that follow
//! are gathered until the interval is over.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::bound::Bound;
use super::durable::{Shared, lock};

/// What the writers and the thread share.
#[derive(Debug)]
pub(crate) struct Syncer {
    logs: Mutex<Vec<Arc<Shared>>>,
    bound: Arc<Bound>,
    dirty: AtomicBool,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
    /// Counts the syncs that made something durable.
    progress: AtomicU64,
    waiters: Mutex<Vec<Waker>>,
}

impl Syncer {
    pub(crate) fn new(bound: Arc<Bound>) -> Self {
        Self {
            logs: Mutex::default(),
            bound,
            dirty: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: OnceLock::new(),
            progress: AtomicU64::new(0),
            waiters: Mutex::default(),
        }
    }

    pub(crate) fn add(&self, log: Arc<Shared>) {
        lock(&self.logs).push(log);
    }

    pub(crate) fn remove(&self, incarnation: u64) {
        lock(&self.logs).retain(|log| log.header.identity.incarnation != incarnation);
    }

    /// A writer has written. Costs a system call only when the thread is parked.
    pub(crate) fn touch(&self) {
        // A swap and not a load: the thread's own swap must come before or after it, so either the thread sees the write or we wake it.
        if !self.dirty.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// One group commit. A log whose disk fails is poisoned and left out from then on.
    pub(crate) fn pass(&self) {
        self.dirty.swap(false, Ordering::AcqRel);
        let dirty: Vec<_> = lock(&self.logs).iter().filter(|log| log.is_dirty()).cloned().collect();
        let mut advanced = false;
        for log in dirty {
            match log.sync(&self.bound) {
                Ok(()) => advanced = true,
                Err(_) => self.remove(log.header.identity.incarnation),
            }
        }
        if advanced {
            self.advance();
        }
    }

    /// Something became readable.
    pub(crate) fn advance(&self) {
        self.progress.fetch_add(1, Ordering::AcqRel);
        let woken = std::mem::take(&mut *lock(&self.waiters));
        woken.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Acquire)
    }

    fn run(&self, every: Duration) {
        let mut last: Option<Instant> = None;
        while !self.stopped.load(Ordering::Acquire) {
            if !self.dirty.load(Ordering::Acquire) {
                thread::park();
                continue;
            }
            let due = last.map(|last| last + every);
            if let Some(wait) = due.and_then(|due| due.checked_duration_since(Instant::now())).filter(|wait| !wait.is_zero()) {
                thread::park_timeout(wait);
                continue;
            }
            last = Some(Instant::now());
            self.pass();
        }
        self.pass();
    }
}

/// The running thread; it makes a last pass and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct SyncThread {
    syncer: Arc<Syncer>,
    handle: Option<JoinHandle<()>>,
}

impl SyncThread {
    pub(crate) fn start(syncer: Arc<Syncer>, every: Duration) -> std::io::Result<Self> {
        let running = Arc::clone(&syncer);
        let handle = thread::Builder::new().name("wb-spool".to_owned()).spawn(move || running.run(every))?;
        let _ = syncer.thread.set(handle.thread().clone());
        Ok(Self { syncer, handle: Some(handle) })
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        self.syncer.stopped.store(true, Ordering::Release);
        if let Some(handle) = self.handle.take() {
            handle.thread().unpark();
            if handle.join().is_err() {
                tracing::error!("the spool's sync thread had panicked");
            }
        }
    }
}

/// Resolves when something has become readable since the count that was seen.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Progress {
    syncer: Arc<Syncer>,
    seen: u64,
}

impl Progress {
    pub(crate) fn new(syncer: Arc<Syncer>, seen: u64) -> Self {
        Self { syncer, seen }
    }

    fn state(&self) -> Poll<u64> {
        match self.syncer.progress() {
            now if now == self.seen => Poll::Pending,
            now => Poll::Ready(now),
        }
    }
}

impl Future for Progress {
    /// The count to wait from next.
    type Output = u64;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if let ready @ Poll::Ready(_) = self.state() {
            return ready;
        }
        lock(&self.syncer.waiters).push(context.waker().clone());
        self.state()
    }
}
