//! The state folder of `up`: its secrets, its files.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use waybill_model::key::Pepper;

use crate::{
    folder::Folder,
    secrets::{new_pepper, new_token, pepper_of, random, write_secret},
};

/// The state folder, locked by this process.
pub struct State {
    folder: Folder,
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
        Ok(Self { folder: Folder::open(folder, &["secrets"])? })
    }

    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("waybill.db")
    }

    pub fn operator_token_file(&self) -> PathBuf {
        self.path().join("secrets/operator-token")
    }

    /// The randomness of the first key, until that key has been shown: a first start that dies half-way shows the same key at the next one.
    /// `None` when a start has come to its end.
    pub fn first_key(&self) -> Result<Option<[u8; 20]>> {
        if self.path().join(READY_ONCE).exists() {
            return Ok(None);
        }
        let path = self.path().join(FIRST_KEY);
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
        let (path, key) = (self.path().join(READY_ONCE), self.path().join(FIRST_KEY));
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        match fs::remove_file(&key) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_context(|| format!("cannot delete {}", key.display())),
            _ => Ok(()),
        }
    }

    /// The pepper of key records. One is made at the first start; when key records exist and it is gone, the start is refused, since every key
    /// would be unknown.
    pub fn pepper(&self) -> Result<Pepper> {
        let path = self.path().join("secrets/pepper");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.database().exists() {
                    bail!(
                        "{} is missing, and without it no API key of this state folder can be recognised. Restore it from a backup",
                        path.display()
                    );
                }
                let text = new_pepper()?;
                write_secret(&path, &text)?;
                text
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let secret = pepper_of(&text)
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
                let token = new_token()?;
                write_secret(&path, &token)?;
                Ok(token)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

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
