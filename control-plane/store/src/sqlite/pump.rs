//! Feeds one watcher from the history table.

use sqlx::SqlitePool;
use tokio::sync::watch;

use super::history;
use crate::watch::{Feed, Gone, Room};
use crate::{Error, Position, Range, Update};

/// Positions read at once. A commit is at most 1.5 MiB, so this bounds what a watcher that
/// catches up holds in memory.
const WINDOW: u64 = 16;

/// Commits that may pass while a watcher with a full buffer reads nothing.
const PATIENCE_COMMITS: u64 = 500;

/// One watch at work.
pub(super) struct Pump {
    pub readers: SqlitePool,
    pub head: watch::Receiver<Position>,
    pub range: Range,
    /// Up to here the watcher has everything.
    pub delivered: Position,
    /// The last position the watcher heard of; none until it has caught up for the first time.
    pub told: Option<Position>,
}

/// Why a pump stops.
enum Stop {
    Gone,
    Failed(Error),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Pump {
    pub(super) async fn run(mut self, feed: Feed) {
        match self.deliver(&feed).await {
            Err(Stop::Failed(error)) => feed.end(error),
            Ok(()) | Err(Stop::Gone) => {}
        }
    }

    /// Returns when the store is dropped.
    async fn deliver(&mut self, feed: &Feed) -> Result<(), Stop> {
        loop {
            let head = *self.head.borrow_and_update();
            self.catch_up(feed, head).await?;
            if self.told != Some(self.delivered) {
                self.send(feed, Update::Progress(self.delivered)).await?;
                self.told = Some(self.delivered);
            }
            tokio::select! {
                moved = self.head.changed() => if moved.is_err() { return Ok(()) },
                () = feed.closed() => return Err(Stop::Gone),
            }
        }
    }

    async fn catch_up(&mut self, feed: &Feed, head: Position) -> Result<(), Stop> {
        while self.delivered < head {
            let until = Position(head.0.min(self.delivered.0.saturating_add(WINDOW)));
            for batch in history::batches(&self.readers, &self.range, self.delivered, until).await? {
                let position = batch.position;
                self.send(feed, Update::Batch(batch)).await?;
                self.delivered = position;
                // Before the first mark nothing counts as told, so that it comes in any case.
                self.told = self.told.map(|_| position);
            }
            self.delivered = until;
        }
        Ok(())
    }

    async fn send(&self, feed: &Feed, update: Update) -> Result<(), Stop> {
        let room = self.room_for(feed, &update).await?;
        Ok(feed.send(room, update)?)
    }

    async fn room_for(&self, feed: &Feed, update: &Update) -> Result<Room, Stop> {
        let mut head = self.head.clone();
        let last = Position(head.borrow().0.saturating_add(PATIENCE_COMMITS));
        tokio::select! {
            biased;
            room = feed.room_for(update) => Ok(room?),
            passed = head.wait_for(|head| *head >= last) => match passed {
                Ok(_) => Err(Error::SlowWatcher { after: self.delivered }.into()),
                // The store is being dropped, and the watch with it.
                Err(_) => Err(Stop::Gone),
            },
        }
    }
}
