//! The contract: what a ledger answers, whatever database it lies in.

use std::{fmt, pin::Pin};

use tokio::time::Instant;
use waybill_model::{id::AttemptId, money::Picousd, price::Tariff};
use waybill_proto::{
    admin::v1::{Balance, EventRow, EventsRequest, RecomputeResponse, VerifyResponse},
    sync::v1::LogReport,
    usage::v1::Spooled,
};

use crate::{
    error::{Error, Refusal},
    gaps::Gap,
    progress::{Assignment, Cursor, Partition, Progress, Report},
    resolve::{Adjustment, Reset, WriteOff},
    status::{Quarantined, Status},
    usage::{KeyUsage, Scope},
};

/// An answer to come; boxed, so that a ledger can be shared as `Arc<dyn Ledger>`.
pub type Answer<'a, T, E = Error> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// The tariff of a price version.
pub type Prices<'a> = dyn Fn(&str) -> Option<Tariff> + Send + Sync + 'a;

/// The ledger.
///
/// Whatever a verb writes it writes in one transaction. An error that [may be retried](Error::may_retry) says that the database was not there: the
/// transaction may have landed or not, and the same call again has the effect of one.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// The incarnation under which the ledger writes its own events.
    fn incarnation(&self) -> u64;

    /// Books a batch and moves the reader's mark behind it, all or nothing. What is delivered again changes nothing, so that any number of readers
    /// may deliver the same records, also at once. A record cannot fail a batch.
    ///
    /// With [`Progress::Partition`] nothing is written unless the caller still owns the partition and stands where the ledger does
    /// ([`Error::Fenced`]). Standing behind this very batch already is no fence: it is how a commit whose answer was lost is repeated.
    fn commit<'a>(&'a self, batch: &'a [Spooled], progress: Progress<'a>) -> Answer<'a, Report>;

    /// Where to go on reading the spools, per incarnation.
    fn cursors(&self) -> Answer<'_, Vec<Cursor>>;

    /// Makes the caller the one owner of a partition: commits of all earlier owners are fenced from now on.
    fn assign<'a>(&'a self, topic: &'a str, partition: i32) -> Answer<'a, Assignment>;

    /// How far each partition of a topic was read, of those that were ever assigned, by number. Changes nothing.
    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<Partition>>;

    /// Lets a partition go on elsewhere, by a named operator's word, which is kept. What lies between is not read, and whoever owns the partition
    /// is fenced, so that it asks anew where to go on. Refused if the partition does not stand where the operator believes.
    fn reset<'a>(&'a self, reset: &'a Reset) -> Answer<'a, (), Refusal>;

    /// The operators' words of this kind, oldest first.
    fn resets<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<Reset>>;

    /// Notes how far a proxy's logs reach by its own word, which comes outside of the events' way. A report never takes back an earlier one.
    fn note_logs<'a>(&'a self, proxy: &'a str, process: u64, logs: &'a [LogReport], unix_ms: i64) -> Answer<'a, ()>;

    /// What is missing of the logs, oldest first. See [`Gap`].
    fn gaps(&self, now_unix_ms: i64) -> Answer<'_, Vec<Gap>>;

    /// Declares what is missing of a log as lost, up to the last number that is known of now. Records that come later are booked all the same.
    /// Gives what was missing.
    fn write_off(&self, incarnation: u64, word: WriteOff) -> Answer<'_, Gap, Refusal>;

    /// Books the amount of the provider's own record for an orphaned attempt, and frees what was held in suspense. The event is the ledger's
    /// own: its incarnation, the next of its sequence numbers. Gives the orphaned event with the one that resolves it.
    fn adjust(&self, attempt: AttemptId, amount: Picousd, word: Adjustment) -> Answer<'_, EventRow, Refusal>;

    /// Who resolved this attempt, if anybody has.
    fn adjustment(&self, attempt: AttemptId) -> Answer<'_, Option<Adjustment>>;

    /// The attempts of a request of this key, by number; empty if there are none. `id` is a generation id or the provider's id of an answer; of
    /// a provider's id that was seen twice the newest request counts.
    fn generation<'a>(&'a self, id: &'a str, scope: &'a Scope) -> Answer<'a, Vec<EventRow>>;

    /// As [`Ledger::generation`], but waits until the request has arrived or the deadline has passed.
    fn wait_for<'a>(&'a self, id: &'a str, scope: &'a Scope, deadline: Instant) -> Answer<'a, Vec<EventRow>>;

    /// The attempts of a request, by number, in the operator's view: by `gen-…`, `att-…` or the provider's id of an answer.
    fn explain<'a>(&'a self, id: &'a str) -> Answer<'a, Vec<EventRow>>;

    /// As [`Ledger::explain`], but waits until the request has arrived or the deadline has passed.
    fn explain_by<'a>(&'a self, id: &'a str, deadline: Instant) -> Answer<'a, Vec<EventRow>>;

    /// Events by the filters of the request: the newest, at most 10,000, in the order of their arrival. The ends of incarnations are listed only
    /// when asked for by their kind.
    fn events<'a>(&'a self, request: &'a EventsRequest) -> Answer<'a, Vec<EventRow>>;

    /// The balances of the accounts that begin with this, by name. Debits are positive.
    fn balances<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Balance>>;

    /// What a key has spent, in the windows that are current at this time. One row a day is read.
    fn key_usage<'a>(&'a self, scope: &'a Scope, now_unix_us: i64) -> Answer<'a, KeyUsage>;

    /// Counts, and how complete each incarnation is.
    fn status(&self) -> Answer<'_, Status>;

    /// The newest records that were set aside, newest first.
    fn quarantine(&self, limit: u32) -> Answer<'_, Vec<Quarantined>>;

    /// Keeps these tariffs under their versions for ever; known ones are left as they are.
    fn remember_prices<'a>(&'a self, tariffs: &'a [Tariff]) -> Answer<'a, ()>;

    /// All tariffs, by version. [`Error::Damaged`] if a text is not the one that its version is the hash of.
    fn price_versions(&self) -> Answer<'_, std::collections::HashMap<String, Tariff>>;

    /// Checks sums, balances, spend, sequences, content and arithmetic of every event, and that each attempt ended at most once. What is wrong is
    /// in the answer.
    fn verify(&self) -> Answer<'_, VerifyResponse>;

    /// Prices every event again from the tariff of its price version and lists what differs. [`Ledger::price_versions`] has the tariffs that the
    /// database itself remembers.
    fn recompute<'a>(&'a self, price: &'a Prices<'a>) -> Answer<'a, RecomputeResponse>;

    /// Ends its connections, after what is being written. Later calls answer [`Error::Closed`]. Nothing that was committed is lost if it fails.
    fn close(&self) -> Answer<'_, ()>;
}
