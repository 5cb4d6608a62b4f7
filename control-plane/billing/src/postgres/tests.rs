//! The conformance suite on a server, and what is true of PostgreSQL only. The server is the one of `WAYBILL_TEST_POSTGRES`; without it each test says
//! so and ends.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use waybill_model::money::Picousd;
use waybill_proto::usage::v1::{Kind, Spooled};

use super::{
    Access, Migrated, Postgres, commit,
    query::{NEWEST, OF_ANSWER, OF_ATTEMPT, OF_GENERATION, OF_KEY, ROW},
};
use crate::{
    Adjustment, Error, Ledger, PartitionProgress, Progress,
    conformance::{self, sample, schema_of_its_own},
};

/// Runs a test on the server, if there is one.
async fn on_a_server<F: Future<Output = ()>>(test: impl FnOnce(String) -> F) {
    match std::env::var("WAYBILL_TEST_POSTGRES") {
        Ok(url) => test(url).await,
        Err(_) => println!("skipped: WAYBILL_TEST_POSTGRES is not set"),
    }
}

/// An empty ledger, its URL, and a connection past it.
async fn empty(url: &str) -> (Postgres, String, PgConnection) {
    let url = schema_of_its_own(url).await;
    let access = Access::read(&url, None).expect("an address");
    Postgres::migrate(&access).await.expect("migrated");
    let past = PgConnection::connect(&url).await.expect("a connection");
    (Postgres::open(&access).await.expect("it opens"), url, past)
}

fn records(first: u64, last: u64) -> Vec<Spooled> {
    let kinds = [Kind::Settled, Kind::Orphaned, Kind::Partial, Kind::Failed];
    let kind = |number: u64| kinds[usize::try_from(number % 4).expect("small")];
    (first..=last).map(|number| sample::spooled(1, number, &sample::event(number, kind(number)))).collect()
}

async fn run(past: &mut PgConnection, statement: &str) -> Result<u64, sqlx::Error> {
    Ok(past.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await?.rows_affected())
}

#[tokio::test]
async fn a_server_passes_the_conformance_suite() {
    on_a_server(async |url| conformance::run(&|| Box::pin(conformance::postgres(url.clone())), 24).await).await;
}

#[tokio::test]
async fn tables_of_another_build_are_refused_by_name() {
    on_a_server(async |url| {
        let url = schema_of_its_own(&url).await;
        let access = Access::read(&url, None).expect("an address");
        let refused = async || Postgres::open(&access).await.map(drop).map_err(|error| error.to_string());
        let none = "the ledger has schema 0 (0 = none), this build needs 2: run `waybill migrate` first";
        assert_eq!(refused().await, Err(none.to_owned()));
        let (first, second) = tokio::join!(Postgres::migrate(&access), Postgres::migrate(&access));
        let mut both = [first.expect("migrated").from, second.expect("migrated").from];
        both.sort_unstable();
        assert_eq!(both, [0, 2], "one of two makes the tables, the other finds them");
        let own = Postgres::open(&access).await.expect("it opens").incarnation();
        assert_eq!(Postgres::migrate(&access).await.expect("nothing to do"), Migrated { from: 2, to: 2 });
        assert_eq!(Postgres::open(&access).await.expect("it opens").incarnation(), own, "made with the database, once");
        let mut past = PgConnection::connect(&url).await.expect("a connection");
        run(&mut past, "UPDATE ledger_schema SET version = 3, usable_from = 3").await.expect("changed");
        let newer = "the ledger has schema 3, this build knows up to 2: start the newer build";
        assert_eq!(refused().await, Err(newer.to_owned()));
        assert_eq!(Postgres::migrate(&access).await.map_err(|error| error.to_string()), Err(newer.to_owned()));
        run(&mut past, "UPDATE ledger_schema SET usable_from = 1").await.expect("changed");
        assert_eq!(refused().await, Ok(()), "the newer tables may still be used by this build");
    })
    .await;
}

#[tokio::test]
async fn the_database_itself_keeps_entries_balanced_and_rows_unchanged() {
    on_a_server(async |url| {
        let (ledger, _, mut past) = empty(&url).await;
        ledger.commit(&records(1, 8), Progress::None).await.expect("committed");
        for (statement, expected) in [
            ("UPDATE ledger_postings SET amount = amount * 2", "rows of ledger_postings are never changed"),
            ("DELETE FROM ledger_postings", "rows of ledger_postings are never changed"),
            ("TRUNCATE ledger_events", "rows of ledger_events are never changed"),
            ("UPDATE ledger_events SET amount = 0", "rows of ledger_events are never changed"),
            ("INSERT INTO ledger_postings VALUES (99, 1, 5), (99, 2, -4)", "the entries of event 99 sum to 1, not to zero"),
            ("INSERT INTO ledger_events SELECT 99, incarnation, 99, kind, attempt, generation, number, org, workspace, api_key, model, answer, \
                amount, hash, payload FROM ledger_events WHERE sequence = 4", "ledger_events_terminal"),
        ] {
            let refused = run(&mut past, statement).await.expect_err(statement).to_string();
            assert!(refused.contains(expected), "{statement}: {refused}");
        }
        assert_eq!(ledger.verify().await.expect("verified").faults, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn verify_finds_each_planted_fault() {
    const TERMINAL: &str = "DROP INDEX ledger_events_terminal; INSERT INTO ledger_events SELECT 999, incarnation, 99, kind, attempt, generation, \
        number, org, workspace, api_key, model, answer, amount, hash, payload FROM ledger_events WHERE sequence = 4";
    let rows: [(&str, &str); 19] = [
        ("UPDATE ledger_postings SET amount = amount + 1 WHERE amount > 0", "its entries sum to"),
        ("UPDATE ledger_postings SET amount = amount * 2", "it is posted as"),
        ("UPDATE ledger_postings SET account = 999 WHERE account = 1", "does not exist"),
        ("DELETE FROM ledger_postings", "it is posted as []"),
        ("INSERT INTO ledger_postings VALUES (99, 1, 1)", "postings, of which"),
        ("UPDATE ledger_balances SET amount = amount - 1", "the balance is"),
        ("DELETE FROM ledger_events WHERE sequence = 2", "events by the ledger's own count, of which"),
        ("UPDATE ledger_counts SET events = events + 1", "events by the ledger's own count, of which"),
        ("UPDATE ledger_events SET amount = amount + 1 WHERE sequence = 4", "the columns of its row are not what its payload says"),
        ("UPDATE ledger_events SET answer = NULL WHERE sequence = 4", "the columns of its row are not what its payload says"),
        ("UPDATE ledger_events SET hash = '\\x00'::bytea WHERE sequence = 4", "the content is not the one that was booked"),
        ("UPDATE ledger_events SET payload = '\\xff'::bytea WHERE sequence = 4", "the payload cannot be decoded"),
        ("UPDATE ledger_key_usage SET amount = amount + 1", "is not in its spend"),
        ("UPDATE ledger_sequences SET last = last + 1 WHERE incarnation = 1", "are not those of its records"),
        ("INSERT INTO ledger_sequences VALUES (77, 1, 1)", "of which there is no record"),
        ("DELETE FROM ledger_quarantine", "these sequences never arrived: 9"),
        ("UPDATE ledger_incarnations SET doubt = true WHERE incarnation = 1", "its end is kept as"),
        ("UPDATE ledger_price_versions SET text = 'input - 0 1'", "the version is the hash of"),
        (TERMINAL, "it has more than one terminal event"),
    ];
    on_a_server(async |url| {
        for (fault, expected) in rows {
            let (ledger, _, mut past) = empty(&url).await;
            let mut batch = records(1, 8);
            batch.push(sample::spooled(1, 9, &sample::event(1, Kind::Failed)));
            batch.push(sample::closed(1, 10, 9, false));
            ledger.commit(&batch, Progress::None).await.expect("committed");
            ledger.remember_prices(&[sample::tariff()]).await.expect("remembered");
            let word = Adjustment { operator: "ann".into(), reason: "invoice".into(), unix_us: 1 };
            ledger.adjust(sample::attempt_id(1), Picousd(3), word).await.expect("adjusted");
            assert_eq!(ledger.verify().await.expect("verified").faults, Vec::<String>::new());
            // As somebody does who may do everything: without triggers.
            run(&mut past, "SET session_replication_role = replica").await.expect("let in");
            assert!(run(&mut past, fault).await.expect(fault) > 0, "{fault}");
            let faults = ledger.verify().await.expect("verified").faults;
            assert!(faults.iter().any(|fault| fault.contains(expected)), "{fault}: {faults:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn no_look_up_walks_through_a_table() {
    on_a_server(async |url| {
        let (ledger, _, mut past) = empty(&url).await;
        let settled: Vec<Spooled> = (1..=2_000).map(|number| sample::spooled(1, number, &sample::event(number, Kind::Settled))).collect();
        ledger.commit(&settled, Progress::None).await.expect("committed");
        run(&mut past, "ANALYZE ledger_events").await.expect("analyzed");
        let rows: [(String, &str); 8] = [
            (commit::BOOKED.to_owned(), "ledger_events_identity"),
            (commit::ENDED.to_owned(), "ledger_events_terminal"),
            ([ROW, OF_GENERATION, OF_KEY].concat(), "ledger_events_generation"),
            ([OF_ANSWER, OF_KEY, NEWEST].concat(), "ledger_events_answer"),
            ([OF_ANSWER, NEWEST].concat(), "ledger_events_answer"),
            (OF_ATTEMPT.to_owned(), "ledger_events_terminal"),
            ([ROW, "WHERE e.kind = 5 ORDER BY e.id DESC LIMIT 9"].concat(), "ledger_events_rare"),
            ([ROW, "WHERE e.kind BETWEEN 2 AND 5 AND e.attempt = $1"].concat(), "ledger_events_terminal"),
        ];
        let mut connection = ledger.lease().await.expect("a connection");
        for (place, (statement, index)) in rows.iter().enumerate() {
            let explain = format!("PREPARE s{place} AS {statement}");
            connection.execute(sqlx::raw_sql(AssertSqlSafe(explain))).await.expect("prepared");
            let nulls = (1..=4).filter(|number| statement.contains(&format!("${number}"))).map(|_| "NULL").collect::<Vec<_>>().join(", ");
            let arguments = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
            let explain = format!("SET plan_cache_mode = force_generic_plan; EXPLAIN EXECUTE s{place}{arguments}");
            let plan = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(explain))).await.expect("a plan");
            let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
            assert!(plan.iter().any(|step| step.contains(index)), "{statement}: {plan:#?}");
            assert!(plan.iter().all(|step| !step.contains("Seq Scan on")), "{statement}: {plan:#?}");
        }
    })
    .await;
}

/// Somebody cuts the connections all the time. Who is told that the database was away does the same again, and everything is booked once.
#[tokio::test]
async fn a_commit_whose_connection_was_cut_is_repeated() {
    on_a_server(async |url| {
        let (_, url, mut past) = empty(&url).await;
        let name = format!("cut-{}", std::process::id());
        let access = Access::read(&format!("{url}&application_name={name}"), None).expect("an address");
        let ledger = Postgres::open(&access).await.expect("it opens");
        let epoch = ledger.assign("t", 0).await.expect("assigned").epoch;
        let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'");
        let mut repeated = 0;
        for batch in 0..40_u64 {
            let from = i64::try_from(batch * 25).expect("small");
            let step = PartitionProgress { topic: "t".to_owned(), partition: 0, epoch, from, next: from + 25 };
            let records = records(batch * 25 + 1, batch * 25 + 25);
            // Each batch is cut once, each a little later than the one before.
            let cutter = async {
                for _ in 0..batch {
                    run(&mut past, "SELECT").await.expect("answered");
                }
                run(&mut past, &cut).await.expect("cut");
            };
            let (first, _) = tokio::join!(ledger.commit(&records, Progress::Partition(&step)), cutter);
            let mut last = first;
            while let Err(error) = last {
                assert!(error.may_retry(), "{error}");
                repeated += 1;
                last = ledger.commit(&records, Progress::Partition(&step)).await;
            }
        }
        assert!(repeated > 0, "no connection was cut in the middle");
        let ledger = Postgres::open(&access).await.expect("it opens");
        assert_eq!(ledger.assign("t", 0).await.expect("assigned").next_offset, Some(1_000));
        assert_eq!(ledger.status().await.expect("status").events, 1_000);
        assert_eq!(ledger.verify().await.expect("verified").faults, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn who_cannot_enter_is_told_why_and_never_sees_a_password() {
    on_a_server(async |url| {
        let refused = async |url: &str| {
            let access = Access::read(url, Some(super::Password::from("hunter2".to_owned()))).expect("an address");
            let error = Postgres::open(&access).await.expect_err("refused");
            let shown = format!("{error} {error:?} {access:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            error
        };
        let database = url.rsplit_once('/').map_or(url.clone(), |(server, _)| format!("{server}/no_such_database"));
        let error = refused(&database).await;
        assert!(matches!(error, Error::Database(_)) && error.to_string().contains("no_such_database"), "{error}");
        let nobody = "postgres://ann@127.0.0.1:1/ledger";
        let error = refused(nobody).await;
        assert!(error.may_retry(), "{error}");
    })
    .await;
}
