//! The schema of what is stored: which one a store has, whether this build can work with it, and
//! how to bring it up to date.
//!
//! A build reads its own schema and the one before, and writes its own. So builds are exchanged one
//! by one, and the values are brought up to date when all of them are new: a step of a migration
//! changes values one by one, while the control plane runs.

use bytes::Bytes;

use crate::{Compare, Entry, Error, Operation, Position, Read, Store, Transaction, keys};

/// The schema that this build writes.
pub const SCHEMA: u32 = 1;

/// The schema of a store that bears no mark.
const FIRST: u32 = 1;

/// Entries read at once.
const PAGE: std::num::NonZeroU32 = std::num::NonZeroU32::new(500).unwrap();

/// Brings one value from one schema to the next. None leaves it as it is, which includes a value
/// that has been brought there already: a migration that was cut short is begun anew.
pub(crate) type Step = fn(&Entry) -> Option<Bytes>;

/// The steps, the first from schema 1 to 2.
const STEPS: &[Step] = &[];

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The schema it found; none in a store that bore no mark.
    pub from: Option<u32>,
    /// The schema the store has now.
    pub to: u32,
    /// How many values were rewritten.
    pub rewritten: u64,
}

/// Refuses a store that this build cannot work with: [`Error::NewerSchema`] or
/// [`Error::OlderSchema`]. A store without a mark is empty, or of the first schema.
pub async fn check_schema(store: &dyn Store) -> Result<(), Error> {
    let (found, _) = read(store).await?;
    judge(found.unwrap_or(FIRST), SCHEMA)
}

/// Brings a store to the schema of this build and marks it so. Doing it twice is harmless, and so
/// is doing it from several places at once.
pub async fn migrate(store: &dyn Store) -> Result<Migrated, Error> {
    migrate_to(store, STEPS).await
}

async fn migrate_to(store: &dyn Store, steps: &[Step]) -> Result<Migrated, Error> {
    let to = u32::try_from(steps.len()).unwrap_or(u32::MAX).saturating_add(FIRST);
    let (from, modified) = read(store).await?;
    let found = from.unwrap_or(FIRST);
    judge(found, to)?;
    let mut rewritten = 0;
    for step in steps.iter().skip(found.saturating_sub(FIRST) as usize) {
        rewritten += rewrite(store, *step).await?;
    }
    if from != Some(to) {
        mark(store, to, modified).await?;
    }
    Ok(Migrated { from, to, rewritten })
}

fn judge(found: u32, supported: u32) -> Result<(), Error> {
    let oldest = supported.saturating_sub(1).max(FIRST);
    if found > supported {
        return Err(Error::NewerSchema { found: i64::from(found), supported: i64::from(supported) });
    }
    if found < oldest { Err(Error::OlderSchema { found, oldest }) } else { Ok(()) }
}

async fn read(store: &dyn Store) -> Result<(Option<u32>, Position), Error> {
    let Some(entry) = store.get(&keys::schema()).await?.entry else { return Ok((None, Position::NONE)) };
    let number = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| Error::Corrupt { what: format!("{} holds no number", entry.key) })?;
    Ok((Some(number), entry.modified))
}

async fn mark(store: &dyn Store, schema: u32, before: Position) -> Result<(), Error> {
    let outcome = store
        .commit(Transaction {
            compares: vec![Compare::unchanged(keys::schema(), before)],
            then: vec![Operation::Put(keys::schema(), schema.to_string().into())],
            otherwise: Vec::new(),
        })
        .await?;
    // Somebody else has marked it meanwhile; with what is the question.
    if outcome.succeeded { Ok(()) } else { judge(read(store).await?.0.unwrap_or(FIRST), schema) }
}

/// Rewrites what the step changes. A value that was written meanwhile is looked at again.
async fn rewrite(store: &dyn Store, step: Step) -> Result<u64, Error> {
    let mut rewritten = 0;
    let mut range = keys::everything();
    loop {
        let listing = store.list(&Read::now(range.clone()).limit(PAGE)).await?;
        for entry in &listing.entries {
            rewritten += u64::from(rewrite_one(store, entry.clone(), step).await?);
        }
        match listing.entries.last() {
            Some(last) if listing.more => range = range.after(&last.key),
            _ => return Ok(rewritten),
        }
    }
}

async fn rewrite_one(store: &dyn Store, mut entry: Entry, step: Step) -> Result<bool, Error> {
    loop {
        let Some(value) = step(&entry) else { return Ok(false) };
        let outcome = store
            .commit(Transaction {
                compares: vec![Compare::unchanged(entry.key.clone(), entry.modified)],
                then: vec![Operation::Put(entry.key.clone(), value)],
                otherwise: Vec::new(),
            })
            .await?;
        if outcome.succeeded {
            return Ok(true);
        }
        match store.get(&entry.key).await?.entry {
            Some(now) => entry = now,
            None => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{MonotonicClock, Sqlite};

    async fn a_store() -> (Sqlite, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Sqlite::open(&folder.path().join("store.db"), Arc::new(MonotonicClock::start())).await.expect("a store");
        (store, folder)
    }

    async fn put(store: &Sqlite, key: crate::Key, value: &str) {
        let then = vec![Operation::Put(key, value.to_owned().into())];
        store.commit(Transaction { then, ..Transaction::default() }).await.expect("a commit");
    }

    async fn value(store: &Sqlite, key: crate::Key) -> Option<String> {
        store.get(&key).await.expect("a read").entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
    }

    #[test]
    fn a_build_reads_its_schema_and_the_one_before() {
        for (found, supported, expected) in [(1, 1, "ok"), (1, 2, "ok"), (2, 2, "ok"), (3, 2, "newer"), (1, 3, "older"), (2, 1, "newer")] {
            let judged = match judge(found, supported) {
                Ok(()) => "ok",
                Err(Error::NewerSchema { .. }) => "newer",
                Err(Error::OlderSchema { .. }) => "older",
                Err(other) => panic!("{other}"),
            };
            assert_eq!(judged, expected, "{found} {supported}");
        }
    }

    #[tokio::test]
    async fn a_store_is_marked_once_and_a_newer_one_is_refused() {
        let (store, _folder) = a_store().await;
        assert_eq!(STEPS.len() + 1, SCHEMA as usize, "a step for each schema after the first");
        check_schema(&store).await.expect("an empty store");
        assert_eq!(migrate(&store).await.expect("a migration"), Migrated { from: None, to: 1, rewritten: 0 });
        let marked = store.get(&keys::schema()).await.expect("a read").entry;
        assert_eq!(migrate(&store).await.expect("a migration"), Migrated { from: Some(1), to: 1, rewritten: 0 });
        assert_eq!(store.get(&keys::schema()).await.expect("a read").entry, marked);
        put(&store, keys::schema(), "2").await;
        assert!(matches!(check_schema(&store).await, Err(Error::NewerSchema { found: 2, supported: 1 })));
        assert!(matches!(migrate(&store).await, Err(Error::NewerSchema { .. })));
        put(&store, keys::schema(), "two").await;
        assert!(matches!(check_schema(&store).await, Err(Error::Corrupt { .. })));
    }

    #[tokio::test]
    async fn every_value_is_rewritten_once_however_often_it_is_tried() {
        fn shout(entry: &Entry) -> Option<Bytes> {
            let text = String::from_utf8_lossy(&entry.value);
            let louder = text.to_uppercase();
            (keys::logs().contains(&entry.key) && louder != text).then(|| louder.into_bytes().into())
        }
        let (store, _folder) = a_store().await;
        for n in 0..1_200 {
            put(&store, keys::log(n), if n % 3 == 0 { "LOUD" } else { "soft" }).await;
        }
        put(&store, keys::head(), "soft").await;
        let first = migrate_to(&store, &[shout]).await.expect("a migration");
        assert_eq!(first, Migrated { from: None, to: 2, rewritten: 800 });
        assert_eq!(migrate_to(&store, &[shout]).await.expect("a migration"), Migrated { from: Some(2), to: 2, rewritten: 0 });
        for (key, expected) in [(keys::log(0), "LOUD"), (keys::log(1_199), "SOFT"), (keys::head(), "soft")] {
            assert_eq!(value(&store, key).await.as_deref(), Some(expected));
        }
        // The build that took the first step reads on; one that is a step further does so too, until it goes on.
        let third = migrate_to(&store, &[shout, |_| None]).await.expect("a migration");
        assert_eq!((third.from, third.to), (Some(2), 3));
        assert!(matches!(migrate_to(&store, &[shout]).await, Err(Error::NewerSchema { found: 3, supported: 2 })));
    }
}
