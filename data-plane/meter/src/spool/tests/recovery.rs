//! Recovery that dies: cut off after any byte and run again, it comes to the same end.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::spool::plan::{self, Circumstances, Closing, Plan};
use crate::spool::{Closed, RecoveryError, StartError};

const INCARNATION: u64 = 5;

/// A log's segments in memory.
type Segments = BTreeMap<u32, Vec<u8>>;

fn plan_of(segments: &Segments, boot: [u8; 16]) -> Plan {
    let about = Circumstances { incarnation: INCARNATION, boot, poisoned: false };
    let mut surveys = Vec::new();
    for (number, bytes) in segments.iter().rev() {
        surveys.push(plan::survey(INCARNATION, *number, bytes).unwrap());
        if plan::is_enough(&surveys, about) {
            break;
        }
    }
    plan::plan(surveys, about, &orphan).unwrap()
}

/// Does the first `budget` bytes of what the plan writes.
fn apply(segments: &mut Segments, closing: &Closing, mut budget: usize) {
    for number in &closing.discard {
        segments.remove(number);
    }
    let segment = segments.get_mut(&closing.segment).unwrap();
    for write in &closing.writes {
        let part = &write.bytes[..write.bytes.len().min(budget)];
        let at = write.at as usize;
        segment.resize(segment.len().max(at + part.len()), 0);
        segment[at..at + part.len()].copy_from_slice(part);
        budget -= part.len();
    }
}

fn closing(segments: &Segments) -> Closing {
    match plan_of(segments, BOOT) {
        Plan::Close(closing) => closing,
        other => panic!("{other:?}"),
    }
}

/// A log of `whole` attempts and then `open` ones, whose writer died `torn` bytes into one more record.
fn died(whole: u64, open: u64, torn: usize) -> Segments {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(INCARNATION)).unwrap();
    run(&mut log, 0..whole);
    for number in 0..open {
        log.intent(attempt(1000 + number), &intent_payload(number)).unwrap();
    }
    let before = last_segment(folder.path());
    log.intent(attempt(9999), &[0xee; 40]).unwrap();
    let after = last_segment(folder.path());
    let mut segments = all_segments(folder.path());
    if torn == 0 || before.0 != after.0 {
        return segments;
    }
    // The last record stops after `torn` of its bytes.
    let start = before.1.iter().zip(&after.1).position(|(before, after)| before != after).unwrap();
    let mut bytes = after.1;
    bytes[start + torn.min(87)..].fill(0);
    segments.insert(after.0, bytes);
    segments
}

fn all_segments(folder: &Path) -> Segments {
    save(&folder.join("0000000000000005")).into_iter().map(|(name, bytes)| (name[..8].parse().unwrap(), bytes)).collect()
}

fn last_segment(folder: &Path) -> (u32, Vec<u8>) {
    all_segments(folder).pop_last().unwrap()
}

#[test]
fn recovery_cut_off_at_any_byte_and_run_again_ends_the_same() {
    for (whole, open, torn) in [(3, 3, 0), (3, 3, 1), (3, 3, 39), (3, 3, 40), (2, 2, 41), (2, 2, 86), (0, 0, 17), (40, 4, 30)] {
        let dead = died(whole, open, torn);
        let first = closing(&dead);
        let total: usize = first.writes.iter().map(|write| write.bytes.len()).sum();
        let mut finished = dead.clone();
        apply(&mut finished, &first, total);
        assert!(matches!(plan_of(&finished, BOOT), Plan::Trim { end, closed, .. } if end == first.end && closed == first.closed));
        for cut in 0..total {
            let mut segments = dead.clone();
            apply(&mut segments, &first, cut);
            let second = closing(&segments);
            assert_eq!(second.closed, first.closed, "cut {cut} of ({whole}, {open}, {torn})");
            apply(&mut segments, &second, usize::MAX);
            assert_eq!(segments, finished, "cut {cut} of ({whole}, {open}, {torn})");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn recovery_that_dies_again_and_again_ends_the_same(whole in 0u64..45, open in 0u64..6, torn in 0usize..88, cuts in prop::collection::vec(0usize..400, 0..6)) {
        let dead = died(whole, open, torn);
        let first = closing(&dead);
        let mut finished = dead.clone();
        apply(&mut finished, &first, usize::MAX);
        let mut segments = dead;
        for cut in cuts {
            match plan_of(&segments, BOOT) {
                Plan::Close(closing) => apply(&mut segments, &closing, cut),
                Plan::Trim { .. } => break,
                Plan::Discard => unreachable!("its header is whole"),
            }
        }
        if let Plan::Close(closing) = plan_of(&segments, BOOT) {
            apply(&mut segments, &closing, usize::MAX);
        }
        prop_assert_eq!(segments, finished);
    }

    #[test]
    fn any_bytes_at_all_can_be_surveyed_and_planned_with(bytes in prop::collection::vec(any::<u8>(), 0..600), header: bool) {
        let mut segment = if header { died(0, 0, 0)[&0][..88].to_vec() } else { Vec::new() };
        segment.extend(bytes);
        let segments = Segments::from([(0, segment)]);
        if let Plan::Close(closing) = plan_of(&segments, BOOT) {
            let mut segments = segments;
            apply(&mut segments, &closing, usize::MAX);
            let is_closed = matches!(plan_of(&segments, BOOT), Plan::Trim { closed, .. } if closed == closing.closed);
            prop_assert!(is_closed);
        }
    }
}

#[test]
fn doubt_comes_from_a_changed_boot_and_from_damage() {
    let dead = died(2, 1, 0);
    let with = |boot| match plan_of(&dead, boot) {
        Plan::Close(closing) => closing.closed,
        other => panic!("{other:?}"),
    };
    assert_eq!(with(BOOT), Closed { last_seq: 4, doubt: false });
    assert_eq!(with(*b"some-other-boot!"), Closed { last_seq: 4, doubt: true });
}

#[test]
fn recovery_stays_within_the_room_that_the_writer_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(INCARNATION)).unwrap();
    let admitted = (0..100).take_while(|number| log.intent(attempt(*number), &[7; 80]).is_ok()).count();
    drop((log, spool));
    // "orphan of " and the intent: 90 bytes of the 96 that are kept.
    let (spool, recovered) = start(small(folder.path()));
    assert_eq!(recovered[0].orphaned, admitted);
    let end = spool.reader([]).next(usize::MAX).unwrap().cursors[&INCARNATION];
    assert!(end.segment == 0 && end.offset <= 4096);
    assert_eq!(spool.used_bytes(), u64::from(end.offset));
}

/// (files of the log's folder, what is left of the log after recovery: its orphans, or nothing at all)
fn check_half_made(files: &Files, orphans: Option<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("0000000000000005");
    restore(&log, files);
    let (spool, recovered) = start(small(folder.path()));
    assert_eq!(recovered.first().map(|recovered| recovered.orphaned), orphans);
    assert_eq!(log.exists(), orphans.is_some());
    if orphans.is_some() {
        assert!(!recovered[0].closed.doubt);
        assert!(read_all(&spool, false).damage.is_empty());
    }
    drop(spool);
    assert!(start(small(folder.path())).1.is_empty(), "a second recovery has nothing to do");
}

#[test]
fn half_made_logs_and_segments_do_not_stop_recovery() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(INCARNATION)).unwrap();
    for number in 0..3 {
        log.intent(attempt(1000 + number), &intent_payload(number)).unwrap();
    }
    let number_of_segments = |folder: &Path| all_segments(folder).len();
    let mut old = save(&folder.path().join("0000000000000005"));
    let mut number = 0;
    while number_of_segments(folder.path()) == 1 {
        old = save(&folder.path().join("0000000000000005"));
        run(&mut log, [number]);
        number += 1;
    }
    let new = all_segments(folder.path())[&1].clone();
    let carried_end = 88 + (0..3).map(|number| 40 + (intent_payload(number).len() + 4).div_ceil(8) * 8).sum::<usize>();

    // A folder without a segment, an empty segment, one of zeros, one whose header was not finished.
    check_half_made(&Files::new(), None);
    for length in [0, 1, 40, 87, 4096] {
        let mut header = old["00000000.seg"][..length.min(87)].to_vec();
        header.resize(length, 0);
        check_half_made(&Files::from([("00000000.seg".to_owned(), header)]), None);
        check_half_made(&Files::from([("00000000.seg".to_owned(), vec![0; length])]), None);
    }
    // A roll that stopped anywhere before the last carried intent was whole leaves the old segment in charge.
    for stop in (0..carried_end).step_by(3) {
        for length in [stop, 4096] {
            let mut half = new[..stop].to_vec();
            half.resize(length, 0);
            let mut files = old.clone();
            files.insert("00000001.seg".to_owned(), half);
            check_half_made(&files, Some(3));
        }
    }
}

#[test]
fn a_carried_intent_that_rots_is_found_in_the_segment_before() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(INCARNATION)).unwrap();
    log.intent(attempt(1000), b"first").unwrap();
    log.intent(attempt(1001), b"second").unwrap();
    let mut number = 0;
    while all_segments(folder.path()).len() == 1 {
        run(&mut log, [number]);
        number += 1;
    }
    drop((log, spool));
    let mut files = save(&folder.path().join("0000000000000005"));
    files.get_mut("00000001.seg").unwrap()[88 + 45] ^= 1;
    restore(&folder.path().join("0000000000000005"), &files);
    let (_, recovered) = start(small(folder.path()));
    assert_eq!(recovered[0].orphaned, 2);
    assert!(recovered[0].closed.doubt);
}

#[test]
fn a_log_of_a_later_format_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let segments = died(1, 1, 0);
    let mut bytes = segments[&0].clone();
    bytes[8] = 2;
    let sum = crc32c::crc32c(&bytes[..84]);
    bytes[84..88].copy_from_slice(&sum.to_le_bytes());
    let files = Files::from([("00000000.seg".to_owned(), bytes)]);
    restore(&folder.path().join("0000000000000005"), &files);
    let error = Spool::start_by_hand(small(folder.path()), BOOT, orphan).unwrap_err();
    assert!(matches!(error, StartError::Recovery(RecoveryError::Version { version: 2, .. })));
    assert_eq!(save(&folder.path().join("0000000000000005")), files);
}

#[test]
fn names_that_are_not_ours_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let (spool, recovered) = start(small(folder.path()));
    assert!(recovered.is_empty() && spool.logs().is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}
