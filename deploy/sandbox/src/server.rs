//! The HTTP server that every provider of this crate is: HTTP/1.1 and HTTP/2 in clear text, on one listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{io, net, thread};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Response, StatusCode, Version};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::anthropic::API_KEY;
use crate::dialect::Dialect;
use crate::journal::{Entry, Journal, Keep};
use crate::play::{Broken, Played, Stage};
use crate::record::{Outcome, Record};
use crate::reply::{Opening, Payload, Reply};
use crate::request::Request;
use crate::wire::{Line, Wire};

/// How long the server waits when it cannot accept (no file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Decides how a request is answered. It does not wait: waiting is part of the reply.
pub trait Respond: Send + Sync + 'static {
    fn respond(&self, request: &Request) -> Reply;
}

impl<F: Fn(&Request) -> Reply + Send + Sync + 'static> Respond for F {
    fn respond(&self, request: &Request) -> Reply {
        self(request)
    }
}

/// How a provider is run. The default: a port of the system's choice on loopback, no token, no records.
#[derive(Debug)]
pub struct Options {
    pub listen: Listen,
    /// Requests need `Authorization: Bearer` and this, or in Anthropic's dialect `x-api-key`; else 401.
    pub token: Option<String>,
    pub records: Keep,
    /// Cuts the bytes of every answer at random positions; the seed and the arrival number decide them.
    pub cut_seed: Option<u64>,
    /// The longest silence of answers that stall.
    pub stall: Duration,
    /// Chunks of the endless stream.
    pub endless_chunks: u64,
    /// How long answers may go on after [`Provider::stop`].
    pub drain: Duration,
    /// The largest request body, in bytes; 413 beyond it.
    pub max_body: usize,
}

/// Where a provider listens.
#[derive(Debug)]
pub enum Listen {
    Address(SocketAddr),
    Given(net::TcpListener),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: Listen::Address(SocketAddr::from(([127, 0, 0, 1], 0))),
            token: None,
            records: Keep::Nothing,
            cut_seed: None,
            stall: Duration::from_secs(600),
            endless_chunks: 30_000,
            drain: Duration::from_secs(2),
            max_body: 64 << 20,
        }
    }
}

impl Listen {
    pub(crate) fn bind(self) -> io::Result<net::TcpListener> {
        let listener = match self {
            Self::Address(address) => net::TcpListener::bind(address)?,
            Self::Given(listener) => listener,
        };
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

/// A running provider. Dropped, it stops at once, without draining.
#[derive(Debug)]
pub struct Provider {
    addr: SocketAddr,
    journal: Arc<Journal>,
    stop: watch::Sender<bool>,
    stopped: oneshot::Receiver<Infallible>,
}

impl Provider {
    /// Starts on the runtime of the caller.
    pub fn start(options: Options, responder: impl Respond) -> io::Result<Self> {
        let (provider, listener, service) = Self::prepare(options, Arc::new(responder))?;
        tokio::spawn(service.run(TcpListener::from_std(listener)?));
        Ok(provider)
    }

    /// Starts on a thread and a runtime of its own, so that its work is not done by the caller's threads.
    pub fn spawn_thread(options: Options, responder: impl Respond) -> io::Result<Self> {
        let (provider, listener, service) = Self::prepare(options, Arc::new(responder))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        thread::Builder::new().name("sandbox".to_owned()).spawn(move || runtime.block_on(service.run(listener)))?;
        Ok(provider)
    }

    fn prepare(options: Options, responder: Arc<dyn Respond>) -> io::Result<(Self, net::TcpListener, Service)> {
        let journal = Arc::new(Journal::open(&options.records)?);
        let listener = options.listen.bind()?;
        let addr = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let (running, stopped) = oneshot::channel();
        let shared = Arc::new(Shared {
            responder,
            journal: journal.clone(),
            token: options.token,
            cut_seed: options.cut_seed,
            stall: options.stall,
            max_body: options.max_body,
        });
        let service = Service { shared, stopping, drain: options.drain, _running: running };
        Ok((Self { addr, journal, stop, stopped }, listener, service))
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What an OpenAI client takes as its base URL: `http://ADDR/v1`. (An Anthropic client takes it without `/v1`.)
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The records kept so far, in the order of arrival.
    pub fn records(&self) -> Vec<Record> {
        self.journal.records()
    }

    /// Requests that have arrived so far.
    pub fn arrivals(&self) -> u64 {
        self.journal.arrivals()
    }

    /// Until at least so many requests have arrived and none of all is being answered: then the records are final.
    pub async fn quiet(&self, arrivals: u64) {
        self.journal.quiet(arrivals).await;
    }

    /// Accepts no more, lets answers end for the drain time, then closes what is left. Gives back the final records.
    pub async fn stop(self) -> Vec<Record> {
        // Both fail only when the server is gone already.
        let _ = self.stop.send(true);
        let _ = self.stopped.await;
        self.journal.records()
    }
}

struct Service {
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
    drain: Duration,
    /// Dropped when the server has ended.
    _running: oneshot::Sender<Infallible>,
}

/// What all connections share.
struct Shared {
    responder: Arc<dyn Respond>,
    journal: Arc<Journal>,
    token: Option<String>,
    cut_seed: Option<u64>,
    stall: Duration,
    max_body: usize,
}

impl Service {
    async fn run(self, listener: TcpListener) {
        let Self { shared, stopping, drain, _running } = self;
        let mut connections = JoinSet::new();
        let mut stop = stopping.clone();
        let mut stop = pin!(asked_to_stop(&mut stop));
        let graceful = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => { connections.spawn(connection(stream, shared.clone(), stopping.clone())); }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
                graceful = &mut stop => break graceful,
            }
        };
        drop(listener);
        if graceful {
            let _ = tokio::time::timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
        }
        connections.shutdown().await;
    }
}

/// Until the provider is stopped (true) or dropped (false).
async fn asked_to_stop(stopping: &mut watch::Receiver<bool>) -> bool {
    stopping.wait_for(|stop| *stop).await.is_ok()
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    // Answers are small writes that nothing should hold back; a socket without it only answers later.
    let _ = stream.set_nodelay(true);
    let line = Arc::new(Line::default());
    let io = TokioIo::new(Wire::new(stream, line.clone()));
    let service = service_fn(move |request| answer(shared.clone(), line.clone(), request));
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = asked_to_stop(&mut stopping) => None,
    };
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        // How a connection ends is the client's business and in the records; there is nobody here to tell.
        let _ = connection.await;
    }
}

async fn answer(shared: Arc<Shared>, line: Arc<Line>, request: http::Request<Incoming>) -> Result<Response<Played>, Broken> {
    let own_connection = request.version() <= Version::HTTP_11;
    let stage = Stage { line, own_connection, stall: shared.stall };
    let bodiless = request.method() == Method::HEAD;
    let received = receive(request, shared.max_body).await?;
    let (mut request, too_large) = received;
    let entry = shared.journal.arrive(&mut request)?;
    let began = Instant::now();
    let mut reply = if too_large {
        Dialect::of(&request).error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            None,
            "The request body is larger than the sandbox takes.",
        )
    } else if shared.admits(&request) {
        shared.responder.respond(&request)
    } else {
        Dialect::of(&request).error(
            StatusCode::UNAUTHORIZED,
            "invalid_api_key",
            None,
            "The sandbox was started with a token, and this request does not bear it.",
        )
    };
    if let Some(seed) = shared.cut_seed {
        reply = reply.cut(seed ^ request.arrival.rotate_left(32));
    }
    open(reply, began, entry, stage, bodiless).await
}

/// The request with its whole body, or with none because it is too large.
async fn receive(request: http::Request<Incoming>, max_body: usize) -> Result<(Request, bool), Broken> {
    let (parts, body) = request.into_parts();
    let (body, too_large) = match Limited::new(body, max_body).collect().await {
        Ok(body) => (body.to_bytes(), false),
        Err(error) if error.is::<LengthLimitError>() => (Bytes::new(), true),
        Err(error) => return Err(Broken::Request(error)),
    };
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    Ok((Request { arrival: 0, method: parts.method, path, headers: parts.headers, body }, too_large))
}

async fn open(reply: Reply, began: Instant, mut entry: Entry, stage: Stage, bodiless: bool) -> Result<Response<Played>, Broken> {
    if !reply.delay.is_zero() {
        tokio::time::sleep_until(began + reply.delay).await;
    }
    match reply.opening {
        Opening::Head => {}
        Opening::Reset => return Err(stage.breaks(&mut entry, Outcome::Reset)),
        Opening::Close => return Err(stage.breaks(&mut entry, Outcome::Closed)),
        Opening::Stall => {
            tokio::time::sleep(stage.stall).await;
            return Err(stage.breaks(&mut entry, Outcome::Closed));
        }
    }
    entry.answering(reply.status.as_u16(), reply.usage)?;
    // Where there is no body to play, the head is the end.
    if bodiless || matches!(&reply.body, Payload::Whole(bytes, _) if bytes.is_empty()) {
        entry.over(Outcome::Ended)?;
    }
    let mut response = Response::new(Played::new(reply.body, began, entry, stage));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    Ok(response)
}

impl Shared {
    fn admits(&self, request: &Request) -> bool {
        let Some(token) = &self.token else { return true };
        let given = |name| request.headers.get(name).map(http::HeaderValue::as_bytes);
        let bears = given(AUTHORIZATION).and_then(|value| value.strip_prefix(b"Bearer ")) == Some(token.as_bytes());
        bears || (Dialect::of(request) == Dialect::Anthropic && given(API_KEY) == Some(token.as_bytes()))
    }
}

/// An address that refuses connections for as long as this is kept: its port is taken, but nobody listens.
#[derive(Debug)]
pub struct Refusing {
    addr: SocketAddr,
    _socket: tokio::net::TcpSocket,
}

impl Refusing {
    /// Takes a port of the system's choice on loopback.
    pub fn new() -> io::Result<Self> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Self { addr: socket.local_addr()?, _socket: socket })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
