//! The graceful end of one worker: no new connections, no new requests on the old ones, and a moment when all are gone.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Notify;

#[derive(Default)]
struct Inner {
    begun: Cell<bool>,
    begin: Notify,
    open: Cell<usize>,
    idle: Notify,
}

/// The drain of one worker thread. Cloning shares it.
#[derive(Clone, Default)]
pub struct Drain(Rc<Inner>);

/// Something that the drain waits for: a connection, or an answer that is read to its end for a client that has gone.
pub struct Open(Rc<Inner>);

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins: connections finish the request they are at.
    pub fn begin(&self) {
        self.0.begun.set(true);
        self.0.begin.notify_waiters();
    }

    /// It has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.begun.get()
    }

    /// Resolves when it begins, at once if it has.
    pub async fn begun(&self) {
        let begin = self.0.begin.notified();
        if !self.has_begun() {
            begin.await;
        }
    }

    /// Adds something to wait for until the value is dropped.
    #[must_use]
    pub fn open(&self) -> Open {
        self.0.open.set(self.0.open.get() + 1);
        Open(Rc::clone(&self.0))
    }

    /// How many are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.0.open.get()
    }

    /// Resolves when nothing is open.
    pub async fn idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.0.open.get() == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.idle.notify_waiters();
        }
    }
}
