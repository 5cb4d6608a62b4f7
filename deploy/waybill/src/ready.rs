//! The ready file: where everything listens, for whoever started the process.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::secrets::write_secret;

/// Content of `up`'s ready file.
#[derive(Debug, Serialize)]
pub struct Ready<'a> {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub ops: SocketAddr,
    /// The first key, at the first start only.
    pub api_key: Option<&'a str>,
    pub operator_token_file: &'a Path,
}

/// Writes it (0600), whole or not at all: when it is there, everything serves.
pub fn write(path: &Path, ready: &Ready<'_>) -> Result<()> {
    write_secret(path, &serde_json::to_string(ready)?)
}

/// Says in the log where a process listens, before it can do its work.
pub fn listening(addresses: &[(&str, SocketAddr)]) {
    tracing::info!("listening: {}", told(addresses));
}

fn told(addresses: &[(&str, SocketAddr)]) -> String {
    addresses.iter().map(|(what, address)| format!("{what} {address}")).collect::<Vec<_>>().join(", ")
}

/// Says that a role does its work, in the log and, if one is wanted, in a file: JSON with the role, its name and its addresses.
pub fn announce(path: Option<&Path>, role: &str, name: &str, addresses: &[(&str, SocketAddr)]) -> Result<()> {
    tracing::info!(name, version = env!("CARGO_PKG_VERSION"), "waybill {role} is ready: {}", told(addresses));
    let Some(path) = path else { return Ok(()) };
    let mut ready = Map::new();
    ready.insert("role".to_owned(), role.into());
    ready.insert("name".to_owned(), name.into());
    ready.extend(addresses.iter().map(|(what, address)| ((*what).to_owned(), Value::from(address.to_string()))));
    write_secret(path, Value::Object(ready).to_string())
}
