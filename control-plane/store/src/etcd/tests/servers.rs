//! Real etcd servers for these tests: children of the test, on ports of the system's choice, with
//! their data in a folder that goes with them.
//!
//! `WAYBILL_TEST_ETCD_BIN` names the program; without it `etcd` is looked for on the PATH. Where
//! there is none a test says `skipped` with the reason.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use crate::{EtcdSettings, EtcdTls};

/// How long servers may take until they answer, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// For servers that lose no power.
pub(super) const FAST: &str = "--unsafe-no-fsync";

/// The program, or the reason why there is none.
pub(super) fn program() -> Option<PathBuf> {
    let named = std::env::var_os("WAYBILL_TEST_ETCD_BIN").map(PathBuf::from);
    let on_path = || std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join("etcd")).find(|program| program.is_file());
    let found = named.or_else(on_path);
    if found.is_none() {
        println!("skipped: no etcd on the PATH, and WAYBILL_TEST_ETCD_BIN names none");
    }
    found
}

/// A cluster of one or more servers.
pub(super) struct Servers {
    folder: tempfile::TempDir,
    program: PathBuf,
    nodes: Vec<Node>,
    tls: Option<Authority>,
    extra: Vec<String>,
}

struct Node {
    client: u16,
    peer: u16,
    child: Option<Child>,
}

/// An authority and what it signed.
pub(super) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key.
    pub(super) fn signs(&self, name: &str, hosts: &[&str]) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        (certificate.into_bytes(), key.serialize_pem().into_bytes())
    }

    pub(super) fn tls(&self, identity: Option<(Vec<u8>, Vec<u8>)>) -> EtcdTls {
        EtcdTls { ca: self.certificate.clone().into_bytes(), identity, server_name: None }
    }
}

impl Servers {
    pub(super) fn start(program: PathBuf, count: usize, tls: Option<Authority>, extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(authority) = &tls {
            std::fs::write(folder.path().join("ca.pem"), &authority.certificate).expect("a file");
            let (certificate, key) = authority.signs("server", &["127.0.0.1", "localhost"]);
            std::fs::write(folder.path().join("server.pem"), certificate).expect("a file");
            std::fs::write(folder.path().join("server.key"), key).expect("a file");
        }
        let nodes = free_ports(count * 2).chunks(2).map(|ports| Node { client: ports[0], peer: ports[1], child: None }).collect();
        let extra = extra.iter().map(|word| (*word).to_owned()).collect();
        let mut servers = Self { folder, program, nodes, tls, extra };
        for index in 0..count {
            servers.run(index);
        }
        servers
    }

    pub(super) fn settings(&self) -> EtcdSettings {
        let addresses: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.client)).collect();
        let mut settings = EtcdSettings::from_url(&format!("etcd://{}", addresses.join(","))).expect("settings");
        settings.tls = self.tls.as_ref().map(|authority| authority.tls(Some(authority.signs("root", &[]))));
        settings
    }

    pub(super) fn authority(&self) -> &Authority {
        self.tls.as_ref().expect("servers with TLS")
    }

    /// Starts a server, which finds its data of before.
    pub(super) fn run(&mut self, index: usize) {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = |port: u16| format!("{scheme}://127.0.0.1:{port}");
        let peers: Vec<String> = self.nodes.iter().enumerate().map(|(index, node)| format!("n{index}={}", url(node.peer))).collect();
        let node = &self.nodes[index];
        let log = std::fs::File::create(self.folder.path().join(format!("n{index}.log"))).expect("a log");
        let mut command = Command::new(&self.program);
        command.args(["--name", &format!("n{index}"), "--log-level", "warn"]);
        command.arg("--data-dir").arg(self.folder.path().join(format!("n{index}")));
        command.args(["--listen-client-urls", &url(node.client), "--advertise-client-urls", &url(node.client)]);
        command.args(["--listen-peer-urls", &url(node.peer), "--initial-advertise-peer-urls", &url(node.peer)]);
        command.args(["--initial-cluster", &peers.join(",")]).args(&self.extra);
        if self.tls.is_some() {
            for prefix in ["--", "--peer-"] {
                command.arg(format!("{prefix}client-cert-auth"));
                for (flag, file) in [("trusted-ca-file", "ca.pem"), ("cert-file", "server.pem"), ("key-file", "server.key")] {
                    command.arg(format!("{prefix}{flag}")).arg(self.folder.path().join(file));
                }
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("etcd starts");
        self.nodes[index].child = Some(child);
    }

    /// Kills a server without a word.
    pub(super) fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.nodes[index].child.take() {
            child.kill().expect("a kill");
            child.wait().expect("the end of a child");
        }
    }

    /// Freezes a server, or lets it go on.
    pub(super) fn freeze(&self, index: usize, frozen: bool) {
        let child = self.nodes[index].child.as_ref().expect("a server that runs");
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    /// Which server leads, asked of the servers themselves. Waits until one does.
    pub(super) async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.child.is_some()) {
                let asked = async {
                    let mut client = etcd_client::Client::connect([format!("127.0.0.1:{}", node.client)], None).await.ok()?;
                    let status = client.status().await.ok()?;
                    let own = status.header()?.member_id();
                    (status.leader() == own && status.errors().is_empty()).then_some(index)
                };
                if let Ok(Some(leader)) = tokio::time::timeout(Duration::from_secs(1), asked).await {
                    return leader;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no leader within {PATIENCE:?}");
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for index in 0..self.nodes.len() {
            self.kill(index);
        }
        if std::thread::panicking() {
            for index in 0..self.nodes.len() {
                let log = std::fs::read_to_string(self.folder.path().join(format!("n{index}.log"))).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                eprintln!("the last words of etcd n{index}: {tail:#?}");
            }
        }
    }
}

/// Ports that were free a moment ago. They survive a restart of their server; the system gives
/// others to those who ask it for one.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
}
