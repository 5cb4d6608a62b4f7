//! Who this process is to the other plane: its name, its certificate.

use std::fs;

use anyhow::{Context, Result, bail};
use waybill_peer::{Credentials, Files, PeerClient, PeerServer, Role};

use crate::settings::Tls;

/// This process, as its peers see it.
pub struct Myself {
    pub name: String,
    /// None on loopback without certificates.
    pub credentials: Option<Credentials>,
}

impl Myself {
    /// Reads the certificate and decides the name. Needs a tokio runtime: the files are followed from here on.
    pub fn load(role: Role, name: Option<&str>, tls: &Tls) -> Result<Self> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => host_name()?,
        };
        let Some((ca, cert, key)) = tls.files() else { return Ok(Self { name, credentials: None }) };
        let files = Files { ca: ca.clone(), cert: cert.clone(), key: key.clone() };
        let credentials = Credentials::load(files, role).context("the certificate of this process (tls)")?;
        let identity = credentials.identity();
        if !identity.may_be(&name) {
            bail!(
                "this process is called `{name}`, and its certificate is of {identity}: give it the name of its certificate (--name), or another certificate"
            );
        }
        credentials.follow();
        Ok(Self { name, credentials: Some(credentials) })
    }

    /// Takes connections as this process.
    pub fn server(&self) -> PeerServer {
        self.credentials.clone().map_or_else(PeerServer::insecure, PeerServer::new)
    }

    /// Calls peers of a role as this process.
    pub fn client(&self, of: Role) -> PeerClient {
        self.credentials.clone().map_or_else(|| PeerClient::insecure(of), |credentials| PeerClient::new(credentials, of))
    }
}

/// The host's name.
pub fn host_name() -> Result<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => bail!("this host has no name: give one with --name"),
        name => Ok(name.to_owned()),
    }
}
