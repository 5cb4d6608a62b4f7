//! What can go wrong with the ledger's database, and with an adjustment.

use sqlx::error::DatabaseError;
use waybill_model::id::AttemptId;

/// A fault of the database; never of the record or the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do what it was asked.
    #[error("the ledger's database failed: {0}")]
    Database(#[source] sqlx::Error),
    /// The database is away or busy. What was asked may have landed or not; the same call again is right.
    #[error("the ledger's database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
    /// Another reader owns the partition by now, or the batch does not begin where the ledger stands. Nothing was written: drop the partition and
    /// wait to be assigned again.
    #[error("{topic}/{partition} is fenced: the reader of epoch {epoch} stands at {from}, the ledger is in epoch {stored_epoch} at {}", offset(.stored))]
    Fenced {
        /// Name of the topic.
        topic: String,
        /// Number of the partition.
        partition: i32,
        /// The reader's epoch.
        epoch: u64,
        /// Where its batch begins.
        from: i64,
        /// The epoch of the last assignment; 0 = the partition was never assigned.
        stored_epoch: u64,
        /// The offset that the ledger has.
        stored: Option<i64>,
    },
    /// A reader does not go back.
    #[error("{topic}/{partition}: a batch from offset {from} cannot end at {next}")]
    Backwards {
        /// Name of the topic.
        topic: String,
        /// Number of the partition.
        partition: i32,
        /// Where the batch begins.
        from: i64,
        /// Where it ends.
        next: i64,
    },
    /// Other writers were faster, again and again. Nothing was written.
    #[error("other writers of the ledger were faster, again and again")]
    Conflict,
    /// The address of the database cannot be used.
    #[error("the ledger's address cannot be used: {0}")]
    Address(String),
    /// The tables are not those of this build. A start does not change them.
    #[error("the ledger has schema {found} (0 = none), this build needs {known}: run `waybill migrate` first")]
    OlderSchema {
        /// The version in the database; 0 = there are no tables.
        found: i64,
        /// The one that this build needs.
        known: i64,
    },
    /// A newer build has written this ledger. An older one would misread it, so it is not opened.
    #[error("the ledger has schema {found}, this build knows up to {known}: start the newer build")]
    NewerSchema {
        /// The version in the database.
        found: i64,
        /// The newest one of this build.
        known: i64,
    },
    /// The database holds something that the ledger never writes.
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
    /// The same call may succeed later, and has the effect of one: the database was away, somebody else held it, or the disk was full.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolClosed => Self::Closed,
            sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(from) => match verdict(&**from) {
                Verdict::Passes => Self::Unavailable(error),
                Verdict::Lost => Self::Conflict,
                Verdict::Stays => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

/// What a database's own word means.
enum Verdict {
    /// It will go away by itself.
    Passes,
    /// Another writer was faster.
    Lost,
    /// It will not.
    Stays,
}

fn verdict(error: &dyn DatabaseError) -> Verdict {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // Primary result codes are the low byte: SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_FULL.
        let passes = code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13));
        return if passes { Verdict::Passes } else { Verdict::Stays };
    }
    match &*code {
        // Serialization failure, dead-lock.
        "40001" | "40P01" => Verdict::Lost,
        // Read-only (the connection is to a standby), a lock or a statement that took too long, a session that idled too long.
        "25006" | "25P03" | "55P03" | "57014" => Verdict::Passes,
        // Connections, resources (a full disk, too many clients), an operator's or a crash's shutdown, the system's input and output.
        code if ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) => Verdict::Passes,
        _ => Verdict::Stays,
    }
}

fn offset(stored: &Option<i64>) -> String {
    stored.map_or_else(|| "no offset".to_owned(), |offset| offset.to_string())
}

/// Why an operator's word is not taken. Except for the last, the fault is the operator's, and trying again does not help.
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
    /// Only what is missing can be declared as lost.
    #[error("nothing is missing of log {0:016x}: there is nothing to write off")]
    NoGap(u64),
    /// Only a partition that was read can go on elsewhere.
    #[error("the ledger knows no {topic}/{partition}: nobody has read it")]
    NoPartition {
        /// Name of the topic.
        topic: String,
        /// Number of the partition.
        partition: i32,
    },
    /// The partition has moved since the operator looked. Look again.
    #[error("{topic}/{partition} does not stand at {}, but at {}: look again", offset(.from), offset(.stored))]
    Elsewhere {
        /// Name of the topic.
        topic: String,
        /// Number of the partition.
        partition: i32,
        /// Where the operator believes it to be.
        from: Option<i64>,
        /// Where it is.
        stored: Option<i64>,
    },
    /// Somebody must answer for it.
    #[error("this needs the name of its operator")]
    NoOperator,
    /// And say why.
    #[error("this needs a reason: on what evidence?")]
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
