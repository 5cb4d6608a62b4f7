//! The push protocol at scale: how long a change takes to every proxy, how many bytes it costs, how much memory a connected proxy does.
//!
//! The control plane is a process of its own, with its store in a file and its listener under mutual TLS, so that its memory and time are its
//! own. Proxies are streams that answer every push without looking into it, so that a thousand fit beside it; one is real.

#[path = "../../sim/certificates.rs"]
mod certificates;
mod control;
mod streams;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use waybill_peer::Role;

use crate::cores::Cores;
use crate::report::Report;
use certificates::Authority;
pub use control::{Size, serve};
use streams::{Fleet, Seen};
use waybill_tests::cpu;

/// Longest way of a change to the last of a thousand proxies, ms.
const APPLIED_REACH: f64 = 2_000.0;

/// Most memory of a connected proxy in the control plane, KiB.
const MEMORY_REACH: f64 = 100.0;

/// How many proxies a change goes to.
const FLEETS: [usize; 3] = [1, 100, 1_000];

/// How long a process is left alone before its memory is read.
const REST: Duration = Duration::from_secs(2);

/// The name that all streams' certificate allows.
const NAME: &str = "bench-*";

/// Runs all of it.
pub fn run(quick: bool, cores: &Cores, report: &mut Report) {
    let size = if quick { Size { endpoints: 1_000, keys: 10_000 } } else { Size { endpoints: 10_000, keys: 100_000 } };
    let changes = if quick { 5 } else { 20 };
    if let Err(error) = measure(size, changes, cores, report) {
        report.void("sync", "ms", Some(APPLIED_REACH), &error);
    }
}

fn measure(size: Size, changes: usize, cores: &Cores, report: &mut Report) -> Result<()> {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new());
    authority.files(folder.path(), Role::Control, &["bench"]);
    let mut control = Control::start(folder.path(), size, cores)?;
    let client = authority.credentials(Role::Proxy, &[NAME]);
    let mut fleet = Fleet::new(client, &control.address)?;
    let world = format!("{} endpoints, {} keys", size.endpoints, size.keys);

    let first = fleet.join_empty()?;
    report.add("sync.full.bytes", first.bytes as f64 / 1024.0 / 1024.0, "MiB", None, format!("{world}, {} messages", first.messages));
    report.add("sync.full.time", first.took_ms, "ms", None, "from the connection to the last byte");
    for proxies in FLEETS {
        let before = cpu::resident_kib(control.child.id())?;
        let joined = proxies.saturating_sub(fleet.len());
        fleet.join(joined, &first)?;
        if joined >= 500 {
            sleep(REST);
            let kib = (cpu::resident_kib(control.child.id())? as f64 - before as f64) / joined as f64;
            report.add("sync.memory.proxy", kib, "KiB/proxy", Some(MEMORY_REACH), format!("{joined} connected, mutual TLS"));
        }
        let seen = applied(&mut control, &mut fleet, changes)?;
        let reach = (proxies == 1_000).then_some(APPLIED_REACH);
        report.add(format!("sync.applied.{proxies}.p50"), seen.percentile(50), "ms", None, "commit → applied, 50 ms of it debounce");
        report.add(format!("sync.applied.{proxies}.p99"), seen.percentile(99), "ms", reach, "");
        if proxies == 1 {
            report.add("sync.delta.bytes", seen.bytes(), "B", None, "one endpoint changed");
        }
    }
    let resident = cpu::resident_kib(control.child.id())? as f64 / 1024.0;
    report.add("sync.memory.control", resident, "MiB", None, format!("{world}, {} proxies", fleet.len()));
    let real = fleet.real(&mut control, changes)?;
    report.add("sync.real.p50", real.percentile(50), "ms", None, "a proxy that checks, compiles and swaps");
    report.add("sync.real.p99", real.percentile(99), "ms", None, "");
    Ok(())
}

/// Makes changes one after the other, and waits for every stream each time.
fn applied(control: &mut Control, fleet: &mut Fleet, changes: usize) -> Result<Seen> {
    let mut seen = Seen::default();
    for _ in 0..changes {
        let (revision, began_us) = control.commit()?;
        fleet.wait(revision, began_us, &mut seen)?;
    }
    Ok(seen)
}

/// The control plane's process, and the pipe by which it is told to change something.
pub struct Control {
    child: Child,
    said: BufReader<ChildStdout>,
    orders: ChildStdin,
    address: String,
}

impl Control {
    fn start(folder: &std::path::Path, size: Size, cores: &Cores) -> Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", &cores.gateway]).arg(std::env::current_exe()?).arg("control").arg(folder);
        command.args([size.endpoints.to_string(), size.keys.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("the control plane's process")?;
        let said = BufReader::new(child.stdout.take().context("a pipe")?);
        let orders = child.stdin.take().context("a pipe")?;
        let mut control = Self { child, said, orders, address: String::new() };
        control.address = control.line()?;
        Ok(control)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the control plane's process has ended");
        Ok(line.trim_end().to_owned())
    }

    /// Changes one endpoint. The revision, and when the change began, microseconds since 1970.
    fn commit(&mut self) -> Result<(u64, u64)> {
        writeln!(self.orders, "commit")?;
        let line = self.line()?;
        let (revision, began_us) = line.split_once(' ').with_context(|| format!("`{line}` is no answer"))?;
        Ok((revision.parse()?, began_us.parse()?))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
