//! The tasks of a replica: observe the fleet, follow the records, advise the own proxies; and, while this replica leads the job, decide.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_stream::StreamExt;
use waybill_proto::{
    admin::v1::EndpointHealthRow,
    sync::v1::{Advice, EndpointHealth, ProxyState},
};
use waybill_store::{Candidacy, Error, JOB_TTL, Leadership, Position, Read, Store, Transaction, Update, campaign_until, keys};

use crate::{
    decide::{Transition, decide},
    fleet::Fleet,
    fold::Fold,
    places::Places,
    records::{Records, operation},
};

/// The job, in the key of its leader.
const JOB: &str = "health";
/// How often the leader looks at the fleet and decides.
const DECIDE: Duration = Duration::from_secs(1);
/// How often the others look at the fleet, so that one of them can go on at once, and anybody can be asked.
const OBSERVE: Duration = Duration::from_secs(5);
/// How often advice is given anew, a third of the time it holds.
const ADVISE: Duration = Duration::from_secs(10);
/// How long advice holds.
pub const ADVICE_TTL: Duration = Duration::from_secs(30);
/// The pause after the store failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the health of the endpoints. The tasks end when it is dropped; [`Self::stop`] also gives the job up for the next candidate.
pub struct Keeper {
    desk: Arc<Desk>,
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 3],
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Keeper {
    /// Begins to keep it. `holder` says who leads, if this replica does. Needs a tokio runtime.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, fleet: Arc<dyn Fleet>, holder: Bytes) -> Self {
        let desk = Arc::new(Desk::new(store, fleet));
        let candidacy = Candidacy { key: keys::leader(JOB, 0), holder, ttl: JOB_TTL };
        let (observing, following, leading) = (Arc::clone(&desk), Arc::clone(&desk), Arc::clone(&desk));
        let (stop, mut stopped) = watch::channel(false);
        let tasks = [
            tokio::spawn(async move { observing.observe_for_ever().await }),
            tokio::spawn(async move { following.follow_for_ever().await }),
            tokio::spawn(async move {
                let store = Arc::clone(&leading.store);
                let work = |leadership| Arc::clone(&leading).lead(leadership);
                campaign_until(store, candidacy, work, async move { drop(stopped.wait_for(|stop| *stop).await) }).await;
            }),
        ];
        Self { desk, stop, tasks }
    }

    /// Ends in peace: if this replica leads, another one can at once.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let [.., leading] = &mut self.tasks;
        if let Err(error) = leading.await {
            tracing::error!(%error, "the health job has ended badly");
        }
    }

    /// This replica decides for the fleet.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.desk.leads.load(Ordering::Relaxed)
    }

    /// The endpoints of which something is known; of a name, the Endpoint or those of the Model that is called so, known or not.
    #[must_use]
    pub fn rows(&self, name: &str) -> Vec<EndpointHealthRow> {
        self.desk.rows(name, unix_ms())
    }
}

/// What the tasks share.
pub(crate) struct Desk {
    store: Arc<dyn Store>,
    fleet: Arc<dyn Fleet>,
    leads: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    fold: Fold,
    records: Records,
    places: Places,
}

impl Known {
    fn observe(&mut self, states: &[ProxyState], fleet: &dyn Fleet, now_ms: i64) {
        let world = fleet.world();
        if world.revision() != self.places.revision {
            self.places = Places::of(&world);
        }
        self.fold.observe(states, &self.places, now_ms);
    }

    fn changed(&mut self, endpoints: &[String]) {
        let Self { fold, places, .. } = self;
        endpoints.iter().for_each(|endpoint| fold.forget(endpoint, places));
    }
}

/// Takes the word back when the work of a leader ends, also when it is dropped.
struct Leads<'a>(&'a AtomicBool);

impl Drop for Leads<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Desk {
    pub(crate) fn new(store: Arc<dyn Store>, fleet: Arc<dyn Fleet>) -> Self {
        Self { store, fleet, leads: AtomicBool::new(false), known: Mutex::default() }
    }

    async fn observe_for_ever(&self) {
        let mut ticks = interval(OBSERVE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.leads.load(Ordering::Relaxed) {
                self.observe(unix_ms).await;
            }
        }
    }

    async fn observe(&self, now_ms: impl Fn() -> i64) {
        let states = self.fleet.states().await;
        self.lock().observe(&states, &*self.fleet, now_ms());
    }

    /// The work of the leader.
    async fn lead(self: Arc<Self>, leadership: Leadership) {
        self.leads.store(true, Ordering::Relaxed);
        let _leads = Leads(&self.leads);
        // The last leader's transitions, also those that the watch has not told yet.
        if let Err(error) = self.list(unix_ms).await {
            return tracing::warn!(%error, "the health records cannot be listed, so nothing is decided");
        }
        let mut ticks = interval(DECIDE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.turn(&leadership, unix_ms).await {
                Ok(true) => {}
                Ok(false) => return tracing::warn!("another replica leads the health job; its records are followed"),
                Err(error) => tracing::warn!(%error, "the health records cannot be written; the proxies' own breakers go on"),
            }
        }
    }

    /// One turn of the leader: looks at the fleet, decides, writes. False if the leadership is over.
    ///
    /// # Errors
    /// The store failed; whether the transitions landed is seen by the watch.
    pub(crate) async fn turn(&self, leadership: &Leadership, now_ms: impl Fn() -> i64) -> Result<bool, Error> {
        self.observe(&now_ms).await;
        let transitions = {
            let known = self.lock();
            decide(&known.fold, &known.records.standing(), &known.places, now_ms())
        };
        if transitions.is_empty() {
            return Ok(true);
        }
        let transaction =
            Transaction { compares: vec![leadership.fence()], then: transitions.iter().map(operation).collect(), otherwise: Vec::new() };
        let outcome = self.store.commit(transaction).await?;
        if outcome.succeeded {
            for transition in &transitions {
                tell(transition);
            }
            let mut known = self.lock();
            for transition in &transitions {
                known.records.done(transition, outcome.position);
                known.changed(std::slice::from_ref(&transition.endpoint));
            }
            drop(known);
            self.advise(now_ms());
        }
        Ok(outcome.succeeded)
    }

    async fn follow_for_ever(&self) {
        loop {
            if let Err(error) = self.follow(unix_ms).await {
                tracing::warn!(%error, "the health records cannot be followed; what is known of them holds until it ends");
            }
            // What is advised must not lapse because the store is away: each record has an end of its own.
            self.advise(unix_ms());
            sleep(PAUSE).await;
        }
    }

    /// Lists the records and follows them until the watch ends.
    pub(crate) async fn follow(&self, now_ms: impl Fn() -> i64) -> Result<(), Error> {
        let position = self.list(&now_ms).await?;
        let mut watch = self.store.watch(keys::health_all(), position).await?;
        let mut anew = interval(ADVISE);
        anew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                update = watch.next() => match update {
                    Some(Ok(Update::Batch(batch))) => self.take(|records| records.follow(&batch.events, batch.position), now_ms()),
                    Some(Ok(Update::Progress(_))) => {}
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                },
                _ = anew.tick() => self.advise(now_ms()),
            }
        }
    }

    async fn list(&self, now_ms: impl Fn() -> i64) -> Result<Position, Error> {
        let listing = self.store.list(&Read::now(keys::health_all())).await?;
        self.take(|records| records.list(&listing), now_ms());
        Ok(listing.position)
    }

    fn take(&self, change: impl FnOnce(&mut Records) -> Vec<String>, now_ms: i64) {
        let mut known = self.lock();
        let changed = change(&mut known.records);
        known.changed(&changed);
        drop(known);
        if !changed.is_empty() {
            self.advise(now_ms);
        }
    }

    fn advise(&self, now_ms: i64) {
        let endpoints = self.lock().records.advice(now_ms);
        self.fleet.advise(Advice { endpoints, ttl_ms: u64::try_from(ADVICE_TTL.as_millis()).unwrap_or(u64::MAX) });
    }

    pub(crate) fn rows(&self, name: &str, now_ms: i64) -> Vec<EndpointHealthRow> {
        let known = self.lock();
        let standing = known.records.standing();
        let mut names: Vec<&str> = if name.is_empty() {
            known.fold.known().chain(standing.keys().map(String::as_str)).collect()
        } else {
            known.places.iter().filter(|(endpoint, place)| *endpoint == name || place.model == name).map(|(endpoint, _)| endpoint).collect()
        };
        names.sort_unstable();
        names.dedup();
        let row = |endpoint: &str| EndpointHealthRow {
            advice: standing.get(endpoint).filter(|record| now_ms < record.until_unix_ms).cloned(),
            ..known.fold.row(endpoint, &known.places, now_ms)
        };
        names.into_iter().map(row).collect()
    }

    /// No code that holds the lock panics half-way through a change, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(Transition { endpoint, record }: &Transition) {
    match record {
        None => tracing::info!(%endpoint, "the endpoint is healthy for the fleet again"),
        Some(EndpointHealth { weight_permille: 0, reporters, agreeing, .. }) => {
            tracing::warn!(%endpoint, reporters, agreeing, "the endpoint is ejected for the fleet");
        }
        Some(EndpointHealth { weight_permille, .. }) => tracing::info!(%endpoint, weight_permille, "the endpoint is on trial"),
    }
}

/// Milliseconds since 1970.
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
