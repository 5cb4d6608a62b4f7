//! The contract: what the control plane asks of a store, and what every store answers.

use std::num::NonZeroU32;
use std::pin::Pin;

use crate::{Candidacy, Election, Error, Found, Key, Leadership, Listing, Outcome, Position, Range, Transaction, Watch};

/// An answer to come; boxed, so that the store can be shared as `Arc<dyn Store>`.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A linearisable store of keys with a history.
pub trait Store: Send + Sync {
    /// Reads one key.
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Found>;

    /// Reads a range, all of it at one position.
    fn list<'a>(&'a self, read: &'a Read) -> Answer<'a, Listing>;

    /// Does a transaction, wholly or not at all. Once begun it is finished even if the caller
    /// stops waiting. When the answer comes, it is on disk.
    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome>;

    /// Follows the range: every commit after position `after` that touched it, once, in order.
    /// `after` may lie ahead. History that is gone is [`Error::Compacted`], here or in the stream.
    fn watch(&self, range: Range, after: Position) -> Answer<'_, Watch>;

    /// Forgets what was overwritten or deleted before `at`; reads and watches from `at` on stay
    /// possible. Going back is no error and does nothing; beyond the store's position is
    /// [`Error::FuturePosition`].
    fn compact(&self, at: Position) -> Answer<'_, ()>;

    /// Stands for a job.
    fn lead<'a>(&'a self, candidacy: &'a Candidacy) -> Answer<'a, Election>;

    /// Begins the time to live anew. [`Error::LeadershipLost`] when it ran out before.
    fn renew<'a>(&'a self, leadership: &'a Leadership) -> Answer<'a, ()>;

    /// Gives the job up for the next candidate. A term that ended already is no error.
    fn resign(&self, leadership: Leadership) -> Answer<'_, ()>;
}

/// Which part of the store to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The keys.
    pub range: Range,
    /// As of when; none = now.
    pub at: Option<Position>,
    /// The most entries; none = all.
    pub limit: Option<NonZeroU32>,
}

impl Read {
    /// All of the range, as it is now.
    pub fn now(range: Range) -> Self {
        Self { range, at: None, limit: None }
    }

    /// All of the range, as it was at `position`.
    pub fn at(range: Range, position: Position) -> Self {
        Self { range, at: Some(position), limit: None }
    }

    /// The same, at most `limit` entries.
    pub fn limit(self, limit: NonZeroU32) -> Self {
        Self { limit: Some(limit), ..self }
    }
}
