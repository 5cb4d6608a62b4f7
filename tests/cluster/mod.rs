//! The whole of it as processes: three etcd, three Kafka, PostgreSQL, the provider, replicas of the control plane, proxies and consumers, joined by
//! mutual TLS and through fault proxies.
//!
//! # Layout
//! - `shape`: how many of each, and with which bounds. `role`: one process of ours. `wiring`: addresses, ports and the ways between them.
//! - `settings`: the file that each role reads. This file: starting all, and what an operator does to it.

mod role;
mod settings;
mod shape;
mod wiring;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::environment::{clean, program};
use crate::oracle::configuration;
use crate::oracle::provider::Provider;
use crate::oracle::rows::Source;
use crate::process::wait_until;
use crate::random::Random;
use crate::servers::{Authority, Etcd, EtcdSecurity, Kafka, KafkaSetup, Postgres};
pub use role::Role;
pub use shape::Shape;
pub use wiring::Ways;

/// One command of an operator, at most.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Partitions of the topic of usage: several for each consumer.
const PARTITIONS: &str = "6";

/// From the start of a role until it serves, on a busy machine with everything else starting.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The running cluster. Dropping it kills every process.
pub struct Cluster {
    /// Where all its files are.
    pub folder: PathBuf,
    /// The store.
    pub etcd: Etcd,
    /// The way of usage.
    pub kafka: Kafka,
    /// The ledger.
    pub postgres: Postgres,
    /// Who answers, and its records.
    pub provider: Provider,
    /// Replicas of the control plane.
    pub controls: Vec<Role>,
    /// What callers call.
    pub proxies: Vec<Role>,
    /// Consumers of usage.
    pub consumers: Vec<Role>,
    /// The ways that can be cut.
    pub ways: Ways,
    /// Who signs for all.
    pub authority: Authority,
    /// An API key.
    pub key: String,
    token_file: PathBuf,
    commands: u32,
}

/// What a command of an operator came to.
#[derive(Debug)]
pub struct Commanded {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub printed: String,
    /// What it printed as an error.
    pub complained: String,
    /// How long it took.
    pub took: Duration,
}

impl Cluster {
    /// Starts everything below `folder`, gives it the configuration of the oracle and waits until every proxy has it.
    pub fn start(folder: &Path, shape: &Shape, seed: u64) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let kafka = KafkaSetup { nodes: shape.kafka, is_secure: false, through: Some(seed) };
        let mut cluster = {
            let etcd = Etcd::start(&folder.join("etcd"), shape.etcd, &EtcdSecurity::Plain)?;
            let kafka = Kafka::start(&folder.join("kafka"), kafka)?;
            let postgres = Postgres::start(&folder.join("postgres"))?;
            let provider = Provider::start(folder)?;
            let wiring = wiring::Wiring::new(folder, shape, &etcd, seed)?;
            let token_file = folder.join("operator-token");
            run(folder, "secrets", &["secrets", "new", "operator-token", &text(&token_file)])?;
            run(folder, "secrets", &["secrets", "new", "pepper", &text(&wiring.pepper_file)])?;
            let ledger = postgres.create_database("ledger")?;
            run(folder, "migrate", &["migrate", "--store", &wiring::Wiring::store(&etcd), "--ledger", &ledger])?;
            run(folder, "kafka-init", &["kafka", "init", "--kafka-brokers", &kafka.brokers(), "--partitions", PARTITIONS])?;
            let to = settings::Surroundings { shape, wiring: &wiring, kafka: &kafka, ledger: &ledger, token_file: &token_file, folder };
            let (controls, proxies, consumers) = (to.controls()?, to.proxies()?, to.consumers()?);
            let (ways, authority) = wiring.into_parts();
            let (folder, key) = (folder.to_owned(), String::new());
            Self { folder, etcd, kafka, postgres, provider, controls, proxies, consumers, ways, authority, key, token_file, commands: 0 }
        };
        cluster.serve(seed)?;
        Ok(cluster)
    }

    fn serve(&mut self, seed: u64) -> Result<()> {
        for role in &mut self.controls {
            role.start()?;
        }
        for role in &mut self.controls {
            role.wait_ready(READY_LIMIT)?;
        }
        let (documents, key) = configuration::write(&self.folder, &self.provider.base_url, &mut Random::new(seed))?;
        self.key = key;
        let applied = self.operator(&["apply", "-f", &text(&documents)])?;
        ensure!(applied.status.success(), "the configuration was refused: {}{}", applied.printed, applied.complained);
        for role in self.proxies.iter_mut().chain(&mut self.consumers) {
            role.start()?;
        }
        for role in self.proxies.iter_mut().chain(&mut self.consumers) {
            role.wait_ready(READY_LIMIT)?;
        }
        Ok(())
    }

    /// Runs an operator's command against the first replica that runs.
    pub fn operator(&mut self, arguments: &[&str]) -> Result<Commanded> {
        let number = self.running()?;
        self.operator_at(number, arguments)
    }

    /// Runs an operator's command against this replica.
    pub fn operator_at(&mut self, control: usize, arguments: &[&str]) -> Result<Commanded> {
        self.commands += 1;
        let admin = self.controls[control].address("admin")?.to_string();
        let token_file = text(&self.token_file);
        let all = [arguments, &["--admin", &admin, "--token-file", &token_file]].concat();
        command(&self.folder, &format!("operator-{}", self.commands), &all)
    }

    fn running(&mut self) -> Result<usize> {
        self.controls.iter_mut().position(|role| role.node.is_running()).context("no replica of the control plane runs")
    }

    /// Where the ledger is asked for now.
    pub fn ledger(&mut self) -> Result<Source> {
        let number = self.running()?;
        Ok(Source::Admin { server: self.controls[number].address("admin")?, token_file: self.token_file.clone() })
    }

    /// Where a proxy answers.
    pub fn http(&self, proxy: usize) -> Result<SocketAddr> {
        self.proxies[proxy].address("http")
    }

    /// The spool of a proxy.
    pub fn spool(&self, proxy: usize) -> PathBuf {
        self.folder.join(format!("proxy-{proxy}/state/spool"))
    }
}

/// Runs the product's command line, which must succeed.
fn run(folder: &Path, name: &str, arguments: &[&str]) -> Result<Commanded> {
    let done = command(folder, name, arguments)?;
    ensure!(done.status.success(), "`waybill {}` ended with {}: {}{}", arguments.join(" "), done.status, done.printed, done.complained);
    Ok(done)
}

fn command(folder: &Path, name: &str, arguments: &[&str]) -> Result<Commanded> {
    let commands = folder.join("commands");
    fs::create_dir_all(&commands)?;
    let (out, error) = (commands.join(format!("{name}.out")), commands.join(format!("{name}.err")));
    let mut command = Command::new(program("waybill")?);
    clean(&mut command);
    command.args(arguments).stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&error)?);
    let start = Instant::now();
    let mut child = command.spawn().context("starting `waybill`")?;
    let status = match wait_until(&format!("`waybill {}`", arguments.join(" ")), COMMAND_LIMIT, || Ok(child.try_wait()?)) {
        Ok(status) => status,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    };
    let read = |file: &Path| fs::read_to_string(file).unwrap_or_default();
    Ok(Commanded { status, printed: read(&out), complained: read(&error), took: start.elapsed() })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
