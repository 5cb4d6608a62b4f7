//! The scanner: bytes of a segment in, records and damage out. Pure.
//!
//! A bad record with a valid header behind it is *damage*. With nothing valid behind it, it is a *torn tail* if one interrupted write can
//! have left it (a beginning of a record, then zeros), and otherwise damage too: a torn write is an everyday thing after a crash, a record
//! that is complete but wrong is not, and may already have been read by somebody.

use super::record::{self, Decoded, HEADER_BYTES, Head, Place};

/// Walks the records of (a part of) one segment.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    /// Offset of the first of `bytes` in the segment.
    base: u32,
    place: Place,
    at: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Record {
        head: Head,
        payload: &'a [u8],
        end: u32,
    },
    /// These bytes hold no valid record, and a valid header stands at `end`.
    Damage {
        start: u32,
        end: u32,
    },
    /// Nothing valid follows.
    End(Tail),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Only zeros, or nothing at all.
    Clean { at: u32 },
    /// What an interrupted write left from `at` to `end`.
    Torn { at: u32, end: u32 },
    /// Records were here, from `at` to `end`, and cannot be read.
    Damaged { at: u32, end: u32 },
}

impl Tail {
    /// Where the last valid record ends.
    pub(crate) fn at(self) -> u32 {
        match self {
            Self::Clean { at } | Self::Torn { at, .. } | Self::Damaged { at, .. } => at,
        }
    }
}

impl<'a> Scanner<'a> {
    /// `bytes` start at `base` of the segment, on a multiple of eight.
    pub(crate) fn new(bytes: &'a [u8], base: u32, place: Place) -> Self {
        Self { bytes, base, place, at: 0 }
    }

    /// The next step; after [`Step::End`] it stays there.
    pub(crate) fn step(&mut self) -> Step<'a> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let found = record::decode(rest, self.place, self.offset(start));
        let skip = match found {
            Decoded::Whole { head, payload, bytes } => {
                self.at += bytes;
                return Step::Record { head, payload, end: self.offset(self.at) };
            }
            // The header can be trusted, so its payload is stepped over, not searched.
            Decoded::BadPayload { bytes } => bytes,
            Decoded::Cropped => return Step::End(self.tail(start, usize::MAX)),
            Decoded::NoHeader => 8,
        };
        match self.next_header(start + skip) {
            Some(next) => {
                self.at = next;
                Step::Damage { start: self.offset(start), end: self.offset(next) }
            }
            None => {
                let whole = if skip == 8 { HEADER_BYTES + 1 } else { skip };
                Step::End(self.tail(start, whole))
            }
        }
    }

    fn next_header(&self, from: usize) -> Option<usize> {
        (from..self.bytes.len()).step_by(8).find(|&at| record::header_at(&self.bytes[at..], self.place, self.offset(at)))
    }

    /// Judges what is left from `start`; fewer than `whole` bytes of it can be an interrupted write.
    fn tail(&self, start: usize, whole: usize) -> Tail {
        let at = self.offset(start);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let filled = filled(rest);
        if filled == 0 {
            return Tail::Clean { at };
        }
        if filled < whole {
            return Tail::Torn { at, end: self.offset(start + filled) };
        }
        let reach = if whole > HEADER_BYTES + 1 { filled.max(whole) } else { filled };
        Tail::Damaged { at, end: self.offset(start + reach.next_multiple_of(8)) }
    }

    fn offset(&self, at: usize) -> u32 {
        self.base + at as u32
    }
}

/// How many of the bytes there are up to the last that is not zero. Whole blocks of zeros are passed at the speed of memory, since most of
/// a segment may be unused.
fn filled(bytes: &[u8]) -> usize {
    let is_blank = |block: &[u8]| block.iter().fold(0, |all, byte| all | byte) == 0;
    let mut end = bytes.len();
    for block in bytes.rchunks(4096) {
        if !is_blank(block) {
            let last = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            return end - block.len() + last;
        }
        end -= block.len();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::record::Kind;

    const PLACE: (u64, u32) = (11, 2);

    fn segment(payloads: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for (index, payload) in payloads.iter().enumerate() {
            let head = Head { kind: Kind::Settled, carried: false, seq: index as u64 + 1, attempt: [index as u8; 16] };
            let offset = 88 + bytes.len() as u32;
            record::encode(&mut bytes, Place::of(PLACE.0, PLACE.1), offset, &head, payload);
            ends.push(bytes.len());
        }
        bytes.resize(bytes.len() + 64, 0);
        (bytes, ends)
    }

    /// (sequences read, damaged ranges, tail), offsets relative to the first record.
    fn walk(bytes: &[u8]) -> (Vec<u64>, Vec<(u32, u32)>, Tail) {
        let mut scanner = Scanner::new(bytes, 88, Place::of(PLACE.0, PLACE.1));
        let (mut seqs, mut damage) = (Vec::new(), Vec::new());
        loop {
            match scanner.step() {
                Step::Record { head, .. } => seqs.push(head.seq),
                Step::Damage { start, end } => damage.push((start - 88, end - 88)),
                Step::End(tail) => return (seqs, damage, tail),
            }
        }
    }

    #[test]
    fn damage_in_the_middle_costs_one_record_and_is_listed() {
        let (bytes, ends) = segment(&[b"one", b"two", b"three"]);
        for hit in ends[1]..ends[2] {
            let mut bytes = bytes.clone();
            bytes[hit] ^= 0x10;
            let (seqs, damage, tail) = walk(&bytes);
            assert_eq!((seqs, damage), (vec![1, 3], vec![(ends[1] as u32, ends[2] as u32)]), "byte {hit}");
            assert_eq!(tail, Tail::Clean { at: 88 + ends[3] as u32 });
        }
    }

    #[test]
    fn a_zeroed_hole_before_a_valid_record_is_damage() {
        let (mut bytes, ends) = segment(&[b"one", b"two", b"three"]);
        bytes[ends[0]..ends[2]].fill(0);
        assert_eq!(walk(&bytes).0, [3]);
        assert_eq!(walk(&bytes).1, [(0, ends[2] as u32)]);
    }

    #[test]
    fn an_interrupted_write_is_a_torn_tail_at_every_length() {
        let (bytes, ends) = segment(&[b"one", b"a longer payload"]);
        for cut in ends[1]..ends[2] {
            let mut zeroed = bytes.clone();
            zeroed[cut..].fill(0);
            for bytes in [&zeroed[..], &bytes[..cut]] {
                let (seqs, damage, tail) = walk(bytes);
                assert_eq!((seqs, damage), (vec![1], vec![]), "cut {cut}");
                match tail {
                    Tail::Clean { at } => assert_eq!((at, cut), (88 + ends[1] as u32, ends[1])),
                    Tail::Torn { at, end } => assert!(at == 88 + ends[1] as u32 && end as usize <= 88 + cut),
                    Tail::Damaged { .. } => panic!("cut {cut} was taken for damage"),
                }
            }
        }
    }

    #[test]
    fn a_whole_last_record_that_is_wrong_is_damage_not_a_torn_tail() {
        let (bytes, ends) = segment(&[b"one", b"two"]);
        for hit in ends[1]..ends[2] {
            let mut bytes = bytes.clone();
            bytes[hit] ^= 0x10;
            let expected = Tail::Damaged { at: 88 + ends[1] as u32, end: 88 + ends[2] as u32 };
            assert_eq!(walk(&bytes).2, expected, "byte {hit}");
        }
    }

    #[test]
    fn the_last_byte_that_is_not_zero_is_found_wherever_it_is() {
        for length in [1, 4095, 4096, 4097, 9000] {
            assert_eq!(filled(&vec![0; length]), 0);
            for at in [0, length / 2, length - 1] {
                let mut bytes = vec![0; length];
                bytes[at] = 1;
                assert_eq!(filled(&bytes), at + 1, "{at} of {length}");
            }
        }
    }

    #[test]
    fn a_record_quoted_in_a_damaged_payload_is_not_read() {
        let (inner, _) = segment(&[b"forged"]);
        let (mut bytes, ends) = segment(&[&inner, b"two"]);
        bytes[HEADER_BYTES] ^= 1;
        assert_eq!(walk(&bytes).0, [2]);
        bytes[0] ^= 1;
        assert_eq!(walk(&bytes).1, [(0, ends[1] as u32)]);
    }
}
