//! Ports that a server gets back after its death: a block of them below the range from which the system hands out its own, held by a lock.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};

use super::found::cache;

/// Where blocks begin: above the ports with names, below the ephemeral range (32768 on Linux, unless changed).
const FIRST: u16 = 20_000;
/// Ports of a block: more than any cluster of a test takes.
const SIZE: u16 = 64;
/// How many blocks there are.
const BLOCKS: u16 = 190;

/// A block of ports that no other test has while this lives.
#[derive(Debug)]
pub struct PortBlock {
    first: u16,
    taken: u16,
    /// Its lock is given up when it is closed, also by the death of the process.
    _lock: File,
}

impl PortBlock {
    /// The first block that nobody holds and in which every port is free now.
    pub fn lock() -> Result<Self> {
        let folder = cache().join("ports");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        // Processes that start together begin at different places.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or_default();
        for number in (0..BLOCKS).map(|step| (start + step) % BLOCKS) {
            let first = FIRST + number * SIZE;
            let lock = File::options().create(true).truncate(false).write(true).open(folder.join(first.to_string()))?;
            if lock.try_lock().is_ok() && (first..first + SIZE).all(is_free) {
                return Ok(Self { first, taken: 0, _lock: lock });
            }
        }
        bail!("all {BLOCKS} blocks of ports are in use; see {}", folder.display())
    }

    /// The next port.
    pub fn take(&mut self) -> Result<u16> {
        if self.taken == SIZE {
            bail!("a block has {SIZE} ports, and all are taken");
        }
        self.taken += 1;
        Ok(self.first + self.taken - 1)
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_share_no_port_and_none_is_ephemeral() {
        let (mut one, mut other) = (PortBlock::lock().unwrap(), PortBlock::lock().unwrap());
        let mut ports: Vec<u16> = (0..SIZE).flat_map(|_| [one.take().unwrap(), other.take().unwrap()]).collect();
        assert!(one.take().is_err());
        assert!(ports.iter().all(|port| (1024..32_768).contains(port)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 2 * usize::from(SIZE));
    }
}
