//! Truncation and flipped bits at every byte of a log: what was hit is lost and listed, and nothing else changes.

use super::*;
use crate::spool::record::{HEADER_BYTES, record_bytes};
use crate::spool::segment::SEGMENT_HEADER_BYTES;

/// What lies where in the segment, counted by hand from the payloads' lengths.
struct Laid {
    start: usize,
    end: usize,
    record: (u64, Kind, [u8; 16], Vec<u8>),
}

/// A log that died with thirty records, of which two intents are open, in one segment.
fn dead_log(folder: &Path) -> (Files, Vec<Laid>) {
    let (spool, _) = start(small(folder));
    let mut log = spool.open(identity(5)).unwrap();
    let (mut laid, mut at, mut seq) = (Vec::new(), SEGMENT_HEADER_BYTES as usize, 0);
    let mut lay = |seq, kind, number, payload: Vec<u8>| {
        let bytes = HEADER_BYTES + (payload.len() + 4).div_ceil(8) * 8;
        laid.push(Laid { start: at, end: at + bytes, record: (seq, kind, attempt(number), payload) });
        at += bytes;
    };
    for number in 0..16 {
        let (intent, end) = (format!("i{number}").into_bytes(), format!("e{number}").into_bytes());
        log.intent(attempt(number), &intent).unwrap();
        lay(0, Kind::Intent, number, intent);
        if number != 3 && number != 14 {
            log.end(attempt(number), End::Settled, &end).unwrap();
            seq += 1;
            lay(seq, Kind::Settled, number, end);
        }
    }
    drop((log, spool));
    (save(&folder.join("0000000000000005")), laid)
}

/// Everything that a recovered log holds, and how often each attempt ended.
fn recover(folder: &Path, files: &Files) -> (Recovered, Batch) {
    restore(&folder.join("0000000000000005"), files);
    let (spool, mut recovered) = start(small(folder));
    let batch = read_all(&spool, true);
    (recovered.pop().unwrap(), batch)
}

/// The records that were written before and are read now; the rest must be recovery's own.
fn survivors(batch: &Batch, laid: &[Laid]) -> Vec<usize> {
    let mut found = Vec::new();
    for record in &batch.records {
        let plain = (record.seq, record.kind, record.attempt, record.payload.clone());
        match laid.iter().position(|laid| laid.record == plain) {
            Some(index) => found.push(index),
            None => assert!(matches!(record.kind, Kind::Orphaned | Kind::Closed), "{plain:?} was never written"),
        }
    }
    found
}

/// The attempts whose intent survived and whose end did not have exactly one orphan each; all others have none.
fn check_orphans(batch: &Batch, laid: &[Laid], survivors: &[usize]) {
    let has = |kind, attempt| survivors.iter().any(|index| laid[*index].record.1 == kind && laid[*index].record.2 == attempt);
    for number in 0..16 {
        let attempt = attempt(number);
        let open = has(Kind::Intent, attempt) && !has(Kind::Settled, attempt);
        let orphans: Vec<_> = batch.records.iter().filter(|record| record.kind == Kind::Orphaned && record.attempt == attempt).collect();
        assert_eq!(orphans.len(), usize::from(open), "attempt {number}");
        assert!(orphans.iter().all(|orphan| orphan.payload == format!("orphan of i{number}").into_bytes()));
    }
    let mut seqs: Vec<u64> = batch.records.iter().map(|record| record.seq).filter(|seq| *seq > 0).collect();
    let count = seqs.len();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), count, "a sequence number was given twice");
    assert_eq!(batch.records.iter().filter(|record| record.kind == Kind::Closed).count(), 1);
}

#[test]
fn a_log_cut_at_any_byte_loses_what_was_cut_and_no_more() {
    let folder = in_memory();
    let (files, laid) = dead_log(folder.path());
    assert_eq!(laid.len(), 30);
    let written = laid.last().unwrap().end;
    for cut in SEGMENT_HEADER_BYTES as usize..=written {
        for zeros_follow in [false, true] {
            let mut files = files.clone();
            let bytes = files.get_mut("00000000.seg").unwrap();
            if zeros_follow {
                bytes[cut..].fill(0);
            } else {
                bytes.truncate(cut);
            }
            let (recovered, batch) = recover(folder.path(), &files);
            let whole: Vec<usize> = (0..laid.len()).filter(|index| laid[*index].end <= cut).collect();
            let survivors = survivors(&batch, &laid);
            assert_eq!(survivors, whole, "cut {cut}");
            check_orphans(&batch, &laid, &survivors);
            assert!(
                !recovered.closed.doubt && recovered.damage.is_empty() && batch.damage.is_empty(),
                "cut {cut}: a torn tail is no damage"
            );
        }
    }
}

#[test]
fn a_bit_flipped_at_any_byte_costs_at_most_its_record_and_is_listed() {
    let folder = in_memory();
    let (files, laid) = dead_log(folder.path());
    let written = laid.last().unwrap().end;
    for hit in 0..written {
        let mut files = files.clone();
        files.get_mut("00000000.seg").unwrap()[hit] ^= 1 << (hit % 8);
        let (recovered, batch) = recover(folder.path(), &files);
        let whole: Vec<usize> = (0..laid.len()).filter(|index| !(laid[*index].start..laid[*index].end).contains(&hit)).collect();
        let survivors = survivors(&batch, &laid);
        assert_eq!(survivors, whole, "byte {hit}");
        check_orphans(&batch, &laid, &survivors);
        let listed = |damage: &super::super::Damage| (damage.from.offset as usize..damage.to.offset as usize).contains(&hit);
        assert!(recovered.closed.doubt && recovered.damage.iter().any(listed), "byte {hit} is not listed");
        assert_eq!(recovered.damage.len(), 1, "byte {hit}");
        assert!(hit < SEGMENT_HEADER_BYTES as usize || batch.damage == recovered.damage, "byte {hit}: the reader lists it too");
    }
}

#[test]
fn a_bit_flipped_in_a_closed_log_is_stepped_over_and_listed_by_the_reader() {
    let folder = in_memory();
    let (files, laid) = dead_log(folder.path());
    recover(folder.path(), &files);
    let closed = save(&folder.path().join("0000000000000005"));
    for record in &laid {
        for hit in [record.start + 5, record.end - 1] {
            let mut files = closed.clone();
            files.get_mut("00000000.seg").unwrap()[hit] ^= 4;
            restore(&folder.path().join("0000000000000005"), &files);
            let (spool, recovered) = start(small(folder.path()));
            assert!(recovered.is_empty(), "it is closed");
            let batch = read_all(&spool, true);
            assert_eq!(survivors(&batch, &laid).len(), laid.len() - 1);
            let range = (batch.damage[0].from.offset as usize, batch.damage[0].to.offset as usize);
            assert_eq!((batch.damage.len(), range), (1, (record.start, record.end)));
        }
    }
}

#[test]
fn a_reader_that_has_read_a_record_which_rots_afterwards_misses_nothing_that_recovery_adds() {
    let folder = in_memory();
    let (files, laid) = dead_log(folder.path());
    let last = laid.last().unwrap();
    let read_to = super::super::Position { segment: 0, offset: last.end as u32 };
    let mut files = files.clone();
    files.get_mut("00000000.seg").unwrap()[last.start + 20] ^= 1;
    restore(&folder.path().join("0000000000000005"), &files);
    let (spool, _) = start(small(folder.path()));
    let batch = spool.reader([(5, read_to)]).next(usize::MAX).unwrap();
    let kinds: Vec<_> = batch.records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Orphaned, Kind::Orphaned, Kind::Orphaned, Kind::Closed]);
    assert!(batch.records[0].seq > last.record.0, "a sequence that was read is not given again");
}

#[test]
fn the_layout_that_these_tests_count_by_hand_is_the_codecs() {
    for length in 0..100 {
        assert_eq!(record_bytes(length), HEADER_BYTES + (length + 4).div_ceil(8) * 8);
    }
}
