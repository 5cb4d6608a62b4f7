//! Takes connections: what comes out of the stream has shown who it is.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use crate::{connection::PeerConnection, credentials::Credentials};

/// What a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at once; who comes then waits in the listener's queue. Each costs about a millisecond of a core.
const HANDSHAKES: usize = 64;

/// A pause after the system had no connection to give: out of file descriptors, mostly.
const BREATHER: Duration = Duration::from_millis(50);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Without certificates only loopback is served.
    #[error("{0} is no loopback address: without certificates nobody else is served")]
    NotLoopback(std::net::SocketAddr),
    /// The listener does not say where it is.
    #[error("the listener has no address: {0}")]
    Nowhere(#[from] io::Error),
}

/// The server's side.
#[derive(Clone, Debug)]
pub struct PeerServer {
    credentials: Option<Credentials>,
}

impl PeerServer {
    /// Peers have to show a certificate.
    #[must_use]
    pub const fn new(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials) }
    }

    /// For trying out: no certificates, loopback only.
    #[must_use]
    pub const fn insecure() -> Self {
        Self { credentials: None }
    }

    /// Takes connections until the stream is dropped. One that does not show who it is costs a line in the log. Needs a tokio runtime.
    ///
    /// # Errors
    /// The listener is not on loopback, and there are no certificates.
    pub fn accept(&self, listener: TcpListener) -> Result<ReceiverStream<io::Result<PeerConnection>>, ListenError> {
        let address = listener.local_addr()?;
        if self.credentials.is_none() && !address.ip().is_loopback() {
            return Err(ListenError::NotLoopback(address));
        }
        let (taken, connections) = mpsc::channel(HANDSHAKES);
        tokio::spawn(take(listener, self.credentials.clone(), taken));
        Ok(ReceiverStream::new(connections))
    }
}

type Taken = mpsc::Sender<io::Result<PeerConnection>>;

async fn take(listener: TcpListener, credentials: Option<Credentials>, taken: Taken) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = taken.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                sleep(BREATHER).await;
                continue;
            }
        };
        let (credentials, taken) = (credentials.clone(), taken.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE, shake(stream, credentials)).await {
                // The server has ended if nobody takes it.
                Ok(Ok(connection)) => drop(taken.send(Ok(connection)).await),
                Ok(Err(error)) => tracing::warn!(%address, %error, "a connection was refused: its peer has not shown who it is"),
                Err(_) => tracing::warn!(%address, limit_s = HANDSHAKE.as_secs(), "a connection was refused: its handshake took too long"),
            }
            drop(permit);
        });
    }
}

async fn shake(stream: TcpStream, credentials: Option<Credentials>) -> io::Result<PeerConnection> {
    stream.set_nodelay(true)?;
    let Some(credentials) = credentials else { return Ok(PeerConnection::plain(stream)) };
    let stream = TlsAcceptor::from(credentials.server_config()).accept(stream).await?;
    PeerConnection::tls(stream.into()).ok_or_else(|| io::Error::other("the peer has no identity"))
}
