//! A store whose watches lie, as those of real ones have: now and then an event is left out or
//! shown twice. What lives on watches has to find that out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_stream::StreamExt;

use crate::contract::Answer;
use crate::watch::Feed;
use crate::{
    Batch, Candidacy, Election, Event, Found, Key, Leadership, Listing, Outcome, Position, Range, Read, Store, Transaction, Update, Watch,
};

/// Wraps a store. Everything but its watches is as it was.
#[derive(Clone)]
pub struct Lying {
    store: Arc<dyn Store>,
    lies: Arc<Lies>,
}

/// What was lied about so far, and when the next lie is due.
struct Lies {
    seed: u64,
    one_in: u64,
    shown: AtomicU64,
    dropped: AtomicU64,
    doubled: AtomicU64,
}

impl Lying {
    /// Lies about one event in `one_in` on average, by this seed. Which events are meant depends
    /// on the seed and on how many were shown before, over all watches.
    pub fn new(store: Arc<dyn Store>, seed: u64, one_in: u64) -> Self {
        let counter = AtomicU64::default;
        Self { store, lies: Arc::new(Lies { seed, one_in: one_in.max(1), shown: counter(), dropped: counter(), doubled: counter() }) }
    }

    /// How many events were left out.
    pub fn dropped(&self) -> u64 {
        self.lies.dropped.load(Ordering::Relaxed)
    }

    /// How many events were shown twice.
    pub fn doubled(&self) -> u64 {
        self.lies.doubled.load(Ordering::Relaxed)
    }
}

impl Lies {
    /// None for a batch of which nothing is left.
    fn tell(&self, batch: Batch) -> Option<Batch> {
        let mut events = Vec::with_capacity(batch.events.len());
        for event in batch.events {
            self.tell_event(event, &mut events);
        }
        (!events.is_empty()).then_some(Batch { position: batch.position, events })
    }

    fn tell_event(&self, event: Event, told: &mut Vec<Event>) {
        let draw = mix(self.seed ^ self.shown.fetch_add(1, Ordering::Relaxed));
        if !draw.is_multiple_of(self.one_in) {
            told.push(event);
        } else if mix(draw).is_multiple_of(2) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(key = %event.key(), "a lie: left out");
        } else {
            self.doubled.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(key = %event.key(), "a lie: shown twice");
            told.extend([event.clone(), event]);
        }
    }
}

/// The finalizer of splitmix64: neighbours become strangers.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

async fn pass_on(mut truth: Watch, lies: Arc<Lies>, feed: Feed) {
    loop {
        let next = tokio::select! {
            next = truth.next() => next,
            () = feed.closed() => return,
        };
        let update = match next {
            None => return,
            Some(Err(error)) => return feed.end(error),
            Some(Ok(Update::Batch(batch))) => match lies.tell(batch) {
                Some(batch) => Update::Batch(batch),
                None => continue,
            },
            Some(Ok(progress)) => progress,
        };
        let Ok(room) = feed.room_for(&update).await else { return };
        if feed.send(room, update).is_err() {
            return;
        }
    }
}

impl Store for Lying {
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Found> {
        self.store.get(key)
    }

    fn list<'a>(&'a self, read: &'a Read) -> Answer<'a, Listing> {
        self.store.list(read)
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        self.store.commit(transaction)
    }

    fn watch(&self, range: Range, after: Position) -> Answer<'_, Watch> {
        Box::pin(async move {
            let truth = self.store.watch(range, after).await?;
            let (feed, watch) = Feed::open();
            tokio::spawn(pass_on(truth, Arc::clone(&self.lies), feed));
            Ok(watch)
        })
    }

    fn compact(&self, at: Position) -> Answer<'_, ()> {
        self.store.compact(at)
    }

    fn lead<'a>(&'a self, candidacy: &'a Candidacy) -> Answer<'a, Election> {
        self.store.lead(candidacy)
    }

    fn renew<'a>(&'a self, leadership: &'a Leadership) -> Answer<'a, ()> {
        self.store.renew(leadership)
    }

    fn resign(&self, leadership: Leadership) -> Answer<'_, ()> {
        self.store.resign(leadership)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MonotonicClock, Operation, Sqlite, keys};

    /// What a watch shows of 2,000 commits.
    async fn shown(one_in: u64, seed: u64) -> (Vec<Event>, u64, u64) {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(MonotonicClock::start());
        let store = Sqlite::open(&folder.path().join("store.db"), clock).await.expect("a store");
        let lying = Lying::new(Arc::new(store), seed, one_in);
        let mut last = Position::NONE;
        for n in 0..200 {
            let then = (0..10).map(|step| Operation::Put(keys::log(n * 10 + step), "x".into())).collect();
            last = lying.commit(Transaction { then, ..Transaction::default() }).await.expect("a commit").position;
        }
        let mut watch = lying.watch(keys::logs(), Position::NONE).await.expect("a watch");
        let mut events = Vec::new();
        loop {
            match watch.next().await.expect("an update").expect("no error") {
                Update::Batch(batch) => events.extend(batch.events),
                Update::Progress(reached) if reached >= last => return (events, lying.dropped(), lying.doubled()),
                Update::Progress(_) => {}
            }
        }
    }

    #[tokio::test]
    async fn about_one_event_in_n_is_lied_about_and_the_same_ones_for_the_same_seed() {
        let (all, dropped, doubled) = shown(u64::MAX, 1).await;
        assert_eq!((all.len(), dropped, doubled), (2_000, 0, 0));
        let (events, dropped, doubled) = shown(50, 7).await;
        assert!((10..=90).contains(&(dropped + doubled)) && dropped > 0 && doubled > 0, "{dropped} {doubled}");
        assert_eq!(events.len() as u64, 2_000 - dropped + doubled);
        assert_eq!(shown(50, 7).await.0, events);
        assert_ne!(shown(50, 8).await.0, events);
    }
}
