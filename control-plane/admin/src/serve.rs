//! The transport: gRPC with health and reflection, behind the operator token.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::oneshot, time::timeout};
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Server, server::TcpIncoming},
};
use waybill_proto::admin::v1::{config_service_server::ConfigServiceServer, ledger_service_server::LedgerServiceServer};

use crate::{admin::Admin, service::Services};

/// Most bytes of a request: a plan of ten thousand resources of three kilobytes.
const REQUEST_BYTES: usize = 32 * 1024 * 1024;

/// Calls of one connection that are at work at once.
const CALLS: usize = 64;

/// What calls in progress are given to end, at a shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// How often a quiet connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// What an operator shows. Only its hash is kept, and hashes are compared in constant time.
#[derive(Clone, Copy)]
pub struct OperatorToken(blake3::Hash);

impl OperatorToken {
    /// The token of this text; white space at its ends, as files have it, is no part of it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(blake3::hash(text.trim().as_bytes()))
    }

    fn check(&self, request: &Request<()>) -> Result<(), Status> {
        let shown = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let Some(shown) = shown.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Err(Status::unauthenticated("no operator token: send `authorization: Bearer <token>`"));
        };
        // The equality of this type takes constant time.
        if blake3::hash(shown.as_bytes()) == self.0 { Ok(()) } else { Err(Status::unauthenticated("this is not the operator token")) }
    }
}

impl std::fmt::Debug for OperatorToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OperatorToken")
    }
}

/// The server has ended otherwise than it was told to, or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the admin listener failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The compiled-in descriptors cannot be read.
    #[error("the descriptors for reflection cannot be read: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

/// Serves until told to stop: then no new calls are taken, and those in progress have five seconds.
///
/// Health can be asked without a token, since who watches over a process has none.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    admin: Arc<Admin>,
    token: OperatorToken,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let services = Services(admin);
    let guard = move |request: Request<()>| token.check(&request).map(|()| request);
    let config = ConfigServiceServer::new(services.clone()).max_decoding_message_size(REQUEST_BYTES);
    let reflection =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(waybill_proto::DESCRIPTORS).build_v1()?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ConfigServiceServer<Services>>().await;
    health.set_serving::<LedgerServiceServer<Services>>().await;
    let (drain, drained) = oneshot::channel::<()>();
    let server = Server::builder()
        .concurrency_limit_per_connection(CALLS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .add_service(health_service)
        .add_service(InterceptedService::new(reflection, guard))
        .add_service(InterceptedService::new(config, guard))
        .add_service(InterceptedService::new(LedgerServiceServer::new(services), guard))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async { drop(drained.await) });
    tokio::pin!(server);
    tokio::pin!(stop);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = &mut stop => {}
    }
    health.set_not_serving::<ConfigServiceServer<Services>>().await;
    // Nobody listens any more if the server has ended by itself.
    drain.send(()).unwrap_or_default();
    // What has not ended by then is a stream that nobody reads.
    timeout(DRAIN, server).await.unwrap_or(Ok(())).map_err(ServeError::from)
}
