//! The files as they are in force. They are read again every ten seconds, and when asked to; a change of them needs no restart.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
    sign::SingleCertAndKey,
    version::TLS13,
};

use crate::{
    files::{Error, Files, Material, now_unix_s},
    identity::{Identity, Role},
    verify::{Identified, OfRole},
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// A certificate that ends within this is warned of, seconds: 14 days.
pub const WARN_S: i64 = 14 * 24 * 60 * 60;

/// How often it is warned of.
const WARN_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// What both sides speak.
const ALPN: &[u8] = b"h2";

/// What a reload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The files are as they were.
    Unchanged,
    /// New ones are in force.
    Changed,
}

/// A process's certificate and whom it believes. Clones are the same.
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<Shared>,
}

struct Shared {
    files: Files,
    role: Role,
    provider: Arc<CryptoProvider>,
    in_force: ArcSwap<Set>,
    /// What the last look found, so that a bad file is said once.
    looked_at: Mutex<Option<[u8; 32]>>,
}

/// One generation of the files.
struct Set {
    fingerprint: [u8; 32],
    identity: Identity,
    expires_unix_s: i64,
    material: Material,
    server: Arc<ServerConfig>,
}

impl Credentials {
    /// Reads the files. The certificate has to be for this role.
    ///
    /// # Errors
    /// A file is missing, of no use, expired, or for another role: says which and why.
    pub fn load(files: Files, role: Role) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let set = Set::read(&files, role, &provider)?;
        tracing::info!(identity = %set.identity, expires_in_s = set.expires_unix_s - now_unix_s(), "certificate loaded");
        let shared = Shared { files, role, provider, in_force: ArcSwap::from_pointee(set), looked_at: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What our certificate says of us.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.shared.in_force.load().identity.clone()
    }

    /// When our certificate ends, seconds since 1970.
    #[must_use]
    pub fn expires_unix_s(&self) -> i64 {
        self.shared.in_force.load().expires_unix_s
    }

    /// Reads the files again. Connections that stand are not touched.
    ///
    /// # Errors
    /// The new ones are of no use; the old ones stay in force.
    pub fn reload(&self) -> Result<Reloaded, Error> {
        self.shared.reload()
    }

    /// Looks at the files every ten seconds from now on, and warns of the certificate's end, until the last clone is gone. Needs a tokio runtime.
    pub fn follow(&self) {
        tokio::spawn(follow(Arc::downgrade(&self.shared)));
    }

    /// How this process serves, as of now.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shared.in_force.load().server)
    }

    /// How this process connects to a server of a role, as of now.
    pub(crate) fn client_config(&self, server: Role) -> Result<Arc<ClientConfig>, rustls::Error> {
        let (material, provider) = (&self.shared.in_force.load().material, &self.shared.provider);
        let verifier = OfRole::new(Arc::clone(&material.roots), Arc::clone(provider), server);
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&material.own))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("files", &self.shared.files).field("identity", &self.identity()).finish()
    }
}

impl Shared {
    fn reload(&self) -> Result<Reloaded, Error> {
        let content = self.files.read()?;
        let fingerprint = content.fingerprint();
        *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        if self.in_force.load().fingerprint == fingerprint {
            return Ok(Reloaded::Unchanged);
        }
        let set = Set::new(self.files.material(&content, self.role, &self.provider)?, fingerprint, &self.files, &self.provider)?;
        tracing::info!(identity = %set.identity, expires_in_s = set.expires_unix_s - now_unix_s(), "new certificate in force");
        self.in_force.store(Arc::new(set));
        Ok(Reloaded::Changed)
    }

    /// What was found last time, or that nothing could be read, is not said again.
    fn look(&self, missing: &mut bool) {
        let before = *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        match self.reload() {
            Ok(_) => *missing = false,
            Err(error @ Error::Unread { .. }) => {
                if !std::mem::replace(missing, true) {
                    tracing::error!(%error, "certificates cannot be read; the old ones stay in force");
                }
            }
            Err(error) => {
                *missing = false;
                let now = *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
                if before != now {
                    tracing::error!(%error, "new certificates are of no use; the old ones stay in force");
                }
            }
        }
    }
}

impl Set {
    fn read(files: &Files, role: Role, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let content = files.read()?;
        Self::new(files.material(&content, role, provider)?, content.fingerprint(), files, provider)
    }

    fn new(material: Material, fingerprint: [u8; 32], files: &Files, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let server = server_config(&material, provider).map_err(|source| Error::Unusable { path: files.ca.clone(), source })?;
        Ok(Self { fingerprint, identity: material.identity.clone(), expires_unix_s: material.expires_unix_s, material, server })
    }
}

fn server_config(material: &Material, provider: &Arc<CryptoProvider>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let verifier = Identified::new(Arc::clone(&material.roots), Arc::clone(provider))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&material.own))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

async fn follow(shared: Weak<Shared>) {
    let mut missing = false;
    let mut warned: Option<tokio::time::Instant> = None;
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let left_s = strong.in_force.load().expires_unix_s - now_unix_s();
        let due = warned.is_none_or(|at| at.elapsed() >= WARN_EVERY);
        if left_s < WARN_S && due {
            tracing::warn!(days = left_s / (24 * 60 * 60), "the certificate of this process ends soon: renew it in place");
            warned = Some(tokio::time::Instant::now());
        }
        // Files may lie on a disk that takes its time.
        let looked = tokio::task::spawn_blocking(move || {
            let mut missing = missing;
            strong.look(&mut missing);
            missing
        });
        missing = looked.await.unwrap_or(missing);
        tokio::time::sleep(LOOK).await;
    }
}
