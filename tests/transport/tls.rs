//! Through brokers that want certificates and passwords, by a build that can speak so (`kafka-tls`). `tests/real` starts them, writes a file of rows
//! and names it in `WAYBILL_TEST_KAFKA_SECURE`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::sync::watch;
use waybill_billing::{
    Ledger, Sqlite,
    consume::{self, Consumed},
    tail::{Wanted, tail},
    topics::{init, offsets},
};
use waybill_kafka::KafkaSettings;

use crate::{
    events,
    kafka::{Said, consuming, emitted_within, plan},
};

/// What is said to an operator must not come later.
const AT_ONCE: Duration = Duration::from_secs(15);

/// A way to the brokers, and what becomes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    settings: KafkaSettings,
    /// Words of the one error that is to come; none if it carries.
    refused: Vec<String>,
    /// What must not be said.
    secret: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_passwords_are_taken_or_refused_in_words() {
    let Some(file) = std::env::var_os("WAYBILL_TEST_KAFKA_SECURE") else {
        return println!("skipped: WAYBILL_TEST_KAFKA_SECURE names no file of rows");
    };
    let rows = std::fs::read(file).expect("a file of rows");
    let rows: Vec<Row> = serde_json::from_slice(&rows).expect("rows");
    assert!(!rows.is_empty());
    let said = Said::listen();
    for (number, row) in rows.iter().enumerate() {
        println!("{}", row.name);
        let before = said.text().len();
        if row.refused.is_empty() { carries(row, number).await } else { refuses(row, &said, before).await }
    }
}

/// The topic is made, events go through it into a ledger, and can be read beside.
async fn carries(row: &Row, number: usize) {
    let settings = KafkaSettings { topic: format!("wb.usage.secure.{}.{number}", std::process::id()), ..row.settings.clone() };
    init(&settings, plan("one")).await.unwrap_or_else(|error| panic!("{}: {error}", row.name));
    let folder = tempfile::tempdir().expect("a folder");
    let spool = events::spool(&folder.path().join("spool"));
    let mut log = events::log(&spool, 1);
    events::write(&mut log, 0..100);
    log.close(false).expect("closed");
    assert_eq!(emitted_within(&settings, &spool, Duration::from_secs(30)).await.events, 0, "{}", row.name);
    let ledger: Arc<dyn Ledger> = Arc::new(Sqlite::open(&folder.path().join("ledger.db")).await.expect("a ledger"));
    let (stop, stopped) = watch::channel(false);
    let consumed = Arc::new(Consumed::default());
    let consumer = tokio::spawn(consume::run(Arc::clone(&ledger), consuming(&settings), Arc::clone(&consumed), stopped));
    let begun = Instant::now();
    while ledger.status().await.expect("a status").events < 101 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}: {consumed:?}", row.name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.send_replace(true);
    consumer.await.expect("it ends").expect("it had started");
    let (found, lines) = tokio::task::spawn_blocking(move || {
        let mut lines = Vec::new();
        let wanted = Wanted { earliest: true, limit: None, until_end: true };
        tail(&settings, wanted, &mut lines, || false).expect("read");
        (offsets(&settings).expect("offsets"), lines)
    })
    .await
    .expect("it ends");
    assert_eq!(found.iter().map(|range| range.high).sum::<i64>(), 101);
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 101);
}

/// An operator is told at once and in one error; a proxy tells its log, and keeps the events.
async fn refuses(row: &Row, said: &Said, before: usize) {
    let begun = Instant::now();
    let error = init(&row.settings, plan("one")).await.err().unwrap_or_else(|| panic!("{}: it was taken", row.name)).to_string();
    println!("  {error}");
    let told = |text: &str| {
        let missing: Vec<&String> = row.refused.iter().filter(|word| !text.contains(*word)).collect();
        assert!(missing.is_empty(), "{}: {missing:?} is not in\n{text}", row.name);
        assert!(!row.secret.as_ref().is_some_and(|secret| text.contains(secret)), "{}: a secret in\n{text}", row.name);
    };
    told(&error);
    assert!(begun.elapsed() < AT_ONCE, "{}: after {:?}", row.name, begun.elapsed());
    let folder = tempfile::tempdir().expect("a folder");
    let spool = events::spool(&folder.path().join("spool"));
    let mut log = events::log(&spool, 1);
    events::write(&mut log, 0..10);
    log.close(false).expect("closed");
    assert_eq!(emitted_within(&row.settings, &spool, Duration::from_secs(3)).await.events, 11, "{}", row.name);
    told(&said.text()[before..]);
}
