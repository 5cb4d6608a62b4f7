//! Ports, certificates, and the ways between processes that can be cut.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::shape::Shape;
use crate::fault::{FaultProxy, Rule};
use crate::servers::{Authority, Etcd, Identity, Names, PortBlock};

/// The ways that can be cut, each a fault proxy of its own.
pub struct Ways {
    /// From each proxy to each replica's sync listener.
    pub to_control: Vec<Vec<FaultProxy>>,
    /// From each replica to each node of etcd.
    pub to_etcd: Vec<Vec<FaultProxy>>,
    // The ports of all roles stay taken as long as anybody may come back to them.
    _ports: PortBlock,
}

impl Ways {
    /// Everything passes again.
    pub fn heal(&self) {
        self.set(Rule::Pass);
    }

    fn set(&self, rule: Rule) {
        for way in self.to_control.iter().chain(&self.to_etcd).flatten() {
            way.set_both(rule);
        }
    }
}

/// What the settings are written from.
pub(super) struct Wiring {
    pub controls: Vec<BTreeMap<String, SocketAddr>>,
    pub proxies: Vec<BTreeMap<String, SocketAddr>>,
    pub consumers: Vec<BTreeMap<String, SocketAddr>>,
    pub authority: Authority,
    pub pepper_file: PathBuf,
    ways: Ways,
}

impl Wiring {
    pub fn new(folder: &Path, shape: &Shape, etcd: &Etcd, seed: u64) -> Result<Self> {
        let mut ports = PortBlock::lock()?;
        let mut listeners = |count: usize, names: &[&str]| -> Result<Vec<BTreeMap<String, SocketAddr>>> {
            (0..count)
                .map(|_| names.iter().map(|name| Ok(((*name).to_owned(), SocketAddr::from(([127, 0, 0, 1], ports.take()?))))).collect())
                .collect()
        };
        let controls = listeners(shape.controls, &["admin", "sync", "ops"])?;
        let proxies = listeners(shape.proxies, &["http", "ops"])?;
        let consumers = listeners(shape.consumers, &["ops"])?;
        let way = |target: SocketAddr| FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], 0)), target, seed);
        let ways = Ways {
            to_control: (0..shape.proxies).map(|_| controls.iter().map(|control| way(control["sync"])).collect()).collect::<Result<_>>()?,
            to_etcd: (0..shape.controls).map(|_| (0..etcd.count()).map(|node| way(etcd.address(node))).collect()).collect::<Result<_>>()?,
            _ports: ports,
        };
        let authority = Authority::new(&folder.join("certificates"))?;
        Ok(Self { controls, proxies, consumers, authority, pepper_file: folder.join("pepper"), ways })
    }

    /// The store, without a detour.
    pub fn store(etcd: &Etcd) -> String {
        let nodes: Vec<String> = (0..etcd.count()).map(|node| etcd.address(node).to_string()).collect();
        format!("etcd://{}", nodes.join(","))
    }

    pub fn to_control(&self, proxy: usize) -> Vec<SocketAddr> {
        self.ways.to_control[proxy].iter().map(FaultProxy::address).collect()
    }

    pub fn to_etcd(&self, control: usize) -> Vec<SocketAddr> {
        self.ways.to_etcd[control].iter().map(FaultProxy::address).collect()
    }

    /// The certificate of a process.
    pub fn identity(&self, role: &str, name: &str) -> Result<Identity> {
        self.authority.issue(name, &Names::server(name).with_uri(&format!("spiffe://waybill/{role}/{name}")))
    }

    /// What is needed as long as the cluster stands.
    pub fn into_parts(self) -> (Ways, Authority) {
        (self.ways, self.authority)
    }
}
