//! A folder that belongs to one process at a time: its lock, and where the spool and the last-known-good configuration lie in it.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use waybill_meter::{Options, Recovered, Spool, intent::PAYLOAD_BYTES, tally::orphan_of};

/// A state folder, locked by this process.
pub struct Folder {
    path: PathBuf,
    /// Held while the process lives.
    _lock: fs::File,
}

impl Folder {
    /// Opens the folder, which it makes (0700) with these parts if there is none, and locks it.
    pub fn open(path: &Path, parts: &[&str]) -> Result<Self> {
        let path = std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
        for part in ["", "spool", "last-known-good"].iter().chain(parts) {
            let path = path.join(part);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.with_context(|| format!("cannot make the state folder {}: choose another with --state DIR", path.display()))?;
        }
        let file = path.join("lock");
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&file);
        let lock = lock.with_context(|| format!("cannot open {}", file.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => bail!(
                "the state folder {} is in use by a running Waybill. Ask that one (leave --state out), or stop it first",
                path.display()
            ),
            Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    pub fn last_known_good(&self) -> PathBuf {
        self.path.join("last-known-good")
    }

    /// Opens the spool, after recovering what earlier processes have left.
    pub fn open_spool(&self, bytes: u64, segment_bytes: u32) -> Result<(Spool, Vec<Recovered>)> {
        let options = Options {
            bound_bytes: bytes,
            segment_bytes,
            max_intent_bytes: PAYLOAD_BYTES,
            max_end_bytes: PAYLOAD_BYTES,
            ..Options::new(self.spool())
        };
        let opened = Spool::start(options, boot(), |intent| orphan_of(intent.payload));
        opened.with_context(|| format!("the spool in {} cannot be opened", self.spool().display()))
    }

    /// Forgets what was held of another store.
    pub fn forget_last_known_good(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.last_known_good())? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}

/// The machine's boot, so that a log from before a restart is recovered with doubt.
fn boot() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let mut boot = [0; 16];
    for (index, byte) in boot.iter_mut().enumerate() {
        *byte = digits.get(2 * index..2 * index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    boot
}
