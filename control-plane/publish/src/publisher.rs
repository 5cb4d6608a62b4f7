//! The publisher: follows the store, shows the world, serves sessions. A thin shell; every decision is made by the pure parts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use waybill_model::world::World;
use waybill_proto::sync::v1::{Advice, ConnectRequest, ConnectResponse, ProxyState};
use waybill_store::{Listing, Position, Read, Store, Update, Watch, keys};

use crate::{
    Publication,
    advised::Advised,
    debounce::Debounce,
    fleet::Fleet,
    index::{self, Index, Step},
    serving::{self, Terms},
    session::Refusal,
};

/// The store is listed anew this often, unless told otherwise, and compared with what the watch told: watches have been wrong before.
pub const RELIST: Duration = Duration::from_secs(600);

/// The first pause after the store failed; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two attempts at the store.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why there is no publisher, or why it lost touch with its store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed; see there whether to retry.
    #[error("the configuration cannot be read: {0}")]
    Store(#[from] waybill_store::Error),
    /// The store's content contradicts itself.
    #[error("the configuration cannot be indexed: {0}")]
    Index(#[from] index::Error),
}

/// The publisher has ended, so what was waited for does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the publisher has stopped")]
pub struct Stopped;

/// Publishes the configuration of one store. Clones are the same publisher; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    _follower: Arc<Follower>,
}

#[derive(Debug)]
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    began: Instant,
    /// The newest publication: what admin reads.
    newest: watch::Sender<Arc<Publication>>,
    /// What sessions push: the newest, after its debounce.
    pub released: watch::Sender<Arc<Publication>>,
    /// What all proxies are advised of the endpoints' health.
    pub advice: watch::Sender<Advised>,
    pub fleet: Fleet,
    pub sessions: AtomicU64,
    pub figures: Figures,
}

/// What has happened since the start, for metrics.
#[derive(Debug, Default)]
pub struct Figures {
    /// Streams that were refused since too many were being brought up to date at once.
    pub handshakes_refused: AtomicU64,
    /// Streams that were refused for what the proxy is or says.
    pub proxies_refused: AtomicU64,
    /// Pushes that were begun.
    pub pushes: AtomicU64,
    /// Root hashes that differed where they should be the same. Should stay 0.
    pub hash_differences: AtomicU64,
    /// Differences between the store and what its watch had told. Should stay 0.
    pub watch_repairs: AtomicU64,
}

impl Shared {
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn at(&self, ms: u64) -> Instant {
        self.began + Duration::from_millis(ms)
    }
}

impl Publisher {
    /// Lists the store and begins to follow it. The world is complete when this returns. Needs a tokio runtime.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn start(store: Arc<dyn Store>) -> Result<Self, Error> {
        Self::start_with(store, RELIST).await
    }

    /// The same; the store is listed anew this often.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn start_with(store: Arc<dyn Store>, relist: Duration) -> Result<Self, Error> {
        let listing = list(&*store).await?;
        let index = Index::new(&listing.entries)?;
        let publication = Arc::new(Publication::first(Arc::clone(index.world())).with_rollout(index.rollout().map(AsRef::as_ref)));
        let shared = Arc::new(Shared {
            began: Instant::now(),
            newest: watch::Sender::new(Arc::clone(&publication)),
            released: watch::Sender::new(publication),
            advice: watch::Sender::default(),
            fleet: Fleet::new(),
            sessions: AtomicU64::new(0),
            figures: Figures::default(),
        });
        let following = Following { store, shared: Arc::clone(&shared), index, debounce: Debounce::Idle, relist };
        following.log_faults();
        let follower = Arc::new(Follower(tokio::spawn(following.run(listing.position))));
        Ok(Self { shared, _follower: follower })
    }

    /// The world of the newest complete change set.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        Arc::clone(self.shared.newest.borrow().world())
    }

    /// Follows the newest publication.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Publication>> {
        self.shared.newest.subscribe()
    }

    /// Waits until the world has reached a revision.
    ///
    /// # Errors
    /// The publisher has ended.
    pub async fn wait_for(&self, revision: u64) -> Result<Arc<World>, Stopped> {
        let mut newest = self.shared.newest.subscribe();
        let publication = newest.wait_for(|publication| publication.revision() >= revision).await.map_err(|_| Stopped)?;
        Ok(Arc::clone(publication.world()))
    }

    /// All proxies that this replica serves or has served, by name, with all that they told.
    #[must_use]
    pub fn proxies(&self) -> Vec<ProxyState> {
        self.shared.fleet.proxies(self.shared.now_ms())
    }

    /// How many proxies have a stream here.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.shared.fleet.connected()
    }

    /// What has happened since the start.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Advises all proxies of the endpoints' health: those that are connected now, and until it expires those that connect later.
    pub fn advise(&self, advice: Advice) {
        self.shared.advice.send_replace(Advised::new(advice, self.shared.now_ms()));
    }

    /// Follows which proxies are here and what they have applied.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.fleet.changes()
    }

    /// Waits until every connected proxy has applied a revision, and returns them with their verdicts. At once if none is connected.
    /// How long that may take is the caller's decision.
    ///
    /// # Errors
    /// The publisher has ended.
    pub async fn applied(&self, revision: u64) -> Result<Vec<ProxyState>, Stopped> {
        let mut changes = self.shared.fleet.changes();
        loop {
            changes.borrow_and_update();
            if self.shared.fleet.has_applied(revision) {
                return Ok(self.proxies());
            }
            changes.changed().await.map_err(|_| Stopped)?;
        }
    }

    /// Serves one proxy over a pair of channels, until either side ends it. Returns why.
    pub async fn serve(&self, requests: mpsc::Receiver<ConnectRequest>, responses: mpsc::Sender<ConnectResponse>) -> Refusal {
        serving::serve(&self.shared, Terms::default(), ReceiverStream::new(requests), &responses, |response| response).await
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// The one watch over the whole configuration.
struct Following {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    index: Index,
    debounce: Debounce,
    /// How often the store is listed anew.
    relist: Duration,
}

impl Following {
    async fn run(mut self, mut position: Position) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.follow(position).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "the watch of the configuration has ended; it is listed anew");
                    self.release_after(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            match self.relist().await {
                Ok(listed) => position = listed,
                Err(error) => tracing::warn!(%error, "the configuration cannot be listed"),
            }
        }
    }

    /// Follows the watch until it fails or it is time to check on it.
    async fn follow(&mut self, position: Position) -> Result<(), Error> {
        let mut watch: Watch = self.store.watch(keys::config(), position).await?;
        let relist = Instant::now() + self.relist;
        loop {
            let due = self.debounce.due_ms().map(|ms| self.shared.at(ms));
            tokio::select! {
                update = watch.next() => match update {
                    Some(Ok(Update::Batch(batch))) => {
                        let step = self.index.follow(&batch.events)?;
                        self.publish(step);
                    }
                    Some(Ok(Update::Progress(_))) => {}
                    Some(Err(error)) => return Err(error.into()),
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(due.unwrap_or(relist)), if due.is_some() => self.release(),
                () = tokio::time::sleep_until(relist) => return Ok(()),
            }
        }
    }

    async fn relist(&mut self) -> Result<Position, Error> {
        let listing = list(&*self.store).await?;
        let shown = self.index.world().revision();
        let step = self.index.relist(&listing.entries)?;
        if let Some(step) = step.as_ref().filter(|step| step.world.revision() == shown) {
            let resources = step.changed.len();
            self.shared.figures.watch_repairs.fetch_add(1, Ordering::Relaxed);
            tracing::error!(revision = shown, resources, "the watch of the store had told something else than the store holds; repaired");
        }
        self.publish(step);
        Ok(listing.position)
    }

    fn publish(&mut self, step: Option<Step>) {
        let Some(step) = step else { return };
        let (next, urgent) = self.shared.newest.borrow().after(step);
        self.log_faults();
        self.debounce = self.debounce.changed(self.shared.now_ms(), urgent);
        self.shared.newest.send_replace(Arc::new(next));
    }

    fn release(&mut self) {
        let newest = Arc::clone(&self.shared.newest.borrow());
        self.debounce = Debounce::Idle;
        self.shared.released.send_replace(newest);
    }

    /// What is published already does not wait for the store to come back.
    async fn release_after(&mut self, pause: Duration) {
        if self.debounce.due_ms().is_some() {
            self.release();
        }
        tokio::time::sleep(pause).await;
    }

    fn log_faults(&self) {
        for fault in self.index.faults() {
            tracing::error!(kind = %fault.kind, uid = %fault.uid, fault = %fault.message, "a stored resource cannot be read");
        }
    }
}

async fn list(store: &dyn Store) -> Result<Listing, waybill_store::Error> {
    store.list(&Read::now(keys::config())).await
}

#[cfg(test)]
mod tests;
