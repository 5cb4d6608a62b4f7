//! Where the servers are, as the fetch step wrote it down, or why one cannot be had.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

/// A server that cannot be had on this machine. A suite says `skipped: NAME: …` and goes on; with `CI=true` it fails instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which one.
    pub server: &'static str,
    /// What was tried, and how it ended.
    pub reason: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} cannot be had: {}", self.server, self.reason)
    }
}

impl std::error::Error for Missing {}

impl Missing {
    /// True where every server has to be there.
    pub fn is_failure() -> bool {
        std::env::var_os("CI").is_some_and(|value| value == "true")
    }
}

/// The folder for everything that tests fetch and build.
pub(super) fn cache() -> PathBuf {
    if let Some(folder) = std::env::var_os("WAYBILL_TESTS_CACHE") {
        return folder.into();
    }
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    base.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache")).join("waybill-tests")
}

/// One server of the record: the fields differ from server to server.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    /// Its version.
    pub version: Option<String>,
    pub server: Option<PathBuf>,
    pub control: Option<PathBuf>,
    pub lib: Option<PathBuf>,
    pub java: Option<PathBuf>,
    pub bin: Option<PathBuf>,
    missing: Option<String>,
}

impl Found {
    /// What the record says of a server.
    pub fn of(server: &'static str) -> Result<Self, Missing> {
        Self::read(server, fs::read_to_string(cache().join("servers/servers.json")).ok().as_deref())
    }

    fn read(server: &'static str, record: Option<&str>) -> Result<Self, Missing> {
        let missing = |reason: String| Missing { server, reason };
        let text = record.ok_or_else(|| missing("not fetched yet: `tests/run real` and `tests/real/fetch.py` do".to_owned()))?;
        let mut all: BTreeMap<String, Self> = serde_json::from_str(text).map_err(|error| missing(format!("servers.json: {error}")))?;
        let found = all.remove(server).ok_or_else(|| missing("not fetched yet".to_owned()))?;
        if let Some(reason) = found.missing {
            return Err(missing(reason));
        }
        let paths = [&found.server, &found.control, &found.lib, &found.java, &found.bin];
        if let Some(gone) = paths.into_iter().flatten().find(|path| !path.exists()) {
            return Err(missing(format!("{} is gone since it was fetched", gone.display())));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_or_its_reason_is_told() {
        let record = r#"{"a": {"version": "1", "by": "go", "server": "/"}, "b": {"missing": "no go"}, "c": {"bin": "/nowhere/at/all"}}"#;
        assert_eq!(Found::read("a", Some(record)).unwrap().server, Some("/".into()));
        for (server, record, reason) in [
            ("b", Some(record), "no go"),
            ("c", Some(record), "/nowhere/at/all is gone since it was fetched"),
            ("d", Some(record), "not fetched yet"),
            ("a", Some("{"), "servers.json: EOF while parsing an object at line 1 column 1"),
        ] {
            assert_eq!(Found::read(server, record).unwrap_err(), Missing { server, reason: reason.to_owned() });
        }
        assert!(Found::read("a", None).unwrap_err().to_string().starts_with("a cannot be had: not fetched yet"));
    }
}
