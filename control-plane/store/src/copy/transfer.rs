//! Reading a store whole, and writing one.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use bytes::Bytes;

use super::{Digest, Error, Onto};
use crate::{Entry, Key, MAX_OPERATIONS, MAX_REQUEST_BYTES, Operation, Position, Range, Read, Store, Transaction, keys};

/// Entries read at once.
const PAGE: NonZeroU32 = NonZeroU32::new(500).unwrap();

/// A write whose answer was lost is repeated so often: nobody else writes there.
const TRIES: u32 = 5;

/// A digest in the making.
#[derive(Default)]
pub(super) struct Sum {
    entries: u64,
    bytes: u64,
    hasher: blake3::Hasher,
    last: Option<Key>,
}

impl Sum {
    /// Keys must come in order, each once.
    pub(super) fn add(&mut self, key: &Key, value: &[u8]) -> Result<(), Error> {
        if self.last.as_ref().is_some_and(|last| last >= key) {
            return Err(Error::Damaged { what: "its keys are not in order" });
        }
        self.entries += 1;
        for part in [key.as_bytes(), value] {
            self.bytes += part.len() as u64;
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
        self.last = Some(key.clone());
        Ok(())
    }

    pub(super) fn digest(&self) -> Digest {
        Digest { entries: self.entries, bytes: self.bytes, hash: *self.hasher.finalize().as_bytes() }
    }
}

/// Whether a key is copied.
fn is_copied(key: &Key) -> bool {
    !keys::leaders().contains(key) && !keys::replicas().contains(key)
}

/// A store being read, page by page, at the position of the first.
pub(super) struct Reading<'a> {
    store: &'a dyn Store,
    range: Option<Range>,
    position: Option<Position>,
    sum: Sum,
}

impl<'a> Reading<'a> {
    pub(super) fn begin(store: &'a dyn Store) -> Self {
        Self { store, range: Some(keys::everything()), position: None, sum: Sum::default() }
    }

    /// The next entries; none after the last.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        let Some(range) = self.range.take() else { return Ok(None) };
        let mut listing = self.store.list(&Read { range: range.clone(), at: self.position, limit: Some(PAGE) }).await?;
        self.position = Some(listing.position);
        self.range = listing.entries.last().filter(|_| listing.more).map(|last| range.after(&last.key));
        listing.entries.retain(|entry| is_copied(&entry.key));
        for entry in &listing.entries {
            self.sum.add(&entry.key, &entry.value)?;
        }
        Ok(Some(listing.entries))
    }

    pub(super) fn end(self) -> (Position, Digest) {
        (self.position.unwrap_or_default(), self.sum.digest())
    }
}

/// Reads all of a store and hands its entries on.
pub(super) async fn read(store: &dyn Store, mut take: impl FnMut(Entry) -> Result<(), Error>) -> Result<(Position, Digest), Error> {
    let mut reading = Reading::begin(store);
    while let Some(entries) = reading.page().await? {
        entries.into_iter().try_for_each(&mut take)?;
    }
    Ok(reading.end())
}

/// A store being written.
pub(super) struct Writing<'a> {
    store: &'a dyn Store,
    /// What the target had, by the hash of its value, and was not in the copy so far.
    left: BTreeMap<Key, blake3::Hash>,
    pending: Transaction,
    head: Option<Bytes>,
}

impl<'a> Writing<'a> {
    pub(super) async fn begin(store: &'a dyn Store, onto: Onto) -> Result<Self, Error> {
        crate::check_schema(store).await?;
        let mut left = BTreeMap::new();
        read(store, |entry| {
            if onto == Onto::Empty {
                return Err(Error::NotEmpty { key: entry.key });
            }
            left.insert(entry.key, blake3::hash(&entry.value));
            Ok(())
        })
        .await?;
        Ok(Self { store, left, pending: Transaction::default(), head: None })
    }

    /// Writes an entry, if the target does not have it as it is.
    pub(super) async fn put(&mut self, key: Key, value: Bytes) -> Result<(), Error> {
        if !keys::everything().contains(&key) || !is_copied(&key) {
            return Err(Error::Damaged { what: "it holds a key that is never copied" });
        }
        let held = self.left.remove(&key);
        if key == keys::head() {
            self.head = Some(value);
            return Ok(());
        }
        if held == Some(blake3::hash(&value)) {
            return Ok(());
        }
        self.add(Operation::Put(key, value)).await
    }

    async fn add(&mut self, operation: Operation) -> Result<(), Error> {
        self.pending.then.push(operation);
        if self.pending.then.len() > MAX_OPERATIONS || self.pending.bytes() > MAX_REQUEST_BYTES {
            let last = self.pending.then.pop();
            self.write().await?;
            self.pending.then.extend(last);
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Error> {
        let transaction = std::mem::take(&mut self.pending);
        if transaction.then.is_empty() {
            return Ok(());
        }
        let mut tries = 1;
        loop {
            match self.store.commit(transaction.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.may_retry() && tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Deletes what the copy does not have, writes the head, and looks whether all is there.
    pub(super) async fn finish(mut self, expected: Digest) -> Result<Digest, Error> {
        let head = self.head.take();
        let mut left: Vec<Key> = std::mem::take(&mut self.left).into_keys().collect();
        // A store without a head shows no world: the head of the old one goes last, or is replaced.
        left.sort_by_key(|key| *key == keys::head());
        for key in left {
            self.add(Operation::delete(&key)).await?;
        }
        self.write().await?;
        if let Some(head) = head {
            self.add(Operation::Put(keys::head(), head)).await?;
            self.write().await?;
        }
        let target = super::digest(self.store).await?;
        if target == expected { Ok(target) } else { Err(Error::Differs { expected, target }) }
    }
}
