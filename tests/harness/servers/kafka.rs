//! Kafka: one node or three, each broker and controller in one process (KRaft); plain, and on wish with TLS, SASL and a way through fault proxies.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::certificates::{Authority, Identity, Names};
use super::found::{Found, Missing};
use super::node::Node;
use super::ports::PortBlock;
use crate::fault::FaultProxy;
use crate::process::{Launch, wait_until};

/// From the start of three nodes until each knows the others, on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// One question about readiness.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// What a cluster is to have beside its plain listeners.
#[derive(Debug, Clone, Copy, Default)]
pub struct KafkaSetup {
    /// Nodes: 1 or 3.
    pub nodes: usize,
    /// Listeners with TLS: by certificates on both sides, and by SASL.
    pub is_secure: bool,
    /// Listeners that are advertised under the address of a fault proxy each, so that a client can be cut off while the cluster is well. The
    /// number is the proxies' seed.
    pub through: Option<u64>,
}

/// The only user by SASL, for PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
#[derive(Debug, Clone, Copy)]
pub struct Sasl {
    /// Its name.
    pub user: &'static str,
    /// Its password.
    pub password: &'static str,
}

const SASL: Sasl = Sasl { user: "waybill", password: "a password of the test" };

/// A running cluster. Dropping it kills its nodes.
pub struct Kafka {
    nodes: Vec<Node>,
    places: Vec<Place>,
    proxies: Vec<FaultProxy>,
    version: String,
    authority: Option<Authority>,
    _ports: PortBlock,
}

/// The ports of a node, on loopback.
#[derive(Debug, Clone, Copy)]
struct Place {
    plain: u16,
    controller: u16,
    sasl: u16,
    tls: u16,
    through: u16,
    proxy: u16,
}

/// One listener of a node, and the port that it tells clients.
struct Listener {
    name: &'static str,
    protocol: &'static str,
    port: u16,
    advertised: u16,
}

/// What starts a Java program of Kafka's.
struct Java {
    program: PathBuf,
    lib: PathBuf,
    log_rules: PathBuf,
}

impl Kafka {
    /// Starts a cluster with its files below `folder`, and waits until each node knows all others.
    pub fn start(folder: &Path, setup: KafkaSetup) -> Result<Self> {
        let found = Found::of("kafka")?;
        let missing = || Missing { server: "kafka", reason: "its record names no jars".to_owned() };
        fs::create_dir_all(folder)?;
        let log_rules = folder.join("log4j2.properties");
        fs::write(&log_rules, LOG_RULES)?;
        let java = Java { program: found.java.ok_or_else(missing)?, lib: found.lib.ok_or_else(missing)?, log_rules };
        let mut ports = PortBlock::lock()?;
        let mut port = || ports.take();
        let mut place = || Ok(Place { plain: port()?, controller: port()?, sasl: port()?, tls: port()?, through: port()?, proxy: port()? });
        let places = (0..setup.nodes).map(|_| place()).collect::<Result<Vec<Place>>>()?;
        let tls = if setup.is_secure {
            let authority = Authority::new(&folder.join("tls"))?;
            let node = authority.issue("kafka", &Names::server("kafka"))?;
            Some((authority, node))
        } else {
            None
        };
        let proxy = |(place, seed): (&Place, u64)| FaultProxy::start(loopback(place.proxy), loopback(place.through), seed);
        let proxies = setup.through.map_or(Ok(Vec::new()), |seed| places.iter().zip(seed..).map(proxy).collect::<Result<Vec<_>>>())?;
        let (mut nodes, mut formatting) = (Vec::new(), Vec::new());
        for number in 0..setup.nodes {
            let own = folder.join(format!("kafka-{number}"));
            fs::create_dir_all(&own)?;
            let file = own.join("server.properties");
            let tls = tls.as_ref().map(|(authority, node)| (authority, node));
            fs::write(&file, properties(number, &places, setup, tls, &own.join("data")))?;
            formatting.push(java.formatter(&file, setup.is_secure).spawn(&own.join("format.log"))?);
            nodes.push(Node::new(&format!("kafka-{number}"), java.server(&file), &own)?);
        }
        for process in &mut formatting {
            let status = process.wait(READY_LIMIT)?;
            ensure!(status.success(), "formatting a node ended with {status}: {}", process.printed());
        }
        let version = found.version.unwrap_or_default();
        let mut kafka = Self { nodes, places, proxies, version, authority: tls.map(|(authority, _)| authority), _ports: ports };
        for node in &mut kafka.nodes {
            node.start()?;
        }
        kafka.wait_ready()?;
        Ok(kafka)
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Bootstrap servers in plain text.
    pub fn brokers(&self) -> String {
        self.joined(|place| place.plain)
    }

    /// Bootstrap servers with TLS and SASL.
    pub fn brokers_sasl(&self) -> String {
        self.joined(|place| place.sasl)
    }

    /// Bootstrap servers with certificates on both sides.
    pub fn brokers_tls(&self) -> String {
        self.joined(|place| place.tls)
    }

    /// Bootstrap servers in plain text, through the fault proxies.
    pub fn brokers_through(&self) -> String {
        self.joined(|place| place.proxy)
    }

    /// The fault proxies, one before each node.
    pub fn proxies(&self) -> &[FaultProxy] {
        &self.proxies
    }

    /// The user by SASL.
    pub const fn sasl(&self) -> Sasl {
        SASL
    }

    /// Who has signed the nodes' certificates. None on a plain cluster.
    pub const fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// How many nodes it has.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// One node: to kill, pause, resume.
    pub fn node(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number]
    }

    /// Starts a node that was killed, on its ports and files. It need not be ready yet.
    pub fn restart(&mut self, number: usize) -> Result<()> {
        self.nodes[number].start()
    }

    /// Waits until every node that runs knows as many brokers as run.
    pub fn wait_ready(&mut self) -> Result<()> {
        let running: Vec<usize> = (0..self.nodes.len()).filter(|number| self.nodes[*number].is_running()).collect();
        let wanted = running.len();
        for number in running {
            let (node, place) = (&mut self.nodes[number], self.places[number]);
            wait_until(&format!("{} to know {wanted} brokers", node.name()), READY_LIMIT, || {
                node.still_runs()?;
                // Nobody listens yet, or it does not answer yet: neither is an error of this test.
                Ok(brokers_known(loopback(place.plain)).is_ok_and(|known| known == wanted).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Asks a node through its fault proxy how many brokers it knows.
    pub fn knows_through(&self, number: usize) -> Result<usize> {
        brokers_known(loopback(self.places[number].proxy))
    }

    fn joined(&self, port: impl Fn(&Place) -> u16) -> String {
        let all: Vec<String> = self.places.iter().map(|place| loopback(port(place)).to_string()).collect();
        all.join(",")
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Asks a broker for the cluster (Metadata, version 1, without topics) and counts the brokers in the answer.
fn brokers_known(address: SocketAddr) -> Result<usize> {
    const METADATA_V1: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0];
    let mut stream = TcpStream::connect_timeout(&address, ASK_LIMIT)?;
    stream.set_read_timeout(Some(ASK_LIMIT))?;
    stream.write_all(&METADATA_V1)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    ensure!(head[4..8] == [0, 0, 0, 7], "the answer to another question");
    Ok(u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize)
}

/// Log lines go to the output of the process.
const LOG_RULES: &str = "status=warn
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1}: %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
";

impl Java {
    fn arguments(&self, heap: &str) -> Vec<String> {
        let log_rules = format!("-Dlog4j2.configurationFile={}", self.log_rules.display());
        let class_path = format!("{}/*", self.lib.display());
        // Little memory and a fast start count for more here than a steady fast run.
        [heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", &log_rules, "-cp", &class_path].map(str::to_owned).into()
    }

    fn server(&self, file: &Path) -> Launch {
        Launch::new(&self.program).args(self.arguments("-Xmx256m")).args(["kafka.Kafka"]).args([file])
    }

    /// Makes the data folder of a node. Users by SCRAM can only be made here as long as nobody may log in.
    fn formatter(&self, file: &Path, has_users: bool) -> Launch {
        const CLUSTER: &str = "d2F5YmlsbC10ZXN0cy0wMQ";
        let launch = Launch::new(&self.program).args(self.arguments("-Xmx128m"));
        let launch = launch.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]).args([file]);
        let mechanisms = if has_users { &["SCRAM-SHA-256", "SCRAM-SHA-512"][..] } else { &[] };
        mechanisms.iter().fold(launch, |launch, mechanism| {
            launch.args(["--add-scram", &format!("{mechanism}=[name={},password=\"{}\"]", SASL.user, SASL.password)])
        })
    }
}

/// The settings of a node.
fn properties(number: usize, places: &[Place], setup: KafkaSetup, tls: Option<(&Authority, &Identity)>, data: &Path) -> String {
    let place = places[number];
    let voters: Vec<String> = places.iter().zip(1..).map(|(place, id)| format!("{id}@127.0.0.1:{}", place.controller)).collect();
    let listener = |name, protocol, port, advertised| Listener { name, protocol, port, advertised };
    let mut listeners = vec![listener("PLAIN", "PLAINTEXT", place.plain, place.plain)];
    if tls.is_some() {
        listeners.push(listener("SASL", "SASL_SSL", place.sasl, place.sasl));
        listeners.push(listener("TLS", "SSL", place.tls, place.tls));
    }
    if setup.through.is_some() {
        listeners.push(listener("THROUGH", "PLAINTEXT", place.through, place.proxy));
    }
    let listed = |form: fn(&Listener) -> String| listeners.iter().map(form).collect::<Vec<_>>().join(",");
    let open = listed(|one| format!("{}://127.0.0.1:{}", one.name, one.port));
    let advertised = listed(|one| format!("{}://127.0.0.1:{}", one.name, one.advertised));
    let protocols = listed(|one| format!("{}:{}", one.name, one.protocol));
    // Topics as in production: every record on two of three nodes before it is acknowledged.
    let (copies, least) = if places.len() < 3 { (1, 1) } else { (3, 2) };
    let mut lines = vec![
        "process.roles=broker,controller".to_owned(),
        format!("node.id={}", number + 1),
        format!("controller.quorum.voters={}", voters.join(",")),
        "controller.listener.names=CONTROLLER".to_owned(),
        "inter.broker.listener.name=PLAIN".to_owned(),
        format!("listeners={open},CONTROLLER://127.0.0.1:{}", place.controller),
        format!("advertised.listeners={advertised}"),
        format!("listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT"),
        format!("log.dirs={}", data.display()),
        "auto.create.topics.enable=false".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
        // A dead broker is noticed in 3 s instead of 9, so that a test of failover need not wait for the rest.
        "broker.session.timeout.ms=3000".to_owned(),
        "broker.heartbeat.interval.ms=500".to_owned(),
        // The smallest that the cleaner takes; the default is 128 MB a node.
        "log.cleaner.dedupe.buffer.size=4194304".to_owned(),
        "num.network.threads=2".to_owned(),
        "num.io.threads=4".to_owned(),
        format!("default.replication.factor={copies}"),
        format!("min.insync.replicas={least}"),
    ];
    for (topic, factor, insync) in [
        ("offsets.topic", "offsets.topic.replication.factor", None),
        ("transaction.state.log", "transaction.state.log.replication.factor", Some("transaction.state.log.min.isr")),
    ] {
        lines.push(format!("{factor}={copies}"));
        lines.push(format!("{topic}.num.partitions=4"));
        lines.extend(insync.map(|name| format!("{name}={least}")));
    }
    if let Some((authority, node)) = tls {
        lines.extend(secure(authority, node));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn secure(authority: &Authority, node: &Identity) -> Vec<String> {
    let module = "org.apache.kafka.common.security";
    let mut lines = vec!["sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned()];
    for listener in ["sasl", "tls"] {
        lines.push(format!("listener.name.{listener}.ssl.keystore.type=PEM"));
        lines.push(format!("listener.name.{listener}.ssl.keystore.location={}", node.bundle.display()));
    }
    lines.push("listener.name.tls.ssl.truststore.type=PEM".to_owned());
    lines.push(format!("listener.name.tls.ssl.truststore.location={}", authority.certificate().display()));
    lines.push("listener.name.tls.ssl.client.auth=required".to_owned());
    for mechanism in ["scram-sha-256", "scram-sha-512"] {
        lines.push(format!("listener.name.sasl.{mechanism}.sasl.jaas.config={module}.scram.ScramLoginModule required;"));
    }
    let user = format!("user_{}=\"{}\"", SASL.user, SASL.password);
    lines.push(format!("listener.name.sasl.plain.sasl.jaas.config={module}.plain.PlainLoginModule required {user};"));
    lines
}
