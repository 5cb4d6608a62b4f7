//! What the core is given: the clock, randomness and secrets of the host, and what it may ask of running proxies.

use std::{
    env, fs, io,
    time::{SystemTime, UNIX_EPOCH},
};

use waybill_model::id::GenerationId;
use waybill_proto::{
    admin::v1::{ProxyStatus, RefusalRow},
    model::v1::SecretRef,
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

/// What runs beside the control plane and may be asked.
pub trait Running: Send + Sync {
    /// All proxies, by name. [`proxy_status`] makes one from the publisher's.
    fn proxies(&self) -> Vec<ProxyStatus>;

    /// The refusal of a request, while a proxy remembers it.
    fn refusal(&self, generation: GenerationId) -> Option<RefusalRow>;

    /// What is on its way to the ledger.
    fn backlog(&self) -> Backlog;
}

/// Nothing runs: the verbs on a state folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Running for Alone {
    fn proxies(&self) -> Vec<ProxyStatus> {
        Vec::new()
    }

    fn refusal(&self, _: GenerationId) -> Option<RefusalRow> {
        None
    }

    fn backlog(&self) -> Backlog {
        Backlog::default()
    }
}

/// A proxy as the publisher knows it, in the words of the contract.
#[must_use]
pub fn proxy_status(known: waybill_publish::ProxyStatus) -> ProxyStatus {
    ProxyStatus {
        proxy: known.proxy,
        build: known.build,
        applied_revision: known.applied_revision,
        deny_epoch: known.deny_epoch,
        stale_seconds: known.stale_seconds,
        rejected: known.rejected,
        warnings: known.warnings,
        connected: known.connected,
        ..ProxyStatus::default()
    }
}
