//! The parts of a process that can be looked at.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::time::timeout;
use waybill_billing::{Ledger, Status};
use waybill_meter::{Pressure, Report, Spool};
use waybill_peer::Credentials;
use waybill_proxy::Counters;
use waybill_publish::Publisher;
use waybill_store::{Store, keys};
use waybill_sync::Current;

use super::{Look, Sheet, Vital, names};
use crate::{books::unix_us, consume::Consumed};

/// What a look may wait for somebody else: a scrape does not hang because a database does.
const LOOK: Duration = Duration::from_secs(2);

/// The build.
pub struct Build;

impl Vital for Build {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        sheet.write_of(&names::BUILD, env!("CARGO_PKG_VERSION"), 1);
        Box::pin(async {})
    }
}

/// What a process is still doing before it can work, and that it ends.
#[derive(Clone, Default)]
pub struct Phase(Arc<Mutex<Option<String>>>);

impl Phase {
    /// The process cannot work, for this reason.
    pub fn lacks(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.into());
    }

    /// It can.
    pub fn works(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A signal has come: no new work, please.
    pub fn drains(&self) {
        self.lacks("draining");
    }
}

impl Vital for Phase {
    fn lacks(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The workers of the data plane.
pub struct Workers(pub Vec<Arc<Counters>>);

impl Vital for Workers {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        let workers: Vec<Vec<(&str, &str, u64)>> = self.0.iter().map(|counters| counters.read().collect()).collect();
        for position in 0..workers.first().map_or(0, Vec::len) {
            for (number, worker) in workers.iter().enumerate() {
                if let Some((name, help, value)) = worker.get(position) {
                    sheet.worker(name, help, number, *value);
                }
            }
        }
        Box::pin(async {})
    }
}

/// What the data plane holds of the configuration. Without any, nothing can be served; an old one is good enough, unless the keys in it mean nothing here.
pub struct Holding(pub Current);

impl Vital for Holding {
    fn lacks(&self) -> Option<String> {
        match self.0.refused() {
            Some(refused) if refused.unfit || !self.0.is_ready() => {
                Some(format!("the control plane refuses this proxy: {}", refused.reason))
            }
            _ => (!self.0.is_ready()).then(|| "no configuration yet".to_owned()),
        }
    }

    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        let snapshot = self.0.load();
        let stale = self.0.stale_seconds();
        sheet.write(&names::REVISION, snapshot.revision);
        sheet.write(&names::DENY_EPOCH, self.0.denied().epoch());
        sheet.write(&names::KEYS, snapshot.key_count() as u64);
        sheet.write(&names::STALE, stale);
        sheet.write(&names::CONNECTED, u64::from(self.0.is_in_step()));
        Box::pin(async {})
    }
}

/// The spool. When it is full, nothing can be served.
#[derive(Clone)]
pub struct Spooled {
    spool: Spool,
    waiting: Arc<Mutex<Waiting>>,
}

/// Since when events wait without one being taken.
#[derive(Debug, Default)]
struct Waiting {
    released: u64,
    since: Option<Instant>,
}

/// How often it is looked whether events are taken.
const OBSERVE: Duration = Duration::from_secs(1);

impl Spooled {
    /// Looks after this spool from now on. Needs a tokio runtime.
    pub fn new(spool: Spool) -> Self {
        let spooled = Self { spool, waiting: Arc::default() };
        let observed = Arc::downgrade(&spooled.waiting);
        let spool = spooled.spool.clone();
        tokio::spawn(async move {
            while let Some(waiting) = observed.upgrade() {
                waiting.lock().unwrap_or_else(PoisonError::into_inner).observe(&spool.report(), Instant::now());
                drop(waiting);
                tokio::time::sleep(OBSERVE).await;
            }
        });
        spooled
    }
}

impl Waiting {
    fn observe(&mut self, report: &Report, now: Instant) {
        let given: u64 = report.logs.iter().map(|log| log.last_sequence).sum();
        let released = given.saturating_sub(report.waiting_events);
        let moved = released != self.released;
        self.released = released;
        self.since = match self.since {
            _ if report.waiting_events == 0 => None,
            Some(since) if !moved => Some(since),
            _ => Some(now),
        };
    }
}

impl Vital for Spooled {
    fn lacks(&self) -> Option<String> {
        let (used, bound) = (self.spool.used_bytes(), self.spool.bound_bytes());
        (used >= bound).then(|| format!("the spool is full: {used} of {bound} bytes"))
    }

    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        let since = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).since;
        sheet.write(&names::SPOOL, self.spool.used_bytes());
        sheet.write(&names::SPOOL_BOUND, self.spool.bound_bytes());
        sheet.write(&names::SPOOL_ALARM, u64::from(self.spool.pressure() != Pressure::Low));
        sheet.write(&names::SPOOL_WAITING, self.spool.report().waiting_events);
        sheet.write(&names::SPOOL_AGE, since.map_or(0, |since| since.elapsed().as_secs()));
        Box::pin(async {})
    }
}

/// What this process brings into the ledger.
pub struct Booking(pub Arc<Consumed>);

impl Vital for Booking {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        sheet.write(&names::BOOKED, self.0.events.load(Ordering::Relaxed));
        sheet.write(&names::QUARANTINED, self.0.quarantined.load(Ordering::Relaxed));
        sheet.write(&names::SPOOL_DAMAGE, self.0.damaged.load(Ordering::Relaxed));
        sheet.write(&names::LEDGER_FAILURES, self.0.failures.load(Ordering::Relaxed));
        Box::pin(async {})
    }
}

/// The ledger. To count what is in it takes the longer the more there is, whoever scrapes how often: a count is told until counting anew costs no more
/// than a twentieth of the database's time.
pub struct Books {
    ledger: Arc<dyn Ledger>,
    counted: tokio::sync::Mutex<Option<Counted>>,
}

/// What was counted of the ledger. What is not there could not be counted.
struct Counted {
    status: Option<Status>,
    /// How many logs miss something, and for how many seconds the first of them.
    gaps: Option<(u64, u64)>,
    /// It is told until then.
    until: Instant,
}

/// A count is told for so long at least,
const FRESH: Duration = Duration::from_secs(5);

/// and for so many times as long as it took.
const REST: u32 = 20;

impl Books {
    /// Of this ledger; nothing is counted yet.
    pub fn of(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger, counted: tokio::sync::Mutex::default() }
    }

    async fn count(&self) -> Counted {
        let began = Instant::now();
        let status = timeout(LOOK, self.ledger.status()).await.ok().and_then(Result::ok);
        let now = unix_us() / 1_000;
        let gaps = timeout(LOOK, self.ledger.gaps(now)).await.ok().and_then(Result::ok);
        let gaps = gaps.map(|gaps| (gaps.len() as u64, gaps.iter().map(|gap| gap.age_seconds(now)).max().unwrap_or(0)));
        Counted { status, gaps, until: Instant::now() + FRESH.max(began.elapsed() * REST) }
    }
}

impl Vital for Books {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        Box::pin(async {
            // Whoever else scrapes now waits for the same count.
            let mut counted = self.counted.lock().await;
            if counted.as_ref().is_none_or(|counted| counted.until <= Instant::now()) {
                *counted = Some(self.count().await);
            }
            let Some(Counted { status, gaps, .. }) = &*counted else { return };
            sheet.write(&names::LEDGER_UP, u64::from(status.is_some()));
            if let Some(status) = status {
                sheet.write(&names::LEDGER_ROWS, status.events);
                sheet.write(&names::LEDGER_ORPHANS, status.orphaned_open);
                sheet.write(&names::LEDGER_QUARANTINE, status.quarantined);
            }
            if let Some((logs, oldest)) = gaps {
                sheet.write(&names::GAPS, *logs);
                sheet.write(&names::GAP_OLDEST, *oldest);
            }
        })
    }
}

/// The configuration store. While it is away nothing can be changed; what is in force stays so.
pub struct Stored(pub Arc<dyn Store>);

impl Vital for Stored {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        Box::pin(async {
            let answered = timeout(LOOK, self.0.get(&keys::head())).await;
            sheet.write(&names::STORE_UP, u64::from(matches!(answered, Ok(Ok(_)))));
        })
    }
}

/// The proxies that this process knows.
pub struct Fleet {
    pub publisher: Publisher,
    /// This process's own view of the configuration is told by another part.
    pub with_revision: bool,
}

impl Vital for Fleet {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        let revision = self.publisher.world().revision();
        let proxies = self.publisher.proxies();
        let connected = proxies.iter().filter(|proxy| proxy.connected);
        let behind = connected.clone().filter(|proxy| proxy.applied_revision < revision).count();
        let refusing = connected.clone().filter(|proxy| !proxy.rejected.is_empty()).count();
        let connected = connected.count();
        if self.with_revision {
            sheet.write(&names::REVISION, revision);
        }
        sheet.write_of(&names::PROXIES, "connected", connected as u64);
        sheet.write_of(&names::PROXIES, "away", (proxies.len() - connected) as u64);
        sheet.write(&names::PROXIES_BEHIND, behind as u64);
        sheet.write(&names::PROXIES_REFUSING, refusing as u64);
        sheet.write(&names::WATCH_REPAIRS, self.publisher.figures().watch_repairs.load(Ordering::Relaxed));
        Box::pin(async {})
    }
}

/// This process's certificate.
pub struct Certificate(pub Credentials);

impl Vital for Certificate {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let left = u64::try_from(self.0.expires_unix_s()).unwrap_or(0).saturating_sub(now);
        sheet.write(&names::CERTIFICATE, left);
        Box::pin(async {})
    }
}

/// Jobs that run once in a cluster, and whether this process does them.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<Vec<Job>>>);

/// A job's name, and whether this process does it.
type Job = (&'static str, Box<dyn Fn() -> bool + Send + Sync>);

impl Jobs {
    /// A job that this process stands for: set while it leads.
    pub fn stand_for(&self, job: &'static str) -> Arc<AtomicBool> {
        let leads = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&leads);
        self.add(job, move || told.load(Ordering::Relaxed));
        leads
    }

    /// A job of somebody who knows whether this process leads it.
    pub fn add(&self, job: &'static str, leads: impl Fn() -> bool + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((job, Box::new(leads)));
    }
}

impl Vital for Jobs {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        for (job, leads) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sheet.write_of(&names::LEADS, job, u64::from(leads()));
        }
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests {
    use waybill_meter::LogReport;

    use super::*;

    #[test]
    fn events_wait_from_the_first_that_is_not_taken_until_one_is() {
        let began = Instant::now();
        let mut waiting = Waiting::default();
        // Second, numbers given out, events that wait, and for how long they have been waiting.
        for (second, given, waits, waited) in
            [(0, 5, 0, 0), (1, 6, 1, 0), (4, 9, 4, 3), (5, 9, 2, 0), (8, 9, 2, 3), (9, 9, 0, 0), (10, 10, 1, 0)]
        {
            let now = began + Duration::from_secs(second);
            let log = LogReport { incarnation: 1, last_sequence: given, closed: false };
            waiting.observe(&Report { logs: vec![log], waiting_events: waits, ..Report::default() }, now);
            assert_eq!(waiting.since.map_or(0, |since| (now - since).as_secs()), waited, "second {second}");
        }
    }
}
