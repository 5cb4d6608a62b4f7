//! Which core does what: the gateway has one for itself, mock and load generator share another.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The cores, as taskset names them.
#[derive(Debug, Clone)]
pub struct Cores {
    /// The gateway's.
    pub gateway: String,
    /// The mock's and the load generator's.
    pub load: String,
    /// All that this process may use.
    pub all: String,
}

impl Cores {
    /// Takes the first two cores that this process may use, and moves this process to the second.
    pub fn split() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").context("the cores of this process")?;
        let all = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).context("the cores of this process")?.trim();
        let list = expand(all)?;
        let [gateway, load, ..] = list[..] else { anyhow::bail!("two cores are needed, there is only {all}") };
        // No thread has been started yet, so the whole process moves.
        set("taskset", &["-cp", &load.to_string(), &std::process::id().to_string()])?;
        // A thousand idle streams have two thousand connections at the gateway, which inherits this limit.
        set("prlimit", &["--pid", &std::process::id().to_string(), "--nofile=16384:16384"])?;
        Ok(Self { gateway: gateway.to_string(), load: load.to_string(), all: all.to_owned() })
    }
}

fn set(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program).args(args).output().with_context(|| format!("{program} (of util-linux)"))?;
    ensure!(output.status.success(), "{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// `0-2,5` → 0, 1, 2, 5.
fn expand(list: &str) -> Result<Vec<u32>> {
    let mut cores = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse::<u32>()?..=last.parse::<u32>()?);
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_is_expanded() {
        assert_eq!(expand("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(expand("3").unwrap(), [3]);
        assert!(expand("a").is_err());
    }
}
