//! A connection with the peer that showed itself on it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use crate::identity::{Identity, Role};

/// Who is at the other end. In the extensions of every request of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It has shown a certificate.
    Known(Identity),
    /// Loopback without certificates: whoever is on this machine.
    Unknown,
}

impl Peer {
    /// It has this role, or nobody asks for certificates here.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        match self {
            Self::Known(identity) => identity.role() == role,
            Self::Unknown => true,
        }
    }

    /// It may call itself so, or nobody asks for certificates here.
    #[must_use]
    pub fn may_be(&self, name: &str) -> bool {
        match self {
            Self::Known(identity) => identity.may_be(name),
            Self::Unknown => true,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(identity) => identity.fmt(formatter),
            Self::Unknown => formatter.write_str("a peer without a certificate"),
        }
    }
}

/// A connection to or from a peer.
#[derive(Debug)]
pub struct PeerConnection {
    io: Io,
    peer: Peer,
    address: Option<SocketAddr>,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl PeerConnection {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self { address: stream.peer_addr().ok(), io: Io::Plain(stream), peer: Peer::Unknown }
    }

    /// `None` if the other side has shown nothing that says who it is; the handshake does not let that pass.
    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Option<Self> {
        let (tcp, session) = stream.get_ref();
        let address = tcp.peer_addr().ok();
        let identity = Identity::of_certificate(session.peer_certificates()?.first()?).ok()?;
        Some(Self { peer: Peer::Known(identity), address, io: Io::Tls(Box::new(stream)) })
    }

    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// From where.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Connected for PeerConnection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for PeerConnection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for PeerConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
