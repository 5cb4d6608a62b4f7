//! A TCP proxy that breaks connections as networks do: each direction may be cut off, slow, or end in the middle.
//!
//! A black hole holds what it is given, as the buffers along a cut cable do through retransmission: after the cable is mended it comes, in order,
//! and nothing is lost unless an end gives up. What is random follows from a seed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::random::Random;

/// Pieces that may be under way in one direction of a connection: what the buffers of a network hold.
const UNDER_WAY: usize = 64;

/// The largest piece.
const PIECE_BYTES: usize = 16 * 1024;

/// How long the target may take to accept.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// One of the two ways through a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What happens to bytes in a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// They pass.
    #[default]
    Pass,
    /// They go into a black hole, until the rule changes.
    Drop,
    /// Connections are reset, the standing ones and each new one.
    Reset,
    /// Each piece takes a time between these two; the order stays.
    Delay(Duration, Duration),
    /// So many more bytes pass in each connection, and then it is reset.
    CutAfter(u64),
}

/// The rules of both directions. The number tells one setting from the next, so that `CutAfter` counts anew.
#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    number: u64,
    to_server: Rule,
    to_client: Rule,
}

impl Rules {
    fn of(&self, direction: Direction) -> Rule {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::ToClient => self.to_client,
        }
    }
}

/// What has gone through.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

/// The running proxy. Dropping it resets every connection and gives up its port.
pub struct FaultProxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    counts: Arc<Counts>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Listens on `listen` (port 0: one of the system's choice) and joins whoever connects with `target`.
    pub fn start(listen: SocketAddr, target: SocketAddr, seed: u64) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(listen)).with_context(|| format!("a fault proxy on {listen}"))?;
        let address = listener.local_addr()?;
        let (rules, _) = watch::channel(Rules::default());
        let (end, ended) = oneshot::channel();
        let counts = Arc::<Counts>::default();
        let door = Door { target, rules: rules.subscribe(), counts: Arc::clone(&counts), random: Random::new(seed) };
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = door.run(listener) => {}
                    _ = ended => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("fault-proxy".to_owned()).spawn(run)?;
        Ok(Self { address, rules, counts, end: Some(end), thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens in a direction, to standing connections and to new ones.
    pub fn set(&self, direction: Direction, rule: Rule) {
        self.rules.send_modify(|rules| {
            rules.number += 1;
            match direction {
                Direction::ToServer => rules.to_server = rule,
                Direction::ToClient => rules.to_client = rule,
            }
        });
    }

    /// The same in both directions.
    pub fn set_both(&self, rule: Rule) {
        self.rules.send_modify(|rules| *rules = Rules { number: rules.number + 1, to_server: rule, to_client: rule });
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.set_both(Rule::Pass);
    }

    /// Connections that were accepted so far.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Bytes that have come out at the end of a direction so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.counts.of(direction).load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by then, and there is nothing left to save.
            thread.join().ok();
        }
    }
}

impl Counts {
    fn of(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
}

/// Accepts.
struct Door {
    target: SocketAddr,
    rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
    random: Random,
}

impl Door {
    async fn run(mut self, listener: TcpListener) {
        // Ends all connections with itself.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((client, _)) = accepted else { continue };
                    self.counts.connections.fetch_add(1, Ordering::Relaxed);
                    let (target, rules, counts) = (self.target, self.rules.clone(), Arc::clone(&self.counts));
                    connections.spawn(join(client, target, rules, counts, self.random.word()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// One connection, to its end.
async fn join(mut client: TcpStream, target: SocketAddr, mut rules: watch::Receiver<Rules>, counts: Arc<Counts>, seed: u64) {
    // Whatever ends this before an orderly end resets both sides.
    linger(&client, Some(Duration::ZERO));
    // What cannot reach the server gets no answer to its first packet either: nobody is asked before the way is open.
    if rules.wait_for(|rules| rules.to_server != Rule::Drop).await.is_err() {
        return;
    }
    let Ok(Ok(mut server)) = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(target)).await else { return };
    linger(&server, Some(Duration::ZERO));
    // Without these, small pieces would wait for one another here and nowhere else.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let is_orderly = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let way = |direction, seed| Way { direction, rules: rules.clone(), counts: Arc::clone(&counts), random: Random::new(seed) };
        let (there, back) = (way(Direction::ToServer, seed), way(Direction::ToClient, !seed));
        let both = async { tokio::try_join!(there.run(from_client, to_server), back.run(from_server, to_client)) };
        tokio::select! {
            ended = both => ended.is_ok(),
            () = reset(rules.clone()) => false,
        }
    };
    if is_orderly {
        linger(&client, None);
        linger(&server, None);
    }
}

/// How closing this stream ends the connection: after no time at all by a reset, else as usual.
fn linger(stream: &TcpStream, time: Option<Duration>) {
    // It fails only for a socket that is no more.
    SockRef::from(stream).set_linger(time).ok();
}

/// Returns when a rule resets connections.
async fn reset(mut rules: watch::Receiver<Rules>) {
    let is_reset = |rules: &Rules| rules.to_server == Rule::Reset || rules.to_client == Rule::Reset;
    if rules.wait_for(is_reset).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// One direction of a connection.
struct Way {
    direction: Direction,
    rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
    random: Random,
}

/// A piece and when it may come out; nothing in it: the end.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

impl Way {
    /// Moves bytes until the sender has ended its side, which is passed on. An error: the connection is broken.
    async fn run(self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let Self { direction, rules, counts, random } = self;
        let taking = take(from, sender, direction, rules.clone(), random);
        let giving = give(to, receiver, direction, rules, counts);
        tokio::try_join!(taking, giving).map(|_| ())
    }
}

async fn take(
    mut from: ReadHalf<'_>,
    sender: mpsc::Sender<Piece>,
    direction: Direction,
    rules: watch::Receiver<Rules>,
    mut random: Random,
) -> io::Result<()> {
    loop {
        let mut bytes = vec![0; PIECE_BYTES];
        let length = from.read(&mut bytes).await?;
        bytes.truncate(length);
        let delay = match rules.borrow().of(direction) {
            Rule::Delay(least, most) => {
                let spread = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX - 1);
                least + Duration::from_micros(random.between(0, spread + 1))
            }
            _ => Duration::ZERO,
        };
        let piece = Piece { due: Instant::now() + delay, bytes };
        if sender.send(piece).await.is_err() || length == 0 {
            return Ok(());
        }
    }
}

async fn give(
    mut to: WriteHalf<'_>,
    mut pieces: mpsc::Receiver<Piece>,
    direction: Direction,
    mut rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
) -> io::Result<()> {
    let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
    let (mut setting, mut passed) = (rules.borrow().number, 0);
    while let Some(Piece { due, mut bytes }) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        let now = *rules.wait_for(|rules| rules.of(direction) != Rule::Drop).await.map_err(|_| broken())?;
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        if now.number != setting {
            (setting, passed) = (now.number, 0);
        }
        let left = match now.of(direction) {
            Rule::CutAfter(limit) => limit - passed,
            _ => u64::MAX,
        };
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        to.write_all(&bytes).await?;
        passed += bytes.len() as u64;
        counts.of(direction).fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if matches!(now.of(direction), Rule::CutAfter(limit) if passed >= limit) {
            // What was written must leave before the reset takes it back.
            to.flush().await?;
            return Err(broken());
        }
    }
    Err(broken())
}

#[cfg(test)]
mod tests;
