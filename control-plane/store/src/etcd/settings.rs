//! Where a cluster's servers are, and as whom to come.

use std::fmt;
use std::time::Duration;

use crate::Error;

/// The scheme of servers that are spoken to in the clear.
const PLAIN: &str = "etcd://";
/// The scheme of servers that are spoken to by TLS.
const SECURE: &str = "etcds://";

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct EtcdSettings {
    /// `host:port` of each server; one is enough, all are better.
    pub endpoints: Vec<String>,
    /// TLS, with what it needs; none = in the clear.
    pub tls: Option<EtcdTls>,
    /// Who we are, where a certificate does not say it.
    pub user: Option<EtcdUser>,
    /// How long things may take.
    pub timing: EtcdTiming,
}

/// What TLS needs, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// The authority that signed the servers' certificates.
    pub ca: Vec<u8>,
    /// Our certificate and its key, where the servers want one. Its common name is the user when
    /// no other is given.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the servers' certificates, if it is not that of their addresses.
    pub server_name: Option<String>,
}

/// A user of etcd.
#[derive(Clone)]
pub struct EtcdUser {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct EtcdTiming {
    /// A call, with all its tries on all servers. An election is waited out within it.
    pub call: Duration,
    /// One try of what may be tried again.
    pub attempt: Duration,
    /// Between two looks at a server.
    pub probe: Duration,
    /// Between two questions to a watch that says nothing.
    pub progress: Duration,
    /// After so long without a word a watch is dead.
    pub silence: Duration,
}

impl Default for EtcdTiming {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(5),
            attempt: Duration::from_secs(1),
            probe: Duration::from_secs(1),
            progress: Duration::from_secs(2),
            silence: Duration::from_secs(7),
        }
    }
}

impl EtcdSettings {
    /// Reads `etcd://host:port,host:port`, or `etcds://…` for TLS, for which [`EtcdSettings::tls`]
    /// has to be filled in afterwards. Credentials do not belong into a URL, which ends in logs.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let (secure, rest) = if let Some(rest) = url.strip_prefix(SECURE) {
            (true, rest)
        } else if let Some(rest) = url.strip_prefix(PLAIN) {
            (false, rest)
        } else {
            return Err(misconfigured(format!("the store's URL has to begin with {PLAIN} or {SECURE}")));
        };
        let endpoints: Vec<String> = rest.trim_end_matches('/').split(',').map(|endpoint| endpoint.trim().to_owned()).collect();
        for endpoint in &endpoints {
            check_endpoint(endpoint)?;
        }
        let tls = secure.then(|| EtcdTls { ca: Vec::new(), identity: None, server_name: None });
        Ok(Self { endpoints, tls, user: None, timing: EtcdTiming::default() })
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.endpoints.is_empty() {
            return Err(misconfigured("no etcd server is named".to_owned()));
        }
        self.endpoints.iter().try_for_each(|endpoint| check_endpoint(endpoint))?;
        if self.tls.as_ref().is_some_and(|tls| tls.ca.is_empty()) {
            return Err(misconfigured(format!("{SECURE} wants the certificate of the authority that signed the servers' certificates")));
        }
        Ok(())
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), Error> {
    if endpoint.contains('@') {
        return Err(misconfigured("the store's URL holds a user; user and password are settings of their own".to_owned()));
    }
    let port = endpoint.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() || endpoint.contains('/') {
        return Err(misconfigured(format!("{endpoint:?} is no host:port of an etcd server")));
    }
    Ok(())
}

pub(super) fn misconfigured(what: String) -> Error {
    Error::Misconfigured { what }
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, server_name, .. } = self;
        f.debug_struct("EtcdTls").field("identity", &identity.is_some()).field("server_name", server_name).finish_non_exhaustive()
    }
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused_with_the_reason() {
        type Row = (&'static str, Result<(&'static [&'static str], bool), &'static str>);
        let rows: &[Row] = &[
            ("etcd://a:1", Ok((&["a:1"], false))),
            ("etcd://a:1,b:2, [::1]:3/", Ok((&["a:1", "b:2", "[::1]:3"], false))),
            ("etcds://a:1", Ok((&["a:1"], true))),
            ("http://a:1", Err("begin with")),
            ("etcd://", Err("no host:port")),
            ("etcd://a", Err("no host:port")),
            ("etcd://a:1,,b:2", Err("no host:port")),
            ("etcd://a:99999", Err("no host:port")),
            ("etcd://a:1/b:2", Err("no host:port")),
            ("etcd://root:secret@a:1", Err("settings of their own")),
        ];
        for (url, expected) in rows {
            match (EtcdSettings::from_url(url), expected) {
                (Ok(settings), Ok((endpoints, secure))) => {
                    assert_eq!((settings.endpoints.as_slice(), settings.tls.is_some()), (&endpoints.map_to_owned()[..], *secure), "{url}");
                }
                (Err(error), Err(expected)) => {
                    let said = error.to_string();
                    assert!(said.contains(expected) && !said.contains("secret") && !error.may_retry(), "{url}: {said}");
                }
                (read, _) => panic!("{url}: {read:?}"),
            }
        }
    }

    trait MapToOwned {
        fn map_to_owned(&self) -> Vec<String>;
    }

    impl MapToOwned for &[&str] {
        fn map_to_owned(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let user = EtcdUser { name: "waybill".to_owned(), password: "hidden".to_owned() };
        let tls = EtcdTls { ca: b"ca".to_vec(), identity: Some((b"c".to_vec(), b"hidden".to_vec())), server_name: None };
        let mut settings = EtcdSettings::from_url("etcds://a:1").expect("settings");
        assert!(settings.check().is_err(), "no authority");
        (settings.user, settings.tls) = (Some(user), Some(tls));
        settings.check().expect("settings");
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}
