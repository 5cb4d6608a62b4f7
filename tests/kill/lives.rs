//! The product's lives: it is started, serves, dies, and is started again on what it has left.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use waybill_tests::{Launch, Process, Ready, program};

use crate::script::{Death, RANDOM};
use waybill_tests::oracle::load::Door;
use waybill_tests::oracle::remains::Remains;
use waybill_tests::oracle::rows::{self, Source};

/// How long a start may take before the run is given up. What it should take is another figure.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long a process under load may take to pass a place.
const PASSING_LIMIT: Duration = Duration::from_secs(30);

/// How long a process may take to end when it is told to. Open requests take a tenth of a second at most.
const END_LIMIT: Duration = Duration::from_secs(20);

/// How long it serves before it is told to end, or is killed so that the next start has something to recover.
const SERVES: Duration = Duration::from_millis(500);

/// How often a start is tried that does not pass its place: with nothing to recover, recovery passes none.
const TRIES: u32 = 5;

/// Small, so that logs roll under this load; large enough that one log can hold the intents of all callers at once.
const SEGMENT_BYTES: u32 = 384 << 10;

/// A life that is over.
#[derive(Clone, Debug)]
pub struct Life {
    /// Name of its death, under which it is counted.
    pub death: &'static str,
    /// From the start of the process until everything served; nothing if it died before.
    pub ready: Option<Duration>,
    /// How long it served.
    pub served: Duration,
    /// Somebody or something killed it.
    pub is_killed: bool,
}

/// All lives of one state folder.
pub struct Lives {
    folder: PathBuf,
    config: PathBuf,
    door: Arc<Door>,
    pub lives: Vec<Life>,
    pub remains: Remains,
    /// What was to happen and did not.
    pub failures: Vec<String>,
}

/// A process that was started, as far as it came.
struct Running {
    process: Process,
    ready: Option<Duration>,
    opened: Option<Instant>,
    status: Option<ExitStatus>,
}

impl Lives {
    /// Nothing yet. The state lies below `folder`.
    pub fn new(folder: &Path, config: &Path, door: &Arc<Door>) -> Self {
        let (folder, config, door) = (folder.to_owned(), config.to_owned(), Arc::clone(door));
        Self { folder, config, door, lives: Vec::new(), remains: Remains::default(), failures: Vec::new() }
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Lives until this death, in as many lives as it takes.
    pub fn until(&mut self, death: &Death) -> Result<()> {
        match death {
            Death::Passing { place, count } => self.passing(place, *count),
            Death::Starting { place, count } => self.starting(place, *count),
            Death::StartingUntilItLives { place } => self.starting_until_it_lives(place),
            Death::Ending { place } => self.ending(place),
            Death::At { after } => {
                let running = self.start("", |elapsed, _| elapsed >= *after)?;
                self.kill(running, death.name())
            }
            Death::ThenOffline => self.then_offline(death.name()),
            Death::Told => self.told(death.name()),
        }
    }

    fn passing(&mut self, place: &'static str, count: u32) -> Result<()> {
        let limit = PASSING_LIMIT.as_millis();
        let running = self.start(&named(place, count), |_, ready| ready.is_some_and(|ready| ready.elapsed().as_millis() > limit))?;
        if running.status.is_none() {
            self.failures.push(format!("{place} was not passed {count} times within {PASSING_LIMIT:?} of load"));
        }
        self.kill(running, place)
    }

    fn starting(&mut self, place: &'static str, count: u32) -> Result<()> {
        for _ in 0..TRIES {
            if self.dies_starting(place, count)? {
                return Ok(());
            }
        }
        self.failures.push(format!("{place} was not passed {count} times by any of {TRIES} starts"));
        Ok(())
    }

    fn starting_until_it_lives(&mut self, place: &'static str) -> Result<()> {
        let mut deaths = 0;
        while self.dies_starting(place, 1)? {
            deaths += 1;
            if deaths > 20 {
                bail!("a start that dies at {place} has not come to an end {deaths} times");
            }
        }
        if deaths == 0 {
            self.failures.push(format!("{place} was passed by no start"));
        }
        Ok(())
    }

    /// One start that is to die at a place. If it does not, it serves for a moment, is killed and counted as any random death.
    fn dies_starting(&mut self, place: &'static str, count: u32) -> Result<bool> {
        let running = self.start(&named(place, count), |_, ready| ready.is_some_and(|ready| ready.elapsed() > SERVES))?;
        let has_died = running.status.is_some();
        self.kill(running, if has_died { place } else { RANDOM })?;
        Ok(has_died)
    }

    fn ending(&mut self, place: &'static str) -> Result<()> {
        let mut running = self.start(&named(place, 1), |_, ready| ready.is_some_and(|ready| ready.elapsed() > SERVES))?;
        let status = running.process.terminate(END_LIMIT)?;
        running.status = Some(status);
        if status.signal() != Some(libc::SIGKILL) {
            self.failures.push(format!("{place} was not passed on the way to the end: {status}"));
        }
        self.kill(running, place)
    }

    fn then_offline(&mut self, name: &'static str) -> Result<()> {
        let running = self.start("", |_, ready| ready.is_some_and(|ready| ready.elapsed() > SERVES))?;
        self.kill(running, name)?;
        for fault in rows::verify(&Source::State(self.state()), &self.folder)? {
            self.failures.push(format!("`ledger verify` on what a dead process has left: {fault}"));
        }
        Ok(())
    }

    fn told(&mut self, name: &'static str) -> Result<()> {
        let mut running = self.start("", |_, ready| ready.is_some_and(|ready| ready.elapsed() > 2 * SERVES))?;
        let status = running.process.terminate(END_LIMIT)?;
        if !status.success() {
            self.failures.push(format!("told to end, the process ended with {status}: {}", running.process.printed()));
        }
        self.over(&running, name, false);
        Ok(())
    }

    /// Starts the process and opens the door when it serves. Returns when it has died or `is_enough` says so, from the time since its start
    /// and the instant from which it served.
    fn start(&mut self, failpoint: &str, is_enough: impl Fn(Duration, Option<Instant>) -> bool) -> Result<Running> {
        let ready_file = self.folder.join("ready.json");
        if ready_file.exists() {
            fs::remove_file(&ready_file)?;
        }
        let launch = self.launch(&ready_file, failpoint)?;
        let start = Instant::now();
        let process = launch.spawn(&self.folder.join("waybill.log"))?;
        let mut running = Running { process, ready: None, opened: None, status: None };
        loop {
            if running.opened.is_none()
                && let Some(ready) = fs::read(&ready_file).ok().and_then(|text| serde_json::from_slice::<Ready>(&text).ok())
            {
                running.ready = Some(start.elapsed());
                running.opened = Some(Instant::now());
                self.door.open(0, ready.http, self.lives.len());
            }
            running.status = running.process.ended()?;
            if let Some(status) = running.status {
                self.expect_killed(status, &running.process)?;
                return Ok(running);
            }
            if is_enough(start.elapsed(), running.opened) {
                return Ok(running);
            }
            if running.opened.is_none() && start.elapsed() > START_LIMIT {
                bail!("it does not serve {START_LIMIT:?} after its start; it printed:\n{}", running.process.printed());
            }
            sleep(Duration::from_millis(1));
        }
    }

    fn launch(&self, ready_file: &Path, failpoint: &str) -> Result<Launch> {
        let launch = Launch::new(program("waybill")?)
            .args(["up", "--sandbox", "off", "--workers", "2", "--spool-segment-bytes", &SEGMENT_BYTES.to_string()])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
            .args([Path::new("--state"), &self.state(), Path::new("--config"), &self.config, Path::new("--ready-file"), ready_file]);
        // Every third life brings each record to the disk before it goes on, which is another way through the proxy to the same promise.
        let launch = if self.lives.len() % 3 == 2 { launch.args(["--strict"]) } else { launch };
        Ok(if failpoint.is_empty() { launch } else { launch.variable("WAYBILL_FAILPOINT", failpoint) })
    }

    /// A process that ends by itself is no death of this test, but the end of it.
    fn expect_killed(&self, status: ExitStatus, process: &Process) -> Result<()> {
        if status.signal() == Some(libc::SIGKILL) {
            return Ok(());
        }
        bail!("life {} ended with {status} by itself; it printed:\n{}", self.lives.len(), process.printed())
    }

    /// Makes sure that it is dead, and reads what it has left.
    fn kill(&mut self, mut running: Running, death: &'static str) -> Result<()> {
        if running.status.is_none() {
            running.process.kill()?;
        }
        self.over(&running, death, true);
        let spool = self.state().join("spool");
        if spool.exists() {
            self.remains.read(&spool).context("what a dead process has left")?;
        }
        Ok(())
    }

    fn over(&mut self, running: &Running, death: &'static str, is_killed: bool) {
        self.door.close(0);
        let served = running.opened.map_or(Duration::ZERO, |opened| opened.elapsed());
        self.lives.push(Life { death, ready: running.ready, served, is_killed });
    }
}

/// As the variable has it. Not every place counts its passages, and none needs to be told that the first is meant.
fn named(place: &str, count: u32) -> String {
    if count == 1 { place.to_owned() } else { format!("{place}:{count}") }
}
