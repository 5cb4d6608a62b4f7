//! Makes connections: a connector for tonic's endpoints.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use crate::{connection::PeerConnection, credentials::Credentials, identity::Role};

/// What a connection with its handshake may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection that was quiet for this long is asked whether it is still there; it has as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Why there is no connection; its cause is its source ([`chain`]). All but the last may be better next time.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there, or not as one of us.
    #[error("no connection to {address}")]
    Refused {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("no connection to {address} within {} s", CONNECT.as_secs())]
    TimedOut {
        /// Where.
        address: String,
    },
    /// Without certificates only loopback is asked.
    #[error("{address} is no loopback address: without certificates nobody else is asked")]
    NotLoopback {
        /// Where.
        address: SocketAddr,
    },
    /// It does not say where.
    #[error("`{0}` is no address: HOST:PORT")]
    NoAddress(String),
    /// Our own certificates.
    #[error("no connection can be made with our own certificates")]
    Own(#[from] rustls::Error),
}

/// The client's side. Clones are the same.
#[derive(Clone, Debug)]
pub struct PeerClient {
    credentials: Option<Credentials>,
    server: Role,
}

impl PeerClient {
    /// Shows our certificate, and wants to see one of this role.
    #[must_use]
    pub const fn new(credentials: Credentials, server: Role) -> Self {
        Self { credentials: Some(credentials), server }
    }

    /// For trying out: no certificates, loopback only.
    #[must_use]
    pub const fn insecure(server: Role) -> Self {
        Self { credentials: None, server }
    }

    /// A channel to `HOST:PORT`, connected.
    ///
    /// # Errors
    /// See [`ConnectError`]; tonic's error has it as its source.
    pub async fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        endpoint.connect_with_connector(self.clone()).await
    }

    /// A connection to `HOST:PORT`.
    ///
    /// # Errors
    /// Nobody is there, or somebody else.
    pub async fn connect(&self, address: &str) -> Result<PeerConnection, ConnectError> {
        match timeout(CONNECT, self.shake(address)).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::TimedOut { address: address.to_owned() }),
        }
    }

    async fn shake(&self, address: &str) -> Result<PeerConnection, ConnectError> {
        let refused = |source| ConnectError::Refused { address: address.to_owned(), source };
        let stream = TcpStream::connect(address).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let reached = stream.peer_addr().map_err(refused)?;
        let Some(credentials) = &self.credentials else {
            let loopback = reached.ip().is_loopback();
            return if loopback { Ok(PeerConnection::plain(stream)) } else { Err(ConnectError::NotLoopback { address: reached }) };
        };
        let config = credentials.client_config(self.server)?;
        // The name is not looked at: a server is believed by its identity.
        let name = ServerName::IpAddress(reached.ip().into());
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(refused)?;
        PeerConnection::tls(stream.into()).ok_or_else(|| refused(io::Error::other("the server has no identity")))
    }
}

impl Service<Uri> for PeerClient {
    type Response = TokioIo<PeerConnection>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let client = self.clone();
        Box::pin(async move {
            let authority = uri.authority().filter(|authority| authority.port().is_some());
            let authority = authority.ok_or_else(|| ConnectError::NoAddress(uri.to_string()))?;
            Ok(TokioIo::new(client.connect(authority.as_str()).await?))
        })
    }
}

/// An error with what is behind it: a transport's own words say nothing.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let words: Vec<String> = causes.map(ToString::to_string).collect();
    words.join(": ")
}
