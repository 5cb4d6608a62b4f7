//! V6: nothing that an operator or a colleague may look into holds a key or a prompt.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::run::Run;

/// Words of every prompt.
const PROMPT: &str = "The same first message for all.";

/// Folders of processes of ours, and of what they write to.
const LOOKED_INTO: [&str; 6] = ["control-", "proxy-", "billing-", "etcd", "kafka", "commands"];

/// Files of Kafka's that hold places only, and much room.
const PLACES_ONLY: [&str; 2] = ["index", "timeindex"];

/// Where a secret was found.
pub fn found(run: &Run) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let needles = [("the API key", run.cluster.key.as_bytes()), ("a prompt", PROMPT.as_bytes())];
    for entry in fs::read_dir(&run.cluster.folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if LOOKED_INTO.iter().any(|start| name.starts_with(start)) {
            look(&entry.path(), &needles, &mut found)?;
        }
    }
    for role in run.cluster.controls.iter().chain(&run.cluster.proxies).chain(&run.cluster.consumers) {
        // One that does not run shows nothing.
        let metrics = role.metrics().unwrap_or_default();
        let within = needles.iter().filter(|(_, needle)| holds(metrics.as_bytes(), needle));
        found.extend(within.map(|(what, _)| format!("{what} is in the metrics of {}", role.node.name())));
    }
    Ok(found)
}

fn look(path: &Path, needles: &[(&str, &[u8])], found: &mut Vec<String>) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            look(&entry?.path(), needles, found)?;
        }
        return Ok(());
    }
    if path.extension().is_some_and(|extension| PLACES_ONLY.iter().any(|known| extension == *known)) {
        return Ok(());
    }
    // Files come and go while the cluster runs.
    let Ok(bytes) = fs::read(path) else { return Ok(()) };
    let within = needles.iter().filter(|(_, needle)| holds(&bytes, needle));
    found.extend(within.map(|(what, _)| format!("{what} is in {}", path.display())));
    Ok(())
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(bytes, needle).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/log"), b"\xffsome key-text here").unwrap();
        fs::write(folder.path().join("deep/00.index"), b"key-text").unwrap();
        fs::write(folder.path().join("clean"), b"key text").unwrap();
        let mut found = Vec::new();
        look(folder.path(), &[("a key", b"key-text")], &mut found).unwrap();
        assert_eq!(found, [format!("a key is in {}", folder.path().join("deep/log").display())]);
    }
}
