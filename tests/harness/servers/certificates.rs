//! Certificates for tests: an authority made for the run, and what it signs, as PEM files.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

/// What a certificate says of its holder.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The common name: a user of etcd.
    pub common: String,
    /// Names that a server may be reached by.
    pub dns: Vec<String>,
    /// Addresses that a server may be reached by.
    pub addresses: Vec<IpAddr>,
    /// URIs: the identity of a process of ours.
    pub uris: Vec<String>,
    /// Its time was over long ago.
    pub expired: bool,
}

impl Names {
    /// A server on this machine.
    pub fn server(common: &str) -> Self {
        Self {
            common: common.to_owned(),
            dns: vec!["localhost".to_owned()],
            addresses: vec![IpAddr::from([127, 0, 0, 1])],
            ..Self::default()
        }
    }

    /// A client that is known by its common name.
    pub fn client(common: &str) -> Self {
        Self { common: common.to_owned(), ..Self::default() }
    }

    /// Nobody is to trust it any more.
    #[must_use]
    pub fn expired(self) -> Self {
        Self { expired: true, ..self }
    }

    /// Adds a URI.
    #[must_use]
    pub fn with_uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }
}

/// The files of a holder.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key, PKCS#8.
    pub key: PathBuf,
    /// Key, certificate and authority in one file, as Kafka wants them.
    pub bundle: PathBuf,
}

/// Who signs.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    text: String,
}

impl Authority {
    /// A new one; its files go to `folder`, which is made.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let text = params.self_signed(&key)?.pem();
        let authority = Self { folder: folder.to_owned(), issuer: Issuer::new(params, key), text };
        fs::write(authority.certificate(), &authority.text)?;
        Ok(authority)
    }

    /// Its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Signs a certificate that may serve and call, and writes it to files of that name. An earlier one of the name is replaced.
    pub fn issue(&self, file: &str, names: &Names) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, names.common.as_str());
        // Peers of etcd are servers and clients of one another with the same certificate.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let text = |text: &String| Ia5String::try_from(text.as_str()).with_context(|| format!("{text} in a certificate"));
        for name in &names.dns {
            params.subject_alt_names.push(SanType::DnsName(text(name)?));
        }
        for uri in &names.uris {
            params.subject_alt_names.push(SanType::URI(text(uri)?));
        }
        params.subject_alt_names.extend(names.addresses.iter().copied().map(SanType::IpAddress));
        if names.expired {
            (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 1, 2));
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let place = |ending: &str| self.folder.join(format!("{file}.{ending}"));
        let identity = Identity { certificate: place("crt"), key: place("key"), bundle: place("pem") };
        fs::write(&identity.certificate, &certificate)?;
        fs::write(&identity.key, key.serialize_pem())?;
        fs::write(&identity.bundle, [key.serialize_pem(), certificate, self.text.clone()].concat())?;
        Ok(identity)
    }
}
