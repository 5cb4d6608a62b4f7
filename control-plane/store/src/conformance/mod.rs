//! What every [`Store`] must do, as tests. An implementation says how to make an empty store of
//! its kind and gets the whole suite:
//!
//! ```ignore
//! waybill_store::conformance_suite!(an_empty_store);
//! ```
//!
//! where `fn an_empty_store() -> conformance::Making` makes a [`Subject`]. Who brings servers of
//! their own goes through [`CASES`] and [`random::histories`]. Nothing here assumes
//! where positions begin or that they are dense, only that they grow.

pub mod bundling;
#[cfg(feature = "etcd")]
pub mod cluster;
pub mod leading;
pub mod limits;
mod lying;
pub mod random;
pub mod reading;
pub mod transactions;
pub mod watching;

use std::any::Any;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio_stream::StreamExt;

pub use lying::Lying;

use crate::{Batch, Clock, Compare, Entry, Key, Operation, Outcome, Position, Range, Read, Store, Transaction, Update, Watch};

/// A store under test.
pub struct Subject {
    /// The store, empty.
    pub store: Arc<dyn Store>,
    /// Lets time pass for leaderships.
    pub time: Arc<dyn Time>,
    /// What lives as long as the store: a folder, a server.
    pub surroundings: Box<dyn Any + Send>,
}

/// Lets time pass: by setting a clock where there is one, by waiting where there is not.
pub trait Time: Send + Sync {
    /// Returns when `duration` has passed.
    fn pass(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// A subject being made.
pub type Making = Pin<Box<dyn Future<Output = Subject> + Send>>;

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<Duration>);

impl Clock for ManualClock {
    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Time for ManualClock {
    fn pass(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += duration;
        Box::pin(std::future::ready(()))
    }
}

/// Runs one case of the suite on a store of its own.
pub fn check<F: Future<Output = ()>>(factory: impl Fn() -> Making, case: impl FnOnce(Subject) -> F) {
    runtime().block_on(async { case(factory().await).await });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// One test for each case of the suite. With `when`, the cases run only where that function says
/// true, and with so many random histories as it says; it is for those who need a server, may not
/// have one, and wait for it.
#[macro_export]
macro_rules! conformance_suite {
    ($factory:path) => {
        $crate::conformance_suite! { $factory, when $crate::conformance::always, histories 48 }
    };
    ($factory:path, when $ready:path, histories $histories:literal) => {
        $crate::conformance_cases! { conformance_tests $factory, $ready }

        #[test]
        fn random_histories_are_those_of_the_model() {
            if $ready() {
                $crate::conformance::random::histories($factory, $histories);
            }
        }
    };
}

/// Hands the list of cases to another macro of this crate.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($callback:ident $($arguments:tt)*) => {
        $crate::$callback! { $($arguments)*;
            transactions: every_relation_holds_as_it_should,
            transactions: steps_see_what_earlier_steps_did,
            transactions: a_key_that_comes_back_is_new,
            transactions: what_changes_nothing_takes_no_position,
            transactions: of_rivals_for_a_key_one_wins,
            limits: the_longest_list_counts,
            limits: the_size_of_a_request_is_limited,
            limits: a_branch_writes_a_key_once,
            reading: keys_come_in_bytewise_order,
            reading: pages_of_one_position_make_the_whole,
            reading: many_and_large_entries_are_listed_whole,
            reading: the_past_stays_until_it_is_compacted,
            watching: a_watch_shows_every_commit_once_with_what_was_before,
            watching: a_watch_resumes_where_it_was_left,
            watching: only_the_range_is_shown_and_the_rest_is_marked,
            watching: a_large_commit_is_shown_whole,
            watching: watchers_that_join_while_writers_write_see_the_same,
            watching: a_listing_and_a_watch_after_it_make_the_whole,
            watching: history_that_is_gone_is_refused,
            watching: a_watcher_that_does_not_read_is_ended_and_can_resume,
            bundling: a_bundle_reads_back_whatever_its_size,
            bundling: a_bundle_is_in_force_from_the_flip_on,
            bundling: a_damaged_bundle_is_refused,
            leading: one_leads_until_its_time_is_up,
            leading: renewing_keeps_the_job,
            leading: who_resigns_makes_room,
            leading: a_former_leader_cannot_write,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($factory:path, $ready:path; $($module:ident: $case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                if $ready() {
                    $crate::conformance::check($factory, $crate::conformance::$module::$case);
                }
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_list {
    (; $($module:ident: $case:ident,)*) => {
        &[$((stringify!($case), |subject| Box::pin($crate::conformance::$module::$case(subject))),)*]
    };
}

/// A case at work on a store of its own. It panics when the store does not do what it must.
pub type Case = fn(Subject) -> Pin<Box<dyn Future<Output = ()>>>;

/// Every case with its name, for those who bring a server of their own. [`random::histories`] comes
/// on top.
pub const CASES: &[(&str, Case)] = conformance_cases! { conformance_list };

/// Nothing is needed.
pub fn always() -> bool {
    true
}

/// Far beyond what any step needs; a test that hangs says so instead.
const PATIENCE: Duration = Duration::from_secs(60);

fn key(name: impl AsRef<[u8]>) -> Key {
    Key::from_bytes([b"/wb/1/conformance/", name.as_ref()].concat())
}

fn all() -> Range {
    Range::prefix(&b"/wb/1/conformance/"[..])
}

fn under(prefix: &str) -> Range {
    Range::prefix(format!("/wb/1/conformance/{prefix}"))
}

fn put(name: &str, value: impl Into<Bytes>) -> Operation {
    Operation::Put(key(name), value.into())
}

fn delete(name: &str) -> Operation {
    Operation::delete(&key(name))
}

fn doing(then: Vec<Operation>) -> Transaction {
    Transaction { then, ..Transaction::default() }
}

fn guarded(compares: Vec<Compare>, then: Vec<Operation>) -> Transaction {
    Transaction { compares, then, otherwise: Vec::new() }
}

impl Subject {
    async fn commit(&self, transaction: Transaction) -> Outcome {
        self.store.commit(transaction).await.expect("a commit")
    }

    async fn write(&self, then: Vec<Operation>) -> Position {
        self.commit(doing(then)).await.position
    }

    async fn now(&self) -> Position {
        self.store.get(&key("nothing")).await.expect("a read").position
    }

    async fn entries(&self, read: Read) -> Vec<Entry> {
        self.store.list(&read).await.expect("a listing").entries
    }

    async fn watch(&self, range: Range, after: Position) -> Watch {
        self.store.watch(range, after).await.expect("a watch")
    }
}

async fn next(watch: &mut Watch) -> Option<Result<Update, crate::Error>> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch says something in time")
}

/// All batches up to a position that the watch says it has reached.
async fn batches_until(watch: &mut Watch, position: Position) -> Vec<Batch> {
    let mut batches = Vec::new();
    loop {
        match next(watch).await.expect("the watch goes on").expect("the watch is well") {
            Update::Batch(batch) => {
                let reached = batch.position;
                assert!(reached <= position, "{reached} is beyond {position}");
                batches.push(batch);
                if reached == position {
                    return batches;
                }
            }
            Update::Progress(reached) if reached >= position => return batches,
            Update::Progress(_) => {}
        }
    }
}
