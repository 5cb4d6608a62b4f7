//! One session with its stream. A thin shell: what to do is decided by the session.

use std::{
    collections::VecDeque,
    iter::Peekable,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::Instant,
};
use tokio_stream::{Stream, StreamExt};
use waybill_peer::Peer;
use waybill_proto::sync::v1::{Advice, ConnectRequest, ConnectResponse, PepperPrint, connect_request, connect_response::Message};

use crate::{
    Publication, pepper,
    publisher::Shared,
    session::{Action, Event, Frames, Refusal, Session},
};

/// A proxy that is not up to date after this makes room for others that want to be, all the same.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// On what terms a proxy is served. Without any: within the same process.
#[derive(Debug, Default)]
pub struct Terms {
    /// Who it is.
    pub peer: Option<Peer>,
    /// The right to be brought up to date now; given back when it is.
    pub admission: Option<OwnedSemaphorePermit>,
    /// How long the stream may last.
    pub age: Option<Duration>,
    /// The peppers that API keys are made with here.
    pub peppers: Vec<PepperPrint>,
    /// Turns true when this replica ends.
    pub stopping: Option<watch::Receiver<bool>>,
}

/// Serves one proxy until either side ends it. Returns why.
pub async fn serve<T>(
    shared: &Shared,
    terms: Terms,
    requests: impl Stream<Item = ConnectRequest> + Unpin,
    responses: &mpsc::Sender<T>,
    wrap: impl Fn(ConnectResponse) -> T,
) -> Refusal {
    let number = shared.sessions.fetch_add(1, Ordering::Relaxed);
    let mut serving = Serving { shared, number, session: Session::new(shared.now_ms()), outbox: Outbox::default(), terms };
    let refusal = serving.run(requests, responses, wrap).await;
    if let Some(proxy) = &serving.outbox.proxy {
        tracing::info!(%proxy, reason = %refusal, "a proxy's stream has ended");
        shared.fleet.left(number, proxy, shared.now_ms());
    }
    refusal
}

/// What waits to be sent to one proxy. Bounded: one push, and the few things that overtake it.
#[derive(Debug, Default)]
struct Outbox {
    first: VecDeque<Message>,
    /// The newest, if it was not sent yet.
    advice: Option<Advice>,
    frames: Option<Peekable<Frames>>,
    proxy: Option<String>,
}

impl Outbox {
    fn is_empty(&mut self) -> bool {
        self.first.is_empty() && self.advice.is_none() && self.frames.as_mut().is_none_or(|frames| frames.peek().is_none())
    }

    fn pop(&mut self) -> Option<ConnectResponse> {
        let first = self.first.pop_front().or_else(|| self.advice.take().map(Message::Advice));
        let next = match first {
            Some(message) => Some(ConnectResponse { message: Some(message) }),
            None => self.frames.as_mut().and_then(Iterator::next),
        };
        // Most sessions are quiet most of the time: they keep nothing of what they have sent.
        if self.is_empty() {
            (self.frames, self.first) = (None, VecDeque::new());
        }
        next
    }
}

struct Serving<'a> {
    shared: &'a Shared,
    number: u64,
    session: Session,
    outbox: Outbox,
    terms: Terms,
}

impl Serving<'_> {
    async fn run<T>(
        &mut self,
        mut requests: impl Stream<Item = ConnectRequest> + Unpin,
        responses: &mpsc::Sender<T>,
        wrap: impl Fn(ConnectResponse) -> T,
    ) -> Refusal {
        let (mut released, mut advised) = (self.shared.released.subscribe(), self.shared.advice.subscribe());
        let mut stopping = self.terms.stopping.take();
        let admitted_until = Instant::now() + HANDSHAKE;
        let end = self.terms.age.map(|age| Instant::now() + age);
        loop {
            let due = self.shared.at(self.session.due_ms());
            let waiting = !self.outbox.is_empty();
            let event = tokio::select! {
                biased;
                () = stopped(stopping.as_mut()) => return Refusal::Stopping,
                changed = released.changed() => match changed {
                    Ok(()) => Event::Published,
                    Err(_) => return Refusal::Closed,
                },
                request = requests.next() => match request {
                    Some(request) => Event::Received(request),
                    None => return Refusal::Closed,
                },
                changed = advised.changed() => match changed {
                    Ok(()) => {
                        self.advise(&mut advised);
                        continue;
                    }
                    Err(_) => return Refusal::Closed,
                },
                () = sleep_until(end) => return Refusal::Aged,
                () = tokio::time::sleep_until(admitted_until), if self.terms.admission.is_some() => {
                    self.terms.admission = None;
                    continue;
                }
                () = tokio::time::sleep_until(due) => Event::Tick,
                permit = responses.reserve(), if waiting => match permit {
                    Ok(permit) => {
                        if let Some(response) = self.outbox.pop() {
                            permit.send(wrap(response));
                        }
                        continue;
                    }
                    Err(_) => return Refusal::Closed,
                },
            };
            if let Err(refusal) = self.welcome(&event) {
                return refusal;
            }
            let greeted = self.outbox.proxy.is_some();
            let now = Arc::clone(&released.borrow_and_update());
            if let Some(refusal) = self.on(event, &now) {
                return refusal;
            }
            if !greeted {
                self.advise(&mut advised);
            }
        }
    }

    /// A proxy may call itself as its certificate does, and recognises the keys that are made here.
    fn welcome(&self, event: &Event) -> Result<(), Refusal> {
        let Event::Received(ConnectRequest { message: Some(connect_request::Message::Hello(hello)) }) = event else { return Ok(()) };
        if let Some(peer) = self.terms.peer.as_ref().filter(|peer| !peer.may_be(&hello.proxy)) {
            return Err(Refusal::Name { peer: peer.to_string(), said: hello.proxy.clone() });
        }
        pepper::judge(&self.terms.peppers, &hello.peppers)
    }

    /// Has the newest advice sent, once it is known who is there.
    fn advise(&mut self, advised: &mut watch::Receiver<crate::advised::Advised>) {
        if self.outbox.proxy.is_some() {
            self.outbox.advice = advised.borrow_and_update().at(self.shared.now_ms());
        }
    }

    fn on(&mut self, event: Event, now: &Publication) -> Option<Refusal> {
        let (now_ms, mut refusal) = (self.shared.now_ms(), None);
        let (mut counts, mut spool) = (None, None);
        for action in self.session.on(event, now, now_ms) {
            match action {
                Action::Deny(deny) => self.outbox.first.push_back(Message::Deny(deny)),
                Action::Heartbeat(heartbeat) => self.outbox.first.push_back(Message::Heartbeat(heartbeat)),
                // What is left of an older push was refused by the proxy: nobody reads it.
                Action::Push(push) => {
                    self.shared.figures.pushes.fetch_add(1, Ordering::Relaxed);
                    self.outbox.frames = Some(push.into_iter().peekable());
                }
                Action::Count(counted) => counts = Some(counted),
                Action::Spool(report) => spool = Some(report),
                Action::Differs { revision } => {
                    self.shared.figures.hash_differences.fetch_add(1, Ordering::Relaxed);
                    let proxy = self.outbox.proxy.as_deref().unwrap_or_default();
                    tracing::error!(proxy, revision, "a proxy holds something else than its revision says; it is being repaired");
                }
                Action::Close(reason) => refusal = Some(reason),
            }
        }
        let Some(member) = self.session.member() else { return refusal };
        self.outbox.proxy.get_or_insert_with(|| member.proxy.clone());
        if member.applied.in_step {
            self.terms.admission = None;
        }
        let fleet = &self.shared.fleet;
        fleet.update(self.number, member, now_ms);
        counts.into_iter().for_each(|counts| fleet.count(self.number, &member.proxy, counts));
        spool.into_iter().for_each(|report| fleet.spool(self.number, &member.proxy, report));
        refusal
    }
}

async fn stopped(stopping: Option<&mut watch::Receiver<bool>>) {
    match stopping {
        // Whoever could say so is gone: then it stops as well.
        Some(stopping) => drop(stopping.wait_for(|stopping| *stopping).await),
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
