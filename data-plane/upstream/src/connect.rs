//! TCP and TLS connections.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use waybill_model::snapshot::Origin;

use crate::{
    failure::{Failure, Kind},
    io::Io,
};

/// Opens connections. One for the whole process: cloning shares the TLS configuration and its session cache.
#[derive(Clone)]
pub struct Connector {
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl Connector {
    /// A connector that trusts Mozilla's roots. The time-out covers name, TCP and TLS together.
    ///
    /// # Errors
    /// The process's cryptography provider supports no TLS version.
    pub fn new(timeout: Duration) -> Result<Self, rustls::Error> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls), timeout })
    }

    pub(crate) async fn connect(&self, origin: &Origin) -> Result<Io, Failure> {
        let deadline = Instant::now() + self.timeout;
        let late = |_| {
            Failure::before(
                Kind::ConnectTimeout,
                format!("no connection to {} within {:?} (limit connect_time)", origin.authority, self.timeout),
            )
        };
        let stream = timeout_at(deadline, tcp(origin)).await.map_err(late)??;
        if !origin.tls {
            return Ok(Io::Plain(stream));
        }
        let name = ServerName::try_from(origin.host.to_string()).map_err(|error| Failure::before(Kind::Tls, error.to_string()))?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream);
        let stream = timeout_at(deadline, handshake).await.map_err(late)?;
        stream.map(|stream| Io::Tls(Box::new(stream))).map_err(|error| Failure::before(Kind::Tls, error.to_string()))
    }
}

/// Tries every address of the name in turn.
async fn tcp(origin: &Origin) -> Result<TcpStream, Failure> {
    let addresses =
        lookup_host((&*origin.host, origin.port)).await.map_err(|error| Failure::before(Kind::Dns, format!("{}: {error}", origin.host)))?;
    let mut last = Failure::before(Kind::Dns, format!("{} has no address", origin.host));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A kernel that refuses the option costs latency, not correctness.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Failure::before(Kind::Refused, format!("{}: {error}", origin.authority)),
        }
    }
    Err(last)
}
