//! The upstream of everything that is measured: the sandbox's fast responder as a process of its own, on the load's core.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use waybill_tests::{Launch, Process, program};

use crate::target::LIMIT;
use waybill_tests::cpu;

/// The models that are asked for; the sandbox says what each answers.
pub const MODELS: [&str; 6] = ["bench-1k", "bench-10k", "bench-160k", "bench-burst-200", "bench-paced-100x1ms", "bench-idle"];

/// The running mock.
pub struct Mock {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
}

impl Mock {
    /// Starts it on these cores.
    pub fn start(folder: &Path, cores: &str) -> Result<Self> {
        let launch = Launch::new(program("waybill-sandbox")?).args(["--fast", "--listen", "127.0.0.1:0"]).cores(cores);
        let mut process = launch.spawn(&folder.join("mock.log"))?;
        let base = process.line("sandbox: http://", LIMIT)?;
        let address = base.trim_end_matches("/v1").parse().with_context(|| format!("the mock's address in {base}"))?;
        Ok(Self { address, process })
    }

    /// CPU that it has used, ns.
    pub fn process_ns(&self) -> Result<u64> {
        cpu::process_ns(self.process.id())
    }
}
