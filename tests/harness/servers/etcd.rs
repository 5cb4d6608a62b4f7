//! etcd: one node or three, plain or with certificates on both sides, with or without users.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::certificates::{Authority, Identity, Names};
use super::found::{Found, Missing};
use super::node::Node;
use super::ports::PortBlock;
use crate::client::{Client, Request};
use crate::environment::clean;
use crate::process::{Launch, wait_until};

/// From the start of a node, or of three, until it serves: seconds on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How long one command of `etcdctl` may take.
const CONTROL_LIMIT: &str = "5s";

/// How nodes and clients know one another.
#[derive(Debug, Clone)]
pub enum EtcdSecurity {
    /// Plain text.
    Plain,
    /// Certificates on both sides, of nodes and of clients, signed by the authority in this folder.
    MutualTls(PathBuf),
}

/// A running cluster. Dropping it kills its nodes.
pub struct Etcd {
    nodes: Vec<Node>,
    places: Vec<Place>,
    control: PathBuf,
    version: String,
    folder: PathBuf,
    tls: Option<Tls>,
    _ports: PortBlock,
}

/// The addresses of a node.
#[derive(Debug, Clone, Copy)]
struct Place {
    client: SocketAddr,
    peer: SocketAddr,
    metrics: SocketAddr,
}

struct Tls {
    authority: Authority,
    node: Identity,
    root: Identity,
}

impl Etcd {
    /// Starts `count` nodes with their files below `folder`, and waits until all of them serve.
    pub fn start(folder: &Path, count: usize, security: &EtcdSecurity) -> Result<Self> {
        let found = Found::of("etcd")?;
        let missing = || Missing { server: "etcd", reason: "its record names no programs".to_owned() };
        let (server, control) = (found.server.ok_or_else(missing)?, found.control.ok_or_else(missing)?);
        let mut ports = PortBlock::lock()?;
        let mut port = || ports.take().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let places = (0..count).map(|_| Ok(Place { client: port()?, peer: port()?, metrics: port()? })).collect::<Result<Vec<Place>>>()?;
        let tls = match security {
            EtcdSecurity::Plain => None,
            EtcdSecurity::MutualTls(folder) => Some(Tls::new(folder)?),
        };
        fs::create_dir_all(folder)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let peers: Vec<String> = places.iter().enumerate().map(|(number, place)| format!("n{number}={scheme}://{}", place.peer)).collect();
        let node = |(number, place): (usize, &Place)| {
            let own = folder.join(format!("etcd-{number}"));
            let launch = launch(&server, number, place, scheme, &peers.join(","), &own);
            let launch = tls.iter().fold(launch, |launch, tls| tls.arguments(launch));
            Node::new(&format!("etcd-{number}"), launch, &own)
        };
        let nodes = places.iter().enumerate().map(node).collect::<Result<Vec<Node>>>()?;
        let version = found.version.unwrap_or_default();
        let mut etcd = Self { nodes, places, control, version, folder: folder.to_owned(), tls, _ports: ports };
        for node in &mut etcd.nodes {
            node.start()?;
        }
        (0..count).try_for_each(|number| etcd.wait_ready(number))?;
        Ok(etcd)
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where clients connect, with the scheme.
    pub fn endpoints(&self) -> Vec<String> {
        self.places.iter().map(|place| format!("{}://{}", self.scheme(), place.client)).collect()
    }

    /// The address of one node, for a way of its own through a fault proxy.
    pub fn address(&self, number: usize) -> SocketAddr {
        self.places[number].client
    }

    /// Who has signed the nodes' certificates, and can sign those of clients. None on a plain cluster.
    pub fn authority(&self) -> Option<&Authority> {
        self.tls.as_ref().map(|tls| &tls.authority)
    }

    /// How many nodes it has.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// One node: to kill, pause, resume.
    pub fn node(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number]
    }

    /// Starts a node that was killed, on its ports and files, and waits until it serves. Without a majority it never does.
    pub fn restart(&mut self, number: usize) -> Result<()> {
        self.nodes[number].start()?;
        self.wait_ready(number)
    }

    /// Waits until a node serves.
    pub fn wait_ready(&mut self, number: usize) -> Result<()> {
        let (metrics, node) = (self.places[number].metrics, &mut self.nodes[number]);
        wait_until(&format!("{} to serve", node.name()), READY_LIMIT, || {
            node.still_runs()?;
            // Nobody listens yet, or it has no leader: neither is an error of this test.
            let answer = Client::connect(metrics, Duration::from_secs(2)).and_then(|mut client| client.send(&Request::get("/readyz")));
            Ok(answer.is_ok_and(|answer| answer.head.status == 200).then_some(()))
        })
    }

    /// The node that leads now, if there is one.
    pub fn leader(&mut self) -> Result<Option<usize>> {
        for number in 0..self.nodes.len() {
            if !self.nodes[number].is_running() {
                continue;
            }
            let endpoint = self.endpoints().swap_remove(number);
            let Ok(text) = self.control_at(&[endpoint], &["endpoint", "status", "--write-out=json"]) else { continue };
            let statuses: Vec<StatusText> = serde_json::from_str(&text).context("the status of etcd")?;
            if statuses.iter().any(|text| text.status.leader != 0 && text.status.leader == text.status.header.member_id) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Waits until a node leads.
    pub fn wait_leader(&mut self) -> Result<usize> {
        wait_until("a leader of etcd", READY_LIMIT, || self.leader())
    }

    /// Runs `etcdctl` as root on all nodes that run. Gives what it prints.
    pub fn control(&mut self, arguments: &[&str]) -> Result<String> {
        let running = self.running();
        self.control_at(&running, arguments)
    }

    /// Runs `etcdctl` as root on these endpoints.
    pub fn control_at(&self, endpoints: &[String], arguments: &[&str]) -> Result<String> {
        self.asked(endpoints, self.tls.as_ref().map(|tls| &tls.root), arguments)
    }

    /// Runs `etcdctl` as somebody else.
    pub fn control_as(&mut self, identity: &Identity, arguments: &[&str]) -> Result<String> {
        let running = self.running();
        self.asked(&running, Some(identity), arguments)
    }

    fn running(&mut self) -> Vec<String> {
        let endpoints = self.endpoints();
        self.nodes.iter_mut().zip(endpoints).filter_map(|(node, endpoint)| node.is_running().then_some(endpoint)).collect()
    }

    /// Forgets all history but the present.
    pub fn compact(&mut self) -> Result<()> {
        let text = self.control(&["get", "/", "--prefix", "--keys-only", "--limit=1", "--write-out=json"])?;
        let Listed { header } = serde_json::from_str(&text).context("an answer of etcd")?;
        self.control(&["compact", "--physical", &header.revision.to_string()]).map(drop)
    }

    /// Turns on users: `root` with everything, and `user`, who may do what it likes below `prefix` and nothing else. With certificates, a client's
    /// common name is its user.
    pub fn require_users(&mut self, user: &str, password: &str, prefix: &str) -> Result<()> {
        let user_and_password = format!("{user}:{password}");
        for arguments in [
            &["user", "add", "root:root"][..],
            &["user", "grant-role", "root", "root"],
            &["role", "add", user],
            &["role", "grant-permission", user, "readwrite", "--prefix=true", prefix],
            &["user", "add", &user_and_password],
            &["user", "grant-role", user, user],
            &["auth", "enable"],
        ] {
            self.control(arguments)?;
        }
        Ok(())
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    fn asked(&self, endpoints: &[String], identity: Option<&Identity>, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.control);
        clean(&mut command);
        let endpoints = endpoints.join(",");
        command.args(["--endpoints", &endpoints, "--command-timeout", CONTROL_LIMIT, "--dial-timeout", CONTROL_LIMIT]);
        if let (Some(tls), Some(identity)) = (&self.tls, identity) {
            command.arg("--cacert").arg(tls.authority.certificate());
            command.arg("--cert").arg(&identity.certificate).arg("--key").arg(&identity.key);
        }
        let done = command.args(arguments).stdin(Stdio::null()).output().context("starting etcdctl")?;
        if !done.status.success() {
            bail!("`etcdctl {}` ended with {}: {}", arguments.join(" "), done.status, String::from_utf8_lossy(&done.stderr));
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// Empties the folder of a node that does not run: it has lost its disk.
    pub fn lose_disk(&mut self, number: usize) -> Result<()> {
        ensure!(!self.nodes[number].is_running(), "a node that runs cannot lose its disk");
        fs::remove_dir_all(self.folder.join(format!("etcd-{number}/data"))).context("removing the data of a node")
    }
}

#[derive(Deserialize)]
struct StatusText {
    #[serde(rename = "Status")]
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    leader: u64,
    header: Header,
}

#[derive(Deserialize)]
struct Listed {
    header: Header,
}

#[derive(Deserialize)]
struct Header {
    member_id: u64,
    revision: i64,
}

fn launch(server: &Path, number: usize, place: &Place, scheme: &str, peers: &str, folder: &Path) -> Launch {
    let (client, peer) = (format!("{scheme}://{}", place.client), format!("{scheme}://{}", place.peer));
    Launch::new(server)
        .args(["--name", &format!("n{number}"), "--initial-cluster", peers, "--log-level", "warn"])
        // No test takes the machine's power away, and a throw-away node need not wait for a disk.
        .args(["--unsafe-no-fsync", "--data-dir"])
        .args([folder.join("data")])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        // A listener of its own for `/readyz`, which needs no certificate.
        .args(["--listen-metrics-urls", &format!("http://{}", place.metrics)])
}

impl Tls {
    fn new(folder: &Path) -> Result<Self> {
        let authority = Authority::new(folder)?;
        let node = authority.issue("etcd", &Names::server("etcd"))?;
        let root = authority.issue("root", &Names::client("root"))?;
        Ok(Self { authority, node, root })
    }

    fn arguments(&self, launch: Launch) -> Launch {
        let pairs = [
            ("trusted-ca-file", self.authority.certificate()),
            ("cert-file", self.node.certificate.clone()),
            ("key-file", self.node.key.clone()),
        ];
        ["", "peer-"].into_iter().fold(launch, |launch, side| {
            let launch = launch.args([format!("--{side}client-cert-auth")]);
            pairs.iter().fold(launch, |launch, (name, file)| launch.args([format!("--{side}{name}")]).args([file]))
        })
    }
}
