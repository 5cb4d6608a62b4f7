//! A whole store as a stream: for a backup, for bringing it back, for the way from a file to a
//! cluster and back.
//!
//! What is copied is every key under `/wb/1/` with its value, as of one position, except leaders
//! and replicas, which are somebody's only while they live. Positions and versions are the store's
//! own and begin anew. Two stores hold the same when their [`Digest`]s are equal.
//!
//! A dump is a line of text, then the entries in the order of their keys, each as key length and
//! value length (32 bits, little-endian), key and value, then the mark of the end with the digest.
//!
//! The target's head is written last, and what the target had beyond the copy is deleted before, so
//! that whoever watches is shown the old world or the new one.

mod format;
mod transfer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{Read, Seek, Write};

use crate::{Entry, Position, Store};

/// What a dump begins with. The number is that of the format.
const HEADING: &[u8] = b"waybill store dump 1\n";

/// Why a copy did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store refused or failed.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// The dump could not be read or written.
    #[error("the dump: {0}")]
    Io(#[from] std::io::Error),
    /// The dump is not whole, or not one. Nothing was written.
    #[error("the dump is damaged: {what}")]
    Damaged {
        /// What about it.
        what: &'static str,
    },
    /// The target holds something already, and nobody said that it may be replaced.
    #[error("the target is not empty (it holds {key}); to replace what it holds, say so with --replace")]
    NotEmpty {
        /// The first key found.
        key: crate::Key,
    },
    /// The target does not hold what was written to it: somebody else writes there.
    #[error("the target holds something else than was written ({target}, expected {expected}); is it in use?")]
    Differs {
        /// What was written.
        expected: Digest,
        /// What is there.
        target: Digest,
    },
}

/// What entries come to: equal for equal keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// BLAKE3 over all of them, with their lengths, in the order of keys.
    pub hash: [u8; 32],
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries, {} bytes, {}", self.entries, self.bytes, blake3::Hash::from_bytes(self.hash).to_hex())
    }
}

/// Whether a target may hold something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// It must be empty.
    Empty,
    /// What it holds is replaced.
    Anything,
}

/// What a copy came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The position of the source that it shows; none for a dump that is brought back.
    pub position: Option<Position>,
    /// What the target holds.
    pub digest: Digest,
}

/// What a store holds now.
pub async fn digest(store: &dyn Store) -> Result<Digest, Error> {
    Ok(transfer::read(store, |_| Ok(())).await?.1)
}

/// Writes all of a store, as it is at one position. What is written may be secret: key records,
/// sealed provider secrets.
pub async fn dump(store: &dyn Store, out: &mut (dyn Write + Send)) -> Result<Copied, Error> {
    crate::check_schema(store).await?;
    out.write_all(HEADING)?;
    let (position, digest) = transfer::read(store, |entry| format::write_entry(out, &entry)).await?;
    format::write_end(out, &digest)?;
    out.flush()?;
    Ok(Copied { position: Some(position), digest })
}

/// Anything a dump can be read from twice: once to see that it is whole, once to bring it back.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// Reads a dump through, without a store.
pub fn verify(dump: &mut dyn Source) -> Result<Digest, Error> {
    format::read(dump, |_, _| Ok(()))
}

/// Brings a dump back.
pub async fn load(store: &dyn Store, dump: &mut dyn Source, onto: Onto) -> Result<Copied, Error> {
    let expected = verify(dump)?;
    let mut writing = transfer::Writing::begin(store, onto).await?;
    dump.rewind()?;
    let mut entries = format::Entries::begin(dump)?;
    while let format::Next::Entry(key, value) = entries.next()? {
        writing.put(key, value).await?;
    }
    let digest = writing.finish(expected).await?;
    Ok(Copied { position: None, digest })
}

/// Copies one store into another.
pub async fn copy(from: &dyn Store, to: &dyn Store, onto: Onto) -> Result<Copied, Error> {
    crate::check_schema(from).await?;
    let mut writing = transfer::Writing::begin(to, onto).await?;
    let mut reading = transfer::Reading::begin(from);
    while let Some(entries) = reading.page().await? {
        for Entry { key, value, .. } in entries {
            writing.put(key, value).await?;
        }
    }
    let (position, expected) = reading.end();
    let digest = writing.finish(expected).await?;
    Ok(Copied { position: Some(position), digest })
}
