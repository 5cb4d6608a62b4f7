//! PostgreSQL: one server, with a database cluster of its own. It refuses to run as root; then it runs as the user `postgres`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::found::{Found, Missing};
use super::node::Node;
use super::ports::PortBlock;
use crate::environment::clean;
use crate::process::{Launch, wait_until};

/// From its start until it takes connections, with what it has to recover.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Backends outlive a killed server for a moment, and while they do its successor refuses to start.
const BACKENDS_LIMIT: Duration = Duration::from_secs(20);

/// Whom it runs as when the test is root.
const USER: &str = "postgres";

/// A running server. Dropping it kills it.
pub struct Postgres {
    node: Node,
    bin: PathBuf,
    version: String,
    port: u16,
    data: PathBuf,
    _ports: PortBlock,
}

impl Postgres {
    /// Makes a database cluster below `folder` and serves it.
    pub fn start(folder: &Path) -> Result<Self> {
        let found = Found::of("postgres")?;
        let bin = found.bin.ok_or_else(|| Missing { server: "postgres", reason: "its record names no folder".to_owned() })?;
        let mut ports = PortBlock::lock()?;
        let port = ports.take()?;
        let own = folder.join("postgres");
        let data = own.join("data");
        fs::create_dir_all(&data)?;
        if is_root()? {
            printed(Command::new("chown").arg(USER).arg(&own).arg(&data))?;
        }
        let (program, arguments) = as_user(bin.join("initdb"))?;
        // No file is synced, here and later: a kill takes nothing from the system's cache, and no test takes the machine's power away.
        let options = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"];
        printed(Command::new(program).args(arguments).arg("-D").arg(&data).args(options).current_dir(&own))?;
        let (program, arguments) = as_user(bin.join("postgres"))?;
        let socket = format!("unix_socket_directories={}", own.display());
        let launch = Launch::new(program).args(arguments).args([Path::new("-D"), &data]).args([
            "-p",
            &port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            &socket,
        ]);
        let launch = launch.args(["-c", "fsync=off", "-c", "shared_buffers=64MB", "-c", "max_connections=200"]);
        let node = Node::new("postgres", launch, &own)?;
        let mut postgres = Self { node, bin, version: found.version.unwrap_or_default(), port, data, _ports: ports };
        postgres.restart()?;
        Ok(postgres)
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The port that it listens on, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where a database is, without a password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database.
    pub fn create_database(&self, name: &str) -> Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""))?;
        Ok(self.url(name))
    }

    /// Runs statements and gives the rows as text, fields parted by `|`.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let port = self.port.to_string();
        let connection = ["-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", database];
        let mut command = Command::new(self.bin.join("psql"));
        printed(command.args(connection).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements]))
    }

    /// Its process: to kill, pause, resume.
    pub fn node(&mut self) -> &mut Node {
        &mut self.node
    }

    /// Starts a server that was killed, on its port and files, and waits until it takes connections.
    pub fn restart(&mut self) -> Result<()> {
        let start = Instant::now();
        self.node.start()?;
        wait_until("PostgreSQL to take connections", READY_LIMIT, || {
            if !self.node.is_running() && start.elapsed() < BACKENDS_LIMIT && self.printed_last().contains("shared memory block") {
                self.node.kill()?;
                self.node.start()?;
            }
            self.node.still_runs()?;
            let mut asked = Command::new(self.bin.join("pg_isready"));
            clean(&mut asked);
            let status = asked.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).stdin(Stdio::null()).status()?;
            Ok(status.success().then_some(()))
        })
        .with_context(|| format!("serving {}", self.data.display()))
    }

    fn printed_last(&self) -> String {
        let printed = self.node.printed();
        let lines: Vec<&str> = printed.lines().collect();
        lines[lines.len().saturating_sub(4)..].join("\n")
    }
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// The program and its first arguments, by a user whom PostgreSQL accepts. `setpriv` becomes the program, so its process id stays.
fn as_user(program: PathBuf) -> Result<(PathBuf, Vec<OsString>)> {
    if !is_root()? {
        return Ok((program, Vec::new()));
    }
    let user = [format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()];
    Ok((PathBuf::from("setpriv"), user.into_iter().map(Into::into).chain([program.into()]).collect()))
}

fn printed(command: &mut Command) -> Result<String> {
    clean(command);
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("starting {:?}", command.get_program()))?;
    ensure!(done.status.success(), "{:?} ended with {}: {}", command.get_program(), done.status, String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
}
