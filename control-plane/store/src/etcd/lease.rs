//! Leadership on etcd's leases: the leader key lives as long as the lease that it hangs on.
//!
//! Nothing is kept in memory. The lease of a term is read from its key, so that whoever holds a
//! `Leadership` can renew it at any server.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::PbKeyValue;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Repeat};
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::list::settle;
use super::wire;
use crate::{Candidacy, Compare, Done, Election, Error, Key, Leadership, Operation, Outcome, Transaction};

/// The least time to live that etcd takes at its default election timeout.
const LEAST_TTL_SECONDS: i64 = 2;

pub(super) async fn lead(cluster: &Cluster, candidacy: &Candidacy) -> Result<Election, Error> {
    // Most candidates find the job held, and need no lease for that.
    if let Some(held) = read(cluster, &candidacy.key).await? {
        return Ok(Election::Held(wire::entry(held)));
    }
    let lease = grant(cluster, candidacy.ttl).await?;
    let election = claim(cluster, candidacy, lease).await;
    if !matches!(election, Ok(Election::Won(_))) {
        // With its lease, a claim whose answer was lost can never land.
        revoke(cluster, lease).await;
    }
    election
}

async fn claim(cluster: &Cluster, candidacy: &Candidacy, lease: i64) -> Result<Election, Error> {
    let Candidacy { key, holder, ttl } = candidacy;
    let transaction = Transaction {
        compares: vec![Compare::absent(key.clone())],
        then: vec![Operation::Put(key.clone(), holder.clone())],
        otherwise: vec![Operation::Get(key.clone())],
    };
    let outcome = match commit(cluster, &transaction, lease, Repeat::Never).await {
        Ok((outcome, _)) => outcome,
        // The lease is ours alone, so that it tells whose the key is.
        Err(Failure::Unknown(what)) => match read(cluster, key).await? {
            Some(held) if held.lease == lease => {
                return Ok(Election::Won(Leadership { key: key.clone(), created: wire::position(held.create_revision), ttl: *ttl }));
            }
            Some(held) => return Ok(Election::Held(wire::entry(held))),
            None => return Err(Error::Unavailable { what }),
        },
        Err(Failure::LeaseGone) => {
            return Err(Error::Unavailable { what: "stand for a job: the lease ended before it was used".to_owned() });
        }
        Err(failure) => return Err(settle("stand for a job", failure)),
    };
    match outcome.results.into_iter().next() {
        Some(Done::Put) => Ok(Election::Won(Leadership { key: key.clone(), created: outcome.position, ttl: *ttl })),
        Some(Done::Got(Some(entry))) => Ok(Election::Held(entry)),
        other => Err(Error::Corrupt { what: format!("standing for {key} gave {other:?}") }),
    }
}

pub(super) async fn renew(cluster: &Cluster, leadership: &Leadership) -> Result<(), Error> {
    let lost = || Error::LeadershipLost { key: leadership.key.clone() };
    let held = held(cluster, leadership).await?.ok_or_else(lost)?;
    let lease = held.lease;
    let ask = move |endpoint: Arc<Endpoint>| async move {
        let mut client = endpoint.client().await?.lease_client();
        client.keep_alive(lease).await.map(drop)
    };
    match cluster.call("renew a leadership", Repeat::Freely, cluster.timing.attempt, ask).await {
        Ok(_) => Ok(()),
        Err(Failure::LeaseGone) => Err(lost()),
        Err(failure) => Err(settle("renew a leadership", failure)),
    }
}

/// Ends the term's lease, and with it the key.
pub(super) async fn resign(cluster: &Cluster, leadership: &Leadership) -> Result<(), Error> {
    let Some(held) = held(cluster, leadership).await? else { return Ok(()) };
    match revocation(cluster, held.lease).await {
        Ok(()) | Err(Failure::LeaseGone) => Ok(()),
        Err(failure) => Err(settle("resign", failure)),
    }
}

/// The leader key, if it is that of this term.
async fn held(cluster: &Cluster, leadership: &Leadership) -> Result<Option<PbKeyValue>, Error> {
    let held = read(cluster, &leadership.key).await?;
    Ok(held.filter(|held| wire::position(held.create_revision) == leadership.created && held.lease != 0))
}

async fn read(cluster: &Cluster, key: &Key) -> Result<Option<PbKeyValue>, Error> {
    let bytes = key.as_bytes().to_vec();
    let ask = move |endpoint: Arc<Endpoint>| {
        let key = bytes.clone();
        async move { endpoint.client().await?.kv_client().get(key, None).await }
    };
    let answer = cluster.call("read a leader", Repeat::Freely, cluster.timing.attempt, ask).await;
    let answer = answer.map_err(|failure| settle("read a leader", failure))?.value.0;
    cluster.saw(wire::position(answer.header.map_or(0, |header| header.revision)));
    Ok(answer.kvs.into_iter().next())
}

/// A lease that was granted without our hearing of it ends by itself.
async fn grant(cluster: &Cluster, ttl: Duration) -> Result<i64, Error> {
    let seconds = i64::try_from(ttl.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX).max(LEAST_TTL_SECONDS);
    let ask = move |endpoint: Arc<Endpoint>| async move { endpoint.client().await?.lease_client().grant(seconds, None).await };
    let answer = cluster.call("ask for a lease", Repeat::Freely, cluster.timing.attempt, ask).await;
    Ok(answer.map_err(|failure| settle("ask for a lease", failure))?.value.id())
}

/// Tries until the lease is gone or would be by itself.
async fn revoke(cluster: &Cluster, lease: i64) {
    let deadline = Instant::now() + cluster.timing.call;
    while let Err(failure) = revocation(cluster, lease).await {
        let over = matches!(failure, Failure::LeaseGone | Failure::Final(_)) || Instant::now() >= deadline;
        if over {
            return;
        }
        sleep(cluster.timing.attempt).await;
    }
}

async fn revocation(cluster: &Cluster, lease: i64) -> Result<(), Failure> {
    let ask = move |endpoint: Arc<Endpoint>| async move { endpoint.client().await?.lease_client().revoke(lease).await };
    cluster.call("end a lease", Repeat::Freely, cluster.timing.attempt, ask).await.map(drop)
}

/// Sends a transaction; the flag says that an earlier try of it may have landed too.
pub(super) async fn commit(cluster: &Cluster, transaction: &Transaction, lease: i64, repeat: Repeat) -> Result<(Outcome, bool), Failure> {
    let ask = |endpoint: Arc<Endpoint>| {
        let txn = wire::txn(transaction, lease);
        async move { endpoint.client().await?.kv_client().max_decoding_message_size(super::list::LARGEST_MESSAGE).txn(txn).await }
    };
    let answer = cluster.call("commit", repeat, cluster.timing.attempt, ask).await?;
    let outcome = wire::outcome(answer.value.0).map_err(Failure::Final)?;
    cluster.saw(outcome.position);
    Ok((outcome, answer.repeated))
}
