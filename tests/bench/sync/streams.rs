//! The proxies' side: streams that answer every push at once, and what they saw.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use waybill_peer::{Credentials, PeerClient, Role, details::retry_of};
use waybill_proto::sync::v1::{
    Commit, ConnectRequest, ConnectResponse, Heartbeat, Hello, Report, connect_request, connect_response::Message,
    sync_service_client::SyncServiceClient,
};
use waybill_sync::{Identity, Remote, Sync};

use super::{Control, control::unix_us};

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(180);

/// Streams that are opened at once: fewer than a control plane brings up to date at once.
const AT_ONCE: usize = 16;

/// What a stream has applied.
#[derive(Clone, Debug)]
pub struct Applied {
    revision: u64,
    root_hash: bytes::Bytes,
    at_us: u64,
    /// Of the push.
    pub bytes: usize,
    /// Of the push.
    pub messages: usize,
    /// Since the stream was opened.
    pub took_ms: f64,
}

/// What many streams saw of many changes.
#[derive(Debug, Default)]
pub struct Seen {
    ms: Vec<f64>,
    bytes: usize,
}

impl Seen {
    /// So many of a hundred were at most so long under way, milliseconds.
    pub fn percentile(&self, of_hundred: usize) -> f64 {
        let mut sorted = self.ms.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() * of_hundred).div_ceil(100).saturating_sub(1);
        sorted.get(place).copied().unwrap_or(f64::NAN)
    }

    /// Of one push, on average.
    pub fn bytes(&self) -> f64 {
        self.bytes as f64 / self.ms.len() as f64
    }
}

/// All streams.
pub struct Fleet {
    runtime: tokio::runtime::Runtime,
    client: PeerClient,
    address: String,
    joined: usize,
    applied: mpsc::UnboundedReceiver<Applied>,
    told: mpsc::UnboundedSender<Applied>,
}

impl Fleet {
    pub fn new(credentials: Credentials, address: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (told, applied) = mpsc::unbounded_channel();
        let client = PeerClient::new(credentials, Role::Control);
        Ok(Self { runtime, client, address: address.to_owned(), joined: 0, applied, told })
    }

    pub const fn len(&self) -> usize {
        self.joined
    }

    /// One that holds nothing: it is sent everything.
    pub fn join_empty(&mut self) -> Result<Applied> {
        let hello = Hello { proxy: "bench-0".to_owned(), schema_min: 1, schema_max: 1, ..Hello::default() };
        let (client, address, told) = (self.client.clone(), self.address.clone(), self.told.clone());
        self.joined = 1;
        self.runtime.block_on(async {
            open(&client, &address, hello, told).await?;
            timeout(LIMIT, self.applied.recv()).await?.context("a stream has ended")
        })
    }

    /// So many that hold what the first one holds.
    pub fn join(&mut self, count: usize, first: &Applied) -> Result<()> {
        let names: Vec<String> = (self.joined..self.joined + count).map(|number| format!("bench-{number}")).collect();
        self.joined += count;
        let (client, address, told) = (self.client.clone(), self.address.clone(), self.told.clone());
        self.runtime.block_on(async {
            for names in names.chunks(AT_ONCE) {
                let opening: Vec<_> = names
                    .iter()
                    .map(|name| {
                        let (client, address, told) = (client.clone(), address.clone(), told.clone());
                        let hello = Hello {
                            proxy: name.clone(),
                            schema_min: 1,
                            schema_max: 1,
                            applied_revision: first.revision,
                            root_hash: first.root_hash.clone(),
                            ..Hello::default()
                        };
                        tokio::spawn(async move { open(&client, &address, hello, told).await })
                    })
                    .collect();
                for opened in opening {
                    opened.await??;
                }
            }
            Ok(())
        })
    }

    /// Waits until all have applied a revision.
    pub fn wait(&mut self, revision: u64, began_us: u64, seen: &mut Seen) -> Result<()> {
        let count = self.joined;
        let applied = &mut self.applied;
        self.runtime.block_on(async {
            let mut waiting = count;
            while waiting > 0 {
                let one = timeout(LIMIT, applied.recv()).await?.context("a stream has ended")?;
                ensure!(one.revision <= revision, "a stream is at revision {} before it was made", one.revision);
                // Those that have just joined catch up with what came before.
                if one.revision == revision {
                    seen.ms.push(one.at_us.saturating_sub(began_us) as f64 / 1_000.0);
                    seen.bytes += one.bytes;
                    waiting -= 1;
                }
            }
            Ok(())
        })
    }

    /// How long changes take to be in force in a proxy that does all of its work, beside the others.
    pub fn real(&mut self, control: &mut Control, changes: usize) -> Result<Seen> {
        let remote = Remote::new(self.client.clone(), vec![self.address.clone()]);
        let identity = Identity { proxy: "bench-real".to_owned(), ..Identity::default() };
        let mut sync = Sync::without_folder(identity, Arc::new(|_| None));
        let current = sync.current();
        let following = self.runtime.spawn(async move { match sync.follow(|| remote.connect()).await {} });
        let mut seen = Seen::default();
        // The first change finds it behind by everything.
        for number in 0..=changes {
            let (revision, began_us) = control.commit()?;
            self.runtime.block_on(async { timeout(LIMIT, current.reached(revision)).await })?;
            if number > 0 {
                seen.ms.push(unix_us().saturating_sub(began_us) as f64 / 1_000.0);
            }
        }
        following.abort();
        Ok(seen)
    }
}

async fn open(client: &PeerClient, address: &str, hello: Hello, told: mpsc::UnboundedSender<Applied>) -> Result<()> {
    let opened = Instant::now();
    let channel = client.channel(address).await?;
    // A control plane that is busy with others says when to come back.
    let (requests, mut incoming) = loop {
        let (requests, outgoing) = mpsc::channel(4);
        requests.send(ConnectRequest { message: Some(connect_request::Message::Hello(hello.clone())) }).await?;
        match SyncServiceClient::new(channel.clone()).connect(ReceiverStream::new(outgoing)).await {
            Ok(answer) => break (requests, answer.into_inner()),
            Err(status) => tokio::time::sleep(retry_of(&status).ok_or(status)?).await,
        }
    };
    tokio::spawn(async move {
        let (mut bytes, mut messages) = (0, 0);
        while let Ok(Some(response)) = incoming.message().await {
            (bytes, messages) = (bytes + response.encoded_len(), messages + 1);
            let Some(answer) = answer(&response) else { continue };
            if let ConnectResponse { message: Some(Message::Commit(Commit { revision, root_hash, .. })) } = response {
                let took_ms = opened.elapsed().as_secs_f64() * 1_000.0;
                drop(told.send(Applied { revision, root_hash, at_us: unix_us(), bytes, messages, took_ms }));
                (bytes, messages) = (0, 0);
            }
            if requests.send(ConnectRequest { message: Some(answer) }).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// A push is applied without a look into it; a sign of life is answered by one.
fn answer(response: &ConnectResponse) -> Option<connect_request::Message> {
    match response.message.as_ref()? {
        Message::Commit(commit) => Some(connect_request::Message::Report(Report {
            nonce: commit.nonce,
            applied_revision: commit.revision,
            root_hash: commit.root_hash.clone(),
            ..Report::default()
        })),
        Message::Heartbeat(_) => Some(connect_request::Message::Heartbeat(Heartbeat::default())),
        _ => None,
    }
}
