//! The callers: threads that send at a steady pace to whatever process serves, and write down what they saw.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use waybill_tests::{Client, Request, Streaming};

use crate::call::{Call, marker};
use crate::ids::{self, Id};
use crate::shown::{Shown, read};

/// Callers at once.
const THREADS: u32 = 32;

/// What all of them together try to send in a second, while a process serves.
const PER_SECOND: u32 = 280;

/// Nothing may take as long: the longest answer of the provider takes a tenth of a second.
const LIMIT: Duration = Duration::from_secs(10);

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
    /// Which process it was sent to, counted from the first.
    pub life: usize,
    pub body_bytes: u64,
    /// From the header of the answer, if that came.
    pub generation: Option<Id>,
    pub seen: Seen,
}

/// Where the callers find the process that serves.
#[derive(Default)]
pub struct Door {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct State {
    open: Option<(SocketAddr, usize)>,
    is_over: bool,
}

impl Door {
    /// From now on requests go to this address.
    pub fn open(&self, address: SocketAddr, life: usize) {
        self.set(|state| state.open = Some((address, life)));
    }

    /// Nobody serves.
    pub fn close(&self) {
        self.set(|state| state.open = None);
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

    /// Waits until somebody serves; nothing when the load is over.
    fn wait(&self) -> Option<(SocketAddr, usize)> {
        let closed = |state: &mut State| state.open.is_none() && !state.is_over;
        let state = self.changed.wait_while(self.lock(), closed).unwrap_or_else(PoisonError::into_inner);
        if state.is_over { None } else { state.open }
    }
}

/// All callers.
pub struct Load {
    door: Arc<Door>,
    threads: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    /// Starts them; they wait for the door to open.
    pub fn start(door: &Arc<Door>, key: &str, seed: u64) -> Self {
        let next = Arc::new(AtomicU64::new(0));
        let caller = |place: u32| {
            let mut caller = Caller { door: Arc::clone(door), key: key.to_owned(), seed, next: Arc::clone(&next), connection: None };
            thread::spawn(move || caller.run(place))
        };
        Self { door: Arc::clone(door), threads: (0..THREADS).map(caller).collect() }
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
    connection: Option<(usize, Client)>,
}

impl Caller {
    fn run(&mut self, place: u32) -> Vec<Sent> {
        let pace = Duration::from_secs(1) * THREADS / PER_SECOND;
        let mut due = Instant::now() + pace * place / THREADS;
        let mut all = Vec::new();
        while let Some((address, life)) = self.door.wait() {
            let now = Instant::now();
            thread::sleep(due.saturating_duration_since(now));
            // What was missed is not made up for: the pace stays steady.
            due = due.max(now) + pace;
            // Somebody who serves no more: nothing was sent.
            let Ok(mut client) = self.connect(address, life) else { continue };
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (sent, is_reusable) = send(&mut client, number, life, self.seed, &self.key);
            all.push(sent);
            self.connection = is_reusable.then_some((life, client));
        }
        all
    }

    /// The connection of the last request, if the same process still serves, else a new one.
    fn connect(&mut self, address: SocketAddr, life: usize) -> Result<Client> {
        match self.connection.take() {
            Some((of, client)) if of == life => Ok(client),
            _ => Client::connect(address, LIMIT),
        }
    }
}

/// Sends one request and reads its answer as far as it comes.
fn send(client: &mut Client, number: u64, life: usize, seed: u64, key: &str) -> (Sent, bool) {
    let call = Call::of(number);
    let marker = marker(seed, number);
    let body = call.body(&marker);
    let mut sent = Sent { number, life, body_bytes: body.len() as u64, generation: None, seen: Seen::Cut };
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
            sent.seen = if status == 200 { read(&body, call.is_streamed).map_or(Seen::Cut, Seen::End) } else { Seen::Error(status) };
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
