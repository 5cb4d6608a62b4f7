//! Watches: every commit once, in order, from anywhere, or a reason.

use bytes::Bytes;

use super::{Subject, all, batches_until, delete, doing, guarded, key, next, put, under};
use crate::{Batch, Compare, Entry, Error, Event, Operation, Position, Range, Read, Update, WATCH_BUFFER_BYTES, keys};

fn entry(name: &str, value: &'static str, created: Position, modified: Position, version: u64) -> Entry {
    Entry { key: key(name), value: Bytes::from(value), created, modified, version }
}

/// One batch per commit, in the order of its steps, with the entries as they were.
pub async fn a_watch_shows_every_commit_once_with_what_was_before(subject: Subject) {
    let start = subject.now().await;
    let mut live = subject.watch(all(), start).await;
    let one = subject.write(vec![put("b", "1"), put("a", "1")]).await;
    let two = subject.write(vec![put("a", "2"), delete("b"), delete("nowhere")]).await;
    subject.write(vec![delete("nowhere")]).await;
    let three = subject.write(vec![Operation::Delete(all())]).await;
    let four = subject.write(vec![put("a", "")]).await;
    let put_event = |entry: &Entry, previous: Option<&Entry>| Event::Put { entry: entry.clone(), previous: previous.cloned() };
    let gone = |previous: &Entry| Event::Delete { key: previous.key.clone(), previous: Some(previous.clone()) };
    let (a1, b1) = (entry("a", "1", one, one, 1), entry("b", "1", one, one, 1));
    let (a2, a4) = (entry("a", "2", one, two, 2), entry("a", "", four, four, 1));
    let expected = [
        Batch { position: one, events: vec![put_event(&b1, None), put_event(&a1, None)] },
        Batch { position: two, events: vec![put_event(&a2, Some(&a1)), gone(&b1)] },
        Batch { position: three, events: vec![gone(&a2)] },
        Batch { position: four, events: vec![put_event(&a4, None)] },
    ];
    assert_eq!(batches_until(&mut live, four).await, expected);
    for skipped in 0..=expected.len() {
        let after = skipped.checked_sub(1).map_or(start, |last| expected[last].position);
        let mut late = subject.watch(all(), after).await;
        assert_eq!(batches_until(&mut late, four).await, expected[skipped..], "after {after}");
    }
}

/// Dropping a watch and watching again after the last batch neither loses nor repeats.
pub async fn a_watch_resumes_where_it_was_left(subject: Subject) {
    let mut after = subject.now().await;
    let mut seen = Vec::new();
    for round in 0..5 {
        let mut watch = subject.watch(all(), after).await;
        let mut last = after;
        for step in 0..3 {
            last = subject.write(vec![put("k", format!("{round}.{step}"))]).await;
        }
        // The last write of each round is left for the next watch.
        let batches = batches_until(&mut watch, last).await;
        let kept = &batches[..batches.len() - usize::from(round < 4)];
        after = kept.last().expect("a batch").position;
        seen.extend(kept.iter().flat_map(|batch| &batch.events).map(|event| event.value().cloned()));
    }
    let expected: Vec<_> = (0..5).flat_map(|round| (0..3).map(move |step| Some(Bytes::from(format!("{round}.{step}"))))).collect();
    assert_eq!(seen, expected);
}

/// A commit that touches other keys too shows only those of the range; one that touches none
/// shows as progress.
pub async fn only_the_range_is_shown_and_the_rest_is_marked(subject: Subject) {
    let start = subject.now().await;
    let mut narrow = subject.watch(under("in/"), start).await;
    let mut single = subject.watch(Range::one(&key("in/2")), start).await;
    subject.write(vec![put("out", "1"), put("in/1", "1"), put("in", "1"), put("in0", "1")]).await;
    let mixed = subject.write(vec![put("in/2", "2"), put("out", "2"), put("in/1", "2")]).await;
    let outside = subject.write(vec![put("out", "3")]).await;
    let names = |batches: Vec<Batch>| -> Vec<Vec<String>> {
        batches.iter().map(|batch| batch.events.iter().map(|event| event.key().to_string()).collect()).collect()
    };
    let name = |name: &str| key(name).to_string();
    let expected = [vec![name("in/1")], vec![name("in/2"), name("in/1")]];
    assert_eq!(names(batches_until(&mut narrow, outside).await), expected);
    assert_eq!(names(batches_until(&mut single, mixed).await), [vec![name("in/2")]]);
}

/// A commit of the largest kind, seen live and afterwards, with as much again as it was before.
pub async fn a_large_commit_is_shown_whole(subject: Subject) {
    let start = subject.now().await;
    let mut live = subject.watch(all(), start).await;
    let names: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    let mut expected = Vec::new();
    for round in 1..=3_u8 {
        let value = Bytes::from(vec![round; 15_000]);
        let at = subject.write(names.iter().map(|name| put(name, value.clone())).collect()).await;
        expected.push((at, names.iter().map(key).collect::<Vec<_>>(), vec![round; 15_000]));
    }
    let (last, ..) = *expected.last().expect("three rounds");
    let mut late = subject.watch(all(), start).await;
    for watch in [&mut live, &mut late] {
        let batches = batches_until(watch, last).await;
        assert_eq!(batches.len(), expected.len());
        for (batch, (at, keys, value)) in batches.iter().zip(&expected) {
            assert_eq!((batch.position, batch.events.len()), (*at, keys.len()));
            for (event, key) in batch.events.iter().zip(keys) {
                assert_eq!((event.key(), event.value().map(|held| &held[..])), (key, Some(&value[..])));
            }
        }
    }
}

/// Four writers, and watchers that begin at every moment: one history.
pub async fn watchers_that_join_while_writers_write_see_the_same(subject: Subject) {
    let start = subject.now().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let store = subject.store.clone();
        writers.spawn(async move {
            let mut positions = Vec::new();
            for step in 0..25 {
                let own = put(&format!("w/{writer}"), format!("{step}"));
                let write = doing(vec![own, put("shared", format!("{writer}.{step}"))]);
                positions.push(store.commit(write).await.expect("a commit").position);
            }
            positions
        });
    }
    let mut watches = Vec::new();
    let mut positions = Vec::new();
    while let Some(written) = writers.join_next().await {
        watches.push((start, subject.watch(all(), start).await));
        let now = subject.now().await;
        watches.push((now, subject.watch(all(), now).await));
        positions.extend(written.expect("a writer"));
    }
    positions.sort_unstable();
    let last = *positions.last().expect("a position");
    let mut whole: Option<Vec<Batch>> = None;
    for (after, mut watch) in watches {
        let batches = batches_until(&mut watch, last).await;
        let whole = whole.get_or_insert_with(|| batches.clone());
        let tail: Vec<Batch> = whole.iter().filter(|batch| batch.position > after).cloned().collect();
        assert_eq!(batches, tail, "after {after}");
    }
    let whole = whole.expect("a watch from the start");
    assert_eq!(whole.iter().map(|batch| batch.position).collect::<Vec<_>>(), positions);
    assert!(whole.iter().all(|batch| batch.events.len() == 2));
}

/// What an index does at its start, while others write.
pub async fn a_listing_and_a_watch_after_it_make_the_whole(subject: Subject) {
    let store = subject.store.clone();
    let writing = tokio::spawn(async move {
        for step in 0..40_u32 {
            let name = format!("k{}", step % 7);
            let step = if step % 3 == 2 { delete(&name) } else { put(&name, format!("{step}")) };
            store.commit(doing(vec![step])).await.expect("a commit");
        }
    });
    while subject.entries(Read::now(all())).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let listing = subject.store.list(&Read::now(all())).await.expect("a listing");
    let mut watch = subject.watch(all(), listing.position).await;
    writing.await.expect("the writer");
    let last = subject.store.list(&Read::now(all())).await.expect("a listing");
    let mut replica: std::collections::BTreeMap<_, _> = listing.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
    for event in batches_until(&mut watch, last.position).await.into_iter().flat_map(|batch| batch.events) {
        match event {
            Event::Put { entry, previous } => assert_eq!(replica.insert(entry.key.clone(), entry), previous),
            Event::Delete { key, previous } => assert_eq!(replica.remove(&key), previous),
        }
    }
    assert_eq!(replica.into_values().collect::<Vec<_>>(), last.entries);
}

/// A watch can begin at the oldest position that is left, and nowhere before it.
pub async fn history_that_is_gone_is_refused(subject: Subject) {
    let one = subject.write(vec![put("a", "1"), put("b", "1")]).await;
    let two = subject.write(vec![put("a", "2"), delete("b")]).await;
    let three = subject.write(vec![put("a", "3"), put("b", "3")]).await;
    subject.store.compact(two).await.expect("a compaction");
    let mut watch = subject.watch(all(), two).await;
    let expected = Batch {
        position: three,
        events: vec![
            Event::Put { entry: entry("a", "3", one, three, 3), previous: Some(entry("a", "2", one, two, 2)) },
            Event::Put { entry: entry("b", "3", three, three, 1), previous: None },
        ],
    };
    assert_eq!(batches_until(&mut watch, three).await, [expected]);
    let refused = match subject.store.watch(all(), one).await {
        Err(error) => error,
        Ok(mut watch) => next(&mut watch).await.expect("a reason").expect_err("a refusal"),
    };
    assert!(matches!(refused, Error::Compacted { oldest } if oldest == two), "{refused:?}");
}

/// A watcher that reads nothing gets what was buffered, a reason, and the rest when it resumes.
pub async fn a_watcher_that_does_not_read_is_ended_and_can_resume(subject: Subject) {
    let start = subject.now().await;
    let mut stuck = subject.watch(all(), start).await;
    let large = Bytes::from(vec![1_u8; WATCH_BUFFER_BYTES / 4]);
    let mut positions = Vec::new();
    for _ in 0..6 {
        positions.push(subject.write(vec![put("large", large.clone())]).await);
    }
    let mut seen = Vec::new();
    // The watcher stays stuck until the store has had enough; how much that takes is its own affair.
    for small in 0..2_000 {
        positions.push(subject.write(vec![put("small", format!("{small}"))]).await);
    }
    let after = loop {
        match next(&mut stuck).await.expect("a reason before the end") {
            Ok(Update::Batch(batch)) => seen.push(batch.position),
            Ok(Update::Progress(_)) => {}
            Err(Error::SlowWatcher { after }) => break after,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(next(&mut stuck).await.is_none());
    assert!(seen.len() < positions.len());
    assert_eq!(seen.last().copied().unwrap_or(start), after);
    let last = *positions.last().expect("a position");
    let mut resumed = subject.watch(all(), after).await;
    seen.extend(batches_until(&mut resumed, last).await.iter().map(|batch| batch.position));
    assert_eq!(seen, positions);

    // A guard on what was watched still works as if nothing had happened.
    let guard = Compare::unchanged(key("small"), last);
    assert!(subject.commit(guarded(vec![guard], vec![put("small", "")])).await.succeeded);
    assert!(!keys::config().contains(&key("small")));
}
