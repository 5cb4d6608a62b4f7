//! Callers who wait for a record to arrive. They are woken by its id, so that a busy ledger does not answer each of them after each commit.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// The ids that somebody waits for.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<HashMap<String, watch::Sender<()>>>);

/// One who waits. Arrivals since its making are not missed.
#[derive(Debug)]
pub struct Waiter<'a> {
    waiting: &'a Waiting,
    id: &'a str,
    arrivals: Option<watch::Receiver<()>>,
}

impl Waiting {
    /// Begins to wait for an id.
    pub fn begin<'a>(&'a self, id: &'a str) -> Waiter<'a> {
        let mut ids = self.ids();
        let arrivals = match ids.get(id) {
            Some(sender) => sender.subscribe(),
            None => ids.entry(id.to_owned()).or_insert(watch::channel(()).0).subscribe(),
        };
        Waiter { waiting: self, id, arrivals: Some(arrivals) }
    }

    /// Nobody waits, so that nothing needs to be announced.
    pub fn is_empty(&self) -> bool {
        self.ids().is_empty()
    }

    /// Wakes those who wait for this id.
    pub fn announce(&self, id: &str) {
        if let Some(sender) = self.ids().get(id) {
            sender.send_replace(());
        }
    }

    /// A panic elsewhere leaves the map whole: each change to it is one call.
    fn ids(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// Returns after the next arrival.
    pub async fn arrival(&mut self) {
        if let Some(arrivals) = &mut self.arrivals {
            // The sender lives as long as this receiver does.
            let _ = arrivals.changed().await;
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut ids = self.waiting.ids();
        self.arrivals = None;
        if ids.get(self.id).is_some_and(|sender| sender.receiver_count() == 0) {
            ids.remove(self.id);
        }
    }
}
