//! What `waybill control` is told.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    fault::Contradictions,
    places::{Etcd, Postgres, Tls},
    values::{Address, LedgerUrl, PepperFile, Period, StoreUrl},
};

/// Settings of `waybill control`: a replica of the control plane.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Control {
    /// Name of this replica, as in its certificate; by default the host's.
    #[serde(default)]
    pub name: Option<String>,
    /// Where the configuration is stored: sqlite:PATH (one replica), or etcd://HOST:PORT,… (etcds://… with TLS).
    pub store: StoreUrl,
    #[serde(default)]
    pub etcd: Etcd,
    /// Where the bill is kept: sqlite:PATH (one machine), or postgres://USER@HOST:PORT/DATABASE (TLS: ?sslmode=verify-full&sslrootcert=FILE).
    pub ledger: LedgerUrl,
    #[serde(default)]
    pub postgres: Postgres,
    /// Files with the peppers that API keys are recognised with, newest first: PATH, or NUMBER=PATH for a second one. Every replica and every proxy has the same.
    pub pepper_files: Vec<PepperFile>,
    /// File with the token that operators show.
    pub operator_token_file: PathBuf,
    /// Where operators call (gRPC).
    #[serde(default = "admin_listen")]
    pub admin_listen: SocketAddr,
    /// Where proxies and the other replicas call (gRPC with mutual TLS).
    #[serde(default = "sync_listen")]
    pub sync_listen: SocketAddr,
    /// Under which address the other replicas reach `syncListen`; by default that address, or the host's name where it listens on all.
    #[serde(default)]
    pub sync_address: Option<Address>,
    #[serde(default)]
    pub tls: Tls,
    /// No certificates between control plane and proxies. On loopback only.
    #[serde(default)]
    pub insecure_sync: bool,
    /// How often the store is listed whole and compared with what its watch has told; a difference is mended, logged and counted.
    #[serde(default = "relist")]
    pub relist: Period,
    /// Health, readiness, metrics.
    #[serde(default = "ops_listen")]
    pub ops_listen: SocketAddr,
    /// A file that is written (0600) once everything serves: JSON with the addresses.
    #[serde(default)]
    pub ready_file: Option<PathBuf>,
}

/// Listing more often than this would keep the store busy with nothing else.
const LEAST_RELIST: Duration = Duration::from_secs(1);

fn relist() -> Period {
    Period(waybill_publish::RELIST)
}

fn admin_listen() -> SocketAddr {
    ([127, 0, 0, 1], 7070).into()
}

fn sync_listen() -> SocketAddr {
    ([127, 0, 0, 1], 7071).into()
}

/// The same for every role.
pub fn ops_listen() -> SocketAddr {
    ([127, 0, 0, 1], 7072).into()
}

impl Control {
    /// What cannot be meant.
    pub fn contradictions(&self) -> Contradictions {
        let mut faults = Contradictions::default();
        self.tls.contradictions(self.insecure_sync, &mut faults);
        if self.insecure_sync && !self.sync_listen.ip().is_loopback() {
            let message = format!(
                "{} is not loopback: without certificates anybody could take the keys there. Leave insecureSync out",
                self.sync_listen
            );
            faults.push(("syncListen", message));
        }
        if self.relist.0 < LEAST_RELIST {
            faults.push(("relist", format!("{} is too often: at least {}", self.relist, Period(LEAST_RELIST))));
        }
        let (is_etcd, tls) = match self.store {
            StoreUrl::Sqlite(_) => (false, false),
            StoreUrl::Etcd { tls, .. } => (true, tls),
        };
        self.etcd.contradictions(is_etcd, tls, &mut faults);
        self.postgres.contradictions(matches!(self.ledger, LedgerUrl::Postgres(_)), &mut faults);
        peppers(&self.pepper_files, &mut faults);
        faults
    }
}

/// At least one, and each number once.
pub fn peppers(files: &[PepperFile], faults: &mut Contradictions) {
    if files.is_empty() {
        faults.push(("pepperFiles", "names no file".to_owned()));
    }
    for (position, file) in files.iter().enumerate() {
        if files.iter().take(position).any(|other| other.id == file.id) {
            faults.push(("pepperFiles", format!("number {} is given twice: write the second one as NUMBER=PATH", file.id)));
        }
    }
}
