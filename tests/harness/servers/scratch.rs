//! The folder of a run: gone when all was well, kept and named when something failed.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// A folder below the system's one for temporary files.
#[derive(Debug)]
pub struct Scratch {
    folder: Option<tempfile::TempDir>,
    kept: PathBuf,
}

impl Scratch {
    /// A new one. Others may look into it: PostgreSQL refuses to run as root, and its user must reach its files.
    pub fn new(name: &str) -> Result<Self> {
        let prefix = format!("waybill-{name}-");
        let folder = tempfile::Builder::new().prefix(&prefix).permissions(Permissions::from_mode(0o755)).tempdir()?;
        Ok(Self { kept: folder.path().to_owned(), folder: Some(folder) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.kept
    }

    /// It stays, for whoever looks into a failure. Gives its path.
    pub fn keep(mut self) -> PathBuf {
        if let Some(folder) = self.folder.take() {
            return folder.keep();
        }
        self.kept
    }
}
