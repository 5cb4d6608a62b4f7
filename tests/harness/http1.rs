//! An incremental reader of HTTP/1.1 answers: bytes in, parts out, nothing copied but heads.

use memchr::memmem;

/// Longest head and longest chunk-size line that are accepted, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;

/// What is wrong with the bytes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The head is not one of HTTP/1.1.
    Head,
    /// A chunk's size is no hexadecimal number, or its end is missing.
    Chunk,
    /// The connection ended inside an answer.
    Cut,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Head => "the answer's head is malformed",
            Self::Chunk => "the answer's chunked framing is malformed",
            Self::Cut => "the connection ended inside an answer",
        })
    }
}

impl std::error::Error for Fault {}

/// Status and header fields of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    text: Vec<u8>,
}

impl Head {
    /// All fields in their order, names as sent.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.text.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    /// The first field of this name, whatever its case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    fn parse(text: &[u8]) -> Result<Self, Fault> {
        let status = text.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or(Fault::Head)?;
        let status = std::str::from_utf8(status).ok().and_then(|digits| digits.parse().ok()).ok_or(Fault::Head)?;
        Ok(Self { status, text: text.to_vec() })
    }

    fn framing(&self) -> Result<State, Fault> {
        let mut length = None;
        for (name, value) in self.fields() {
            if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked") {
                return Ok(State::Size);
            }
            if name.eq_ignore_ascii_case(b"content-length") {
                let digits = std::str::from_utf8(value).map_err(|_| Fault::Head)?;
                length = Some(digits.parse().map_err(|_| Fault::Head)?);
            }
        }
        Ok(match length {
            Some(length) => State::Length(length),
            None if self.status == 204 || self.status == 304 => State::Length(0),
            None => State::UntilClose,
        })
    }
}

/// What comes out of the reader, in order: one head, any number of pieces of the body, one end.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The answer begins.
    Head(Head),
    /// A piece of the body, without its framing.
    Body(&'a [u8]),
    /// The answer is complete.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Size,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    UntilClose,
}

/// Reads the answers of one connection, one after the other.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// The beginning of a head or line whose end has not come yet.
    pending: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { state: State::Head, pending: Vec::new() }
    }
}

impl Reader {
    /// Takes the next part off the front of `input`; `None` = more bytes are needed.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, Fault> {
        loop {
            match self.state {
                State::Head => {
                    let Some(head) = self.until(input, b"\r\n\r\n", Fault::Head, Head::parse)? else { return Ok(None) };
                    self.state = head.framing()?;
                    return Ok(Some(Part::Head(head)));
                }
                State::Length(0) => {
                    self.state = State::Head;
                    return Ok(Some(Part::End));
                }
                State::Length(left) => {
                    let Some(piece) = take(input, left) else { return Ok(None) };
                    self.state = State::Length(left - piece.len() as u64);
                    return Ok(Some(Part::Body(piece)));
                }
                State::Size => {
                    let Some(size) = self.until(input, b"\r\n", Fault::Chunk, chunk_size)? else { return Ok(None) };
                    self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
                }
                State::Chunk(0) => self.state = State::ChunkEnd,
                State::Chunk(left) => {
                    let Some(piece) = take(input, left) else { return Ok(None) };
                    self.state = State::Chunk(left - piece.len() as u64);
                    return Ok(Some(Part::Body(piece)));
                }
                State::ChunkEnd => {
                    let Some(empty) = self.until(input, b"\r\n", Fault::Chunk, |line| Ok(line.is_empty()))? else { return Ok(None) };
                    if !empty {
                        return Err(Fault::Chunk);
                    }
                    self.state = State::Size;
                }
                State::Trailer => {
                    let Some(last) = self.until(input, b"\r\n", Fault::Chunk, |line| Ok(line.is_empty()))? else { return Ok(None) };
                    if last {
                        self.state = State::Head;
                        return Ok(Some(Part::End));
                    }
                }
                State::UntilClose => return Ok(take(input, u64::MAX).map(Part::Body)),
            }
        }
    }

    /// Says whether the connection may end here: between two answers, or in one that lasts until then.
    pub fn finish(&self) -> Result<(), Fault> {
        match self.state {
            State::UntilClose => Ok(()),
            State::Head if self.pending.is_empty() => Ok(()),
            _ => Err(Fault::Cut),
        }
    }

    /// Parses what lies before `end`, and takes both off the input. Without the end everything is kept for the next call.
    fn until<T>(
        &mut self,
        input: &mut &[u8],
        end: &[u8],
        fault: Fault,
        parse: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        if self.pending.is_empty() {
            if let Some(at) = memmem::find(input, end) {
                let parsed = parse(&input[..at])?;
                *input = &input[at + end.len()..];
                return Ok(Some(parsed));
            }
        } else {
            let old = self.pending.len();
            self.pending.extend_from_slice(input);
            // The end may have begun in the part that was kept.
            let from = old.saturating_sub(end.len() - 1);
            if let Some(at) = memmem::find(&self.pending[from..], end).map(|at| at + from) {
                let parsed = parse(&self.pending[..at])?;
                *input = &input[at + end.len() - old..];
                self.pending.clear();
                return Ok(Some(parsed));
            }
            self.pending.truncate(old);
        }
        self.pending.extend_from_slice(input);
        *input = &[];
        if self.pending.len() > HEAD_LIMIT { Err(fault) } else { Ok(None) }
    }
}

fn take<'a>(input: &mut &'a [u8], most: u64) -> Option<&'a [u8]> {
    if input.is_empty() {
        return None;
    }
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    let (piece, rest) = input.split_at(length);
    *input = rest;
    Some(piece)
}

fn chunk_size(line: &[u8]) -> Result<u64, Fault> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let digits = std::str::from_utf8(digits).map_err(|_| Fault::Chunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| Fault::Chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Note: one\r\n\r\nhello";
    const CHUNKED: &[u8] = b"HTTP/1.1 429 Too Many\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: t\r\n\r\n";
    const NO_BODY: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

    /// (status, body) of every complete answer when the bytes come in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<(u16, Vec<u8>)>, Fault> {
        let mut reader = Reader::default();
        let (mut answers, mut open) = (Vec::new(), None);
        for mut input in bytes.chunks(piece) {
            while let Some(part) = reader.next(&mut input)? {
                match part {
                    Part::Head(head) => open = Some((head.status, Vec::new())),
                    Part::Body(piece) => open.as_mut().expect("a head came first").1.extend_from_slice(piece),
                    Part::End => answers.extend(open.take()),
                }
            }
            assert!(input.is_empty(), "all input is used");
        }
        reader.finish().map(|()| answers)
    }

    #[test]
    fn answers_are_the_same_wherever_the_bytes_are_cut() {
        let all = [LENGTH, CHUNKED, NO_BODY, LENGTH].concat();
        let expected = vec![(200, b"hello".to_vec()), (429, b"hello".to_vec()), (204, vec![]), (200, b"hello".to_vec())];
        for piece in 1..=all.len() {
            assert_eq!(read(&all, piece).as_ref(), Ok(&expected), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_cut_is_seen_at_every_byte() {
        for answer in [LENGTH, CHUNKED] {
            for end in 1..answer.len() {
                assert_eq!(read(&answer[..end], 7), Err(Fault::Cut), "cut at {end}");
            }
        }
    }

    #[test]
    fn malformed_answers_are_refused() {
        for (bytes, fault) in [
            (&b"HTTP/1.0 200 OK\r\n\r\n"[..], Fault::Head),
            (b"HTTP/1.1 2x0 OK\r\n\r\n", Fault::Head),
            (b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\n", Fault::Head),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", Fault::Chunk),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", Fault::Chunk),
        ] {
            assert_eq!(read(bytes, 1000), Err(fault), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn fields_are_found_whatever_their_case() {
        let mut input = LENGTH;
        let Ok(Some(Part::Head(head))) = Reader::default().next(&mut input) else { panic!("no head") };
        assert_eq!(head.text("x-nOTE"), Some("one"));
        assert_eq!(head.field("x-other"), None);
    }
}
