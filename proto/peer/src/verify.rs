//! A peer is believed by its chain and its identity. Names of hosts mean nothing here: replicas come and go under any address.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::identity::{Identity, Role};

/// The server is not what was looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server is {found}, and not of the role {wanted}")]
struct OtherRole {
    found: Identity,
    wanted: Role,
}

/// What a client asks of a server's certificate.
#[derive(Debug)]
pub struct OfRole {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    role: Role,
}

impl OfRole {
    pub const fn new(roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>, role: Role) -> Self {
        Self { roots, provider, role }
    }
}

impl ServerCertVerifier for OfRole {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, self.provider.signature_verification_algorithms.all)?;
        let found = identity(leaf)?;
        if found.role() == self.role { Ok(ServerCertVerified::assertion()) } else { Err(other(OtherRole { found, wanted: self.role })) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a server asks of a client's certificate: the chain, and any identity. What it may do is decided call by call.
#[derive(Debug)]
pub struct Identified(Arc<dyn ClientCertVerifier>);

impl Identified {
    pub fn new(roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let chain = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        Ok(Self(chain.map_err(|error| Error::General(error.to_string()))?))
    }
}

impl ClientCertVerifier for Identified {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(leaf, between, now)?;
        identity(leaf)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn identity(leaf: &CertificateDer<'_>) -> Result<Identity, Error> {
    Identity::of_certificate(leaf).map_err(other)
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Plain(error)))))
}

/// An error that reads alike wherever it is printed: the TLS library prints what is not its own as for programmers.
#[derive(thiserror::Error)]
#[error("{0}")]
struct Plain<E: fmt::Display>(E);

impl<E: fmt::Display> fmt::Debug for Plain<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
