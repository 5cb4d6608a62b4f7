//! Cuts an answer's bytes at random positions, because a network does.
//!
//! Frame borders vanish: a piece may end in the middle of a frame, of a line or of a character, and may hold the end of one
//! frame and the start of the next. The seed decides everything, so a failing run can be repeated.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::reply::{Marks, Payload, Reply, Step, Steps};

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to place cuts.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A length from 1 to 4,096, short ones as likely as long ones (uniform in the logarithm).
    fn length(&mut self) -> usize {
        let bits = self.draw() % 13;
        1 + (self.draw() % (1 << bits)) as usize
    }
}

impl Reply {
    /// The same answer in pieces cut by `seed`, each piece a write of its own.
    pub fn cut(mut self, seed: u64) -> Self {
        let steps: Steps = match self.body {
            Payload::Whole(bytes, marks) => Box::new(std::iter::once(Step::Send(bytes, marks))),
            Payload::Steps(steps) => steps,
        };
        self.body = Payload::Steps(Box::new(Cutter {
            steps,
            random: Seeded::new(seed),
            held: BytesMut::new(),
            marks: VecDeque::new(),
            ready: VecDeque::new(),
            over: false,
        }));
        self
    }
}

struct Cutter {
    steps: Steps,
    random: Seeded,
    /// Bytes that were to be sent and wait for more.
    held: BytesMut,
    /// Marks of the held bytes: how many of them must be gone for the mark to be complete.
    marks: VecDeque<(usize, Marks)>,
    ready: VecDeque<Step>,
    over: bool,
}

impl Iterator for Cutter {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            if self.over {
                return None;
            }
            match self.steps.next() {
                Some(Step::Send(bytes, marks)) => self.hold(bytes, marks),
                // What happens between two sends happens after all of the first.
                Some(other) => {
                    self.release_all();
                    self.ready.push_back(other);
                }
                None => {
                    self.release_all();
                    self.over = true;
                }
            }
        }
    }
}

impl Cutter {
    fn hold(&mut self, bytes: Bytes, marks: Marks) {
        self.held.extend_from_slice(&bytes);
        if marks != Marks::default() {
            self.marks.push_back((self.held.len(), marks));
        }
        loop {
            let length = self.random.length();
            if length >= self.held.len() {
                return;
            }
            self.release(length);
        }
    }

    fn release_all(&mut self) {
        while !self.held.is_empty() {
            let length = self.random.length().min(self.held.len());
            self.release(length);
        }
    }

    fn release(&mut self, length: usize) {
        let piece = self.held.split_to(length).freeze();
        let mut carried = Marks::default();
        for (left, _) in &mut self.marks {
            *left = left.saturating_sub(length);
        }
        while let Some((0, marks)) = self.marks.front() {
            carried = carried.and(*marks);
            self.marks.pop_front();
        }
        self.ready.push_back(Step::Send(piece, carried));
        self.ready.push_back(Step::Flush);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::usage::Usage;

    proptest! {
        #[test]
        fn a_cut_answer_is_the_same_bytes_and_marks_in_the_same_order(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..12),
            seed in any::<u64>(),
        ) {
            let last = frames.len().saturating_sub(1);
            let usage = Usage { prompt: 1, completion: 2, ..Usage::default() };
            let steps: Vec<Step> = frames.iter().enumerate().map(|(i, f)| {
                let marks = if i == last { Marks::usage(usage) } else { Marks::default() };
                Step::Send(Bytes::copy_from_slice(f), marks)
            }).collect();
            let Payload::Steps(pieces) = Reply::stream(steps, None).cut(seed).body else { panic!("no steps") };
            let mut bytes = Vec::new();
            let mut stated_at = None;
            for piece in pieces {
                if let Step::Send(piece, marks) = piece {
                    prop_assert!(!piece.is_empty());
                    bytes.extend_from_slice(&piece);
                    if marks.usage.is_some() { stated_at = Some(bytes.len()); }
                }
            }
            prop_assert_eq!(&bytes, &frames.concat());
            if frames.last().is_some_and(|f| !f.is_empty()) {
                prop_assert_eq!(stated_at, Some(bytes.len()));
            }
        }
    }

    #[test]
    fn the_seed_decides_the_cuts() {
        let pieces = |seed| match Reply::json(http::StatusCode::OK, vec![b'x'; 50_000]).cut(seed).body {
            Payload::Steps(steps) => steps.collect::<Vec<_>>(),
            Payload::Whole(..) => panic!("not cut"),
        };
        assert_eq!(pieces(1), pieces(1));
        assert_ne!(pieces(1), pieces(2));
        assert!(pieces(1).len() > 20);
    }
}
