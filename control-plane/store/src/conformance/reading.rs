//! Listings: their order, their pages, the past.

use std::num::NonZeroU32;

use bytes::Bytes;

use super::{Subject, all, delete, key, put, under};
use crate::{Error, Fault, Key, Operation, Position, Range, Read};

fn keys(entries: &[crate::Entry]) -> Vec<Key> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

/// Bytes decide, not letters, and no byte is special, in values neither.
pub async fn keys_come_in_bytewise_order(subject: Subject) {
    let ordered: Vec<&[u8]> = vec![b"\0", b"\0\0", b"A", b"Z", b"a", b"a\0", b"a/b", b"a0", b"\xc3\xa9", b"\xff", b"\xff\xff"];
    for name in ordered.iter().rev() {
        subject.write(vec![Operation::Put(key(name), Bytes::copy_from_slice(name))]).await;
    }
    let held = subject.entries(Read::now(all())).await;
    assert_eq!(keys(&held), ordered.iter().map(key).collect::<Vec<_>>());
    for (entry, name) in held.iter().zip(&ordered) {
        assert_eq!(&entry.value[..], *name);
    }
    for (range, expected) in [
        (under("a"), &ordered[4..8]),
        (under("a/"), &ordered[6..7]),
        (Range::one(&key("a")), &ordered[4..5]),
        (Range::between(&key("A"), &key("a")), &ordered[2..4]),
        (Range::between(&key("a"), &key("A")), &[]),
        (all().after(&key("a0")), &ordered[8..]),
        (under("nothing"), &[]),
    ] {
        let held = subject.entries(Read::now(range.clone())).await;
        assert_eq!(keys(&held), expected.iter().map(key).collect::<Vec<_>>(), "{range:?}");
    }
}

/// Paging at the first page's position is not disturbed by what is written meanwhile.
pub async fn pages_of_one_position_make_the_whole(subject: Subject) {
    let names: Vec<String> = (0..10).map(|n| format!("p/{n}")).collect();
    subject.write(names.iter().map(|name| put(name, "before")).collect()).await;
    let size = NonZeroU32::new(4).expect("four");
    let first = subject.store.list(&Read::now(under("p/")).limit(size)).await.expect("a page");
    let mut pages = vec![first.entries.clone()];
    let mut more = first.more;
    while more {
        subject.write(vec![put("p/00", "during"), put("p/5", "during"), delete("p/9")]).await;
        let last = pages.last().and_then(|page| page.last()).expect("an entry").key.clone();
        let page = Read::at(under("p/").after(&last), first.position).limit(size);
        let page = subject.store.list(&page).await.expect("a page");
        assert_eq!(page.position, first.position);
        more = page.more;
        pages.push(page.entries);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
    assert_eq!(keys(&pages.concat()), names.iter().map(key).collect::<Vec<_>>());
    assert!(pages.concat().iter().all(|entry| &entry.value[..] == b"before"));
    for (limit, more) in [(9, true), (10, false), (11, false)] {
        let read = Read::at(under("p/"), first.position).limit(NonZeroU32::new(limit).expect("a limit"));
        assert_eq!(subject.store.list(&read).await.expect("a page").more, more, "{limit}");
    }
}

/// Old positions can be read until they are compacted; ones to come cannot.
pub async fn the_past_stays_until_it_is_compacted(subject: Subject) {
    let one = subject.write(vec![put("a", "1"), put("b", "1")]).await;
    let two = subject.write(vec![put("a", "2"), delete("b")]).await;
    let three = subject.write(vec![delete("a"), put("b", "3")]).await;
    let four = subject.write(vec![put("c", "4")]).await;
    let shown = async |at: Position| -> Vec<(Key, Bytes)> {
        let entries = subject.entries(Read::at(all(), at)).await;
        entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
    };
    let row = |name: &str, value: &'static str| (key(name), Bytes::from(value));
    let history = [
        (one, vec![row("a", "1"), row("b", "1")]),
        (two, vec![row("a", "2")]),
        (three, vec![row("b", "3")]),
        (four, vec![row("b", "3"), row("c", "4")]),
    ];
    for (at, expected) in &history {
        assert_eq!(shown(*at).await, *expected, "{at}");
    }
    let ahead = Position(four.0 + 1);
    for refused in [subject.store.list(&Read::at(all(), ahead)).await.map(drop), subject.store.compact(ahead).await] {
        match refused {
            Err(Error::FuturePosition { asked, current }) => assert_eq!((asked, current), (ahead, four)),
            other => panic!("{other:?}"),
        }
    }
    for (compacted, oldest) in [(two, two), (three, three), (two, three), (four, four)] {
        subject.store.compact(compacted).await.expect("a compaction");
        for (at, expected) in &history {
            if *at >= oldest {
                assert_eq!(shown(*at).await, *expected, "{at} after compacting at {compacted}");
                continue;
            }
            match subject.store.list(&Read::at(all(), *at)).await {
                Err(error @ Error::Compacted { .. }) => assert_eq!(error.fault(), Fault::Caller),
                other => panic!("{at} after compacting at {compacted}: {other:?}"),
            }
        }
    }
    assert_eq!(subject.now().await, four);
}

/// More entries and more bytes than one answer of a server holds.
pub async fn many_and_large_entries_are_listed_whole(subject: Subject) {
    let large = Bytes::from(vec![9_u8; 700_000]);
    for n in 0..10 {
        subject.write(vec![put(&format!("large/{n}"), large.clone()), put(&format!("large/{n}a"), large.clone())]).await;
    }
    let mut names: Vec<String> = (0..2_000).map(|n| format!("many/{n:04}")).collect();
    for names in names.chunks(100) {
        subject.write(names.iter().map(|name| put(name, "")).collect()).await;
    }
    let held = subject.entries(Read::now(under("large/"))).await;
    assert_eq!(held.len(), 20);
    assert!(held.iter().all(|entry| entry.value == large));
    assert_eq!(keys(&subject.entries(Read::now(under("many/"))).await), names.iter().map(key).collect::<Vec<_>>());
    let limit = NonZeroU32::new(1_500).expect("a limit");
    let listing = subject.store.list(&Read::now(under("many/")).limit(limit)).await.expect("a listing");
    names.truncate(1_500);
    assert_eq!((keys(&listing.entries), listing.more), (names.iter().map(key).collect(), true));
}
