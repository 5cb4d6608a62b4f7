//! What can go wrong, and whose fault it is.

use waybill_model::check;
use waybill_proto::admin::v1::{ApplyChangeSetResponse, Violation};

/// A fault of a resource. Its writer is at fault; a retry does not help.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{kind} `{name}`: {path}: {message}")]
pub struct Fault {
    /// The kind of the resource; empty if it has no spec.
    pub kind: String,
    /// `metadata.name` of the resource.
    pub name: String,
    /// The field, as documents spell it.
    pub path: String,
    /// A stable word: that of a [`check::Code`], or one of ours.
    pub code: &'static str,
    /// For people. Never holds a secret.
    pub message: String,
}

impl From<check::Violation> for Fault {
    fn from(found: check::Violation) -> Self {
        Self { kind: found.kind.to_owned(), name: found.name, path: found.path, code: found.code.name(), message: found.message }
    }
}

impl From<&Fault> for Violation {
    fn from(fault: &Fault) -> Self {
        let Fault { kind, name, path, code, message } = fault.clone();
        Self { kind, name, path, code: code.to_owned(), message }
    }
}

/// Why a call is refused or has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The resources have faults: all of them. The caller's fault.
    #[error("{}", sum_up(.0))]
    Invalid(Vec<Fault>),
    /// A field of the request cannot be what it is. The caller's fault.
    #[error("{field}: {message}")]
    Malformed {
        /// Path in the request.
        field: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The change set is larger than one may be. The caller's fault: divide it.
    #[error("the change set has {counted} {what}: at most {limit}; divide it, or let it be applied in sets")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        counted: usize,
        /// The limit.
        limit: usize,
    },
    /// The configuration is not as the caller believes: read it again.
    #[error("{message}")]
    Precondition {
        /// A stable word.
        reason: &'static str,
        /// What differs.
        message: String,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Others changed the configuration, time and again, while this change set was validated. Retry.
    #[error("the configuration was changed by others {tries} times while this change set was validated: try again")]
    Conflict {
        /// How often it was tried.
        tries: u32,
    },
    /// Some of several change sets stand. What they answered is here, with the keys they made.
    #[error("{applied} of {total} change sets stand, up to revision {}; the next one was refused: {source}", .done.revision)]
    Unfinished {
        /// How many stand.
        applied: usize,
        /// How many there are.
        total: usize,
        /// What those that stand did.
        done: Box<ApplyChangeSetResponse>,
        /// Why the next one does not.
        source: Box<Error>,
    },
    /// An adjustment is refused.
    #[error(transparent)]
    Adjustment(#[from] waybill_billing::Refusal),
    /// The store failed; see there whether to retry.
    #[error("the configuration's store failed: {0}")]
    Store(#[from] waybill_store::Error),
    /// The ledger failed; see there whether to retry.
    #[error(transparent)]
    Ledger(#[from] waybill_billing::Error),
    /// What is stored cannot be read. Ours or the disk's fault; a retry does not help.
    #[error("the stored configuration is damaged: {0}")]
    Damaged(String),
    /// The system gives no randomness, so neither a key nor an id can be made.
    #[error("the system gives no randomness: {0}")]
    Randomness(std::io::Error),
    /// The call took longer than it may.
    #[error("the call took longer than {seconds} s and was given up; a change set may have landed: read the configuration")]
    Deadline {
        /// What it may take.
        seconds: u64,
    },
}

impl From<waybill_publish::stored::Unreadable> for Error {
    fn from(error: waybill_publish::stored::Unreadable) -> Self {
        Self::Damaged(error.to_string())
    }
}

fn sum_up(faults: &[Fault]) -> String {
    match faults {
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{} faults; the first: {first}", rest.len() + 1),
        [] => "the change set is not valid".to_owned(),
    }
}
