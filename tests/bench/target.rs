//! Whom the load goes to: the bare proxy, nginx, the product; each a process on the gateway's core in front of the same mock.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use waybill_tests::{Client, Instance, Launch, Process, Request, program};

use crate::case::Case;
use crate::gateway;
use crate::ledger::Ledger;
use crate::load::{self, Done, Load};
use crate::nginx;
use waybill_tests::cpu;

/// How long a process may take to start or to end.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The threads that carry requests: workers, and those that bring their spools to the disk.
const DATA_PLANE: [&str; 2] = ["wb-worker", "wb-spool"];

/// Least share of the CPU of a window that threads must have used which live at its end.
const LIVING: f64 = 0.95;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The bare hyper proxy, the unit of measure.
    Hyper,
    /// nginx.
    Nginx,
    /// `waybill up`, with keys, routing, intents, events and metrics.
    Waybill,
    /// The same, asked in Anthropic's dialect before a provider of OpenAI's: everything is translated.
    Across,
}

impl Kind {
    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::Nginx => "nginx",
            Self::Waybill => "waybill",
            Self::Across => "across",
        }
    }

    /// It is the product.
    pub fn is_product(self) -> bool {
        matches!(self, Self::Waybill | Self::Across)
    }
}

/// What one window of load has cost.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Requests and time.
    pub done: Done,
    /// CPU of the data plane's threads, ns. Of other proxies: the whole process.
    pub data_plane_ns: u64,
    /// CPU of the whole process until its ledger had every event, ns.
    pub process_ns: u64,
}

/// CPU used since the start of the process, ns.
struct Used {
    data_plane_ns: u64,
    /// All threads that live now.
    threads_ns: u64,
    process_ns: u64,
}

enum Role {
    Proxy(Process),
    Product(Box<Instance>, Ledger),
}

/// A running target.
pub struct Target {
    /// Which one it is.
    pub kind: Kind,
    address: SocketAddr,
    role: Role,
}

impl Target {
    /// Starts one on these cores, with its files in `folder`.
    pub fn start(kind: Kind, upstream: SocketAddr, folder: &Path, cores: &str) -> Result<Self> {
        match kind {
            Kind::Hyper => {
                let launch = Launch::new(program("waybill-bench")?).args(["reference", &upstream.to_string()]).cores(cores);
                let mut process = launch.spawn(&folder.join("hyper.log"))?;
                let address = process.line("listening ", LIMIT)?.parse()?;
                Ok(Self { kind, address, role: Role::Proxy(process) })
            }
            Kind::Nginx => {
                let file: PathBuf = nginx::installed().context("nginx is not installed")?;
                let (process, address) = nginx::start(&file, upstream, folder, cores)?;
                Ok(Self { kind, address, role: Role::Proxy(process) })
            }
            Kind::Waybill | Kind::Across => {
                let instance = gateway::up(upstream, &folder.join(kind.name()), cores)?.start(LIMIT)?;
                let ledger = Ledger::new(instance.ready.ops)?;
                Ok(Self { kind, address: instance.ready.http, role: Role::Product(Box::new(instance), ledger) })
            }
        }
    }

    /// What the caller names the mock's model.
    pub fn model(&self, model: &str) -> String {
        match self.kind {
            Kind::Waybill | Kind::Across => gateway::model(model),
            Kind::Hyper | Kind::Nginx => model.to_owned(),
        }
    }

    /// The request of a case.
    pub fn case_request(&self, case: &Case) -> Result<Request> {
        let model = self.model(case.model);
        self.request(if self.kind == Kind::Across { case.messages_body(&model) } else { case.body(&model) })
    }

    /// A request with this body, which is in the dialect that this target is asked in.
    pub fn request(&self, body: String) -> Result<Request> {
        let path = if self.kind == Kind::Across { "/v1/messages" } else { "/v1/chat/completions" };
        let request = Request::post(path, body);
        Ok(match &self.role {
            Role::Proxy(_) => request,
            Role::Product(instance, _) => request.bearer(instance.ready.api_key.as_deref().context("the first start gives a key")?),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn process(&self) -> u32 {
        match &self.role {
            Role::Proxy(process) => process.id(),
            Role::Product(instance, _) => instance.process.id(),
        }
    }

    /// A connection for a request that is looked at closely.
    pub fn client(&self) -> Result<Client> {
        Client::connect(self.address, LIMIT)
    }

    /// Tells it how many requests were made outside of [`Target::measure`], and waits until they are in its ledger.
    pub fn settle(&mut self, requests: u64) -> Result<()> {
        match &mut self.role {
            Role::Proxy(_) => Ok(()),
            Role::Product(_, ledger) => ledger.settle(requests),
        }
    }

    /// Puts a load on it. The CPU is read when everything before was settled, and when everything of this load is.
    pub fn measure(&mut self, load: &Load, time: Duration) -> Result<Reading> {
        let before = self.used()?;
        let done = load::run(load, time).with_context(|| format!("load on {}", self.kind.name()))?;
        self.settle(done.requests).with_context(|| format!("after {} requests", done.requests))?;
        let after = self.used()?;
        let process_ns = after.process_ns - before.process_ns;
        // What ended threads have used is in the process's time only: if it were much, nobody could say which share was the data plane's.
        let living = after.threads_ns.saturating_sub(before.threads_ns) as f64;
        ensure!(
            living >= LIVING * process_ns as f64,
            "threads came and went: those that live have used {:.0} % of the CPU",
            100.0 * living / process_ns as f64
        );
        Ok(Reading { done, data_plane_ns: after.data_plane_ns.saturating_sub(before.data_plane_ns), process_ns })
    }

    fn used(&self) -> Result<Used> {
        let threads = cpu::threads(self.process())?;
        let process_ns = cpu::process_ns(self.process())?;
        let sum = |prefixes: &[&str]| {
            let named = threads.iter().filter(|thread| prefixes.iter().any(|prefix| thread.name.starts_with(prefix)));
            named.map(|thread| thread.run_ns).sum::<u64>()
        };
        let data_plane_ns = match self.kind {
            Kind::Waybill | Kind::Across => sum(&DATA_PLANE),
            Kind::Hyper | Kind::Nginx => process_ns,
        };
        ensure!(data_plane_ns > 0, "no thread is named {}*", DATA_PLANE.join("*, "));
        Ok(Used { data_plane_ns, threads_ns: sum(&[""]), process_ns })
    }

    /// Ends it in order. The product must then find its own ledger right.
    pub fn end(self) -> Result<()> {
        match self.role {
            Role::Proxy(mut process) => process.kill().map(drop),
            Role::Product(mut instance, _) => {
                let status = instance.process.terminate(LIMIT)?;
                ensure!(status.success(), "`waybill up` ended with {status}:\n{}", instance.process.printed());
                gateway::verify(&instance.state)
            }
        }
    }
}
