//! What a watcher sees, and the bounded way it reaches them.
//!
//! The buffer between store and watcher is bounded in bytes. A store waits for room, reading its
//! history no further, and gives the watcher up when too much happens in the meantime.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;

use crate::{Entry, Error, Key, Position};

/// The most bytes that wait for one watcher: several change sets of the largest kind.
pub const WATCH_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What an update is counted with on top of its keys and values, so that small ones are bounded too.
const UPDATE_OVERHEAD_BYTES: usize = 256;

/// One step of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// A commit that touched the range.
    Batch(Batch),
    /// All up to this position has been delivered. Comes once when the watcher has caught up,
    /// and now and then when only other keys change.
    Progress(Position),
}

/// All that one commit did to the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The commit's position.
    pub position: Position,
    /// In the order of the commit's operations; never empty.
    pub events: Vec<Event>,
}

/// What happened to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was put.
    Put {
        /// As it is now.
        entry: Entry,
        /// As it was before, if it existed.
        previous: Option<Entry>,
    },
    /// It was deleted.
    Delete {
        /// The key.
        key: Key,
        /// As it was before.
        previous: Option<Entry>,
    },
}

impl Event {
    fn bytes(&self) -> usize {
        let weigh = |entry: &Entry| entry.key.as_bytes().len() + entry.value.len();
        match self {
            Self::Put { entry, previous } => weigh(entry) + previous.as_ref().map_or(0, weigh),
            Self::Delete { key, previous } => key.as_bytes().len() + previous.as_ref().map_or(0, weigh),
        }
    }

    /// The key it happened to.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { entry, .. } => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The value there is now; none after a delete.
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put { entry, .. } => Some(&entry.value),
            Self::Delete { .. } => None,
        }
    }
}

/// A stream of updates. It ends after the first error; dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    updates: mpsc::UnboundedReceiver<Buffered>,
}

/// An update and the room it takes until it is read. An error takes none.
#[derive(Debug)]
struct Buffered {
    update: Result<Update, Error>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Stream for Watch {
    type Item = Result<Update, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.updates.poll_recv(context).map(|buffered| Some(buffered?.update))
    }
}

/// The store's end of a watch.
#[derive(Debug)]
pub(crate) struct Feed {
    updates: mpsc::UnboundedSender<Buffered>,
    room: Arc<Semaphore>,
}

/// The watcher has gone away.
#[derive(Debug)]
pub(crate) struct Gone;

/// Room for one update.
pub(crate) struct Room(OwnedSemaphorePermit);

impl Feed {
    pub(crate) fn open() -> (Self, Watch) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(WATCH_BUFFER_BYTES));
        (Self { updates: sender, room }, Watch { updates: receiver })
    }

    /// Waits until the update fits. One that is larger than the whole buffer waits until the
    /// buffer is empty.
    pub(crate) async fn room_for(&self, update: &Update) -> Result<Room, Gone> {
        let events = match update {
            Update::Batch(batch) => batch.events.iter().map(Event::bytes).sum(),
            Update::Progress(_) => 0,
        };
        let bytes = (events + UPDATE_OVERHEAD_BYTES).min(WATCH_BUFFER_BYTES);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits);
        tokio::select! {
            room = room => room.map(Room).map_err(|_| Gone),
            () = self.updates.closed() => Err(Gone),
        }
    }

    pub(crate) fn send(&self, room: Room, update: Update) -> Result<(), Gone> {
        let buffered = Buffered { update: Ok(update), _room: Some(room.0) };
        self.updates.send(buffered).map_err(|_| Gone)
    }

    /// Ends the watch with its reason. Nobody is left to tell if the watcher has gone.
    pub(crate) fn end(self, error: Error) {
        drop(self.updates.send(Buffered { update: Err(error), _room: None }));
    }

    pub(crate) async fn closed(&self) {
        self.updates.closed().await;
    }
}
