//! The control plane over the network: any of its replicas, in random order, so that a fleet spreads over them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::lookup_host,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use waybill_peer::{
    PeerClient, chain,
    details::{reason_of, retry_of},
};
use waybill_proto::sync::v1::{ConnectRequest, ConnectResponse, sync_service_client::SyncServiceClient};

use crate::{
    backoff::Obstacle,
    sync::{Stream, Unreached},
    usage::UsageClient,
};

/// Messages that wait on each way.
const WAITING: usize = 16;

/// What finding the address of a name may take.
const LOOK_UP: Duration = Duration::from_secs(5);

/// What opening a stream on a connection may take.
const OPEN: Duration = Duration::from_secs(10);

/// Most bytes of one message: a resource, or the list of shards that follow.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The replicas of a control plane. Clones are the same.
#[derive(Clone, Debug)]
pub struct Remote {
    client: PeerClient,
    addresses: Arc<[String]>,
    /// The connection that served last.
    channel: Arc<Mutex<Option<Channel>>>,
    /// Connections to replicas that have asked to come back later: a handshake for every question would keep them busier than what they are asked.
    waiting: Arc<Mutex<HashMap<String, Channel>>>,
}

impl Remote {
    /// Replicas at `HOST:PORT`. A name may stand for several.
    #[must_use]
    pub fn new(client: PeerClient, addresses: Vec<String>) -> Self {
        Self { client, addresses: addresses.into(), channel: Arc::default(), waiting: Arc::default() }
    }

    /// Opens a stream: what [`Sync::follow`](crate::Sync::follow) asks for. Every replica is tried once.
    ///
    /// # Errors
    /// None can be reached, or those that were refuse; says why each.
    pub async fn connect(&self) -> Result<Stream, Unreached> {
        let mut failed = Unreached::away(String::new());
        for address in self.replicas(&mut failed).await {
            match self.ask(&address).await {
                Ok(stream) => {
                    self.waiting().clear();
                    return Ok(stream);
                }
                Err(unreached) => failed.add(&address, unreached),
            }
        }
        if failed.reason.is_empty() {
            failed.reason = "no address of a control plane is known".to_owned();
        }
        Err(failed)
    }

    /// What only the control plane knows of the ledger.
    #[must_use]
    pub fn usage(&self) -> UsageClient {
        UsageClient::new(self.clone())
    }

    /// A connection: the one that served last, or a new one to any replica.
    pub(crate) async fn channel(&self) -> Result<Channel, Unreached> {
        let known = self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(channel) = known {
            return Ok(channel);
        }
        let mut failed = Unreached::away(String::new());
        for address in self.replicas(&mut failed).await {
            match self.client.channel(&address).await {
                Ok(channel) => {
                    self.keep(Some(channel.clone()));
                    return Ok(channel);
                }
                Err(error) => failed.add(&address, Unreached::away(chain(&error))),
            }
        }
        Err(failed)
    }

    /// Remembers a connection that serves, or forgets one that does not any more.
    pub(crate) fn keep(&self, channel: Option<Channel>) {
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = channel;
    }

    /// Asks one replica for a stream, on the connection on which it was asked before if it wanted to be asked again.
    async fn ask(&self, address: &str) -> Result<Stream, Unreached> {
        let known = self.waiting().remove(address);
        let channel = match known {
            Some(channel) => channel,
            None => self.client.channel(address).await.map_err(|error| Unreached::away(chain(&error)))?,
        };
        let opened = self.open(channel.clone()).await;
        if opened.as_ref().is_err_and(|unreached| unreached.after.is_some()) {
            self.waiting().insert(address.to_owned(), channel);
        }
        opened
    }

    /// No code that holds the lock panics half-way through a change, so a poisoned lock is as good as any.
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, channel: Channel) -> Result<Stream, Unreached> {
        let (requests, outgoing) = mpsc::channel::<ConnectRequest>(WAITING);
        let mut client = SyncServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
        let opening = timeout(OPEN, client.connect(ReceiverStream::new(outgoing))).await;
        let opened = opening.unwrap_or_else(|_| Err(Status::deadline_exceeded("the stream was not opened in time")));
        let incoming = opened.map_err(|status| Unreached::of(&status))?.into_inner();
        self.keep(Some(channel));
        let (received, responses) = mpsc::channel(WAITING);
        let (end, ended) = oneshot::channel();
        tokio::spawn(pump(incoming, received, end));
        Ok(Stream { requests, responses, ended: Some(ended) })
    }

    /// Where the replicas are, in random order.
    async fn replicas(&self, failed: &mut Unreached) -> Vec<String> {
        let mut found: Vec<SocketAddr> = Vec::new();
        for address in &*self.addresses {
            match timeout(LOOK_UP, lookup_host(address)).await {
                Ok(Ok(addresses)) => found.extend(addresses),
                Ok(Err(error)) => failed.add(address, Unreached::away(error.to_string())),
                Err(_) => failed.add(address, Unreached::away("its name was not resolved in time".to_owned())),
            }
        }
        found.sort_unstable();
        found.dedup();
        for last in (1..found.len()).rev() {
            // Without randomness the order is the same for all, which costs balance and nothing else.
            let other = getrandom::u64().map_or(0, |random| random % (last as u64 + 1));
            found.swap(last, usize::try_from(other).unwrap_or(0));
        }
        found.iter().map(ToString::to_string).collect()
    }
}

impl Unreached {
    const fn away(reason: String) -> Self {
        Self { reason, after: None, obstacle: Obstacle::Away }
    }

    fn of(status: &Status) -> Self {
        let refused = matches!(status.code(), Code::PermissionDenied | Code::FailedPrecondition | Code::InvalidArgument);
        let obstacle = match reason_of(status).as_deref() {
            Some("PEPPER") => Obstacle::Unfit,
            _ if refused => Obstacle::Refused,
            _ => Obstacle::Failed,
        };
        Self { reason: status.message().to_owned(), after: retry_of(status), obstacle }
    }

    fn add(&mut self, address: &str, other: Self) {
        let separator = if self.reason.is_empty() { "" } else { "; " };
        self.reason = format!("{}{separator}{address}: {}", self.reason, other.reason);
        self.after = self.after.max(other.after);
        self.obstacle = self.obstacle.max(other.obstacle);
    }
}

/// Passes on what comes, until the stream ends or nobody wants it.
async fn pump(mut incoming: Streaming<ConnectResponse>, received: mpsc::Sender<ConnectResponse>, end: oneshot::Sender<Unreached>) {
    loop {
        let message = tokio::select! {
            message = incoming.message() => message,
            () = received.closed() => return,
        };
        match message {
            Ok(Some(message)) => {
                if received.send(message).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            // Before the channel closes, so that who sees the one finds the other.
            Err(status) => return end.send(Unreached::of(&status)).unwrap_or_default(),
        }
    }
}
