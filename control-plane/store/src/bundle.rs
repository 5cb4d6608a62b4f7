//! Bundles: what is too large for one transaction and changes as a whole, such as a generated
//! catalogue. Its content lies in immutable chunks under its own hash; one pointer says which is in
//! force, and flipping that is one operation of a change set.
//!
//! A chunk is written before anything points at it, so whoever reads finds a whole bundle or none.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{Error, Operation, Read, Store, Transaction, keys};

/// Bytes of a chunk: two fit into a request.
pub const CHUNK_BYTES: usize = 512 * 1024;

/// The largest bundle.
pub const MAX_BUNDLE_BYTES: usize = 64 * 1024 * 1024;

/// Which content is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The bundle's kind.
    pub kind: String,
    /// Its content's SHA-256, in hex.
    pub sha256: String,
    /// How many chunks there are.
    pub chunks: u32,
    /// How many bytes.
    pub bytes: u64,
}

impl Pointer {
    /// Puts this bundle in force. It belongs into the change set that stands for it.
    pub fn flip(&self) -> Operation {
        let Self { kind, sha256, chunks, bytes } = self;
        Operation::Put(keys::bundle_pointer(kind), format!("{sha256} {chunks} {bytes}").into())
    }

    /// Reads the pointer's value back.
    pub fn from_value(kind: &str, value: &[u8]) -> Result<Self, Error> {
        let read = || {
            let mut words = std::str::from_utf8(value).ok()?.split(' ');
            let sha256 = words.next().filter(|hex| hex.len() == 64 && hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?.to_owned();
            let (chunks, bytes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            words.next().is_none().then_some(Self { kind: kind.to_owned(), sha256, chunks, bytes })
        };
        read().ok_or_else(|| Error::Corrupt { what: format!("the pointer to the bundle {kind} cannot be read") })
    }
}

/// Writes the chunks of a bundle, without putting it in force. Chunks that lie there already are
/// left alone: the same content has the same keys.
pub async fn write(store: &dyn Store, kind: &str, content: &[u8]) -> Result<Pointer, Error> {
    if content.len() > MAX_BUNDLE_BYTES {
        return Err(Error::RequestTooLarge { bytes: content.len(), limit: MAX_BUNDLE_BYTES });
    }
    let sha256 = hex(content);
    let mut count = 0;
    for chunk in content.chunks(CHUNK_BYTES) {
        let key = keys::bundle_chunk(kind, &sha256, count);
        if store.get(&key).await?.entry.is_none_or(|entry| entry.value != chunk) {
            let then = vec![Operation::Put(key, Bytes::copy_from_slice(chunk))];
            store.commit(Transaction { then, ..Transaction::default() }).await?;
        }
        count += 1;
    }
    Ok(Pointer { kind: kind.to_owned(), sha256, chunks: count, bytes: content.len() as u64 })
}

/// Reads a bundle and holds it against its hash.
pub async fn read(store: &dyn Store, pointer: &Pointer) -> Result<Bytes, Error> {
    let mut content = Vec::new();
    for chunk in 0..pointer.chunks {
        let entry = store.get(&keys::bundle_chunk(&pointer.kind, &pointer.sha256, chunk)).await?.entry;
        content.extend_from_slice(&entry.ok_or_else(|| damaged(pointer))?.value);
    }
    if content.len() as u64 != pointer.bytes || hex(&content) != pointer.sha256 {
        return Err(damaged(pointer));
    }
    Ok(content.into())
}

/// The bundle in force, if there is one.
pub async fn current(store: &dyn Store, kind: &str) -> Result<Option<Pointer>, Error> {
    let entry = store.get(&keys::bundle_pointer(kind)).await?.entry;
    entry.map(|entry| Pointer::from_value(kind, &entry.value)).transpose()
}

/// Deletes the chunks of every other bundle of the kind. For when nobody reads or writes one.
pub async fn sweep(store: &dyn Store, kind: &str) -> Result<(), Error> {
    let kept = current(store, kind).await?;
    let mut range = keys::bundles(kind);
    let one = std::num::NonZeroU32::MIN;
    while let Some(entry) = store.list(&Read::now(range.clone()).limit(one)).await?.entries.into_iter().next() {
        let Some(keys::Place::BundleChunk { sha256, .. }) = keys::place(&entry.key) else {
            range = range.after(&entry.key);
            continue;
        };
        let whole = keys::bundle(kind, &sha256);
        if kept.as_ref().is_none_or(|kept| kept.sha256 != sha256) {
            store.commit(Transaction { then: vec![Operation::Delete(whole.clone())], ..Transaction::default() }).await?;
        }
        range = range.beyond(&whole);
    }
    Ok(())
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn damaged(pointer: &Pointer) -> Error {
    Error::Corrupt { what: format!("the bundle {} {} is not what its hash says", pointer.kind, pointer.sha256) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_reads_back_and_nothing_else_does() {
        let pointer = Pointer { kind: "prices".to_owned(), sha256: hex(b""), chunks: 3, bytes: 1_234_567 };
        // The hash of nothing is published.
        assert!(pointer.sha256.starts_with("e3b0c44298fc1c149afbf4c8996fb924"), "{}", pointer.sha256);
        let Operation::Put(key, value) = pointer.flip() else { panic!("a put") };
        assert_eq!(key, keys::bundle_pointer("prices"));
        assert_eq!(Pointer::from_value("prices", &value).expect("a pointer"), pointer);
        let text = String::from_utf8_lossy(&value).into_owned();
        for wrong in ["", "x", &text[1..], &text[..65], &format!("{text} 1"), &text.replace(" 3 ", " -3 ")] {
            assert!(matches!(Pointer::from_value("prices", wrong.as_bytes()), Err(Error::Corrupt { .. })), "{wrong}");
        }
    }
}
