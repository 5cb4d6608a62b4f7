//! The load generator: closed loop, HTTP/1.1 keep-alive, one thread; it checks every answer, since a figure of wrong answers is none.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::{memchr, memmem};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use waybill_tests::{HttpReader, Part};

/// How much longer than it should a load may last before it counts as failed: an answer that never ends must not hang the benchmark.
const GRACE: Duration = Duration::from_secs(30);
/// Most that one read takes.
const BUFFER: usize = 64 * 1024;

/// What a right answer is, learned from a first one that was looked at closely.
#[derive(Debug, Clone)]
pub enum Expected {
    /// A body of exactly this many bytes.
    Whole { length: usize },
    /// Events whose `content` values are these, in this order, each once.
    Stream { contents: Rc<[Box<[u8]>]> },
}

impl Expected {
    /// Chunks of an answer; 1 for a whole one.
    pub fn chunks(&self) -> usize {
        match self {
            Self::Whole { .. } => 1,
            Self::Stream { contents } => contents.len(),
        }
    }
}

/// One load: the same request over and over.
#[derive(Debug, Clone)]
pub struct Load {
    /// Whom it is sent to.
    pub target: SocketAddr,
    /// The request's bytes as they go on the wire.
    pub request: Rc<[u8]>,
    /// What must come back.
    pub expected: Expected,
    /// Connections, each with one request in flight.
    pub connections: usize,
}

/// What a load came to. There is no field for failures: the first one ends the load with an error.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Requests answered rightly.
    pub requests: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

/// Sends for this long; requests that are in flight then are read to their end.
pub fn run(load: &Load, time: Duration) -> Result<Done> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let mut connections = Vec::new();
        for _ in 0..load.connections {
            connections.push(Connection::open(load.target).await?);
        }
        let start = Instant::now();
        let end = start + time;
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let load = load.clone();
                tokio::task::spawn_local(async move {
                    let mut requests = 0;
                    while Instant::now() < end {
                        connection
                            .exchange(&load.request, &load.expected)
                            .await
                            .with_context(|| format!("request {requests} of a connection"))?;
                        requests += 1;
                    }
                    anyhow::Ok(requests)
                })
            })
            .collect();
        // One timer for the whole load; one for each answer would cost the generator more than the check of the answer.
        let all = async {
            let mut requests = 0;
            for task in tasks {
                requests += task.await??;
            }
            anyhow::Ok(requests)
        };
        let requests = tokio::time::timeout(time + GRACE, all).await.context("an answer that does not end")??;
        Ok(Done { requests, elapsed: start.elapsed() })
    })
}

/// One keep-alive connection.
struct Connection {
    stream: TcpStream,
    reader: HttpReader,
    buffer: Box<[u8]>,
}

impl Connection {
    async fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target).await.with_context(|| format!("connecting to {target}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, reader: HttpReader::default(), buffer: vec![0; BUFFER].into() })
    }

    async fn exchange(&mut self, request: &[u8], expected: &Expected) -> Result<()> {
        self.stream.write_all(request).await?;
        let mut check = Check::new(expected);
        loop {
            let length = match self.stream.try_read(&mut self.buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.stream.readable().await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            ensure!(length > 0, "the connection ended inside an answer");
            let mut input = self.buffer.get(..length).context("what was read")?;
            while let Some(part) = self.reader.next(&mut input)? {
                if check.part(part)? {
                    ensure!(input.is_empty(), "bytes after the end of the answer");
                    return Ok(());
                }
            }
        }
    }
}

/// Compares one answer with what is expected while it comes in.
struct Check<'a> {
    expected: &'a Expected,
    length: usize,
    contents: usize,
    /// A line whose end has not come yet.
    line: Vec<u8>,
}

impl<'a> Check<'a> {
    fn new(expected: &'a Expected) -> Self {
        Self { expected, length: 0, contents: 0, line: Vec::new() }
    }

    /// True at the end of a right answer.
    fn part(&mut self, part: Part<'_>) -> Result<bool> {
        match (part, self.expected) {
            (Part::Head(head), _) => {
                ensure!(head.status == 200, "status {}", head.status);
                Ok(false)
            }
            (Part::Body(piece), Expected::Whole { .. }) => {
                self.length += piece.len();
                Ok(false)
            }
            (Part::Body(piece), Expected::Stream { contents }) => {
                self.lines(piece, contents)?;
                Ok(false)
            }
            (Part::End, Expected::Whole { length }) => {
                ensure!(self.length == *length, "{} bytes instead of {length}", self.length);
                Ok(true)
            }
            (Part::End, Expected::Stream { contents }) => {
                ensure!(self.contents == contents.len(), "{} chunks instead of {}", self.contents, contents.len());
                ensure!(self.line.is_empty(), "a line without an end");
                Ok(true)
            }
        }
    }

    fn lines(&mut self, mut piece: &[u8], contents: &[Box<[u8]>]) -> Result<()> {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end);
            piece = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.contents = next_content(line, contents, self.contents)?;
            } else {
                self.line.extend_from_slice(line);
                self.contents = next_content(&self.line, contents, self.contents)?;
                self.line.clear();
            }
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }
}

/// How many contents are there after this line, which may hold the one that is due and no other.
fn next_content(line: &[u8], contents: &[Box<[u8]>], seen: usize) -> Result<usize> {
    let Some(found) = content(line) else { return Ok(seen) };
    match contents.get(seen) {
        Some(due) if **due == *found => Ok(seen + 1),
        Some(due) => bail!("chunk {seen} is `{}` instead of `{}`", String::from_utf8_lossy(found), String::from_utf8_lossy(due)),
        None => bail!("a chunk too many: `{}`", String::from_utf8_lossy(found)),
    }
}

/// The text of a chunk: what stands between the quotes of its non-empty `content`, or, in Anthropic's dialect, `text`.
pub fn content(line: &[u8]) -> Option<&[u8]> {
    let data = line.strip_prefix(b"data:")?;
    [br#""content":"#.as_slice(), br#""text":"#].into_iter().find_map(|name| {
        let rest = data.get(memmem::find(data, name)? + name.len()..)?.trim_ascii_start().strip_prefix(b"\"")?;
        let text = rest.get(..memchr(b'"', rest)?)?;
        (!text.is_empty()).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        Expected::Stream { contents: [&b"a"[..], b"b"].map(Box::from).into() }
    }

    /// The verdict on a stream of these contents when it comes in pieces of this size.
    fn verdict(contents: &[&str], piece: usize) -> Result<bool> {
        let expected = expected();
        let mut check = Check::new(&expected);
        let text: String = contents.iter().map(|text| format!("data: {{\"delta\":{{\"content\":\"{text}\"}}}}\n\n")).collect();
        for bytes in text.as_bytes().chunks(piece) {
            check.part(Part::Body(bytes))?;
        }
        check.part(Part::End)
    }

    #[test]
    fn chunks_must_come_once_and_in_order_wherever_the_bytes_are_cut() {
        for piece in 1..80 {
            assert!(verdict(&["", "a", "b", ""], piece).unwrap());
            for wrong in [&["a"][..], &["b", "a"], &["a", "a", "b"], &["a", "b", "b"], &[]] {
                assert!(verdict(wrong, piece).is_err(), "{wrong:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_whole_answer_must_have_its_length() {
        let expected = Expected::Whole { length: 3 };
        for (body, right) in [("abc", true), ("ab", false), ("abcd", false)] {
            let mut check = Check::new(&expected);
            check.part(Part::Body(body.as_bytes())).unwrap();
            assert_eq!(check.part(Part::End).is_ok(), right);
        }
    }
}
