//! How to reach the brokers: the part `kafka` of a role's settings.

use std::{fs, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::form::TOPIC;

/// Where the usage topic is and how to get there.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KafkaSettings {
    /// Brokers to start from, `host:port,host:port`. The others are learned from them.
    pub brokers: String,
    /// The topic of usage records.
    pub topic: String,
    /// What the connection is made of.
    pub security: Security,
    /// PEM file of the authorities that the brokers' certificates must come from; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of this client's certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
    /// How the password is proven.
    pub sasl_mechanism: Mechanism,
    /// The name that the password is of.
    pub sasl_user: Option<String>,
    /// A file that holds the password; white space around it is not part of it.
    pub sasl_password_file: Option<PathBuf>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            topic: TOPIC.to_owned(),
            security: Security::default(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            sasl_mechanism: Mechanism::default(),
            sasl_user: None,
            sasl_password_file: None,
        }
    }
}

/// What a connection to a broker is made of.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// Nothing: for a network that is trusted whole.
    #[default]
    Plaintext,
    /// TLS, with a client certificate if `certFile` and `keyFile` are set.
    Tls,
    /// A password on an open line.
    SaslPlaintext,
    /// A password within TLS.
    SaslTls,
}

impl Security {
    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::SaslTls)
    }

    /// Whether there is a password.
    #[must_use]
    pub const fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslTls)
    }

    /// The word for it in the settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Tls => "tls",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslTls => "sasl_tls",
        }
    }

    /// The word of the Kafka clients.
    const fn protocol(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Tls => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslTls => "sasl_ssl",
        }
    }
}

/// How a password is proven.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Mechanism {
    /// Salted challenge and response, RFC 5802 with SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// The same with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
}

impl Mechanism {
    /// The word for it everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
        }
    }
}

/// The operator's fault: the settings cannot be used. Retry with others.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("kafka.{field}: {message}")]
pub struct SettingsError {
    /// The field, as it is spelt in the file.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

fn fault<T>(field: &'static str, message: impl Into<String>) -> Result<T, SettingsError> {
    Err(SettingsError { field, message: message.into() })
}

/// One property of a Kafka client.
pub type Property = (&'static str, String);

impl KafkaSettings {
    /// Refuses what is missing or contradicts itself. `tls_built` says whether this build's client has TLS and SCRAM.
    ///
    /// # Errors
    /// The first fault, with its field.
    pub fn check(&self, tls_built: bool) -> Result<(), SettingsError> {
        if self.brokers.split(',').all(|broker| broker.trim().is_empty()) {
            return fault("brokers", "no broker is named; give `host:port,host:port`");
        }
        if let Some(broker) = self.brokers.split(',').map(str::trim).find(|broker| !is_address(broker)) {
            return fault("brokers", format!("`{broker}` is no `host:port`"));
        }
        let may_be_in_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.topic.is_empty() || self.topic.len() > 249 || !self.topic.chars().all(may_be_in_a_name) {
            return fault("topic", format!("`{}` is no name of a topic (1 to 249 of a-z A-Z 0-9 . _ -)", self.topic));
        }
        self.check_tls(tls_built)?;
        self.check_sasl(tls_built)
    }

    fn check_tls(&self, tls_built: bool) -> Result<(), SettingsError> {
        let security = self.security.name();
        if self.security.is_tls() && !tls_built {
            return fault("security", format!("`{security}` needs TLS, which this build does not have: build with `--features kafka-tls`"));
        }
        for (field, file) in [("caFile", &self.ca_file), ("certFile", &self.cert_file), ("keyFile", &self.key_file)] {
            let Some(file) = file else { continue };
            if !self.security.is_tls() {
                return fault(field, format!("a file for TLS has no meaning with security `{security}`; choose `tls` or `sasl_tls`"));
            }
            if let Err(error) = fs::metadata(file) {
                return fault(field, format!("{} cannot be read: {error}", file.display()));
            }
        }
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => fault("keyFile", "there is a client certificate and no private key"),
            (None, Some(_)) => fault("certFile", "there is a private key and no client certificate"),
            _ => Ok(()),
        }
    }

    fn check_sasl(&self, tls_built: bool) -> Result<(), SettingsError> {
        if !self.security.is_sasl() {
            return match (&self.sasl_user, &self.sasl_password_file) {
                (None, None) => Ok(()),
                (Some(_), _) => fault("saslUser", "a user has no meaning without security `sasl_plaintext` or `sasl_tls`"),
                (None, Some(_)) => fault("saslPasswordFile", "a password has no meaning without security `sasl_plaintext` or `sasl_tls`"),
            };
        }
        if self.sasl_mechanism != Mechanism::Plain && !tls_built {
            let name = self.sasl_mechanism.name();
            return fault("saslMechanism", format!("`{name}` is not in this build: build with `--features kafka-tls`"));
        }
        if self.sasl_user.as_deref().is_none_or(str::is_empty) {
            return fault("saslUser", format!("security `{}` needs a user", self.security.name()));
        }
        if self.sasl_password_file.is_none() {
            return fault("saslPasswordFile", format!("security `{}` needs a file that holds the password", self.security.name()));
        }
        Ok(())
    }

    /// What a client is configured with to reach the brokers. Reads the password's file; the result holds the password.
    ///
    /// # Errors
    /// As [`Self::check`], or the password cannot be read.
    pub fn properties(&self, tls_built: bool) -> Result<Vec<Property>, SettingsError> {
        self.check(tls_built)?;
        let mut properties = vec![("bootstrap.servers", self.brokers.clone()), ("security.protocol", self.security.protocol().to_owned())];
        let files =
            [("ssl.ca.location", &self.ca_file), ("ssl.certificate.location", &self.cert_file), ("ssl.key.location", &self.key_file)];
        properties.extend(files.into_iter().filter_map(|(name, file)| Some((name, file.as_ref()?.display().to_string()))));
        if self.security.is_tls() && self.ca_file.is_none() {
            // The system's, wherever it keeps them: OpenSSL itself looks only where it was built for.
            properties.push(("ssl.ca.location", "probe".to_owned()));
        }
        if self.security.is_sasl() {
            properties.push(("sasl.mechanism", self.sasl_mechanism.name().to_owned()));
            properties.push(("sasl.username", self.sasl_user.clone().unwrap_or_default()));
            properties.push(("sasl.password", self.password()?));
        }
        Ok(properties)
    }

    fn password(&self) -> Result<String, SettingsError> {
        let file = self.sasl_password_file.clone().unwrap_or_default();
        match fs::read_to_string(&file) {
            Ok(text) if text.trim().is_empty() => fault("saslPasswordFile", format!("{} is empty", file.display())),
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => fault("saslPasswordFile", format!("{} cannot be read: {error}", file.display())),
        }
    }
}

fn is_address(broker: &str) -> bool {
    let Some((host, port)) = broker.rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> KafkaSettings {
        serde_json::from_str(json).expect("settings")
    }

    #[test]
    fn what_is_missing_or_contradicts_itself_is_refused_by_field() {
        let rows = [
            ("{}", true, Some("brokers")),
            (r#"{"brokers":" , "}"#, true, Some("brokers")),
            (r#"{"brokers":"a:1,b"}"#, true, Some("brokers")),
            (r#"{"brokers":"a:0"}"#, true, Some("brokers")),
            (r#"{"brokers":"a:1, b:2"}"#, false, None),
            (r#"{"brokers":"[::1]:9092"}"#, false, None),
            (r#"{"brokers":"a:1","topic":"no such"}"#, true, Some("topic")),
            (r#"{"brokers":"a:1","security":"tls"}"#, true, None),
            (r#"{"brokers":"a:1","security":"tls"}"#, false, Some("security")),
            (r#"{"brokers":"a:1","security":"sasl_tls","saslUser":"u","saslPasswordFile":"p"}"#, false, Some("security")),
            (r#"{"brokers":"a:1","security":"sasl_plaintext","saslUser":"u","saslPasswordFile":"p"}"#, false, Some("saslMechanism")),
            (r#"{"brokers":"a:1","security":"sasl_plaintext","saslUser":"u","saslPasswordFile":"p"}"#, true, None),
            (r#"{"brokers":"a:1","security":"sasl_plaintext","saslMechanism":"PLAIN","saslUser":"u","saslPasswordFile":"p"}"#, false, None),
            (r#"{"brokers":"a:1","security":"sasl_tls","saslPasswordFile":"p"}"#, true, Some("saslUser")),
            (r#"{"brokers":"a:1","security":"sasl_tls","saslUser":"u"}"#, true, Some("saslPasswordFile")),
            (r#"{"brokers":"a:1","saslUser":"u"}"#, true, Some("saslUser")),
            (r#"{"brokers":"a:1","saslPasswordFile":"p"}"#, true, Some("saslPasswordFile")),
            (r#"{"brokers":"a:1","caFile":"/"}"#, true, Some("caFile")),
            (r#"{"brokers":"a:1","security":"tls","caFile":"/nowhere/ca.pem"}"#, true, Some("caFile")),
            (r#"{"brokers":"a:1","security":"tls","certFile":"/"}"#, true, Some("keyFile")),
            (r#"{"brokers":"a:1","security":"tls","keyFile":"/"}"#, true, Some("certFile")),
        ];
        for (json, tls_built, field) in rows {
            assert_eq!(settings(json).check(tls_built).err().map(|error| error.field), field, "{json}");
        }
        assert!(serde_json::from_str::<KafkaSettings>(r#"{"broker":"a:1"}"#).is_err(), "an unknown field is refused");
    }

    #[test]
    fn the_client_gets_its_own_words_and_the_password_from_its_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let settings = KafkaSettings {
            brokers: "a:1".to_owned(),
            security: Security::SaslTls,
            sasl_user: Some("app".to_owned()),
            sasl_password_file: Some(file.path().to_owned()),
            ..KafkaSettings::default()
        };
        assert_eq!(settings.properties(true).err().map(|error| error.field), Some("saslPasswordFile"), "an empty file is no password");
        fs::write(file.path(), " secret-canary\n").expect("written");
        let expected = [
            ("bootstrap.servers", "a:1"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "probe"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "app"),
            ("sasl.password", "secret-canary"),
        ];
        let properties = settings.properties(true).expect("properties");
        assert_eq!(properties, expected.map(|(name, value)| (name, value.to_owned())));
        assert!(!format!("{settings:?}").contains("secret-canary"));
    }
}
