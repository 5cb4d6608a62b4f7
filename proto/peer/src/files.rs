//! The PEM files of one process, and what is wrong with them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::parse_x509_certificate;

use crate::identity::{Identity, Role, Unidentified};

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificates of the authorities that peers' certificates are of. During a change of authority it holds both.
    pub ca: PathBuf,
    /// This process's certificate, and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is wrong with the files. Whoever issues or mounts them has to mend it; what is in force stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what}", path.display())]
    Without {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate of an authority that is of no use, or a key that is not the certificate's.
    #[error("{}: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The certificate does not say who holds it.
    #[error("the certificate in {}: {source}", path.display())]
    Unidentified {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Unidentified,
    },
    /// It is somebody else's.
    #[error("the certificate in {} is for the role {found}; this process needs one for {wanted}", path.display())]
    Role {
        /// The file.
        path: PathBuf,
        /// What it is for.
        found: Role,
        /// What it should be for.
        wanted: Role,
    },
    /// It is not valid now.
    #[error("the certificate in {} is {when}: it is valid from {from} to {until}, in seconds since 1970", path.display())]
    Validity {
        /// The file.
        path: PathBuf,
        /// `expired` or `not valid yet`.
        when: &'static str,
        /// From then on.
        from: i64,
        /// Until then.
        until: i64,
    },
}

/// What the files hold.
#[derive(Debug)]
pub struct Material {
    /// Authorities.
    pub roots: Arc<RootCertStore>,
    /// Certificate, chain and key.
    pub own: Arc<CertifiedKey>,
    /// What our certificate says of us.
    pub identity: Identity,
    /// When it ends, seconds since 1970.
    pub expires_unix_s: i64,
}

/// The bytes of the files.
pub struct Content {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// Reads all three.
    pub fn read(&self) -> Result<Content, Error> {
        let read = |path: &Path| fs::read(path).map_err(|source| Error::Unread { path: path.to_owned(), source });
        Ok(Content { ca: read(&self.ca)?, cert: read(&self.cert)?, key: read(&self.key)? })
    }

    /// Makes sense of what was read: everything that can be wrong is found here and not at the next connection.
    pub fn material(&self, content: &Content, role: Role, provider: &CryptoProvider) -> Result<Material, Error> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&self.ca, &content.ca)? {
            roots.add(root).map_err(|source| Error::Unusable { path: self.ca.clone(), source })?;
        }
        let chain = certificates(&self.cert, &content.cert)?;
        let key =
            PrivateKeyDer::from_pem_slice(&content.key).map_err(|_| Error::Without { path: self.key.clone(), what: "private key" })?;
        let leaf = chain.first().ok_or_else(|| Error::Without { path: self.cert.clone(), what: "certificate" })?.clone();
        let identity = Identity::of_certificate(&leaf).map_err(|source| Error::Unidentified { path: self.cert.clone(), source })?;
        if identity.role() != role {
            return Err(Error::Role { path: self.cert.clone(), found: identity.role(), wanted: role });
        }
        let expires_unix_s = self.validity(&leaf)?;
        let own = CertifiedKey::from_der(chain, key, provider).map_err(|source| Error::Unusable { path: self.key.clone(), source })?;
        Ok(Material { roots: Arc::new(roots), own: Arc::new(own), identity, expires_unix_s })
    }

    /// Whether the certificate is valid now, and until when.
    fn validity(&self, leaf: &[u8]) -> Result<i64, Error> {
        let unreadable = || Error::Unidentified { path: self.cert.clone(), source: Unidentified::Unreadable };
        let (_, certificate) = parse_x509_certificate(leaf).map_err(|_| unreadable())?;
        let (from, until) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
        let now = now_unix_s();
        let when = if now > until { "expired" } else { "not valid yet" };
        if (from..=until).contains(&now) { Ok(until) } else { Err(Error::Validity { path: self.cert.clone(), when, from, until }) }
    }
}

impl Content {
    /// The same bytes have the same one.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for file in [&self.ca, &self.cert, &self.key] {
            hasher.update(&file.len().to_le_bytes()).update(file);
        }
        *hasher.finalize().as_bytes()
    }
}

/// Seconds since 1970.
pub fn now_unix_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let without = || Error::Without { path: path.to_owned(), what: "certificate" };
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| without())?;
    if found.is_empty() { Err(without()) } else { Ok(found) }
}
