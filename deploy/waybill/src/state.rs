//! The state folder: its lock, its secrets, its files.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use waybill_model::key::Pepper;

/// The state folder, locked by this process.
pub struct State {
    folder: PathBuf,
    /// Held while the process lives.
    _lock: fs::File,
}

/// Is there once a start has come to its end.
const READY_ONCE: &str = "ready-once";

/// Holds the randomness of the first key until that key has been shown.
const FIRST_KEY: &str = "secrets/first-key";

/// `$XDG_STATE_HOME/waybill`, else `~/.local/state/waybill`; never relative to the working folder.
pub fn default_folder() -> Result<PathBuf> {
    let named = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let base = named.or_else(home).context("there is neither XDG_STATE_HOME nor HOME: say where the state lies with --state DIR")?;
    Ok(base.join("waybill"))
}

impl State {
    /// Opens the folder, which it makes (0700) if there is none, and locks it.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).with_context(|| format!("{} is no path", folder.display()))?;
        for part in ["", "secrets", "spool", "last-known-good"] {
            let path = folder.join(part);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.with_context(|| format!("cannot make the state folder {}: choose another with --state DIR", path.display()))?;
        }
        let path = folder.join("lock");
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => bail!(
                "the state folder {} is in use by a running Waybill. Ask that one (leave --state out), or stop it first",
                folder.display()
            ),
            Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn database(&self) -> PathBuf {
        self.folder.join("waybill.db")
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.join("spool")
    }

    pub fn last_known_good(&self) -> PathBuf {
        self.folder.join("last-known-good")
    }

    pub fn operator_token_file(&self) -> PathBuf {
        self.folder.join("secrets/operator-token")
    }

    /// The randomness of the first key, until that key has been shown: a first start that dies half-way shows the same key at the next one.
    /// `None` when a start has come to its end.
    pub fn first_key(&self) -> Result<Option<[u8; 20]>> {
        if self.folder.join(READY_ONCE).exists() {
            return Ok(None);
        }
        let path = self.folder.join(FIRST_KEY);
        match fs::read(&path) {
            Ok(bytes) => {
                let random = bytes
                    .try_into()
                    .ok()
                    .with_context(|| format!("{} is damaged: delete it, and a new first key is made", path.display()))?;
                Ok(Some(random))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let random = random::<20>()?;
                write_secret(&path, random)?;
                Ok(Some(random))
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Notes that a start has come to its end, and forgets the first key.
    pub fn note_ready(&self) -> Result<()> {
        let (path, key) = (self.folder.join(READY_ONCE), self.folder.join(FIRST_KEY));
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        match fs::remove_file(&key) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_context(|| format!("cannot delete {}", key.display())),
            _ => Ok(()),
        }
    }

    /// The pepper of key records. One is made at the first start; when key records exist and it is gone, the start is refused, since every key
    /// would be unknown.
    pub fn pepper(&self) -> Result<Pepper> {
        let path = self.folder.join("secrets/pepper");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.database().exists() {
                    bail!(
                        "{} is missing, and without it no API key of this state folder can be recognised. Restore it from a backup",
                        path.display()
                    );
                }
                let text = hex(&random::<32>()?);
                write_secret(&path, &text)?;
                text
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let secret = unhex(text.trim())
            .with_context(|| format!("{} does not hold 64 hexadecimal digits: restore it from a backup", path.display()))?;
        Ok(Pepper::new(1, &secret))
    }

    /// The operator's token, made at the first start.
    pub fn operator_token(&self) -> Result<String> {
        let path = self.operator_token_file();
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            Ok(_) => bail!("{} is empty: delete it, and the next start makes a new one", path.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = format!("wbo_{}", hex(&random::<24>()?));
                write_secret(&path, &token)?;
                Ok(token)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// Where a file lies: a bare name lies in the working folder.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    Ok(bytes)
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_secret(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content.as_ref())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The name is durable when its folder is.
        fs::File::open(folder_of(path))?.sync_all()
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The machine's boot, so that a log from before a restart is recovered with doubt.
pub fn boot() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let mut boot = [0; 16];
    for (index, byte) in boot.iter_mut().enumerate() {
        *byte = digits.get(2 * index..2 * index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    boot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_working_folder() {
        for (path, folder) in [("ready.json", "."), ("run/ready.json", "run"), ("/run/ready.json", "/run")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }

    #[test]
    fn a_state_folder_keeps_its_secrets_and_has_one_user() {
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = scratch.path().join("state");
        let state = State::open(&folder).expect("a new folder");
        let (pepper, token) = (state.pepper().expect("made"), state.operator_token().expect("made"));
        assert_eq!(state.pepper().expect("read").fingerprint(), pepper.fingerprint());
        assert_eq!(state.operator_token().expect("read"), token);
        for file in ["secrets/pepper", "secrets/operator-token"] {
            let mode = fs::metadata(folder.join(file)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        assert_eq!(fs::metadata(&folder).expect("a folder").permissions().mode() & 0o777, 0o700);
        assert!(State::open(&folder).err().expect("locked").to_string().contains("in use"));
        drop(state);
        let state = State::open(&folder).expect("free again");
        fs::write(state.database(), "").expect("a database");
        fs::remove_file(folder.join("secrets/pepper")).expect("removed");
        assert!(state.pepper().expect_err("lost").to_string().contains("backup"));
    }
}
