//! The settings file of each role, by the names that the product documents.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::role::Role;
use super::shape::Shape;
use super::wiring::Wiring;
use crate::servers::{Identity, Kafka};

/// Worker threads of a proxy, and so logs of its spool.
const WORKERS: usize = 2;

/// What the settings name.
pub(super) struct Surroundings<'a> {
    pub shape: &'a Shape,
    pub wiring: &'a Wiring,
    pub kafka: &'a Kafka,
    pub ledger: &'a str,
    pub token_file: &'a Path,
    pub folder: &'a Path,
}

impl Surroundings<'_> {
    pub fn controls(&self) -> Result<Vec<Role>> {
        (0..self.shape.controls)
            .map(|number| {
                let (name, addresses) = (format!("control-{number}"), self.wiring.controls[number].clone());
                let mut settings = json!({
                    "name": name,
                    "store": format!("etcd://{}", joined(&self.wiring.to_etcd(number))),
                    "ledger": self.ledger,
                    "pepperFiles": [self.wiring.pepper_file],
                    "operatorTokenFile": self.token_file,
                    "adminListen": addresses["admin"],
                    "syncListen": addresses["sync"],
                    "opsListen": addresses["ops"],
                    "tls": self.tls(&self.wiring.identity("control", &name)?),
                });
                if let Some(relist) = self.shape.relist {
                    settings["relist"] = format!("{}ms", relist.as_millis()).into();
                }
                Role::new("control", &name, &self.folder.join(&name), &settings, addresses)
            })
            .collect()
    }

    pub fn proxies(&self) -> Result<Vec<Role>> {
        (0..self.shape.proxies)
            .map(|number| {
                let (name, addresses) = (format!("proxy-{number}"), self.wiring.proxies[number].clone());
                let folder = self.folder.join(&name);
                let settings = json!({
                    "name": name,
                    "control": self.wiring.to_control(number),
                    "tls": self.tls(&self.wiring.identity("proxy", &name)?),
                    "state": folder.join("state"),
                    "pepperFiles": [self.wiring.pepper_file],
                    "listen": addresses["http"],
                    "opsListen": addresses["ops"],
                    "workers": WORKERS,
                    "spool": { "bytes": self.shape.spool_bytes, "segmentBytes": self.shape.segment_bytes },
                    // What the spool holds when it ends is its successor's.
                    "drain": { "flush": "3s" },
                    "usage": { "silence": format!("{}ms", self.shape.silence.as_millis()) },
                    // Through the fault proxies, so that a proxy can lose Kafka while the cluster is well.
                    "kafka": { "brokers": self.kafka.brokers_through() },
                });
                Role::new("proxy", &name, &folder, &settings, addresses)
            })
            .collect()
    }

    pub fn consumers(&self) -> Result<Vec<Role>> {
        (0..self.shape.consumers)
            .map(|number| {
                let (name, addresses) = (format!("billing-{number}"), self.wiring.consumers[number].clone());
                let brokers = json!({ "brokers": self.kafka.brokers() });
                let settings = json!({ "name": name, "ledger": self.ledger, "kafka": brokers, "opsListen": addresses["ops"] });
                Role::new("billing", &name, &self.folder.join(&name), &settings, addresses)
            })
            .collect()
    }

    fn tls(&self, identity: &Identity) -> Value {
        json!({ "caFile": self.wiring.authority.certificate(), "certFile": identity.certificate, "keyFile": identity.key })
    }
}

fn joined(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
}
