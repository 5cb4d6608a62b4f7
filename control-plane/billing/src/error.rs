//! What can go wrong with the ledger's database, and with an adjustment.

use waybill_model::id::AttemptId;

/// A fault of the database; never of the record or the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do what it was asked.
    #[error("the ledger's database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A newer build has written this file. An older one would misread it, so it is not opened.
    #[error("the ledger has schema {found}, this build knows up to {known}: start the newer build")]
    NewerSchema {
        /// The version in the file.
        found: i64,
        /// The newest one of this build.
        known: i64,
    },
    /// The file holds something that the ledger never writes.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// The entries of a transaction do not sum to zero. Nothing was written.
    #[error("the entries of event {incarnation:016x}.{sequence} sum to {sum}, not to zero")]
    Unbalanced {
        /// Incarnation of the event.
        incarnation: u64,
        /// Its sequence number.
        sequence: u64,
        /// The sum, pico-USD.
        sum: i128,
    },
}

impl Error {
    /// The same call may succeed later: somebody else held the database, or the disk was full.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                // Primary result codes are the low byte: SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_FULL.
                error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13))
            }
            Self::Database(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => true,
            _ => false,
        }
    }
}

/// Why an attempt is not adjusted. Except for the last, the fault is the operator's, and trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The ledger has no event of this attempt.
    #[error("{0} is not in the ledger")]
    Unknown(AttemptId),
    /// Only an attempt whose end nobody saw has something to resolve.
    #[error("{attempt} is {kind}, not orphaned: there is nothing to adjust")]
    NotOrphaned {
        /// The attempt.
        attempt: AttemptId,
        /// What it is.
        kind: String,
    },
    /// An orphan is resolved once.
    #[error("{0} has been adjusted already")]
    AlreadyAdjusted(AttemptId),
    /// Somebody must answer for it.
    #[error("an adjustment needs the name of its operator")]
    NoOperator,
    /// And say why.
    #[error("an adjustment needs a reason: on what evidence?")]
    NoReason,
    /// A provider does not pay for being used.
    #[error("the amount must not be negative")]
    NegativeAmount,
    /// A fault of ours.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}
