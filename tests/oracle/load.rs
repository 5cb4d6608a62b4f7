//! The callers: threads that send at a steady pace to whatever process serves, and write down what they saw.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Client, Request, Streaming};
use anyhow::Result;

use super::call::{Call, marker};
use super::ids::{self, Id};
use super::shown::{self, Shown, Told, read};

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Callers at once.
    pub callers: u32,
    /// What all of them together try to send in a second, while somebody serves.
    pub per_second: u32,
}

impl Pace {
    /// What a machine of two cores carries with one process of the product.
    pub const BUSY: Self = Self { callers: 32, per_second: 280 };
}

/// Nothing may take as long: the longest answer of the provider takes a tenth of a second.
const LIMIT: Duration = Duration::from_secs(10);

/// After so long a caller who is going to hang up takes the answer for ended: the provider's pauses are shorter.
const SILENCE: Duration = Duration::from_millis(500);

/// How a request went, as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The whole answer came, to its very end.
    End(Shown),
    /// A whole answer with an error status came.
    Error(u16),
    /// The answer ended too early, or said itself that it was broken.
    Cut,
    /// Nothing came for a long time, and the connection stood.
    Stuck,
}

/// A request that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub number: u64,
    /// Under what it is counted: the process it was sent to, or the scenario in which it was.
    pub life: usize,
    /// Which of several that serve at once it was sent to.
    pub place: usize,
    /// When it was sent, from the start of the load.
    pub at: Duration,
    /// From its sending until its answer ended, however that was.
    pub took: Duration,
    pub body_bytes: u64,
    /// From the header of the answer, if that came.
    pub generation: Option<Id>,
    pub seen: Seen,
    /// What the error says that the answer is, or that its stream ended with.
    pub told: Option<Told>,
}

/// Where the callers find the process that serves.
#[derive(Default)]
pub struct Door {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Default)]
struct State {
    open: BTreeMap<usize, Open>,
    is_over: bool,
}

/// Somebody who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    place: usize,
    address: SocketAddr,
    life: usize,
}

impl Door {
    /// From now on requests go to this address too, and are counted under this life. Callers are spread over all places.
    pub fn open(&self, place: usize, address: SocketAddr, life: usize) {
        self.set(|state| {
            state.open.insert(place, Open { place, address, life });
        });
    }

    /// Nobody serves at this place.
    pub fn close(&self, place: usize) {
        self.set(|state| {
            state.open.remove(&place);
        });
    }

    fn end(&self) {
        self.set(|state| state.is_over = true);
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody serves, and gives one by turns; nothing when the load is over.
    fn wait(&self, turn: usize) -> Option<Open> {
        let closed = |state: &mut State| state.open.is_empty() && !state.is_over;
        let state = self.changed.wait_while(self.lock(), closed).unwrap_or_else(PoisonError::into_inner);
        if state.is_over { None } else { state.open.values().nth(turn % state.open.len()).copied() }
    }
}

/// All callers.
pub struct Load {
    door: Arc<Door>,
    threads: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    /// Starts them; they wait for the door to open.
    pub fn start(door: &Arc<Door>, key: &str, seed: u64, pace: Pace) -> Self {
        Self::start_from(door, key, seed, pace, 0)
    }

    /// The same; the first request has this number.
    pub fn start_from(door: &Arc<Door>, key: &str, seed: u64, pace: Pace, first: u64) -> Self {
        let (next, start) = (Arc::new(AtomicU64::new(first)), Instant::now());
        let caller = |place: u32| {
            let mut caller = Caller { door: Arc::clone(door), key: key.to_owned(), seed, next: Arc::clone(&next), start, connection: None };
            thread::spawn(move || caller.run(place, pace))
        };
        Self { door: Arc::clone(door), threads: (0..pace.callers).map(caller).collect() }
    }

    /// Ends them. Gives all requests, by number.
    pub fn stop(self) -> Vec<Sent> {
        self.door.end();
        let joined = self.threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let mut sent: Vec<Sent> = joined.flatten().collect();
        sent.sort_unstable_by_key(|sent| sent.number);
        sent
    }
}

struct Caller {
    door: Arc<Door>,
    key: String,
    seed: u64,
    next: Arc<AtomicU64>,
    start: Instant,
    connection: Option<(Open, Client)>,
}

impl Caller {
    fn run(&mut self, place: u32, pace: Pace) -> Vec<Sent> {
        let step = Duration::from_secs(1) * pace.callers / pace.per_second;
        let mut due = Instant::now() + step * place / pace.callers;
        let mut all = Vec::new();
        let mut turn = place as usize;
        while let Some(open) = self.door.wait(turn) {
            let now = Instant::now();
            thread::sleep(due.saturating_duration_since(now));
            // What was missed is not made up for: the pace stays steady.
            due = due.max(now) + step;
            // Somebody who serves no more: nothing was sent, and the next turn is another's.
            let Ok(mut client) = self.connect(open) else {
                turn += 1;
                continue;
            };
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let at = Instant::now();
            let (mut sent, is_reusable) = send(&mut client, number, open, self.seed, &self.key);
            (sent.at, sent.took) = (at - self.start, at.elapsed());
            all.push(sent);
            self.connection = is_reusable.then_some((open, client));
        }
        all
    }

    /// The connection of the last request, if the same process still serves, else a new one.
    fn connect(&mut self, open: Open) -> Result<Client> {
        match self.connection.take() {
            Some((of, client)) if of == open => Ok(client),
            _ => Client::connect(open.address, LIMIT),
        }
    }
}

/// Sends one request, reads so many bytes of its answer and hangs up.
pub fn leave(address: SocketAddr, number: u64, seed: u64, key: &str, bytes: usize) -> Result<Sent> {
    let call = Call::of(number);
    let marker = marker(seed, number);
    let body = call.body(&marker);
    let body_bytes = body.len() as u64;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.write_all(&Request::post(call.path(), body).bearer(key).field("x-title", &marker).to_bytes(address))?;
    // What comes is not looked at. An answer may be shorter, and then the connection stays silent.
    stream.set_read_timeout(Some(SILENCE))?;
    match stream.take(bytes as u64).read_to_end(&mut Vec::new()) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Err(error.into()),
        _ => {}
    }
    let none = Duration::ZERO;
    Ok(Sent { number, life: 0, place: 0, at: none, took: none, body_bytes, generation: None, seen: Seen::Cut, told: None })
}

/// Sends one request on a connection of its own and reads its answer as far as it comes.
pub fn ask(address: SocketAddr, number: u64, seed: u64, key: &str) -> Result<Sent> {
    let open = Open { place: 0, address, life: 0 };
    let start = Instant::now();
    let (sent, _) = send(&mut Client::connect(address, LIMIT)?, number, open, seed, key);
    Ok(Sent { took: start.elapsed(), ..sent })
}

/// Sends one request and reads its answer as far as it comes.
fn send(client: &mut Client, number: u64, open: Open, seed: u64, key: &str) -> (Sent, bool) {
    let call = Call::of(number);
    let marker = marker(seed, number);
    let body = call.body(&marker);
    let mut sent = Sent {
        number,
        life: open.life,
        place: open.place,
        at: Duration::ZERO,
        took: Duration::ZERO,
        body_bytes: body.len() as u64,
        generation: None,
        seen: Seen::Cut,
        told: None,
    };
    let request = Request::post(call.path(), body).bearer(key).field("x-title", &marker);
    let mut answer = match client.open(&request) {
        Ok(answer) => answer,
        Err(error) => {
            sent.seen = broken(&error);
            return (sent, false);
        }
    };
    sent.generation = answer.head.text("x-generation-id").and_then(|text| ids::parse("gen-", text));
    let is_closing = answer.head.text("connection") == Some("close");
    match whole(&mut answer) {
        Ok(body) => {
            let status = answer.head.status;
            if status == 200 {
                sent.seen = read(&body, call.is_streamed).map_or(Seen::Cut, Seen::End);
                sent.told = shown::error(&body, call.is_streamed);
            } else {
                sent.seen = Seen::Error(status);
                sent.told = shown::error(&body, false).filter(|told| told.code == status);
            }
            (sent, !is_closing)
        }
        Err(error) => {
            sent.seen = broken(&error);
            (sent, false)
        }
    }
}

/// The body to its end, which its framing must tell: a body that lasts until the connection closes could have been cut anywhere.
fn whole(answer: &mut Streaming<'_>) -> Result<Vec<u8>> {
    let is_framed = answer.head.field("content-length").is_some() || answer.head.text("transfer-encoding") == Some("chunked");
    anyhow::ensure!(is_framed, "the end of the body cannot be seen");
    let mut body = Vec::new();
    while answer.piece(|piece| body.extend_from_slice(piece))? {}
    Ok(body)
}

fn broken(error: &anyhow::Error) -> Seen {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    if matches!(kind, Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)) { Seen::Stuck } else { Seen::Cut }
}
