//! Where the emitter goes on after a restart: one small file beside the logs, replaced whole.
//!
//! ```text
//!  0  magic "WBEMIT1\n"    8  (incarnation, position) of 16 bytes each, little-endian    …  CRC-32C of all before
//! ```
//!
//! A cursor that is lost or old costs duplicates and nothing else. It is saved before what lies behind it is deleted, so that a log is never
//! read from a place that is gone.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::spool::Position;

const MAGIC: [u8; 8] = *b"WBEMIT1\n";

const FILE: &str = "emit.cursors";

/// The file's bytes.
#[must_use]
pub fn encode(cursors: &BTreeMap<u64, Position>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (incarnation, position) in cursors {
        bytes.extend_from_slice(&incarnation.to_le_bytes());
        bytes.extend_from_slice(&u64::from(*position).to_le_bytes());
    }
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// Reads the file's bytes; `None` if they are not what was written.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<BTreeMap<u64, Position>> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (pairs, rest) = body.strip_prefix(&MAGIC)?.as_chunks::<8>();
    if !rest.is_empty() || !pairs.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[[u8; 8]]| match pair {
        [incarnation, position] => Some((u64::from_le_bytes(*incarnation), Position::from(u64::from_le_bytes(*position)))),
        _ => None,
    };
    pairs.chunks(2).map(pair).collect()
}

/// The file in a spool's folder.
#[derive(Clone, Debug)]
pub struct CursorFile(PathBuf);

impl CursorFile {
    /// The file of the spool in this folder.
    #[must_use]
    pub fn of(spool: &Path) -> Self {
        Self(spool.join(FILE))
    }

    /// What was saved last; nothing if there is no file or it cannot be used, which is said in the log.
    #[must_use]
    pub fn load(&self) -> BTreeMap<u64, Position> {
        match fs::read(&self.0) {
            Ok(bytes) => decode(&bytes).unwrap_or_else(|| {
                tracing::warn!(file = %self.0.display(), "the emitter's cursors cannot be read: what lies in the spool is sent once more");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(file = %self.0.display(), %error, "the emitter's cursors cannot be read: what lies in the spool is sent once more");
                BTreeMap::new()
            }
        }
    }

    /// Replaces the file. With `durable` it is on the disk before this returns, as it must be before a segment is deleted.
    ///
    /// # Errors
    /// The disk's fault; nothing may be released then.
    pub fn save(&self, cursors: &BTreeMap<u64, Position>, durable: bool) -> io::Result<()> {
        let new = self.0.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&encode(cursors))?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&new, &self.0)?;
        match self.0.parent() {
            Some(folder) if durable => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_no_flipped_bit_or_torn_file_is_believed() {
        let position = |segment, offset| Position { segment, offset };
        let cursors = BTreeMap::from([(7, position(3, 88)), (u64::MAX, position(u32::MAX, 0))]);
        let bytes = encode(&cursors);
        assert_eq!(decode(&bytes), Some(cursors.clone()));
        assert_eq!(decode(&encode(&BTreeMap::new())), Some(BTreeMap::new()));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "{length} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut hit = bytes.clone();
            hit[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&hit), None, "bit {bit}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = CursorFile::of(folder.path());
        assert_eq!(file.load(), BTreeMap::new());
        file.save(&cursors, true).unwrap();
        assert_eq!(file.load(), cursors);
        fs::write(folder.path().join(FILE), &bytes[..20]).unwrap();
        assert_eq!(file.load(), BTreeMap::new());
    }
}
