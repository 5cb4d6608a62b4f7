//! One process of a cluster, from start to death and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Launch, Process};

/// How long a server may take to end when it is asked to.
const END_LIMIT: Duration = Duration::from_secs(30);

/// A server that may be running. It is started with the same command each time, and its log goes on.
pub struct Node {
    name: String,
    launch: Launch,
    log: PathBuf,
    process: Option<Process>,
}

impl Node {
    /// Not started yet. Its log is `log` in `folder`, which is made.
    pub fn new(name: &str, launch: Launch, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { name: name.to_owned(), launch, log: folder.join("log"), process: None })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes its command for the next start.
    pub fn change(&mut self, change: impl FnOnce(Launch) -> Launch) {
        let launch = std::mem::replace(&mut self.launch, Launch::new(""));
        self.launch = change(launch);
    }

    /// Starts it. It need not be ready yet.
    pub fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("{} runs already", self.name);
        }
        self.process = Some(self.launch.spawn_again(&self.log)?);
        Ok(())
    }

    /// Ends it at once, as a crash would. Nothing happens to one that does not run.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().map(|_| ()),
            None => Ok(()),
        }
    }

    /// Asks it to end and waits for that.
    pub fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.terminate(END_LIMIT).map(|_| ()).with_context(|| format!("stopping {}", self.name)),
            None => Ok(()),
        }
    }

    /// Stops its clock, and that of its children (SIGSTOP): it holds its connections and says nothing.
    pub fn pause(&self) -> Result<()> {
        self.running()?.signal_all(libc::SIGSTOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.running()?.signal_all(libc::SIGCONT)
    }

    /// An error with the end of its log when it does not run.
    pub fn still_runs(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => process.still_runs().with_context(|| self.name.clone()),
            None => bail!("{} was not started, or was killed", self.name),
        }
    }

    /// True between its start and its end.
    pub fn is_running(&mut self) -> bool {
        self.still_runs().is_ok()
    }

    /// Its process.
    pub fn running(&self) -> Result<&Process> {
        self.process.as_ref().with_context(|| format!("{} does not run", self.name))
    }

    /// Its process, to be changed.
    pub fn running_mut(&mut self) -> Result<&mut Process> {
        self.process.as_mut().with_context(|| format!("{} does not run", self.name))
    }

    /// All that it has printed, in all its lives.
    pub fn printed(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
