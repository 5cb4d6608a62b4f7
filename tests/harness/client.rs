//! A blocking client of one connection: enough HTTP/1.1 and SSE for the suites.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::http1::{Fault, Head, Part, Reader};
use crate::sse;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Request {
    method: &'static str,
    path: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A GET.
    pub fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), fields: Vec::new(), body: Vec::new() }
    }

    /// A POST of JSON text.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST", path: path.to_owned(), fields: Vec::new(), body: body.into() }.field("content-type", "application/json")
    }

    /// Adds a header field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds the caller's key.
    #[must_use]
    pub fn bearer(self, key: &str) -> Self {
        self.field("authorization", &format!("Bearer {key}"))
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if self.method != "GET" {
            bytes.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status and header fields.
    pub head: Head,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("the body is no JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// One keep-alive connection.
pub struct Client {
    address: SocketAddr,
    stream: TcpStream,
    reader: Reader,
    buffer: Vec<u8>,
    filled: std::ops::Range<usize>,
}

impl Client {
    /// Connects; every read and write afterwards has this limit too.
    pub fn connect(address: SocketAddr, limit: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, limit).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self { address, stream, reader: Reader::default(), buffer: vec![0; 64 * 1024], filled: 0..0 })
    }

    /// Sends and reads the whole answer.
    pub fn send(&mut self, request: &Request) -> Result<Answer> {
        let mut streaming = self.open(request)?;
        let mut body = Vec::new();
        while streaming.piece(|piece| body.extend_from_slice(piece))? {}
        Ok(Answer { head: streaming.head, body })
    }

    /// Sends and reads the head only; the body comes piece by piece or event by event.
    pub fn open(&mut self, request: &Request) -> Result<Streaming<'_>> {
        self.stream.write_all(&request.to_bytes(self.address)).context("sending the request")?;
        let mut head = None;
        while head.is_none() {
            let more = self.part(|part| {
                if let Part::Head(found) = part {
                    head = Some(found);
                }
            })?;
            if !more {
                bail!("the connection ended before an answer");
            }
        }
        let head = head.context("an answer's head")?;
        Ok(Streaming { client: self, head, events: sse::Reader::default(), ended: false })
    }

    /// Hands out the next part; false = the peer has closed where it may.
    fn part(&mut self, take: impl FnOnce(Part<'_>)) -> Result<bool> {
        loop {
            let mut input = &self.buffer[self.filled.clone()];
            let before = input.len();
            let part = self.reader.next(&mut input)?;
            self.filled.start += before - input.len();
            if let Some(part) = part {
                take(part);
                return Ok(true);
            }
            let length = self.stream.read(&mut self.buffer).context("reading the answer")?;
            if length == 0 {
                self.reader.finish()?;
                return Ok(false);
            }
            self.filled = 0..length;
        }
    }
}

/// An answer whose body is still coming. Dropping it and its client is how a caller hangs up.
pub struct Streaming<'a> {
    client: &'a mut Client,
    /// Status and header fields.
    pub head: Head,
    events: sse::Reader,
    ended: bool,
}

impl Streaming<'_> {
    /// Hands out the next piece of the body; false = the body is complete.
    pub fn piece(&mut self, take: impl FnOnce(&[u8])) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let mut end = false;
        let more = self.client.part(|part| match part {
            Part::Body(piece) => take(piece),
            Part::Head(_) | Part::End => end = true,
        })?;
        self.ended = end || !more;
        Ok(!self.ended)
    }

    /// The next server-sent event; `None` = the body is complete. An event that was begun and not ended is an error.
    pub fn event(&mut self) -> Result<Option<sse::Event>> {
        loop {
            if let Some(event) = self.events.next_event() {
                return Ok(Some(event));
            }
            let mut bytes = Vec::new();
            if !self.piece(|piece| bytes.extend_from_slice(piece))? {
                return if self.events.is_open() { Err(Fault::Cut.into()) } else { Ok(None) };
            }
            self.events.feed(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A server that reads one request up to its body's end and answers with these bytes, once per entry, on one connection.
    fn serve(answers: Vec<&'static [u8]>) -> (SocketAddr, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            for answer in answers {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap();
                seen.push(String::from_utf8_lossy(&request[..length]).into_owned());
                stream.write_all(answer).unwrap();
            }
            seen
        });
        (address, thread)
    }

    #[test]
    fn whole_and_streamed_answers_come_over_one_connection() {
        let (address, server) = serve(vec![
            b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"a\": 1}",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: one\r\n9\r\n\n\ndata: t\r\n4\r\nwo\n\n\r\n0\r\n\r\n",
        ]);
        let mut client = Client::connect(address, LIMIT).unwrap();
        let whole = client.send(&Request::get("/v1/models").bearer("k")).unwrap();
        assert_eq!((whole.head.status, whole.json().unwrap()), (200, serde_json::json!({"a": 1})));
        let mut streamed = client.open(&Request::post("/v1/chat/completions", "{}")).unwrap();
        let data: Vec<String> = std::iter::from_fn(|| streamed.event().unwrap()).map(|event| event.data).collect();
        assert_eq!(data, ["one", "two"]);
        let seen = server.join().unwrap();
        assert!(seen[0].starts_with("GET /v1/models HTTP/1.1\r\n") && seen[0].contains("authorization: Bearer k\r\n"), "{}", seen[0]);
        assert!(seen[1].ends_with("content-length: 2\r\n\r\n{}"), "{}", seen[1]);
    }

    #[test]
    fn an_answer_that_is_cut_is_an_error() {
        let (address, _server) = serve(vec![b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: one\r\n"]);
        let mut client = Client::connect(address, LIMIT).unwrap();
        let mut streamed = client.open(&Request::get("/")).unwrap();
        let error = streamed.event().unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Fault::Cut), "{error:#}");
    }
}
