//! A responder for benchmarks: hand-written HTTP/1.1 on one thread, canned answers, nothing else.
//!
//! The upstream of a benchmark must cost less than half of what is measured, which no HTTP library does. This one reads a
//! request by its Content-Length, finds the model's name by substring search and writes bytes that were made beforehand:
//!
//! | model | answer |
//! |---|---|
//! | `bench-1k` | 1 KB of JSON |
//! | `bench-10k` | 10 KB of JSON |
//! | `bench-160k` | 4 KB of JSON (the request is what is large) |
//! | `bench-burst-{chunks}` | a stream of so many chunks in one write |
//! | `bench-paced-{chunks}x{pace}ms` | one chunk per pace by an absolute timetable, each stamped with its send time |
//! | `bench-idle` | headers and the first chunk, then silence until the client closes |
//!
//! A path that ends in `/messages` is answered in Anthropic's dialect, any other in OpenAI's.
//!
//! Streams end with a frame of usage and `[DONE]` (`message_delta` and `message_stop`). [`usage`] tells what each answer costs. Only whole requests with a
//! Content-Length are read; anything else is answered 4xx and the connection closed. `GET /answered` counts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, net, thread};

use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::Instant;

use canned::{Answer, Name};

use crate::dialect::Dialect;

mod canned;

pub use canned::usage;

/// The largest request head, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The largest request body, in bytes.
const MAX_BODY: usize = 64 << 20;
/// Room made for each read: small requests come in one, without a second system call.
const READ: usize = 16 << 10;
/// Names whose answers are kept; beyond it they are made anew each time.
const MAX_NAMES: usize = 256;

/// A running responder, on a thread of its own. Dropped, it stops.
#[derive(Debug)]
pub struct Responder {
    addr: SocketAddr,
    answered: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Responder {
    pub fn start(listener: net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let answered = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let counter = answered.clone();
        let thread = thread::Builder::new()
            .name("sandbox-fast".to_owned())
            .spawn(move || LocalSet::new().block_on(&runtime, accept(listener, counter, stopped)))?;
        Ok(Self { addr, answered, stop: Some(stop), thread: Some(thread) })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Chat calls whose answer was written to its end.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has already been printed.
            let _ = thread.join();
        }
    }
}

/// What all connections share, on one thread.
struct Desk {
    answers: RefCell<HashMap<(Name, Dialect), Rc<Answer>>>,
    answered: Arc<AtomicU64>,
}

async fn accept(listener: TcpListener, answered: Arc<AtomicU64>, mut stopped: oneshot::Receiver<()>) {
    let desk = Rc::new(Desk { answers: RefCell::default(), answered });
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let desk = desk.clone();
                    // How a connection ends is the client's business.
                    tokio::task::spawn_local(async move { desk.serve(stream).await.ok() });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
}

/// A request as far as it matters: where its body lies in the buffer.
struct Received {
    body_start: usize,
    end: usize,
    is_post: bool,
    asks_count: bool,
    dialect: Dialect,
}

impl Desk {
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = BytesMut::with_capacity(READ);
        while let Some(request) = read(&mut stream, &mut buffer).await? {
            if request.asks_count {
                stream.write_all(&canned::count(self.answered())).await?;
            } else if !request.is_post {
                stream.write_all(&canned::models()).await?;
            } else {
                match buffer.get(request.body_start..request.end).and_then(Name::find) {
                    Some(name) => self.answer(&mut stream, name, request.dialect).await?,
                    None => stream.write_all(&canned::unknown(request.dialect)).await?,
                }
            }
            buffer.advance(request.end);
        }
        Ok(())
    }

    async fn answer(&self, stream: &mut TcpStream, name: Name, dialect: Dialect) -> io::Result<()> {
        match &*self.canned(name, dialect) {
            // Counted before it is written: whoever has read the answer finds it counted.
            Answer::Bytes(bytes) => {
                self.count();
                write(stream, bytes).await
            }
            Answer::Paced { head, chunk, chunks, pace, end } => {
                write(stream, head).await?;
                let began = Instant::now();
                for number in 1..=*chunks {
                    tokio::time::sleep_until(began + *pace * number).await;
                    write(stream, &chunk.stamped(number, now_us())).await?;
                }
                self.count();
                write(stream, end).await
            }
            Answer::Idle { head } => {
                write(stream, head).await?;
                hung_up(stream).await?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    fn canned(&self, name: Name, dialect: Dialect) -> Rc<Answer> {
        if let Some(answer) = self.answers.borrow().get(&(name, dialect)) {
            return answer.clone();
        }
        let answer = Rc::new(name.answer(dialect));
        let mut answers = self.answers.borrow_mut();
        if answers.len() < MAX_NAMES {
            answers.insert((name, dialect), answer.clone());
        }
        answer
    }

    fn count(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// Tries at once: a socket that is ready needs no trip through the reactor.
async fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let written = match stream.try_write(bytes) {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    match bytes.get(written..) {
        None | Some([]) => Ok(()),
        Some(rest) => stream.write_all(rest).await,
    }
}

async fn hung_up(stream: &mut TcpStream) -> io::Result<()> {
    let mut ignored = [0; 256];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// The next request, whole at the front of `buffer`; none when the client is done or talks something else.
async fn read(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<Received>> {
    // Takes back the room of the requests before; allocates only where one was larger.
    buffer.reserve(READ);
    let head = loop {
        if let Some(end) = memmem::find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > MAX_HEAD || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let Some(received) = buffer.get(..head).and_then(received) else {
        stream.write_all(canned::LENGTH_REQUIRED).await?;
        return Ok(None);
    };
    buffer.reserve(received.end.saturating_sub(buffer.len()));
    while buffer.len() < received.end {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(received))
}

fn received(head: &[u8]) -> Option<Received> {
    let is_post = head.starts_with(b"POST ");
    let length = match content_length(head) {
        Some(length) => length.filter(|length| *length <= MAX_BODY)?,
        None if is_post => return None,
        None => 0,
    };
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let dialect = if path.ends_with(b"/messages") { Dialect::Anthropic } else { Dialect::OpenAi };
    Some(Received { body_start: head.len(), end: head.len() + length, is_post, asks_count: head.starts_with(b"GET /answered "), dialect })
}

/// The value of Content-Length: absent, not a number, or a number.
fn content_length(head: &[u8]) -> Option<Option<usize>> {
    const NAME: &[u8] = b"content-length:";
    let value = memchr::memchr_iter(b'\n', head).find_map(|end| {
        let line = head.get(end + 1..)?;
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    })?;
    let end = memchr::memchr(b'\r', value)?;
    Some(std::str::from_utf8(value.get(..end)?).ok().and_then(|text| text.trim().parse().ok()))
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}
