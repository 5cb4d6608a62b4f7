//! What becomes of well-formed input: bytes and pieces changed, doubled, cut, moved, and words put in that parsers stumble over.

use waybill_tests::Random;

/// Longest input: long enough for work that grows with the square to show.
const LONGEST: usize = 64 << 10;

/// Words of JSON, of SSE and of the dialects, and what is almost one.
const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\\udc00\\ud800",
    b"\\u0000",
    b":",
    b",",
    b"null",
    b"true",
    b"false",
    b"-",
    b"0",
    b"-0",
    b"1e999",
    b"18446744073709551616",
    b"9223372036854775807",
    b"0.1",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\0",
    b"data:",
    b"data: ",
    b"data: [DONE]",
    b"event: error\n",
    b"event: message_stop\n",
    b": comment\n",
    b"id: 1\n",
    b"retry: 0\n",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
    b"\r\r",
    b"\"model\":\"x\",",
    b"\"Model\":1,",
    b"\"usage\":null,",
    b"\"usage\":{},",
    b"\"usage\":{\"prompt_tokens\":-1},",
    b"\"error\":{},",
    b"\"error\":null,",
    b"\"choices\":[],",
    b"\"delta\":null,",
    b"\"index\":7,",
    b"\"index\":-1,",
    b"\"tool_calls\":[{}],",
    b"\"content\":[{}],",
    b"\"content\":null,",
    b"\"type\":\"tool_use\",",
    b"\"type\":\"thinking\",",
    b"\"type\":\"nothing\",",
    b"\"finish_reason\":\"stop\",",
    b"\"stop_reason\":\"end_turn\",",
    b"\"max_tokens\":0,",
    b"\"n\":2,",
    b"\"stream\":true,",
    b"\"input\":{},",
    b"\"arguments\":\"{\",",
];

pub struct Mutator<'a> {
    random: Random,
    beginnings: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    pub fn new(random: Random, beginnings: &'a [Vec<u8>]) -> Self {
        Self { random, beginnings }
    }

    /// For choices that are not the input's own, such as where it is cut.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The next input: some beginning, changed a few times.
    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.beginning().to_vec();
        for _ in 0..self.random.between(1, 6) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn beginning(&mut self) -> &'a [u8] {
        let at = self.random.word() as usize % self.beginnings.len().max(1);
        self.beginnings.get(at).map_or(&[], Vec::as_slice)
    }

    fn place(&mut self, input: &[u8]) -> usize {
        self.random.between(0, input.len() as u64 + 1) as usize
    }

    /// A piece, most often a short one.
    fn piece(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.place(input);
        let most = if self.random.word().is_multiple_of(4) { input.len() - start } else { (input.len() - start).min(40) };
        start..start + self.random.between(0, most as u64 + 1) as usize
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        match self.random.between(0, 9) {
            0 => {
                let at = self.place(input);
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.random.word() as u8;
                }
            }
            1 => {
                let at = self.place(input);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.random.between(0, 8);
                }
            }
            2 => drop(input.drain(self.piece(input))),
            3 => {
                let piece = self.piece(input);
                let copy = input.get(piece).unwrap_or_default().to_vec();
                let times = if self.random.word().is_multiple_of(8) { self.random.between(1, 300) } else { 1 };
                let at = self.place(input);
                let room = LONGEST.saturating_sub(input.len()) / copy.len().max(1);
                put(input, at, &copy.repeat((times as usize).min(room)));
            }
            4..=6 => {
                let word = WORDS.get(self.random.word() as usize % WORDS.len()).copied().unwrap_or_default();
                let at = self.place(input);
                put(input, at, word);
            }
            7 => {
                let other = self.beginning();
                let piece = self.piece(other);
                let at = self.place(input);
                put(input, at, other.get(piece).unwrap_or_default());
            }
            _ => input.truncate(self.place(input)),
        }
    }
}

fn put(input: &mut Vec<u8>, at: usize, what: &[u8]) {
    drop(input.splice(at..at, what.iter().copied()));
}
