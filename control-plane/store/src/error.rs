//! What can go wrong at the store, whose fault it is, and whether trying again can help.
//!
//! A compare that does not hold is no error: it is an `Outcome` with `succeeded = false`.

use crate::{Key, Position};

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A transaction's longest list (compares, then, otherwise) is over the limit.
    #[error("a transaction of {counted} operations is over the limit of {limit}")]
    TooManyOperations {
        /// The longest of the three lists.
        counted: usize,
        /// The limit it is held against.
        limit: usize,
    },
    /// A transaction is larger on the wire than the store takes.
    #[error("a request of {bytes} bytes is over the limit of {limit}")]
    RequestTooLarge {
        /// An upper bound of the encoded request.
        bytes: usize,
        /// The limit it is held against.
        limit: usize,
    },
    /// One branch of a transaction puts a key twice, or puts a key that it also deletes.
    #[error("key {key} is written twice in one branch of a transaction")]
    DuplicateKey {
        /// The key in question.
        key: Key,
    },
    /// A read at a position that the store has not reached.
    #[error("position {asked} lies ahead of the store, which is at {current}")]
    FuturePosition {
        /// The position that was asked for.
        asked: Position,
        /// The newest position there is.
        current: Position,
    },
    /// The history that was asked for has been trimmed.
    #[error("history before position {oldest} is gone; list at the current position and watch from there")]
    Compacted {
        /// The oldest position that can still be read, and after which can still be watched.
        oldest: Position,
    },
    /// A watcher did not read, and the store did not go on buffering for it.
    #[error("the watcher fell too far behind; watch again after position {after}")]
    SlowWatcher {
        /// The last position that is wholly delivered.
        after: Position,
    },
    /// The leadership was not renewed in time, or was given up.
    #[error("leadership {key} is lost")]
    LeadershipLost {
        /// The leader key.
        key: Key,
    },
    /// The store cannot answer now. A commit that ended so **may have landed**: read back
    /// before repeating it.
    #[error("the store cannot be reached: {what}")]
    Unavailable {
        /// What the store was doing and what it was told.
        what: String,
    },
    /// The store does not let us in: another certificate, user or password is wanted, or rights are
    /// missing. Nothing was done.
    #[error("the store refuses: {what}")]
    Refused {
        /// What it said, and what it wants.
        what: String,
    },
    /// The store takes no more writes until an operator has made room. Nothing was done.
    #[error("the store is full: {what}")]
    Full {
        /// What to do.
        what: String,
    },
    /// What we were told about the store cannot be used.
    #[error("{what}")]
    Misconfigured {
        /// What is wrong with it.
        what: String,
    },
    /// The store was written by a newer build.
    #[error("the store has schema {found}, this build knows up to {supported}; start the newer build")]
    NewerSchema {
        /// The schema found.
        found: i64,
        /// The newest schema this build knows.
        supported: i64,
    },
    /// The store was written by a build that is too old for this one.
    #[error("the store has schema {found}, this build reads from {oldest} on; migrate with a build between first")]
    OlderSchema {
        /// The schema found.
        found: u32,
        /// The oldest schema this build reads.
        oldest: u32,
    },
    /// The store's content contradicts itself, or cannot be read as what it should be.
    #[error("the store is damaged: {what}")]
    Corrupt {
        /// The contradiction.
        what: String,
    },
}

/// Who has to do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Who called asked for something that cannot be had.
    Caller,
    /// The place where the store runs: its disk, its network, its version.
    Surroundings,
    /// This code, or the data it wrote.
    Ours,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::TooManyOperations { .. }
            | Self::RequestTooLarge { .. }
            | Self::DuplicateKey { .. }
            | Self::FuturePosition { .. }
            | Self::Compacted { .. }
            | Self::SlowWatcher { .. }
            | Self::LeadershipLost { .. } => Fault::Caller,
            Self::Unavailable { .. }
            | Self::Refused { .. }
            | Self::Full { .. }
            | Self::Misconfigured { .. }
            | Self::NewerSchema { .. }
            | Self::OlderSchema { .. } => Fault::Surroundings,
            Self::Corrupt { .. } => Fault::Ours,
        }
    }

    /// Whether the same call may succeed later. For a commit this is no licence to repeat it
    /// blindly: see [`Error::Unavailable`].
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
