//! Certificates that a test makes for itself.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use waybill_peer::{Credentials, Files, Role};

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Credentials of a role with these names; the files are not needed afterwards.
    pub fn credentials(&self, role: Role, names: &[&str]) -> Credentials {
        let folder = tempfile::tempdir().unwrap();
        Credentials::load(self.files(folder.path(), role, names), role).unwrap()
    }

    /// The same as files in a folder.
    pub fn files(&self, folder: &Path, role: Role, names: &[&str]) -> Files {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let uri = |name: &&str| SanType::URI(format!("spiffe://waybill/{role}/{name}").as_str().try_into().unwrap());
        params.subject_alt_names = names.iter().map(uri).collect();
        let files = Files { ca: folder.join("ca.pem"), cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        fs::write(&files.ca, self.0.pem()).unwrap();
        fs::write(&files.cert, params.signed_by(&key, &self.0).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}
