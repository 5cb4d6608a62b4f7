//! The sync listener: SyncService for proxies, UsageService for proxies, PeerService for the other replicas.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, time::timeout};
use tonic::transport::Server;
use waybill_peer::{ListenError, PeerServer};
use waybill_proto::{
    sync::v1::{PepperPrint, peer_service_server::PeerServiceServer, sync_service_server::SyncServiceServer},
    usage::v1::usage_service_server::UsageServiceServer,
};

use crate::{Publisher, Usage, services::Services};

/// Most bytes of what a proxy says at once: a Hello names every shard, and every key that its overlay denies.
const REQUEST_BYTES: usize = 32 * 1024 * 1024;

/// Most bytes of records that come at once: 4 MiB, and what is around them.
const RECORDS_BYTES: usize = 4 * 1024 * 1024 + 64 * 1024;

/// Calls of one connection at once: one stream, and what its workers ask of the ledger.
const CALLS: u32 = 256;

/// A connection that was quiet for this long is asked whether it is still there; it has as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long a stream lasts, give or take a fifth: then the proxy comes back, to any replica, and shows its certificate anew.
const AGE: Duration = Duration::from_secs(30 * 60);

/// What calls in progress are given to end, at a shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// What is served.
#[derive(Clone)]
pub struct Served {
    /// The configuration.
    pub publisher: Publisher,
    /// The ledger, as proxies see it; `None` = it is not to be had here.
    pub usage: Option<Arc<dyn Usage>>,
    /// Name of this replica.
    pub replica: String,
    /// Its build.
    pub build: String,
    /// Fingerprints of the peppers that API keys are made with; none = proxies are not asked for theirs.
    pub peppers: Vec<PepperPrint>,
    /// What is bounded.
    pub limits: Limits,
}

/// What is bounded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Proxies that are brought up to date at once; others are told when to come back.
    pub handshakes: usize,
    /// How long a stream lasts, give or take a fifth.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // As Istio bounds its pushes.
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { handshakes: 15 + 5 * cores, age: AGE }
    }
}

/// The listener has ended otherwise than it was told to, or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nobody may be served there.
    #[error("the sync listener cannot begin: {0}")]
    Listen(#[from] ListenError),
    /// The transport failed.
    #[error("the sync listener failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves until told to stop: then streams are ended with a word, and calls in progress have five seconds.
///
/// # Errors
/// The listener fails, or is not on loopback while nobody has to show a certificate.
pub async fn serve(
    listener: TcpListener,
    peers: &PeerServer,
    served: Served,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let incoming = peers.accept(listener)?;
    let (stopping, ends) = watch::channel(false);
    let services = Services::new(served, ends.clone());
    let sync = SyncServiceServer::new(services.clone()).max_decoding_message_size(REQUEST_BYTES);
    let usage = UsageServiceServer::new(services.clone()).max_decoding_message_size(RECORDS_BYTES);
    let server = Server::builder()
        .max_concurrent_streams(CALLS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(sync)
        .add_service(usage)
        .add_service(PeerServiceServer::new(services))
        .serve_with_incoming_shutdown(incoming, ended(ends));
    tokio::pin!(server);
    tokio::pin!(stop);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = &mut stop => {}
    }
    stopping.send_replace(true);
    timeout(DRAIN, server).await.unwrap_or(Ok(())).map_err(ServeError::from)
}

async fn ended(mut ends: watch::Receiver<bool>) {
    drop(ends.wait_for(|end| *end).await);
}
