//! One process of ours: a replica of the control plane, a proxy, a consumer.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::client::{Client, Request};
use crate::environment::program;
use crate::process::{Launch, wait_until};
use crate::servers::Node;

/// One question to its ops listener.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// A process with its settings file, that may be running.
pub struct Role {
    /// The process: to kill, pause, resume, stop.
    pub node: Node,
    ready_file: PathBuf,
    addresses: BTreeMap<String, SocketAddr>,
    started: Instant,
}

impl Role {
    /// `waybill ROLE --config FILE`, with its files in `folder`. The addresses are those of its settings.
    pub(super) fn new(
        role: &str,
        name: &str,
        folder: &Path,
        settings: &serde_json::Value,
        addresses: BTreeMap<String, SocketAddr>,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let (file, ready_file) = (folder.join("settings.json"), folder.join("ready.json"));
        fs::write(&file, serde_json::to_vec_pretty(settings)?)?;
        let launch = Launch::new(program("waybill")?).args([role, "--config"]).args([&file]).args(["--ready-file"]).args([&ready_file]);
        Ok(Self { node: Node::new(name, launch, folder)?, ready_file, addresses, started: Instant::now() })
    }

    /// Starts it. It need not serve yet.
    pub fn start(&mut self) -> Result<()> {
        // One of an earlier process would be taken for this one's.
        if self.ready_file.exists() {
            fs::remove_file(&self.ready_file)?;
        }
        self.started = Instant::now();
        self.node.start()
    }

    /// Waits until it says that it serves. Gives the time since its start.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<Duration> {
        wait_until(&format!("{} to serve", self.node.name()), limit, || {
            self.node.still_runs()?;
            Ok(self.ready_file.exists().then_some(()))
        })?;
        Ok(self.started.elapsed())
    }

    /// One of its addresses: `http`, `admin`, `sync`, `ops`.
    pub fn address(&self, name: &str) -> Result<SocketAddr> {
        self.addresses.get(name).copied().with_context(|| format!("{} has no address `{name}`", self.node.name()))
    }

    /// Its metrics, as text.
    pub fn metrics(&self) -> Result<String> {
        let answer = Client::connect(self.address("ops")?, ASK_LIMIT)?.send(&Request::get("/metrics"))?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// The sum of all series of a metric; nothing when there is none.
    pub fn metric(&self, name: &str) -> Result<Option<f64>> {
        let text = self.metrics()?;
        let series = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        let values: Vec<f64> = series.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        Ok((!values.is_empty()).then(|| values.iter().sum()))
    }

    /// The status of its `/readyz`; nothing when it does not answer.
    pub fn readiness(&self) -> Option<u16> {
        let mut client = Client::connect(self.address("ops").ok()?, ASK_LIMIT).ok()?;
        Some(client.send(&Request::get("/readyz")).ok()?.head.status)
    }
}
