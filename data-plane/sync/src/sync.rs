//! Loads last-known-good, follows the control plane, swaps. A thin shell; every decision is made by the pure parts.

use std::{collections::VecDeque, path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use waybill_model::{
    compile::compile,
    snapshot::{Secret, Snapshot},
};
use waybill_proto::{
    model::v1::SecretRef,
    sync::v1::{ConnectRequest, ConnectResponse},
};

use crate::{
    Current, Identity, Lost, Outgoing, Refused,
    adopt::{Held, Outcome, Panicked, adopt},
    advised::Advised,
    backoff::{Backoff, Obstacle},
    folder::{Folder, FolderError, Unusable},
    guard::{Generation, PROVEN_MS},
    keeper::{Keeper, Written, unix_ms, write_mark},
    overlay::{Denied, Overlay},
    subscriber::{Action, Event, HEARTBEAT_MS, Job, Subscriber},
};

/// Resolves references to secrets in this process.
pub type Secrets = Arc<dyn Fn(&SecretRef) -> Option<Secret> + Send + std::marker::Sync>;

type Requests = mpsc::Sender<ConnectRequest>;
type Responses = mpsc::Receiver<ConnectResponse>;

/// The ends of a new stream.
#[derive(Debug)]
pub struct Stream {
    /// What the proxy says.
    pub requests: Requests,
    /// What it hears.
    pub responses: Responses,
    /// Why it ended, if whoever carries it knows: there when `responses` closes.
    pub ended: Option<oneshot::Receiver<Unreached>>,
}

/// There is no stream, or no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unreached {
    /// Why.
    pub reason: String,
    /// The control plane asks to be left alone for this long.
    pub after: Option<Duration>,
    /// What stands in the way.
    pub obstacle: Obstacle,
}

/// A proxy's end of the configuration.
pub struct Sync {
    began: Instant,
    subscriber: Subscriber,
    current: Current,
    secrets: Secrets,
    keeper: Keeper,
    outbox: VecDeque<ConnectRequest>,
    outgoing: Outgoing,
    compiling: Option<JoinHandle<Result<Outcome, Panicked>>>,
    prove_at: Option<Instant>,
}

/// What was found on the disk and can be served.
#[derive(Default)]
struct Found {
    held: Held,
    outcome: Option<Outcome>,
    written_unix_ms: Option<i64>,
}

impl Sync {
    /// Loads what was last held, compiles it and puts it in force, without anybody's help. An empty folder is a proxy that is not ready yet.
    ///
    /// # Errors
    /// The folder cannot be opened. Damaged files are no errors: they are said in the log and passed over.
    pub fn load(folder: &Path, identity: Identity, secrets: Secrets) -> Result<Self, FolderError> {
        let folder = Folder::open(folder)?;
        let (from, mark) = folder.mark().boot(folder.revision(Generation::Current), folder.revision(Generation::Previous));
        write_mark(Some(&folder), mark);
        if from == Generation::Previous {
            tracing::error!(revision = mark.blamed(), "this revision ended two processes within seconds: the one before it serves");
            folder.restore_previous()?;
        }
        let order = [Generation::Current, Generation::Previous];
        let found = order.into_iter().find_map(|generation| load_generation(&folder, generation, &secrets)).unwrap_or_default();
        let overlay = folder.overlay().unwrap_or_else(|error| {
            tracing::error!(%error, "the deny overlay cannot be read: revocations newer than the configuration come with the next connection");
            None
        });
        let on_disk = found.outcome.as_ref().and_then(|_| folder.revision(Generation::Current));
        let keeper = Keeper::new(Some(folder), mark, on_disk);
        Ok(Self::new(identity, secrets, found, overlay.unwrap_or_default(), mark.blamed(), keeper))
    }

    /// A proxy that keeps nothing on a disk.
    #[must_use]
    pub fn without_folder(identity: Identity, secrets: Secrets) -> Self {
        let keeper = Keeper::new(None, crate::guard::Mark::None, None);
        Self::new(identity, secrets, Found::default(), Overlay::default(), None, keeper)
    }

    fn new(identity: Identity, secrets: Secrets, found: Found, overlay: Overlay, blamed: Option<u64>, keeper: Keeper) -> Self {
        let denied: Denied = overlay.denied();
        let mut subscriber = Subscriber::new(identity, found.held, overlay, blamed);
        let mut snapshot = Snapshot::default();
        if let Some(outcome) = found.outcome {
            subscriber.verdicts(&outcome.rejected, &outcome.warnings);
            snapshot = outcome.snapshot;
        }
        let age_ms = found.written_unix_ms.map_or(0, |written| unix_ms().saturating_sub(written).max(0));
        let began = Instant::now();
        let prove_at = (snapshot.revision > 0).then(|| began + Duration::from_millis(PROVEN_MS));
        let current = Current::new(snapshot, denied, age_ms);
        Self {
            began,
            subscriber,
            current,
            secrets,
            keeper,
            outbox: VecDeque::new(),
            outgoing: Outgoing::default(),
            compiling: None,
            prove_at,
        }
    }

    /// What worker threads read.
    #[must_use]
    pub fn current(&self) -> Current {
        self.current.clone()
    }

    /// What the rooms of this proxy say to the control plane by.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        self.outgoing.clone()
    }

    /// Follows one stream until it is lost. Needs a tokio runtime. May be dropped and run again.
    pub async fn run(&mut self, requests: Requests, mut responses: Responses) -> Lost {
        self.outbox.clear();
        self.outgoing.forget_counts();
        let mut lost = self.on(Event::Opened);
        while lost.is_none() {
            lost = self.wait(Some((&requests, &mut responses)), None).await;
        }
        self.on(Event::Lost);
        self.outbox.clear();
        lost.unwrap_or(Lost::Closed)
    }

    /// Follows the control plane for ever: connects, runs, pauses with jitter, connects again.
    pub async fn follow<C, F>(&mut self, mut connect: C) -> std::convert::Infallible
    where
        C: FnMut() -> F,
        F: Future<Output = Result<Stream, Unreached>>,
    {
        let mut backoff = Backoff::default();
        loop {
            let opened = Instant::now();
            let unreached = match self.connecting(connect()).await {
                Ok(Stream { requests, responses, ended }) => {
                    let lost = self.run(requests, responses).await;
                    let told = ended.filter(|_| lost == Lost::Closed).and_then(|mut ended| ended.try_recv().ok());
                    told.unwrap_or_else(|| Unreached { reason: lost.to_string(), after: None, obstacle: Obstacle::Failed })
                }
                Err(unreached) => unreached,
            };
            if opened.elapsed() > Duration::from_millis(2 * HEARTBEAT_MS) {
                backoff.lasted();
            }
            let pause = backoff.pause(unreached.obstacle, unreached.after, random());
            let pause_ms = pause.as_millis();
            if unreached.obstacle >= Obstacle::Refused {
                self.current.refuse(Refused { reason: unreached.reason.clone(), unfit: unreached.obstacle == Obstacle::Unfit });
                tracing::error!(reason = %unreached, pause_ms, "the control plane refuses this proxy; serving what is held");
            } else {
                tracing::info!(reason = %unreached, pause_ms, "no stream to the control plane; serving what is held");
            }
            self.rest(pause).await;
        }
    }

    /// Passes time until there is a stream or none to be had.
    async fn connecting(&mut self, connect: impl Future<Output = Result<Stream, Unreached>>) -> Result<Stream, Unreached> {
        tokio::pin!(connect);
        loop {
            tokio::select! {
                stream = &mut connect => return stream,
                _ = self.wait(None, None) => {}
            }
        }
    }

    /// Finishes what is being compiled and written, and takes the crash guard's mark away: this process ends in peace.
    pub async fn stop(mut self) {
        while self.compiling.is_some() || !self.keeper.is_idle() {
            self.wait(None, None).await;
        }
        self.prove();
    }

    fn prove(&mut self) {
        self.prove_at = None;
        self.keeper.prove(self.subscriber.held().desired().revision());
    }

    /// Passes time without a stream.
    async fn rest(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end {
            self.wait(None, Some(end)).await;
        }
    }

    /// Waits for one thing to happen and handles it. Returns why the stream is lost, if it is.
    async fn wait(&mut self, stream: Option<(&Requests, &mut Responses)>, until: Option<Instant>) -> Option<Lost> {
        let tick = self.subscriber.due_ms().map(|ms| self.began + Duration::from_millis(ms));
        let proving = self.prove_at;
        let (requests, responses) = stream.unzip();
        let waiting = !self.outbox.is_empty();
        // What is said besides waits for what was said before: it does not pile up here.
        let listening = requests.is_some() && !waiting;
        tokio::select! {
            response = receive(responses) => match response {
                Some(response) => {
                    self.current.welcome();
                    self.on(Event::Received(response))
                }
                None => Some(Lost::Closed),
            },
            permit = reserve(requests), if waiting => match permit {
                Some(permit) => {
                    if let Some(request) = self.outbox.pop_front() {
                        permit.send(request);
                    }
                    None
                }
                None => Some(Lost::Closed),
            },
            () = self.outgoing.rung(), if listening => {
                self.outbox.extend(self.outgoing.take().into_iter().map(|message| ConnectRequest { message: Some(message) }));
                None
            }
            outcome = compiled(&mut self.compiling) => {
                self.prove_at = Some(Instant::now() + Duration::from_millis(PROVEN_MS));
                self.on(Event::Compiled(outcome))
            }
            written = self.keeper.written() => self.written(&written),
            () = sleep_until(proving) => {
                self.prove();
                None
            },
            () = sleep_until(tick) => self.on(Event::Tick),
            () = sleep_until(until) => None,
        }
    }

    fn written(&mut self, written: &Written) -> Option<Lost> {
        let stored = written.deny_epoch.and_then(|epoch| self.on(Event::DenyStored(epoch)));
        let oldest = self.keeper.oldest(self.subscriber.held().desired().revision());
        stored.or(self.on(Event::Oldest(oldest)))
    }

    fn on(&mut self, event: Event) -> Option<Lost> {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut lost = None;
        for action in self.subscriber.on(event, now_ms) {
            match action {
                Action::Send(request) => self.outbox.push_back(request),
                Action::Compile(job) => self.compile(job),
                Action::Swap(snapshot) => self.current.swap(snapshot),
                Action::Keep(held) => self.keeper.keep(held),
                Action::Deny(denied, overlay) => {
                    self.current.deny(denied);
                    self.keeper.keep_overlay(overlay);
                }
                Action::KeepOverlay(overlay) => self.keeper.keep_overlay(overlay),
                Action::Differs { revision } => {
                    tracing::error!(revision, "what is held is not what the control plane believes; asking for a repair");
                    self.current.differed();
                }
                Action::Advise(advice) => self.current.advise(Advised::new(advice, std::time::Instant::now())),
                Action::Close(reason) => lost = Some(reason),
            }
        }
        self.current.note(self.subscriber.in_step());
        lost
    }

    /// Compiles on a thread that may take its time, after the crash guard's mark is written.
    fn compile(&mut self, job: Job) {
        let (folder, mark) = self.keeper.attempt(job.revision());
        let secrets = Arc::clone(&self.secrets);
        // The mark is of this revision from here on: an older one that is still being proven must not take it away.
        self.prove_at = None;
        self.compiling = Some(tokio::task::spawn_blocking(move || {
            write_mark(folder.as_ref(), mark);
            job.run(&|world| compile(world, &*secrets))
        }));
    }
}

/// A generation that can be read and compiled.
fn load_generation(folder: &Folder, generation: Generation, secrets: &Secrets) -> Option<Found> {
    let unusable = |error: &dyn std::fmt::Display| tracing::error!(?generation, %error, "a generation of last-known-good is of no use");
    let (held, written_unix_ms) = folder.generation(generation).inspect_err(|error: &Unusable| unusable(error)).ok().flatten()?;
    let outcome = adopt(&held, Arc::clone(held.desired()), &|world| compile(world, &**secrets));
    let outcome = outcome.inspect_err(|error| unusable(error)).ok()?;
    Some(Found { held: outcome.held.clone(), outcome: Some(outcome), written_unix_ms: Some(written_unix_ms) })
}

async fn receive(responses: Option<&mut Responses>) -> Option<ConnectResponse> {
    match responses {
        Some(responses) => responses.recv().await,
        None => std::future::pending().await,
    }
}

async fn reserve(requests: Option<&Requests>) -> Option<mpsc::Permit<'_, ConnectRequest>> {
    match requests {
        Some(requests) => requests.reserve().await.ok(),
        None => std::future::pending().await,
    }
}

async fn compiled(compiling: &mut Option<JoinHandle<Result<Outcome, Panicked>>>) -> Result<Outcome, Panicked> {
    let Some(job) = compiling else { return std::future::pending().await };
    let outcome = job.await.unwrap_or_else(|error| Err(Panicked(error.to_string())));
    *compiling = None;
    outcome
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Uniform over all of `u64`. A system without randomness gets no jitter, which is no reason to stop.
fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}

#[cfg(test)]
mod tests;
