//! The dump's bytes.

use std::io::{ErrorKind, Read, Write};

use bytes::Bytes;

use super::transfer::Sum;
use super::{Digest, Error, HEADING, Source};
use crate::{Entry, Key};

/// Stands where the length of a key would, at the end.
const END: u32 = u32::MAX;

/// The longest key and value that can be: what a store takes in one request.
const LONGEST: u32 = 4 * 1024 * 1024;

pub(super) fn write_entry(out: &mut (dyn Write + Send), entry: &Entry) -> Result<(), Error> {
    let key = entry.key.as_bytes();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.write_all(&length(key))?;
    out.write_all(&length(&entry.value))?;
    out.write_all(key)?;
    out.write_all(&entry.value)?;
    Ok(())
}

pub(super) fn write_end(out: &mut (dyn Write + Send), digest: &Digest) -> Result<(), Error> {
    out.write_all(&END.to_le_bytes())?;
    out.write_all(&digest.entries.to_le_bytes())?;
    out.write_all(&digest.hash)?;
    Ok(())
}

/// Reads all of a dump, hands its entries on, and holds what it read against the digest at its end.
pub(super) fn read(dump: &mut dyn Source, mut take: impl FnMut(Key, Bytes) -> Result<(), Error>) -> Result<Digest, Error> {
    let mut entries = Entries::begin(dump)?;
    let mut sum = Sum::default();
    loop {
        match entries.next()? {
            Next::Entry(key, value) => {
                sum.add(&key, &value)?;
                take(key, value)?;
            }
            Next::End { count, hash } => {
                let digest = sum.digest();
                if (digest.entries, digest.hash) != (count, hash) {
                    return Err(Error::Damaged { what: "its content is not what its end says" });
                }
                return Ok(digest);
            }
        }
    }
}

/// The entries of a dump, one after the other.
pub(super) struct Entries<'a> {
    dump: std::io::BufReader<&'a mut dyn Source>,
}

pub(super) enum Next {
    Entry(Key, Bytes),
    End { count: u64, hash: [u8; 32] },
}

impl<'a> Entries<'a> {
    pub(super) fn begin(dump: &'a mut dyn Source) -> Result<Self, Error> {
        let mut entries = Self { dump: std::io::BufReader::new(dump) };
        if entries.array::<{ HEADING.len() }>()? != HEADING {
            return Err(Error::Damaged { what: "it does not begin as a dump of this format" });
        }
        Ok(entries)
    }

    pub(super) fn next(&mut self) -> Result<Next, Error> {
        let key_length = u32::from_le_bytes(self.array()?);
        if key_length == END {
            return self.end();
        }
        let value_length = u32::from_le_bytes(self.array()?);
        if key_length == 0 || key_length > LONGEST || value_length > LONGEST {
            return Err(Error::Damaged { what: "an entry has an impossible length" });
        }
        let key = self.bytes(key_length)?;
        Ok(Next::Entry(Key::from_bytes(key), self.bytes(value_length)?.into()))
    }

    fn end(&mut self) -> Result<Next, Error> {
        let end = Next::End { count: u64::from_le_bytes(self.array()?), hash: self.array()? };
        match self.dump.read(&mut [0])? {
            0 => Ok(end),
            _ => Err(Error::Damaged { what: "something follows its end" }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.dump.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Error::Damaged { what: "it ends too early" },
            _ => Error::Io(error),
        })
    }
}
