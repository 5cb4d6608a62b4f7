//! What the core is given: the clock, randomness and secrets of the host, and what it may ask of running proxies.

use std::{
    env, fs, io,
    pin::Pin,
    time::{SystemTime, UNIX_EPOCH},
};

use waybill_model::id::GenerationId;
use waybill_proto::{
    admin::v1::{EndpointHealthRow, ProxyStatus, RefusalRow, ReplicaStatus},
    model::v1::SecretRef,
    sync::v1::ProxyState,
};

/// The host: what is not a function of the arguments.
pub trait Surroundings: Send + Sync {
    /// Microseconds since 1970.
    fn unix_us(&self) -> i64;

    /// Fills the bytes with randomness fit for keys.
    ///
    /// # Errors
    /// The system has none to give.
    fn random(&self, bytes: &mut [u8]) -> io::Result<()>;

    /// Reads the secret that a reference names, without white space at its ends.
    ///
    /// # Errors
    /// Why it is not to be had; says where it was looked for and never what was found.
    fn secret(&self, reference: &SecretRef) -> Result<String, String>;
}

/// This process: its clock, its environment, its files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host;

/// A file with more bytes than this holds no secret.
const SECRET_BYTES: u64 = 64 * 1024;

impl Surroundings for Host {
    fn unix_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }

    fn secret(&self, reference: &SecretRef) -> Result<String, String> {
        let text = if reference.env.is_empty() {
            let fault = |error: io::Error| format!("the control plane cannot read the file `{}`: {error}", reference.file);
            let bytes = fs::metadata(&reference.file).map_err(fault)?.len();
            if bytes > SECRET_BYTES {
                return Err(format!("the file `{}` has {bytes} bytes: that is no key", reference.file));
            }
            fs::read_to_string(&reference.file).map_err(fault)?
        } else {
            let missing = |_| format!("the variable `{}` is not set in the environment of the control plane", reference.env);
            env::var(&reference.env).map_err(missing)?
        };
        Ok(text.trim().to_owned())
    }
}

/// What has been used and is not in the ledger yet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Backlog {
    /// Bytes of the spools.
    pub spool_bytes: u64,
    /// Events in the spools that the ledger has not yet.
    pub lag_events: u64,
}

/// The fleet: all replicas, and all proxies that any of them serves or has served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// The replicas of the control plane, by name; also those that did not answer.
    pub replicas: Vec<ReplicaStatus>,
    /// All proxies by name, in the operators' words.
    pub proxies: Vec<ProxyStatus>,
    /// The same proxies, with all that they told: in the same order.
    pub states: Vec<ProxyState>,
}

impl Fleet {
    /// A fleet of these replicas and proxies; each proxy comes with the name of the replica that knows it best.
    #[must_use]
    pub fn new(replicas: Vec<ReplicaStatus>, proxies: Vec<(String, ProxyState)>) -> Self {
        let (shown, states) = proxies.into_iter().map(|(replica, state)| (proxy_status(replica, &state), state)).unzip();
        Self { replicas, proxies: shown, states }
    }
}

/// An answer to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What runs beside the control plane and may be asked.
pub trait Running: Send + Sync {
    /// All replicas and all proxies. Other replicas are asked, so it may take about a second.
    fn fleet(&self) -> Answer<'_, Fleet>;

    /// The health of endpoints: of a name, the Endpoint's or those of the Model's endpoints; of an empty name, all of which something is known.
    fn health(&self, name: &str) -> Vec<EndpointHealthRow>;

    /// The refusal of a request, while a proxy of this process remembers it.
    fn refusal(&self, generation: GenerationId) -> Option<RefusalRow>;

    /// What is on its way to the ledger.
    fn backlog(&self) -> Backlog;
}

/// Nothing runs: the verbs on a state folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Running for Alone {
    fn fleet(&self) -> Answer<'_, Fleet> {
        Box::pin(async { Fleet::default() })
    }

    fn health(&self, _: &str) -> Vec<EndpointHealthRow> {
        Vec::new()
    }

    fn refusal(&self, _: GenerationId) -> Option<RefusalRow> {
        None
    }

    fn backlog(&self) -> Backlog {
        Backlog::default()
    }
}

/// A proxy as a replica knows it, in the operators' words.
fn proxy_status(replica: String, known: &ProxyState) -> ProxyStatus {
    let spool = known.spool.clone().unwrap_or_default();
    ProxyStatus {
        proxy: known.proxy.clone(),
        build: known.build.clone(),
        applied_revision: known.applied_revision,
        deny_epoch: known.deny_epoch,
        stale_seconds: known.stale_seconds,
        rejected: known.rejected.clone(),
        warnings: known.warnings.clone(),
        connected: known.connected,
        replica,
        spool_bytes: spool.spool_bytes,
        spool_bound_bytes: spool.spool_bound_bytes,
        waiting_events: spool.waiting_events,
        unbilled_requests: spool.unbilled_requests,
    }
}
