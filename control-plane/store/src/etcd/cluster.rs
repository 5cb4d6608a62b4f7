//! The servers together: who is asked, how often, and for how long.
//!
//! A call goes to one server that does well, and to the next when that one did nothing. What may
//! have been done is asked for again only if doing it twice is impossible or harmless. While no
//! server has answered for longer than a call may take, calls make one round and fail at once.
//! An election is waited out. Where most servers do not even take a connection there is none to
//! wait for, and a call fails sooner; at once, if every server was known to do ill before it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::GetOptions;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::endpoint::{Endpoint, EtcdCondition};
use super::failure::{Failure, Reason, broke_off, judge};
use super::settings::{EtcdSettings, EtcdTiming};
use super::wire;
use crate::{Error, Position, keys};

/// Between two rounds over all servers: about as long as an election takes steps.
const ROUND_PAUSE: Duration = Duration::from_millis(50);

/// So many looks in a row must have failed for want of time before a server counts as ill. One
/// can fail because we ourselves had no time.
const SLOW_LOOKS: u32 = 2;

/// How long a call waits for servers of which most take no connection: a restart of a single one.
pub(super) const WITHOUT_MOST: Duration = Duration::from_secs(2);

/// All servers.
pub(super) struct Cluster {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) timing: EtcdTiming,
    /// Who was the last to answer.
    preferred: AtomicUsize,
    /// The newest position heard of.
    head: watch::Sender<Position>,
    /// Since when nobody answers.
    away_since: Mutex<Option<Instant>>,
}

/// How often a call may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// As often as one likes: it only reads, or doing it twice is harmless.
    Freely,
    /// Only when it is certain that nothing was done.
    Never,
}

/// Why servers did not do it, by their places.
type Reasons = BTreeMap<usize, Reason>;

/// What a call came to.
pub(super) struct Answered<T> {
    pub(super) value: T,
    /// An earlier try may have been done as well.
    pub(super) repeated: bool,
}

impl Cluster {
    pub(super) async fn new(settings: &EtcdSettings) -> Result<Self, Error> {
        settings.check()?;
        let mut endpoints = Vec::new();
        for address in &settings.endpoints {
            endpoints.push(Arc::new(Endpoint::new(address, settings).await?));
        }
        // Processes begin at different servers, so that these share the work.
        let first = std::process::id() as usize % endpoints.len();
        let (head, _) = watch::channel(Position::NONE);
        Ok(Self { endpoints, timing: settings.timing, preferred: AtomicUsize::new(first), head, away_since: Mutex::default() })
    }

    /// Notes a position that a server has told.
    pub(super) fn saw(&self, position: Position) {
        self.head.send_if_modified(|head| {
            let newer = position > *head;
            *head = position.max(*head);
            newer
        });
    }

    pub(super) fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// Calls servers until one has an answer, or the time is up.
    pub(super) async fn call<T, F, A>(&self, doing: &str, repeat: Repeat, attempt: Duration, ask: A) -> Result<Answered<T>, Failure>
    where
        A: Fn(Arc<Endpoint>) -> F + Send + Sync,
        F: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        let began = Instant::now();
        let mut deadline = began + self.timing.call;
        let mut repeated = false;
        let all_ill = self.endpoints.iter().all(|endpoint| endpoint.is_ill());
        // The newest of each server, by its place.
        let mut reasons = BTreeMap::new();
        loop {
            for index in self.order() {
                let endpoint = &self.endpoints[index];
                let until = match repeat {
                    Repeat::Freely => deadline.min(Instant::now() + attempt),
                    Repeat::Never => deadline,
                };
                let (failure, broke_off) = match timeout_at(until, ask(Arc::clone(endpoint))).await {
                    Ok(Ok(value)) => {
                        self.answered(index);
                        return Ok(Answered { value, repeated });
                    }
                    Ok(Err(error)) => (judge(&error), broke_off(&error)),
                    Err(_) => (Failure::Unknown("it did not answer in time".to_owned()), false),
                };
                let reason = match failure {
                    Failure::NotDone(reason) => reason,
                    Failure::Unknown(what) if repeat == Repeat::Freely => {
                        repeated = true;
                        if broke_off { Reason::Unreached(what) } else { Reason::Away(what) }
                    }
                    Failure::Unknown(what) => {
                        self.prefer_another(index);
                        return Err(Failure::Unknown(format!("{doing}: {}: {what}", endpoint.address)));
                    }
                    // A server that says so is well.
                    other => {
                        self.answered(index);
                        return Err(other);
                    }
                };
                if let Reason::Login(_) = reason {
                    endpoint.forget_login();
                }
                self.prefer_another(index);
                reasons.insert(index, reason);
                if self.most_unreached(&reasons) {
                    deadline = deadline.min(began + if all_ill { Duration::ZERO } else { WITHOUT_MOST });
                }
                if Instant::now() >= deadline {
                    break;
                }
            }
            let patience = if self.most_unreached(&reasons) { WITHOUT_MOST.min(self.timing.call) } else { self.timing.call };
            if self.away() >= patience
                || Instant::now() + ROUND_PAUSE >= deadline
                || reasons.values().all(|reason| matches!(reason, Reason::Tls(_)))
            {
                return Err(self.summary(doing, &reasons, repeated));
            }
            sleep(ROUND_PAUSE).await;
        }
    }

    /// Those that do well, beginning with the preferred one; then the others.
    fn order(&self) -> Vec<usize> {
        let count = self.endpoints.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut order: Vec<usize> = (0..count).map(|step| (first + step) % count).collect();
        order.sort_by_key(|index| self.endpoints[*index].is_ill());
        order
    }

    /// Most servers have no connection to us: without them the others can do nothing.
    fn most_unreached(&self, reasons: &Reasons) -> bool {
        let unreached = reasons.values().filter(|reason| matches!(reason, Reason::Unreached(_))).count();
        unreached > self.endpoints.len() / 2
    }

    /// What to say when no server did it.
    fn summary(&self, doing: &str, reasons: &Reasons, repeated: bool) -> Failure {
        let address = |index: &usize| self.endpoints.get(*index).map_or("", |endpoint| endpoint.address.as_str());
        let listed: Vec<String> = reasons.iter().map(|(index, reason)| format!("{}: {reason}", address(index))).collect();
        let listed = listed.join("; ");
        if !repeated && reasons.values().all(|reason| matches!(reason, Reason::Tls(_))) {
            return Failure::Final(Error::Refused { what: format!("no etcd server could be spoken to by TLS: {listed}") });
        }
        let headline = if reasons.values().any(|reason| *reason == Reason::NoLeader) {
            "etcd has no leader: more than half of its servers have to run and to reach each other"
        } else if self.most_unreached(reasons) {
            "etcd cannot be reached: more than half of its servers have to run"
        } else {
            "no etcd server did it"
        };
        let what = format!("{doing}: {headline} ({listed})");
        if repeated { Failure::Unknown(what) } else { Failure::Final(Error::Unavailable { what }) }
    }

    fn answered(&self, index: usize) {
        self.preferred.store(index, Ordering::Relaxed);
        *self.away_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn prefer_another(&self, index: usize) {
        let next = (index + 1) % self.endpoints.len();
        // Another call may have found a better one meanwhile; then that one counts.
        let _ = self.preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How long nobody has answered, after a round in which nobody did.
    fn away(&self) -> Duration {
        self.away_since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now).elapsed()
    }

    /// Looks at one server again and again, until dropped.
    pub(super) async fn look_after(self: Arc<Self>, index: usize) {
        let endpoint = &self.endpoints[index];
        let mut slow = 0;
        loop {
            match timeout(self.timing.probe, self.look(endpoint)).await {
                Ok(Ok(position)) => {
                    slow = 0;
                    self.saw(position);
                    endpoint.note(EtcdCondition::Well);
                }
                Ok(Err(error)) => {
                    slow = 0;
                    self.note_failure(endpoint, &judge(&error));
                }
                Err(_) => {
                    slow += 1;
                    if slow >= SLOW_LOOKS {
                        endpoint.note(EtcdCondition::Ill { why: format!("no answer within {:?}", self.timing.probe) });
                    }
                }
            }
            sleep(self.timing.probe).await;
        }
    }

    /// Asks for something that a server can only answer with the agreement of the others.
    async fn look(&self, endpoint: &Endpoint) -> Result<Position, etcd_client::Error> {
        let mut kv = endpoint.client().await?.kv_client();
        let answer = kv.get(keys::schema().as_bytes(), Some(GetOptions::new().with_keys_only())).await?;
        Ok(wire::position(answer.header().map_or(0, etcd_client::ResponseHeader::revision)))
    }

    fn note_failure(&self, endpoint: &Endpoint, failure: &Failure) {
        let why = match failure {
            Failure::NotDone(reason) => {
                if let Reason::Login(_) = reason {
                    endpoint.forget_login();
                }
                reason.to_string()
            }
            Failure::Unknown(what) => what.clone(),
            Failure::Final(error) => error.to_string(),
            Failure::Compacted | Failure::Future | Failure::LeaseGone => return,
        };
        endpoint.note(EtcdCondition::Ill { why });
    }
}
