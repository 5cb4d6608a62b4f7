//! What `waybill proxy` is told.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waybill_kafka::KafkaSettings;
use waybill_proxy::{Limits, SpoolFull};

use super::{
    control::{ops_listen, peppers},
    fault::Contradictions,
    places::{Tls, kafka},
    values::{Address, PepperFile, Period},
};

/// Settings of `waybill proxy`: what applications call.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// Name of this proxy, as in its certificate; by default the host's. It stays the same over restarts.
    #[serde(default)]
    pub name: Option<String>,
    /// Sync addresses of the control plane, HOST:PORT each; one of them is taken at random.
    pub control: Vec<Address>,
    #[serde(default)]
    pub tls: Tls,
    /// No certificates between control plane and proxies. On loopback only.
    #[serde(default)]
    pub insecure_sync: bool,
    /// Folder of the spool and of the last configuration that was known to be good. It belongs to one process at a time.
    pub state: PathBuf,
    /// Files with the peppers that API keys are recognised with: the same as the control plane's.
    pub pepper_files: Vec<PepperFile>,
    /// Where applications call.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// Worker threads; by default one per core.
    #[serde(default)]
    pub workers: Option<usize>,
    /// Intents and ends are brought to the disk before what follows them is seen outside: nothing is lost when the machine dies, for 5 ms each.
    #[serde(default)]
    pub strict: bool,
    #[serde(default)]
    pub spool: Spool,
    /// Limits of the data plane by name, for example stall_time=90s; `data-plane/README.md` has the table.
    #[serde(default)]
    pub limits: BTreeMap<String, String>,
    #[serde(default)]
    pub usage: Usage,
    #[serde(default)]
    pub kafka: KafkaSettings,
    #[serde(default)]
    pub drain: Drain,
    /// Health, readiness, metrics.
    #[serde(default = "ops_listen")]
    pub ops_listen: SocketAddr,
    /// A file that is written (0600) once requests can be answered: JSON with the addresses.
    #[serde(default)]
    pub ready_file: Option<PathBuf>,
}

/// How much disk the spool takes.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spool {
    /// Most bytes of the spool; at the bound, requests are refused with 503.
    pub bytes: u64,
    /// Bytes of a segment of the spool.
    pub segment_bytes: u32,
    /// What becomes of requests when the spool is full: `block` refuses them with 503, `allowUnbilled` serves them without a record, and nobody is ever billed for them.
    pub full: Full,
}

/// See [`Spool`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Full {
    #[default]
    Block,
    AllowUnbilled,
}

impl From<Full> for SpoolFull {
    fn from(full: Full) -> Self {
        match full {
            Full::Block => Self::Block,
            Full::AllowUnbilled => Self::AllowUnbilled,
        }
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self { bytes: 8 << 30, segment_bytes: 64 << 20, full: Full::Block }
    }
}

/// The way of usage events into the ledger.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Usage {
    /// `kafka`, with the control plane as the second way; or `ingest`: by the control plane alone, for a cluster without Kafka.
    pub transport: Transport,
    /// When Kafka has taken nothing for so long while events wait, they also go by the control plane.
    pub silence: Period,
}

impl Default for Usage {
    fn default() -> Self {
        Self { transport: Transport::default(), silence: Period(Duration::from_secs(30)) }
    }
}

/// See [`Usage`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    #[default]
    Kafka,
    Ingest,
}

/// How the process ends: not ready, `delay`, no new connections, `limits.drain_time` for open requests, `flush` for the spool.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// Between not being ready and taking no new connections: what a load balancer needs to notice.
    pub delay: Period,
    /// What the spool is given to be emptied once all requests have ended. What is left then stays in it.
    pub flush: Period,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Period(Duration::ZERO), flush: Period(Duration::from_secs(60)) }
    }
}

fn listen() -> SocketAddr {
    ([127, 0, 0, 1], 8080).into()
}

impl Proxy {
    /// The limits with what was set of them.
    pub fn limits(&self) -> Result<Limits, String> {
        let mut limits = Limits::default();
        for (name, value) in &self.limits {
            limits.set(&format!("{name}={value}")).map_err(|error| error.to_string())?;
        }
        Ok(limits)
    }

    /// What cannot be meant.
    pub fn contradictions(&self) -> Contradictions {
        let mut faults = Contradictions::default();
        self.tls.contradictions(self.insecure_sync, &mut faults);
        if self.control.is_empty() {
            faults.push(("control", "names no address".to_owned()));
        }
        peppers(&self.pepper_files, &mut faults);
        if let Err(message) = self.limits() {
            faults.push(("limits", message));
        }
        if self.workers == Some(0) {
            faults.push(("workers", "at least 1; leave it out for one per core".to_owned()));
        }
        if self.insecure_sync {
            for address in self.control.iter().filter(|address| !is_loopback(&address.0)) {
                let message =
                    format!("{address} is not loopback: without certificates nobody knows who answers there. Leave insecureSync out");
                faults.push(("control", message));
            }
        }
        match self.usage.transport {
            Transport::Kafka if !cfg!(feature = "cluster") => {
                let message = "this build does not speak to Kafka: take one with the feature `cluster`, or ingest";
                faults.push(("usage.transport", message.to_owned()));
            }
            Transport::Kafka if self.kafka.brokers.is_empty() => {
                let message = "names no broker. A cluster without Kafka has usage.transport: ingest";
                faults.push(("kafka.brokers", message.to_owned()));
            }
            Transport::Kafka => kafka(&self.kafka, &mut faults),
            Transport::Ingest if self.kafka != KafkaSettings::default() => {
                faults.push(("kafka", "means nothing with usage.transport: ingest".to_owned()));
            }
            Transport::Ingest => {}
        }
        faults
    }
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}
