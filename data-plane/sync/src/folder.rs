//! The files of last-known-good: two generations, the deny overlay, the crash guard's mark.
//!
//! Every file is written beside its name and moved over it. What a machine's death must not take (generations, overlay) is synced first; the mark
//! is about the deaths of processes only and is not.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    adopt::Held,
    container::{self, Damage},
    guard::{Generation, Mark},
    overlay::Overlay,
};

const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
const DENIED: &str = "denied";
const ATTEMPT: &str = "attempt";

/// The folder of last-known-good cannot be used. The place where the proxy runs has to be mended.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {source}", path.display())]
pub struct FolderError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A file is there and is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The disk does not give it.
    #[error(transparent)]
    Unread(#[from] FolderError),
    /// It is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens the folder, and makes it for our own eyes if it is not there.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failure("cannot create the folder", path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// What a generation holds and when it was written; `None` if there is none.
    pub fn generation(&self, generation: Generation) -> Result<Option<(Held, i64)>, Unusable> {
        let Some(file) = self.read(name(generation))? else { return Ok(None) };
        Ok(Some(container::read_generation(&file)?))
    }

    /// The revision a generation says it has; `None` if there is none that says so.
    pub fn revision(&self, generation: Generation) -> Option<u64> {
        let mut header = Vec::new();
        let file = File::open(self.path.join(name(generation))).ok()?;
        file.take(container::HEADER as u64).read_to_end(&mut header).ok()?;
        container::revision(&header).ok()
    }

    /// Writes the current generation. `keep` = the one there now becomes the previous one.
    pub fn write_generation(&self, held: &Held, unix_ms: i64, keep: bool) -> Result<(), FolderError> {
        let written = self.write_beside(CURRENT, &container::generation(held, unix_ms), true)?;
        if keep && self.path.join(CURRENT).exists() {
            self.rename(&self.path.join(CURRENT), PREVIOUS)?;
        }
        self.rename(&written, CURRENT)?;
        self.sync()
    }

    /// Makes the previous generation the current one, and keeps it as the previous one too.
    pub fn restore_previous(&self) -> Result<(), FolderError> {
        let Some(file) = self.read(PREVIOUS)? else { return Ok(()) };
        let written = self.write_beside(CURRENT, &file, true)?;
        self.rename(&written, CURRENT)?;
        self.sync()
    }

    /// The deny overlay; `None` if there never was one.
    pub fn overlay(&self) -> Result<Option<Overlay>, Unusable> {
        let Some(file) = self.read(DENIED)? else { return Ok(None) };
        Ok(Some(container::read_overlay(&file)?))
    }

    /// Writes the deny overlay.
    pub fn write_overlay(&self, overlay: &Overlay) -> Result<(), FolderError> {
        let written = self.write_beside(DENIED, &container::overlay(overlay), true)?;
        self.rename(&written, DENIED)?;
        self.sync()
    }

    /// The crash guard's mark.
    pub fn mark(&self) -> Mark {
        let text = fs::read_to_string(self.path.join(ATTEMPT)).unwrap_or_default();
        Mark::from_text(&text)
    }

    /// Writes the crash guard's mark.
    pub fn write_mark(&self, mark: Mark) -> Result<(), FolderError> {
        let path = self.path.join(ATTEMPT);
        let Some(text) = mark.to_text() else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure("cannot remove", &path)(error)),
                _ => Ok(()),
            };
        };
        let written = self.write_beside(ATTEMPT, text.as_bytes(), false)?;
        self.rename(&written, ATTEMPT)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FolderError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure("cannot read", &path)(error)),
        }
    }

    fn write_beside(&self, name: &str, bytes: &[u8], durable: bool) -> Result<PathBuf, FolderError> {
        let path = self.path.join(format!("{name}.new"));
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(bytes)?;
            if durable { file.sync_all() } else { Ok(()) }
        };
        write().map_err(failure("cannot write", &path))?;
        Ok(path)
    }

    fn rename(&self, from: &Path, name: &str) -> Result<(), FolderError> {
        fs::rename(from, self.path.join(name)).map_err(failure("cannot move", from))
    }

    fn sync(&self) -> Result<(), FolderError> {
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failure("cannot sync", &self.path))
    }
}

const fn name(generation: Generation) -> &'static str {
    match generation {
        Generation::Current => CURRENT,
        Generation::Previous => PREVIOUS,
    }
}

fn failure(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError { what, path, source }
}
