//! What a proxy asks of the control plane, because only the ledger knows it. When it is away, these questions answer 503 and nothing else does.

use std::{future::Future, pin::Pin, time::Duration};

use waybill_proto::usage::v1::Event;

/// A boxed answer to come.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Away>> + Send + 'a>>;

/// The control plane cannot be asked now; try again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the ledger cannot be asked now: {0}")]
pub struct Away(pub String);

/// What a key has spent, pico-USD, by UTC calendar.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spent {
    /// Ever.
    pub total: i128,
    /// Since midnight.
    pub day: i128,
    /// Since Monday.
    pub week: i128,
    /// Since the first of the month.
    pub month: i128,
}

/// Whose key asks. Nobody sees what another key has used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Name of the Org.
    pub org: Box<str>,
    /// Name of the Workspace.
    pub workspace: Box<str>,
    /// Name of the ApiKey.
    pub api_key: Box<str>,
}

/// The ledger, as far as a proxy asks it.
pub trait Books: Send + Sync {
    /// The events of a generation, by its id or by a provider's answer id (the newest of that id), if it is of this key. Waits so long for the
    /// ledger to catch up. An empty list = there is none.
    fn generation<'a>(&'a self, owner: &'a Owner, id: &'a str, wait: Duration) -> Asked<'a, Vec<Event>>;

    /// What a key has spent.
    fn spent<'a>(&'a self, owner: &'a Owner) -> Asked<'a, Spent>;
}
