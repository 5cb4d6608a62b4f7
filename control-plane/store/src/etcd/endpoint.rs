//! One server of the cluster: how to call it, and how it does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use tokio::sync::{Mutex, watch};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use super::settings::{EtcdSettings, EtcdTls, EtcdUser, misconfigured};
use crate::Error;

/// A connection that does not come about in this time counts as refused.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Pings that find that a connection with something to wait for is dead. etcd ends connections
/// that ping more often than every 5 s (`--grpc-keepalive-min-time`), or with nothing to wait for.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How a server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcdCondition {
    /// Nobody has asked yet.
    Unknown,
    /// It answers, and the cluster answers through it.
    Well,
    /// It does not.
    Ill {
        /// What came of the last try.
        why: String,
    },
}

/// A server and the connection for calls. Each watch has a connection of its own, so that one
/// that nobody reads cannot hold up what others are sent.
pub(super) struct Endpoint {
    pub(super) address: String,
    user: Option<EtcdUser>,
    connection: RwLock<Connection>,
    logged_in: AtomicBool,
    logging_in: Mutex<()>,
    pub(super) condition: watch::Sender<EtcdCondition>,
}

/// How connections are made, and the one for calls.
#[derive(Clone)]
pub(super) struct Connection {
    recipe: tonic::transport::Endpoint,
    client: Client,
}

impl Connection {
    pub(super) async fn new(address: &str, tls: Option<&EtcdTls>) -> Result<Self, Error> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let unusable =
            |error: &dyn std::error::Error| misconfigured(format!("the etcd server {address} cannot be used: {}", with_causes(error)));
        let mut recipe = Channel::from_shared(format!("{scheme}://{address}"))
            .map_err(|error| unusable(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .keep_alive_while_idle(false)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        if let Some(tls) = tls {
            recipe = recipe.tls_config(tls_config(tls)).map_err(|error| unusable(&error))?;
        }
        let client = client(&recipe).await?;
        Ok(Self { recipe, client })
    }
}

impl Endpoint {
    pub(super) async fn new(address: &str, settings: &EtcdSettings) -> Result<Self, Error> {
        let connection = RwLock::new(Connection::new(address, settings.tls.as_ref()).await?);
        let (condition, _) = watch::channel(EtcdCondition::Unknown);
        Ok(Self {
            address: address.to_owned(),
            user: settings.user.clone(),
            connection,
            logged_in: AtomicBool::new(false),
            logging_in: Mutex::default(),
            condition,
        })
    }

    fn connection(&self) -> Connection {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on calls and new watches take this connection; what is on its way stays.
    pub(super) fn replace(&self, connection: Connection) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
        self.forget_login();
    }

    /// The client for calls, logged in.
    pub(super) async fn client(&self) -> Result<Client, etcd_client::Error> {
        let Connection { mut client, .. } = self.connection();
        if let Some(user) = &self.user
            && !self.logged_in.load(Ordering::Acquire)
        {
            let _one_at_a_time = self.logging_in.lock().await;
            if !self.logged_in.load(Ordering::Acquire) {
                log_in(&mut client, user).await?;
                self.logged_in.store(true, Ordering::Release);
            }
        }
        Ok(client)
    }

    /// A client with a connection and a login of its own, for a watch.
    pub(super) async fn own_client(&self) -> Result<Client, etcd_client::Error> {
        let mut client = client(&self.connection().recipe).await.map_err(|error| etcd_client::Error::Internal(error.to_string()))?;
        if let Some(user) = &self.user {
            log_in(&mut client, user).await?;
        }
        Ok(client)
    }

    /// The next call logs in first.
    pub(super) fn forget_login(&self) {
        self.logged_in.store(false, Ordering::Release);
    }

    pub(super) fn is_ill(&self) -> bool {
        matches!(*self.condition.borrow(), EtcdCondition::Ill { .. })
    }

    /// Notes how it does, and says in the log when that has changed.
    pub(super) fn note(&self, now: EtcdCondition) {
        let changed = self.condition.send_if_modified(|condition| {
            let turned = std::mem::discriminant(condition) != std::mem::discriminant(&now);
            *condition = now.clone();
            turned
        });
        if changed {
            match &now {
                EtcdCondition::Ill { why } => tracing::warn!(server = %self.address, why, "an etcd server does not answer"),
                EtcdCondition::Well => tracing::info!(server = %self.address, "an etcd server answers"),
                EtcdCondition::Unknown => {}
            }
        }
    }
}

async fn client(recipe: &tonic::transport::Endpoint) -> Result<Client, Error> {
    // `require_leader`: a server that has lost its leader says so instead of letting a call wait.
    let options = ConnectOptions::new().with_require_leader(true).with_auto_token_refresh(true);
    let channel = etcd_client::Channel::Tonic(recipe.connect_lazy());
    // Without a user this asks nothing of the server.
    Client::from_channel(channel, Some(options)).await.map_err(|error| misconfigured(format!("etcd cannot be called: {error}")))
}

/// A token that runs out later is renewed by the client with the same user.
async fn log_in(client: &mut Client, user: &EtcdUser) -> Result<(), etcd_client::Error> {
    client.update_user(Some((user.name.clone(), user.password.clone()))).await
}

fn tls_config(tls: &EtcdTls) -> ClientTlsConfig {
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
    if let Some((certificate, key)) = &tls.identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    if let Some(name) = &tls.server_name {
        config = config.domain_name(name);
    }
    config
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}
