//! The store of a cluster: etcd.
//!
//! etcd's client knows one connection. What a cluster is for is ours: which server is asked, how
//! long an answer may take, what may be asked again, and when a watch that says nothing is dead.
//! Every call has a deadline and fails by name: without a leader at once, once it is known.
//!
//! - `settings`: where the servers are, and as whom we come.
//! - `endpoint`: one server; `cluster`: all of them.
//! - `failure`: what a failed call means.
//! - `wire`: between our types and etcd's.
//! - `list`, `follow`, `lease`: reading, watching, leading.

mod cluster;
mod endpoint;
mod failure;
mod follow;
mod lease;
mod list;
mod settings;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::contract::Answer;
use crate::{
    Candidacy, Compare, Election, Error, Found, Key, Leadership, Listing, Operation, Outcome, Position, Range, Read, Relation, Store,
    Target, Transaction, Watch, keys,
};
use cluster::{Cluster, Repeat};
pub use endpoint::EtcdCondition;
use failure::Failure;
pub use settings::{EtcdSettings, EtcdTiming, EtcdTls, EtcdUser};

/// A store in an etcd cluster. Clones are the same store; when the last is dropped, watches end.
#[derive(Clone)]
pub struct Etcd {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Arc<Cluster>,
    /// Watches live as long as this.
    alive: watch::Sender<()>,
    looking: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.looking.iter().for_each(AbortHandle::abort);
    }
}

impl Etcd {
    /// Connects, and returns when one server has answered for the cluster. [`Error::Unavailable`]
    /// when none does, which may change; [`Error::Refused`] and [`Error::Misconfigured`] when
    /// certificates, user, rights or addresses are wrong, which wants an operator.
    pub async fn connect(settings: EtcdSettings) -> Result<Self, Error> {
        let cluster = Arc::new(Cluster::new(&settings).await?);
        list::get(&cluster, &keys::schema()).await?;
        let looking =
            (0..cluster.endpoints.len()).map(|index| tokio::spawn(Arc::clone(&cluster).look_after(index)).abort_handle()).collect();
        let (alive, _) = watch::channel(());
        Ok(Self { inner: Arc::new(Inner { cluster, alive, looking }) })
    }

    /// Takes other certificates from here on, as when those in use are about to expire: for calls and
    /// new watches; watches that are open keep their connection. Where one cannot be used, all stays
    /// as it was.
    pub async fn use_tls(&self, tls: &EtcdTls) -> Result<(), Error> {
        let mut connections = Vec::new();
        for endpoint in &self.inner.cluster.endpoints {
            connections.push(endpoint::Connection::new(&endpoint.address, Some(tls)).await?);
        }
        for (endpoint, connection) in self.inner.cluster.endpoints.iter().zip(connections) {
            endpoint.replace(connection);
        }
        Ok(())
    }

    /// Looks for other certificates again and again from now on, until the last clone of the store is gone, and takes them as
    /// [`Etcd::use_tls`] does. What cannot be read or used is said in the log once, and all stays as it was. `now` is what is in use.
    pub fn follow_tls<F>(&self, now: EtcdTls, every: Duration, read: F)
    where
        F: Fn() -> Result<EtcdTls, String> + Send + 'static,
    {
        tokio::spawn(follow_tls(Arc::downgrade(&self.inner), now, every, read));
    }

    /// How each server does, by its address: for readiness, metrics and operators.
    pub fn servers(&self) -> Vec<(String, EtcdCondition)> {
        self.inner.cluster.endpoints.iter().map(|endpoint| (endpoint.address.clone(), endpoint.condition.borrow().clone())).collect()
    }
}

async fn follow_tls(inner: Weak<Inner>, mut now: EtcdTls, every: Duration, read: impl Fn() -> Result<EtcdTls, String> + Send) {
    let mut said = None;
    loop {
        tokio::time::sleep(every).await;
        let Some(inner) = inner.upgrade() else { return };
        let outcome = match read() {
            Ok(found) if found == now => Ok(()),
            Ok(found) => {
                let taken = Etcd { inner }.use_tls(&found).await.map_err(|error| error.to_string());
                taken.map(|()| {
                    tracing::info!("new certificates towards etcd are in force");
                    now = found;
                })
            }
            Err(error) => Err(error),
        };
        let error = outcome.err();
        if error != said
            && let Some(error) = &error
        {
            tracing::error!(error, "new certificates towards etcd are of no use; the old ones stay in force");
        }
        said = error;
    }
}

async fn commit(cluster: &Cluster, transaction: &Transaction) -> Result<Outcome, Error> {
    transaction.check()?;
    let repeat = if lands_once(transaction) { Repeat::Freely } else { Repeat::Never };
    match lease::commit(cluster, transaction, 0, repeat).await {
        // The compares do not hold now: an earlier try has landed, or another's write has. Who asked can tell by reading, as after
        // any answer that was lost.
        Ok((outcome, true)) if !outcome.succeeded => {
            Err(Error::Unavailable { what: "commit: an answer was lost, and the transaction may have landed".to_owned() })
        }
        Ok((outcome, _)) => Ok(outcome),
        Err(failure) => Err(list::settle("commit", failure)),
    }
}

/// Whether a transaction that lands makes its own compares fail for ever, so that it cannot land
/// twice: it wants some key as it was last put at a position, and puts it. Positions never return.
fn lands_once(transaction: &Transaction) -> bool {
    let reads_only = transaction.otherwise.iter().all(|operation| matches!(operation, Operation::Get(_)));
    let puts = |key: &Key| transaction.then.iter().any(|operation| matches!(operation, Operation::Put(put, _) if put == key));
    let guards = |compare: &Compare| match &compare.target {
        Target::Modified(at) => *at != Position::NONE && compare.relation == Relation::Equal && puts(&compare.key),
        Target::Created(_) | Target::Version(_) | Target::Value(_) => false,
    };
    reads_only && transaction.compares.iter().any(guards)
}

async fn compact(cluster: &Cluster, at: Position) -> Result<(), Error> {
    let revision = wire::revision(at);
    let ask = move |endpoint: Arc<endpoint::Endpoint>| async move { endpoint.client().await?.kv_client().compact(revision, None).await };
    match cluster.call("compact", Repeat::Freely, cluster.timing.attempt, ask).await {
        // Going back does nothing; so does the second of two tries.
        Ok(_) | Err(Failure::Compacted) => Ok(()),
        Err(Failure::Final(Error::Refused { .. })) => Err(Error::Refused {
            what: "etcd lets only users of the role root compact; it is to do that itself (--auto-compaction-retention=1h)".to_owned(),
        }),
        Err(Failure::Future) => Err(Error::FuturePosition { asked: at, current: list::get(cluster, &keys::schema()).await?.position }),
        Err(failure) => Err(list::settle("compact", failure)),
    }
}

impl Store for Etcd {
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Found> {
        Box::pin(list::get(&self.inner.cluster, key))
    }

    fn list<'a>(&'a self, read: &'a Read) -> Answer<'a, Listing> {
        Box::pin(list::list(&self.inner.cluster, read))
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        let cluster = Arc::clone(&self.inner.cluster);
        Box::pin(to_the_end(async move { commit(&cluster, &transaction).await }))
    }

    fn watch(&self, range: Range, after: Position) -> Answer<'_, Watch> {
        Box::pin(async move { follow::open(&self.inner.cluster, self.inner.alive.subscribe(), &range, after).await })
    }

    fn compact(&self, at: Position) -> Answer<'_, ()> {
        let cluster = Arc::clone(&self.inner.cluster);
        Box::pin(to_the_end(async move { compact(&cluster, at).await }))
    }

    fn lead<'a>(&'a self, candidacy: &'a Candidacy) -> Answer<'a, Election> {
        let (cluster, candidacy) = (Arc::clone(&self.inner.cluster), candidacy.clone());
        Box::pin(to_the_end(async move { lease::lead(&cluster, &candidacy).await }))
    }

    fn renew<'a>(&'a self, leadership: &'a Leadership) -> Answer<'a, ()> {
        Box::pin(lease::renew(&self.inner.cluster, leadership))
    }

    fn resign(&self, leadership: Leadership) -> Answer<'_, ()> {
        let cluster = Arc::clone(&self.inner.cluster);
        Box::pin(to_the_end(async move { lease::resign(&cluster, &leadership).await }))
    }
}

/// Runs what must not stop half-way because the caller does.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Error> {
    tokio::spawn(work).await.unwrap_or_else(|fault| Err(Error::Unavailable { what: format!("the write was cut short: {fault}") }))
}
