//! Settings that several roles have: peers, stores.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waybill_kafka::KafkaSettings;

use super::fault::Contradictions;

/// Certificates of the connection between control planes and proxies. The files are read anew when they change.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file with the authority that signs the certificates of control planes and proxies.
    pub ca_file: Option<PathBuf>,
    /// PEM file with this process's certificate; its URI name is spiffe://waybill/ROLE/NAME.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    pub key_file: Option<PathBuf>,
}

impl Tls {
    /// All three files, if they are given.
    pub fn files(&self) -> Option<(&PathBuf, &PathBuf, &PathBuf)> {
        Some((self.ca_file.as_ref()?, self.cert_file.as_ref()?, self.key_file.as_ref()?))
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Either the three files, or the word that there are none.
    pub fn contradictions(&self, insecure_sync: bool, faults: &mut Contradictions) {
        match (self.files().is_some(), insecure_sync) {
            (true, false) => {}
            (false, true) if self.is_empty() => {}
            (_, true) => faults.push(("insecureSync", "contradicts tls.caFile, tls.certFile and tls.keyFile: leave one out".to_owned())),
            (false, false) => {
                let missing = [("tls.caFile", &self.ca_file), ("tls.certFile", &self.cert_file), ("tls.keyFile", &self.key_file)];
                for (path, _) in missing.into_iter().filter(|(_, file)| file.is_none()) {
                    let message = "is missing: control planes and proxies know one another by certificates. On one machine, for trying out, insecureSync does without";
                    faults.push((path, message.to_owned()));
                }
            }
        }
    }
}

/// How to speak to etcd; only with a `store` of that kind.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Etcd {
    /// PEM file with the authority that signed etcd's certificates.
    pub ca_file: Option<PathBuf>,
    /// PEM file with this client's certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the private key of that certificate.
    pub key_file: Option<PathBuf>,
    /// The name in etcd's certificates, where it is not that of the addresses.
    pub server_name: Option<String>,
    /// User of etcd's own rights management.
    pub username: Option<String>,
    /// File with that user's password.
    pub password_file: Option<PathBuf>,
}

impl Etcd {
    pub fn contradictions(&self, is_etcd: bool, tls: bool, faults: &mut Contradictions) {
        let given = [
            ("etcd.caFile", self.ca_file.is_some(), true),
            ("etcd.certFile", self.cert_file.is_some(), true),
            ("etcd.keyFile", self.key_file.is_some(), true),
            ("etcd.serverName", self.server_name.is_some(), true),
            ("etcd.username", self.username.is_some(), false),
            ("etcd.passwordFile", self.password_file.is_some(), false),
        ];
        for (path, _, for_tls) in given.into_iter().filter(|(_, given, _)| *given) {
            if !is_etcd {
                faults.push((path, "means nothing: the store is not etcd".to_owned()));
            } else if for_tls && !tls {
                faults.push((path, "means nothing without TLS: write the store as etcds://…".to_owned()));
            }
        }
        if tls && self.ca_file.is_none() {
            faults.push(("etcd.caFile", "is missing: etcds:// wants the authority that signed etcd's certificates".to_owned()));
        }
        both(("etcd.certFile", self.cert_file.is_some()), ("etcd.keyFile", self.key_file.is_some()), faults);
        both(("etcd.username", self.username.is_some()), ("etcd.passwordFile", self.password_file.is_some()), faults);
    }
}

/// How to enter PostgreSQL; only with a `ledger` of that kind. TLS is asked for in the URL, as PostgreSQL's own clients do.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Postgres {
    /// File with the password of the URL's user.
    pub password_file: Option<PathBuf>,
}

impl Postgres {
    pub fn contradictions(&self, is_postgres: bool, faults: &mut Contradictions) {
        if self.password_file.is_some() && !is_postgres {
            faults.push(("postgres.passwordFile", "means nothing: the ledger is not PostgreSQL".to_owned()));
        }
    }
}

/// How Kafka is reached is checked where it is known.
pub fn kafka(settings: &KafkaSettings, faults: &mut Contradictions) {
    if let Err(error) = settings.check(cfg!(feature = "kafka-tls")) {
        faults.push((format!("kafka.{}", error.field), error.message));
    }
}

/// Two settings that mean something together only.
fn both(one: (&'static str, bool), other: (&'static str, bool), faults: &mut Contradictions) {
    for ((path, given), (partner, there)) in [(one, other), (other, one)] {
        if given && !there {
            faults.push((partner, format!("is missing: {path} means nothing without it")));
        }
    }
}
