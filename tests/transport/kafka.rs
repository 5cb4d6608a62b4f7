//! Through a real Kafka: the emitter, a topic, and two consumers of one group.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tokio::{sync::watch, task::JoinHandle};
use waybill_billing::{
    Ledger, Progress, Sqlite,
    consume::{self, Consumed},
    topics::{Plan, Step, init, offsets},
};
use waybill_kafka::KafkaSettings;
use waybill_meter::{
    Spool,
    emit::{self, Emitted, Ingest, IngestFailed, Ingesting},
};
use waybill_proto::usage::v1::Spooled;

use crate::{
    events,
    suite::{Boxed, Carrying, Transport, all},
};

/// Partitions of a test's topic.
const PARTITIONS: i32 = 6;

/// Brokers to test with; says why not if there are none.
fn brokers() -> Option<String> {
    let brokers = std::env::var("WAYBILL_TEST_KAFKA").ok().filter(|brokers| !brokers.is_empty());
    if brokers.is_none() {
        println!("skipped: WAYBILL_TEST_KAFKA names no brokers");
    }
    brokers
}

/// A topic, and a group of consumers, that nobody else has.
async fn topic(brokers: &str) -> KafkaSettings {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let since = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    let topic = format!("wb.usage.test.{}.{since}.{number}", std::process::id());
    let settings = KafkaSettings { brokers: brokers.to_owned(), topic, ..KafkaSettings::default() };
    init(&settings, plan(brokers)).await.expect("a topic");
    settings
}

pub fn plan(brokers: &str) -> Plan {
    let replication = if brokers.contains(',') { 3 } else { 1 };
    Plan { partitions: PARTITIONS, replication, min_insync: replication.min(2), ..Plan::default() }
}

struct Through {
    brokers: String,
    settings: tokio::sync::Mutex<Option<(usize, KafkaSettings)>>,
}

/// An emitter and two consumers.
struct Running {
    emitter: JoinHandle<emit::Left>,
    stop_emitter: watch::Sender<bool>,
    consumers: Vec<JoinHandle<Result<(), consume::StartError>>>,
    stop_consumers: watch::Sender<bool>,
}

fn start(settings: &KafkaSettings, spool: &Spool, ledger: &Arc<dyn Ledger>) -> Running {
    let (stop_emitter, stopped) = watch::channel(false);
    let options = emit::Options::new(settings).expect("settings");
    let emitter = tokio::spawn(emit::run(spool.clone(), options, None, Arc::default(), stopped));
    let (stop_consumers, stopped) = watch::channel(false);
    let consumer = |_| {
        let options = consuming(settings);
        tokio::spawn(consume::run(Arc::clone(ledger), options, Arc::default(), stopped.clone()))
    };
    Running { emitter, stop_emitter, consumers: (0..2).map(consumer).collect(), stop_consumers }
}

/// A group for each topic.
pub fn consuming(settings: &KafkaSettings) -> consume::Options {
    let mut options = consume::Options::new(settings).expect("settings");
    options.group.clone_from(&settings.topic);
    options
}

impl Transport for Through {
    fn start(&self, spool: &Spool, ledger: &Arc<dyn Ledger>) -> Boxed<'_, Box<dyn Carrying>> {
        let (spool, ledger) = (spool.clone(), Arc::clone(ledger));
        Box::pin(async move {
            // Each ledger has a topic of its own, since it knows offsets of it.
            let which = Arc::as_ptr(&ledger).cast::<()>() as usize;
            let mut known = self.settings.lock().await;
            let settings = match known.as_ref().filter(|(of, _)| *of == which) {
                Some((_, settings)) => settings.clone(),
                None => topic(&self.brokers).await,
            };
            *known = Some((which, settings.clone()));
            Box::new(start(&settings, &spool, &ledger)) as Box<dyn Carrying>
        })
    }

    fn forget(&self, spool: &Path) {
        drop(std::fs::remove_file(spool.join("emit.cursors")));
    }
}

impl Carrying for Running {
    fn stop(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async move {
            self.stop_emitter.send_replace(true);
            let left = self.emitter.await.expect("it ends");
            assert_eq!(left.events, 0, "{left:?}");
            self.stop_consumers.send_replace(true);
            for consumer in self.consumers {
                consumer.await.expect("it ends").expect("it had started");
            }
        })
    }

    fn kill(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async move {
            self.emitter.abort();
            drop(self.emitter.await);
            // A consumer's thread cannot be killed alone; it is told to stop while it is at work.
            self.stop_consumers.send_replace(true);
            for consumer in self.consumers {
                consumer.await.expect("it ends").expect("it had started");
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_what_a_transport_must() {
    let Some(brokers) = brokers() else { return };
    all(&Through { brokers, settings: tokio::sync::Mutex::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_is_made_once_and_brought_to_its_plan() {
    let Some(brokers) = brokers() else { return };
    let settings = topic(&brokers).await;
    let plan = plan(&brokers);
    let steps = init(&settings, plan).await.expect("again");
    assert!(steps.iter().all(|step| matches!(step, Step::Right(_))), "{steps:?}");
    assert_eq!(offsets(&settings).expect("offsets").len(), PARTITIONS as usize);

    let changed = Plan { partitions: PARTITIONS + 2, retention_hours: 5, ..plan };
    let steps = init(&settings, changed).await.expect("changed");
    let change = |what: &str, from: String, to: String| Step::Changed { what: what.to_owned(), from, to };
    assert!(steps.contains(&change("partitions", PARTITIONS.to_string(), (PARTITIONS + 2).to_string())), "{steps:?}");
    assert!(steps.contains(&change("retention.ms", 604_800_000.to_string(), 18_000_000.to_string())), "{steps:?}");
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Changed { .. })).count(), 2, "{steps:?}");

    let steps = init(&settings, Plan { retention_hours: 5, ..plan }).await.expect("not lowered");
    assert!(steps.iter().any(|step| matches!(step, Step::Differs { .. })), "{steps:?}");
    assert!(!steps.iter().any(|step| matches!(step, Step::Changed { .. })), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_is_set_aside_and_stops_nothing() {
    let Some(brokers) = brokers() else { return };
    let settings = topic(&brokers).await;
    let folder = tempfile::tempdir().expect("a folder");
    let ledger: Arc<dyn Ledger> = Arc::new(Sqlite::open(&folder.path().join("ledger.db")).await.expect("a ledger"));
    strangers(&settings);
    let spool = events::spool(&folder.path().join("spool"));
    let mut log = events::log(&spool, 1);
    events::write(&mut log, 0..100);
    log.close(false).expect("closed");
    let running = Box::new(start(&settings, &spool, &ledger));
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = ledger.status().await.expect("a status");
        if (status.events, status.quarantined) == (101, 3) {
            break;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
    let aside = ledger.quarantine(10).await.expect("quarantine");
    let mut payloads: Vec<&[u8]> = aside.iter().map(|aside| &aside.payload[..]).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, [&b""[..], b"of a later version", b"\xff\xff"]);
    let lines = waybill_billing::tail::Wanted { earliest: true, limit: None, until_end: true };
    let mut out = Vec::new();
    assert_eq!(waybill_billing::tail::tail(&settings, lines, &mut out, || false).expect("read"), 104);
    let strange = String::from_utf8(out).expect("text").lines().filter(|line| line.contains("\"strange\"")).count();
    assert_eq!(strange, 3);
}

/// Somebody else writes to the topic, with a client of their own.
fn strangers(settings: &KafkaSettings) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &settings.brokers).create().expect("a producer");
    for (version, value) in [("1", Some(&b"\xff\xff"[..])), ("9", Some(b"of a later version")), ("1", None)] {
        let headers = OwnedHeaders::new().insert(Header { key: waybill_kafka::SCHEMA_HEADER, value: Some(version) });
        let message = BaseRecord::<[u8], [u8]>::to(&settings.topic).key(b"key").headers(headers);
        let message = match value {
            Some(value) => message.payload(value),
            None => message,
        };
        producer.send(message).map_err(|(error, _)| error).expect("taken");
    }
    producer.flush(Duration::from_secs(20)).expect("delivered");
}

/// A control plane that takes records when it likes.
#[derive(Debug)]
struct Books {
    ledger: Arc<dyn Ledger>,
    taken: AtomicU64,
}

impl Ingest for Books {
    fn ingest(&self, records: Vec<Spooled>) -> Ingesting<'_> {
        Box::pin(async move {
            // Every third time it fails after it has booked, so that nobody knows.
            let committed = self.ledger.commit(&records, Progress::None).await;
            let number = self.taken.fetch_add(1, Ordering::Relaxed);
            committed.map_err(|error| IngestFailed(error.to_string()))?;
            if number % 3 == 1 { Err(IngestFailed("the answer was lost".to_owned())) } else { Ok(()) }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_kafka_at_all_the_second_way_carries_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger: Arc<dyn Ledger> = Arc::new(Sqlite::open(&folder.path().join("ledger.db")).await.expect("a ledger"));
    let books = Arc::new(Books { ledger: Arc::clone(&ledger), taken: AtomicU64::new(0) });
    // Nobody listens there.
    let settings = KafkaSettings { brokers: "127.0.0.1:9".to_owned(), ..KafkaSettings::default() };
    let spool = events::spool(&folder.path().join("spool"));
    let mut log = events::log(&spool, 1);
    events::write(&mut log, 0..5000);
    let mut options = emit::Options::new(&settings).expect("settings");
    options.limits.silence_ms = 300;
    options.limits.pause_ms = 20;
    let emitted = Arc::new(Emitted::default());
    let (stop, stopped) = watch::channel(false);
    let emitter = tokio::spawn(emit::run(spool.clone(), options, Some(books), Arc::clone(&emitted), stopped));
    log.close(false).expect("closed");
    stop.send_replace(true);
    assert_eq!(emitter.await.expect("it ends"), emit::Left::default());
    let status = ledger.status().await.expect("a status");
    assert_eq!((status.events, status.quarantined), (5001, 0));
    assert_eq!((emitted.ingested.load(Ordering::Relaxed), emitted.delivered.load(Ordering::Relaxed)), (5001, 0));
    assert!(emitted.ingest_failures.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_and_without_a_second_way_a_stop_says_what_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = KafkaSettings { brokers: "127.0.0.1:9".to_owned(), ..KafkaSettings::default() };
    let spool = events::spool(&folder.path().join("spool"));
    let mut log = events::log(&spool, 1);
    events::write(&mut log, 0..100);
    log.close(false).expect("closed");
    let mut options = emit::Options::new(&settings).expect("settings");
    options.stop_time = Duration::from_millis(300);
    let (_stop, stopped) = watch::channel(true);
    let left = emit::run(spool.clone(), options, None, Arc::default(), stopped).await;
    assert_eq!((left.events, left.spool_bytes), (101, spool.used_bytes()));
}

/// Brokers with the user `app` (`PLAIN` on an open line), for what a wrong password looks like.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_by_name_and_the_right_one_carries_on() {
    let Some(brokers) = std::env::var("WAYBILL_TEST_KAFKA_SASL").ok().filter(|brokers| !brokers.is_empty()) else {
        return println!("skipped: WAYBILL_TEST_KAFKA_SASL names no brokers");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    std::fs::write(&password, "app-secret").expect("written");
    let settings = KafkaSettings {
        security: waybill_kafka::Security::SaslPlaintext,
        sasl_mechanism: waybill_kafka::Mechanism::Plain,
        sasl_user: Some("app".to_owned()),
        sasl_password_file: Some(password.clone()),
        ..KafkaSettings { brokers, topic: format!("wb.usage.sasl.{}", std::process::id()), ..KafkaSettings::default() }
    };
    init(&settings, plan("one")).await.expect("a topic");
    let spool = events::spool(&folder.path().join("spool"));
    let mut log = events::log(&spool, 1);
    events::write(&mut log, 0..100);
    log.close(false).expect("closed");
    let said = Said::listen();
    std::fs::write(&password, "wrong-canary").expect("written");
    let left = emitted_within(&settings, &spool, Duration::from_secs(5)).await;
    assert_eq!(left.events, 101);
    let text = said.text();
    assert!(text.contains("Authentication") && text.contains("kafka.saslPasswordFile"), "{text}");
    assert!(!text.contains("wrong-canary"), "{text}");
    std::fs::write(&password, "app-secret").expect("written");
    assert_eq!(emitted_within(&settings, &spool, Duration::from_secs(30)).await.events, 0);
}

pub async fn emitted_within(settings: &KafkaSettings, spool: &Spool, time: Duration) -> emit::Left {
    let mut options = emit::Options::new(settings).expect("settings");
    options.stop_time = time;
    let (_stop, stopped) = watch::channel(true);
    emit::run(spool.clone(), options, None, Arc::default(), stopped).await
}

/// What this process says in its log.
#[derive(Clone, Default)]
pub struct Said(Arc<std::sync::Mutex<Vec<u8>>>);

impl Said {
    /// From now on, on all threads: the client complains on one of its own.
    pub fn listen() -> Self {
        let said = Self::default();
        let writer = said.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::set_global_default(subscriber).expect("the first");
        said
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("whole")).into_owned()
    }
}

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_groups_take_partitions_from_each_other_and_each_event_is_booked_once() {
    let Some(brokers) = brokers() else { return };
    let settings = topic(&brokers).await;
    let folder = tempfile::tempdir().expect("a folder");
    let ledger: Arc<dyn Ledger> = Arc::new(Sqlite::open(&folder.path().join("ledger.db")).await.expect("a ledger"));
    let spool = events::spool(&folder.path().join("spool"));
    let (stop, stopped) = watch::channel(false);
    let emitter =
        tokio::spawn(emit::run(spool.clone(), emit::Options::new(&settings).expect("settings"), None, Arc::default(), stopped.clone()));
    // Each group gives every partition to its own consumer: whoever was assigned last fences the other, until that claims it back.
    let consumed: Vec<Arc<Consumed>> = (0..2).map(|_| Arc::default()).collect();
    let consumer = |(number, consumed): (usize, &Arc<Consumed>)| {
        let mut options = consuming(&settings);
        options.group.push_str(if number == 0 { ".a" } else { ".b" });
        options.limits.reclaim_ms = 300;
        tokio::spawn(consume::run(Arc::clone(&ledger), options, Arc::clone(consumed), stopped.clone()))
    };
    let consumers: Vec<_> = consumed.iter().enumerate().map(consumer).collect();
    let mut log = events::log(&spool, 1);
    let (begun, mut number) = (Instant::now(), 0);
    let fenced = || consumed.iter().map(|consumed| consumed.fenced.load(Ordering::Relaxed)).sum::<u64>();
    while fenced() < 6 {
        events::write(&mut log, number..number + 20);
        number += 20;
        assert!(begun.elapsed().as_secs() < 60, "fenced {} times", fenced());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    log.close(false).expect("closed");
    let written = Instant::now();
    loop {
        let status = ledger.status().await.expect("a status");
        if status.events > number {
            assert_eq!((status.events, status.quarantined), (number + 1, 0), "{status:?}");
            break;
        }
        assert!(written.elapsed().as_secs() < 60, "{} of {number}: {consumed:?}", status.events);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.send_replace(true);
    emitter.await.expect("it ends");
    for consumer in consumers {
        consumer.await.expect("it ends").expect("it had started");
    }
    assert!(ledger.verify().await.expect("verified").faults.is_empty());
}

/// Carries while somebody kills, freezes and restarts brokers, for `WAYBILL_TEST_SECONDS`: each event must be in the ledger once all the same.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "somebody else does the harm"]
async fn under_fire() {
    let Some(brokers) = brokers() else { return };
    let seconds: u64 = std::env::var("WAYBILL_TEST_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(30);
    let settings = topic(&brokers).await;
    let folder = tempfile::tempdir().expect("a folder");
    let ledger: Arc<dyn Ledger> = Arc::new(Sqlite::open(&folder.path().join("ledger.db")).await.expect("a ledger"));
    let spool = events::spool(&folder.path().join("spool"));
    let books = Arc::new(Books { ledger: Arc::clone(&ledger), taken: AtomicU64::new(0) });
    let (emitted, (stop, stopped)) = (Arc::new(Emitted::default()), watch::channel(false));
    let mut options = emit::Options::new(&settings).expect("settings");
    options.limits.silence_ms = 5000;
    let emitter = tokio::spawn(emit::run(spool.clone(), options, Some(books), Arc::clone(&emitted), stopped.clone()));
    let consumed: Vec<Arc<Consumed>> = (0..2).map(|_| Arc::default()).collect();
    let consumers: Vec<_> = consumed
        .iter()
        .map(|consumed| {
            let options = consuming(&settings);
            tokio::spawn(consume::run(Arc::clone(&ledger), options, Arc::clone(consumed), stopped.clone()))
        })
        .collect();
    let mut logs: Vec<_> = (0..4).map(|number| events::log(&spool, 200 + number)).collect();
    let (begun, mut number) = (Instant::now(), 0);
    while begun.elapsed().as_secs() < seconds {
        for log in &mut logs {
            events::write(log, number..number + 50);
            number += 50;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for log in &mut logs {
        log.close(false).expect("closed");
    }
    let written = Instant::now();
    let all = number + 4;
    loop {
        let status = ledger.status().await.expect("a status");
        if status.events >= all && spool.report().waiting_events == 0 {
            assert_eq!((status.events, status.quarantined), (all, 0), "{status:?}");
            break;
        }
        let states: Vec<_> = consumed.iter().map(|consumed| consumed.health()).collect();
        assert!(written.elapsed().as_secs() < 120, "{} of {all}: {emitted:?} {states:?}", status.events);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{all} events, all there {:.1} s after the last; {emitted:?}", written.elapsed().as_secs_f64());
    let count = |of: fn(&Consumed) -> &AtomicU64| consumed.iter().map(|consumed| of(consumed).load(Ordering::Relaxed)).sum::<u64>();
    println!("duplicates {}, fenced {}, commits {}", count(|c| &c.duplicates), count(|c| &c.fenced), count(|c| &c.commits));
    let balances = ledger.balances("receivable/").await.expect("balances");
    let owed: i128 = balances.iter().map(|balance| balance.amount_picousd.parse::<i128>().expect("a number")).sum();
    assert_eq!(owed, events::cost(0..number), "to the pico-dollar");
    let verified = ledger.verify().await.expect("verified");
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    stop.send_replace(true);
    assert_eq!(emitter.await.expect("it ends").events, 0);
    for consumer in consumers {
        consumer.await.expect("it ends").expect("it had started");
    }
}

/// Figures for the README: `cargo test --release -p waybill-tests --test transport -- --ignored --nocapture measure`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn measure() {
    let Some(brokers) = brokers() else { return };
    let count: u64 = std::env::var("WAYBILL_TEST_EVENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(200_000);
    let settings = topic(&brokers).await;
    let folder = tempfile::tempdir().expect("a folder");
    let ledger: Arc<dyn Ledger> = Arc::new(Sqlite::open(&folder.path().join("ledger.db")).await.expect("a ledger"));
    let spool = events::spool(&folder.path().join("spool"));
    for number in 0..4 {
        let mut log = events::log(&spool, 100 + number);
        events::write(&mut log, number * count / 4..(number + 1) * count / 4);
        log.close(false).expect("closed");
    }
    let before = processor();
    let begun = Instant::now();
    let (stop, stopped) = watch::channel(true);
    let options = emit::Options::new(&settings).expect("settings");
    let left = emit::run(spool.clone(), options, None, Arc::default(), stopped).await;
    drop(stop);
    let (took, spent) = (begun.elapsed().as_secs_f64(), processor() - before);
    let events = (count + 4) as f64;
    println!("spool -> Kafka: {:.0} events/s, {:.1} us of processor an event, left {left:?}", events / took, spent * 1e6 / events);
    let (stop, stopped) = watch::channel(false);
    let consumed = Arc::new(Consumed::default());
    let options = consuming(&settings);
    let (before, begun) = (processor(), Instant::now());
    let consumer = tokio::spawn(consume::run(Arc::clone(&ledger), options, Arc::clone(&consumed), stopped));
    let mut first = None;
    while consumed.events.load(Ordering::Relaxed) < count + 4 {
        if first.is_none() && consumed.events.load(Ordering::Relaxed) > 0 {
            first = Some(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (took, spent) = (first.unwrap_or(begun).elapsed().as_secs_f64(), processor() - before);
    println!("Kafka -> SQLite: {:.0} events/s (catching up), {:.1} us of processor an event", events / took, spent * 1e6 / events);
    stop.send_replace(true);
    consumer.await.expect("it ends").expect("it had started");
}

/// Seconds of processor time of this process.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
