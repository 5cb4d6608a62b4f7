//! What every [`Ledger`] must do, as tests. An implementation says how to make an empty ledger of its kind and gets the whole suite:
//!
//! ```ignore
//! conformance::run(&|| Box::pin(conformance::postgres(url.to_owned()))).await;
//! ```
//!
//! Each case gets a ledger of its own, and opens it as often as it likes: handles stand for processes. Nothing here assumes that positions are dense.

pub mod booking;
pub mod gaps;
mod model;
pub mod partitions;
pub mod random;
pub mod reading;
pub mod sample;

use std::{any::Any, pin::Pin, sync::Arc};

use waybill_proto::{
    admin::v1::{EventRow, EventsRequest},
    usage::v1::{Kind, Spooled},
};

use crate::{Ledger, Progress, Report, Sqlite};

/// Opens another handle on a ledger.
pub type Opener = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Arc<dyn Ledger>> + Send>> + Send + Sync>;

/// A ledger under test, empty.
pub struct Subject {
    opener: Opener,
    /// What lives as long as the ledger: a folder, a server.
    _surroundings: Box<dyn Any + Send + Sync>,
}

impl Subject {
    /// A ledger that is opened so, and lies in these surroundings.
    pub fn new(opener: Opener, surroundings: Box<dyn Any + Send + Sync>) -> Self {
        Self { opener, _surroundings: surroundings }
    }

    /// Another handle, as another process has.
    pub async fn open(&self) -> Arc<dyn Ledger> {
        (self.opener)().await
    }
}

/// A subject being made.
pub type Making = Pin<Box<dyn Future<Output = Subject> + Send>>;

/// Makes an empty ledger.
pub type Factory<'a> = &'a (dyn Fn() -> Making + Send + Sync);

/// One case.
pub type Case = fn(Subject) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($module:ident: $case:ident,)*) => {
        &[$((stringify!($case), |subject| Box::pin($module::$case(subject)))),*]
    };
}

/// All cases, by name.
pub const CASES: &[(&str, Case)] = cases![
    booking: each_record_is_counted_once,
    booking: what_no_database_could_keep_is_set_aside,
    booking: what_a_provider_sends_is_kept_and_found,
    booking: sums_beyond_64_bits_are_kept_exactly,
    booking: cursors_come_back_and_never_move_back,
    booking: an_orphan_is_resolved_once,
    booking: of_two_operators_at_once_one_is_refused,
    booking: a_closed_ledger_says_so,
    partitions: only_the_owner_who_stands_where_the_ledger_does_may_write,
    partitions: a_commit_whose_answer_was_lost_is_repeated,
    partitions: the_second_way_and_the_first_at_once_book_once,
    partitions: an_attempt_ends_once_whoever_comes_first,
    partitions: writers_of_their_own_partitions_add_up,
    partitions: a_partition_goes_on_elsewhere_by_an_operators_word,
    reading: a_request_is_found_by_its_key_only,
    reading: events_are_filtered_and_the_newest_are_kept,
    reading: spend_is_kept_by_key_and_by_day,
    reading: who_waits_is_woken_by_another_process,
    reading: prices_are_remembered_and_every_event_is_priced_again,
    gaps: what_is_late_is_a_gap_until_it_comes,
    gaps: a_log_without_an_end_is_open_when_its_process_is_gone,
    gaps: what_is_written_off_is_no_gap_any_more,
    gaps: a_log_that_nobody_reported_has_a_gap_as_old_as_the_event_behind_it,
];

/// Runs the whole suite, with so many random histories.
pub async fn run(factory: Factory<'_>, histories: u64) {
    for (name, case) in CASES {
        println!("{name}");
        case(factory().await).await;
    }
    random::histories(factory, 0..histories).await;
}

/// An empty ledger in a file.
pub async fn sqlite() -> Subject {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("waybill.db");
    let opener = move || {
        let file = file.clone();
        let opened = async move { Arc::new(Sqlite::open(&file).await.expect("it opens")) as Arc<dyn Ledger> };
        Box::pin(opened) as Pin<Box<dyn Future<Output = Arc<dyn Ledger>> + Send>>
    };
    Subject::new(Box::new(opener), Box::new(folder))
}

/// An empty ledger in a schema of its own in the database of this URL.
#[cfg(feature = "postgres")]
pub async fn postgres(url: String) -> Subject {
    use crate::{Access, Postgres};

    let access = Access::read(&schema_of_its_own(&url).await, None).expect("an address");
    Postgres::migrate(&access).await.expect("migrated");
    let opener = move || {
        let access = access.clone();
        let opened = async move { Arc::new(Postgres::open(&access).await.expect("it opens")) as Arc<dyn Ledger> };
        Box::pin(opened) as Pin<Box<dyn Future<Output = Arc<dyn Ledger>> + Send>>
    };
    Subject::new(Box::new(opener), Box::new(()))
}

/// The URL of a new, empty schema in the database of this URL.
#[cfg(feature = "postgres")]
pub async fn schema_of_its_own(url: &str) -> String {
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

    let name = format!("conformance_{:016x}", unique());
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {name}")))).await.expect("a schema");
    connection.close().await.expect("closed");
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}options=-csearch_path%3D{name}")
}

#[cfg(feature = "postgres")]
fn unique() -> u64 {
    use std::{
        hash::{BuildHasher, Hasher, RandomState},
        process,
    };
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(process::id());
    hasher.finish()
}

async fn commit(ledger: &dyn Ledger, batch: &[Spooled]) -> Report {
    ledger.commit(batch, Progress::None).await.expect("committed")
}

fn sequences(rows: &[EventRow]) -> Vec<u64> {
    rows.iter().map(|row| row.sequence).collect()
}

async fn every_event(ledger: &dyn Ledger, kind: Kind) -> Vec<EventRow> {
    ledger.events(&EventsRequest { kind: kind.into(), limit: 10_000, ..EventsRequest::default() }).await.expect("listed")
}

/// The balances that are not zero, by name.
async fn balances(ledger: &dyn Ledger) -> Vec<(String, i128)> {
    let all = ledger.balances("").await.expect("balances");
    let read = all.into_iter().map(|balance| (balance.account, balance.amount_picousd.parse().expect("a number")));
    read.filter(|(_, amount)| *amount != 0).collect()
}

async fn is_sound(ledger: &dyn Ledger) {
    assert_eq!(ledger.verify().await.expect("verified").faults, Vec::<String>::new());
}
