//! The ready file: where everything listens, for whoever started the process.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;
use serde::Serialize;

use crate::state::write_secret;

/// Content of the ready file.
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
