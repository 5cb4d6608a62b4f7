//! Idle connections of one worker thread.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    time::Duration,
};

use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use waybill_model::snapshot::Origin;

use crate::{
    bell::Bells,
    connect::Connector,
    failure::{Failure, Kind},
    io::Io,
    payload::Payload,
};

/// Idle connections kept for one origin; by Little's law enough for 40,000 requests a second of 20 ms.
const IDLE_PER_ORIGIN: usize = 1024;

/// Providers close idle connections after a minute or more; ours are given up before, so that none is used in the moment it dies.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// One connection: its sending half and the half that moves bytes, driven by whoever uses it.
pub(crate) struct Line {
    pub(crate) sender: SendRequest<Payload>,
    pub(crate) connection: Pin<Box<Connection<TokioIo<Io>, Payload>>>,
    pub(crate) fresh: bool,
    /// Where it goes when its answer is whole, while the pool lives.
    home: Weak<RefCell<Vec<Idle>>>,
    /// What wakes whoever drives it.
    pub(crate) bells: Rc<Bells>,
    /// The connection is over; it must not be polled again.
    pub(crate) ended: bool,
}

impl Line {
    /// Lets the connection move bytes. `false` when it has ended.
    pub(crate) fn advance(&mut self) -> bool {
        self.ended = self.ended || self.connection.as_mut().poll(&mut self.bells.line()).is_ready();
        !self.ended
    }
}

struct Idle {
    line: Line,
    since: Instant,
}

/// The idle connections to one origin, the one that was used last at the end.
type Lines = Rc<RefCell<Vec<Idle>>>;

/// Connections to all origins, shared by the tasks of one thread.
#[derive(Clone)]
pub struct Pool {
    connector: Connector,
    idle: Rc<RefCell<HashMap<Origin, Lines>>>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        Self { connector, idle: Rc::default() }
    }

    /// Takes the connection that was used last, if it still lives, else opens one.
    pub(crate) async fn line(&self, origin: &Origin, fresh: bool) -> Result<Line, Failure> {
        let home = self.home(origin);
        if !fresh {
            while let Some(idle) = { home.borrow_mut().pop() } {
                let mut line = idle.line;
                // Polling an idle connection notices that the provider has closed it.
                let alive = if line.bells.line_is_rung() { line.advance() } else { !line.ended };
                if alive && line.sender.is_ready() && idle.since.elapsed() < IDLE_LIMIT {
                    return Ok(line);
                }
            }
        }
        let io = TokioIo::new(self.connector.connect(origin).await?);
        let handshake = Builder::new().handshake(io).await;
        let (sender, connection) = handshake.map_err(|error| Failure::before(Kind::Protocol, error.to_string()))?;
        Ok(Line {
            sender,
            connection: Box::pin(connection),
            fresh: true,
            home: Rc::downgrade(&home),
            bells: Rc::new(Bells::new()),
            ended: false,
        })
    }

    fn home(&self, origin: &Origin) -> Lines {
        let mut idle = self.idle.borrow_mut();
        match idle.get(origin) {
            Some(lines) => Rc::clone(lines),
            None => Rc::clone(idle.entry(origin.clone()).or_default()),
        }
    }
}

impl Line {
    /// Puts a connection back after a whole answer.
    pub(crate) fn give_back(mut self) {
        self.fresh = false;
        self.bells.rest();
        let Some(home) = self.home.upgrade() else { return };
        let (mut lines, now) = (home.borrow_mut(), Instant::now());
        // The oldest stand first; a pop takes the youngest, so the old ones of a quiet hour are dropped here.
        let expired = lines.iter().take_while(|idle| now.duration_since(idle.since) >= IDLE_LIMIT).count();
        lines.drain(..expired);
        if lines.len() < IDLE_PER_ORIGIN {
            lines.push(Idle { line: self, since: now });
        }
    }
}
