//! The other replicas: where they are, and what each knows of the fleet. Every replica knows the proxies that it serves; together they know all.

use std::{
    collections::BTreeMap,
    future::{Future, pending},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::transport::Channel;
use waybill_peer::PeerClient;
use waybill_proto::{
    admin::v1::ReplicaStatus,
    sync::v1::{FleetRequest, FleetResponse, ProxyState, peer_service_client::PeerServiceClient},
};
use waybill_store::{Candidacy, JOB_TTL, Read, Store, campaign_until, keys};

use crate::Publisher;

/// A replica that does not answer within this is shown as one that does not.
const ANSWER: Duration = Duration::from_secs(1);

/// How often it is looked who is there.
const LOOK: Duration = Duration::from_secs(2);

/// Most bytes of an answer: a thousand proxies with counts of a few hundred endpoints each.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// What all replicas know together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The replicas by name, also those that did not answer.
    pub replicas: Vec<ReplicaStatus>,
    /// The proxies by name, each with the replica that knows it best: that serves it, or served it last. What a proxy counted is counted by
    /// each replica from zero.
    pub proxies: Vec<(String, ProxyState)>,
}

/// This replica among the others. Clones are the same.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    publisher: Publisher,
    replica: String,
    build: String,
    store: Arc<dyn Store>,
    client: PeerClient,
    others: Mutex<BTreeMap<String, Other>>,
}

/// Another replica.
#[derive(Clone, Debug, Default)]
struct Other {
    address: String,
    channel: Option<Channel>,
}

impl Peers {
    /// This replica, which shows itself to the others by `client`.
    #[must_use]
    pub fn new(publisher: Publisher, replica: &str, build: &str, store: Arc<dyn Store>, client: PeerClient) -> Self {
        let (replica, build) = (replica.to_owned(), build.to_owned());
        Self { shared: Arc::new(Shared { publisher, replica, build, store, client, others: Mutex::default() }) }
    }

    /// Tells the others where this replica is (`HOST:PORT` of its sync listener), and follows where they are, until told to stop.
    pub async fn run(&self, address: &str, stop: impl Future<Output = ()> + Send) {
        let candidacy =
            Candidacy { key: keys::replica(&self.shared.replica), holder: address.to_owned().into_bytes().into(), ttl: JOB_TTL };
        let registered = campaign_until(Arc::clone(&self.shared.store), candidacy, |_| pending(), stop);
        tokio::select! {
            () = registered => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&self) {
        loop {
            // What was known last is better than nothing: a store that is away takes nobody else away.
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the other replicas cannot be listed");
            }
            sleep(LOOK).await;
        }
    }

    async fn look(&self) -> Result<(), waybill_store::Error> {
        let listing = self.shared.store.list(&Read::now(keys::replicas())).await?;
        let named = |entry: &waybill_store::Entry| match keys::place(&entry.key) {
            Some(keys::Place::Replica { name }) => Some((name, String::from_utf8_lossy(&entry.value).into_owned())),
            _ => None,
        };
        let found: BTreeMap<String, String> = listing.entries.iter().filter_map(named).collect();
        let mut others = self.others();
        others.retain(|name, other| found.get(name) == Some(&other.address));
        for (name, address) in found.into_iter().filter(|(name, _)| *name != self.shared.replica) {
            others.entry(name).or_insert(Other { address, channel: None });
        }
        Ok(())
    }

    /// What all replicas know together. Takes a second if one does not answer.
    pub async fn fleet(&self) -> Known {
        let shared = &self.shared;
        let own = FleetResponse {
            replica: shared.replica.clone(),
            build: shared.build.clone(),
            revision: shared.publisher.world().revision(),
            proxies: shared.publisher.proxies(),
        };
        let others = self.others().clone();
        let mut asked = JoinSet::new();
        for (name, other) in others {
            let peers = self.clone();
            asked.spawn(async move { (name.clone(), peers.ask(&name, other).await) });
        }
        let mut answers = BTreeMap::from([(own.replica.clone(), Ok(own))]);
        while let Some(answer) = asked.join_next().await {
            if let Ok((name, answer)) = answer {
                answers.insert(name, answer);
            }
        }
        merge(answers)
    }

    async fn ask(&self, name: &str, other: Other) -> Result<FleetResponse, String> {
        let asked = async {
            let channel = match other.channel {
                Some(channel) => channel,
                None => self.shared.client.channel(&other.address).await.map_err(|error| waybill_peer::chain(&error))?,
            };
            let mut client = PeerServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES);
            let answer = client.fleet(FleetRequest {}).await.map_err(|status| status.message().to_owned())?.into_inner();
            Ok((channel, answer))
        };
        let answer = timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER.as_secs())));
        let channel = answer.as_ref().ok().map(|(channel, _)| channel.clone());
        if let Some(known) = self.others().get_mut(name).filter(|known| known.address == other.address) {
            known.channel = channel;
        }
        answer.map(|(_, answer)| answer)
    }

    /// No code that holds the lock panics half-way through a change, so a poisoned lock is as good as any.
    fn others(&self) -> MutexGuard<'_, BTreeMap<String, Other>> {
        self.shared.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Peers").field("replica", &self.shared.replica).finish_non_exhaustive()
    }
}

/// What replicas say, each proxy once: of several that know it, the one that serves it counts, else the one that served it last.
fn merge(answers: BTreeMap<String, Result<FleetResponse, String>>) -> Known {
    let mut known = Known::default();
    let mut proxies: BTreeMap<String, (String, ProxyState)> = BTreeMap::new();
    for (replica, answer) in answers {
        match answer {
            Ok(FleetResponse { build, revision, proxies: told, .. }) => {
                known.replicas.push(ReplicaStatus { replica: replica.clone(), build, revision, error: String::new() });
                for state in told {
                    let better = proxies.get(&state.proxy).is_none_or(|(_, known)| freshness(&state) > freshness(known));
                    if better {
                        proxies.insert(state.proxy.clone(), (replica.clone(), state));
                    }
                }
            }
            Err(error) => known.replicas.push(ReplicaStatus { replica, error, ..ReplicaStatus::default() }),
        }
    }
    known.proxies = proxies.into_values().collect();
    known
}

/// Connected before away, and of those alike the one that became so last.
fn freshness(state: &ProxyState) -> (bool, std::cmp::Reverse<u64>) {
    (state.connected, std::cmp::Reverse(state.since_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(proxy: &str, connected: bool, since_ms: u64) -> ProxyState {
        ProxyState { proxy: proxy.to_owned(), connected, since_ms, ..ProxyState::default() }
    }

    #[test]
    fn of_a_proxy_that_several_know_the_one_that_serves_it_counts_else_the_latest() {
        // What replicas a and b say of one proxy, and who is believed.
        let rows = [
            (Some((true, 5)), None, "a"),
            (None, Some((false, 5)), "b"),
            (Some((true, 9)), Some((false, 1)), "a"),
            (Some((false, 1)), Some((true, 9)), "b"),
            (Some((false, 5)), Some((false, 2)), "b"),
            (Some((true, 100)), Some((true, 3)), "b"),
        ];
        for (a, b, expected) in rows {
            let told = |said: Option<(bool, u64)>| FleetResponse {
                proxies: said.map(|(connected, since_ms)| state("p", connected, since_ms)).into_iter().collect(),
                ..FleetResponse::default()
            };
            let known = merge(BTreeMap::from([("a".to_owned(), Ok(told(a))), ("b".to_owned(), Ok(told(b)))]));
            assert_eq!(known.proxies.iter().map(|(replica, _)| replica.as_str()).collect::<Vec<_>>(), [expected], "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_replica_that_does_not_answer_is_shown_with_the_reason() {
        let known = merge(BTreeMap::from([
            ("a".to_owned(), Ok(FleetResponse { revision: 7, proxies: vec![state("p", true, 0)], ..FleetResponse::default() })),
            ("b".to_owned(), Err("no answer within 1 s".to_owned())),
        ]));
        let shown: Vec<(&str, u64, &str)> =
            known.replicas.iter().map(|replica| (&*replica.replica, replica.revision, &*replica.error)).collect();
        assert_eq!((shown, known.proxies.len()), (vec![("a", 7, ""), ("b", 0, "no answer within 1 s")], 1));
    }
}
