//! `waybill up` in a state folder of its own.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::{Launch, Process, wait_until};

/// What the ready file says.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Where applications call.
    pub http: SocketAddr,
    /// Where operators call (gRPC).
    pub admin: SocketAddr,
    /// Health and metrics.
    pub ops: SocketAddr,
    /// The first key; only at the first start in a state folder.
    pub api_key: Option<String>,
    /// Where the operator's token lies.
    pub operator_token_file: PathBuf,
}

/// How to start an instance. Every listener is on loopback with a port of the system's choice.
pub struct Up {
    launch: Launch,
    folder: PathBuf,
    ready: PathBuf,
}

impl Up {
    /// `program up` with its state, log and ready file below `folder`.
    pub fn new(program: impl Into<PathBuf>, folder: &Path) -> Self {
        let ready = folder.join("ready.json");
        let args: [OsString; 11] = [
            "up".into(),
            "--state".into(),
            folder.join("state").into(),
            "--listen".into(),
            "127.0.0.1:0".into(),
            "--admin-listen".into(),
            "127.0.0.1:0".into(),
            "--ops-listen".into(),
            "127.0.0.1:0".into(),
            "--ready-file".into(),
            ready.clone().into(),
        ];
        Self { launch: Launch::new(program).args(args), folder: folder.to_owned(), ready }
    }

    /// Changes how the process is started: more arguments, variables, cores.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(Launch) -> Launch) -> Self {
        self.launch = change(self.launch);
        self
    }

    /// Starts it and waits until everything serves. May be called again after the instance has ended: same state, new process.
    pub fn start(&self, limit: Duration) -> Result<Instance> {
        fs::create_dir_all(&self.folder)?;
        // A ready file of an earlier process would be taken for this one's.
        if self.ready.exists() {
            fs::remove_file(&self.ready)?;
        }
        let mut process = self.launch.spawn(&self.folder.join("log"))?;
        let ready = wait_until("the ready file", limit, || {
            // It may be seen before it is complete, hence a text that does not parse is not yet an error.
            let text = fs::read_to_string(&self.ready).unwrap_or_default();
            let ready = serde_json::from_str::<Ready>(&text).ok();
            if ready.is_none() {
                process.still_runs()?;
            }
            Ok(ready)
        })
        .with_context(|| format!("`waybill up` in {}", self.folder.display()))?;
        Ok(Instance { process, ready, state: self.folder.join("state") })
    }
}

/// A running `waybill up`.
pub struct Instance {
    /// Its process; dropping the instance kills it.
    pub process: Process,
    /// Its addresses and first key.
    pub ready: Ready,
    /// Its state folder.
    pub state: PathBuf,
}
