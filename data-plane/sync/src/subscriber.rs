//! The protocol with the control plane, the proxy's side. Pure: (event, time) → actions.
//!
//! Compiling takes long and needs the crash guard's mark on the disk first, so it is an action and its outcome an event. What is held changes in
//! one step: when the outcome comes.

mod words;

use std::sync::Arc;

use waybill_model::{compile::Fault, snapshot::Snapshot, world::World};
use waybill_proto::sync::v1::{
    Advice, Begin, Commit, ConnectRequest, ConnectResponse, Deny, Heartbeat, PepperPrint, Report, Verdict, connect_request,
    connect_response,
};

use crate::{
    adopt::{Compile, Held, Outcome, Panicked, adopt},
    change::{Change, Disorder},
    overlay::{Denied, Full, Overlay},
};
use words::{send, send_report, shards, verdict, whole_revision};

/// A heartbeat is sent when nothing else was for this long, milliseconds.
pub const HEARTBEAT_MS: u64 = 5_000;

/// A peer that was not heard for this long is gone: three heartbeats missed.
pub const SILENCE_MS: u64 = 3 * HEARTBEAT_MS;

/// A heartbeat says what is held about this often, milliseconds.
pub const AUDIT_MS: u64 = 60_000;

/// The version of `model.v1` that this build reads.
pub const SCHEMA: u32 = 1;

/// Who the proxy is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Stable name.
    pub proxy: String,
    /// Random per process life.
    pub process: u64,
    /// The logs of the process.
    pub incarnations: Vec<u64>,
    /// Version of the build.
    pub build: String,
    /// Fingerprints of the peppers it recognises API keys with.
    pub peppers: Vec<PepperPrint>,
}

/// Why a stream ended. Connect again after a pause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The stream was closed by the other side, or never opened.
    #[error("the stream was closed")]
    Closed,
    /// Nothing was heard.
    #[error("nothing was heard for {SILENCE_MS} ms")]
    Silent,
    /// The control plane would go back. A replica that lags catches up.
    #[error("the control plane is at revision {offered}, behind {held} which is held")]
    Behind {
        /// What it offers.
        offered: u64,
        /// What is held.
        held: u64,
    },
    /// The deny overlay is full.
    #[error(transparent)]
    Full(#[from] Full),
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A stream is open.
    Opened,
    /// The control plane said something.
    Received(ConnectResponse),
    /// The stream is gone.
    Lost,
    /// What [`Action::Compile`] asked for is done.
    Compiled(Result<Outcome, Panicked>),
    /// The deny overlay is on the disk up to this epoch.
    DenyStored(u64),
    /// No world below this revision can come into force any more.
    Oldest(u64),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Send this.
    Send(ConnectRequest),
    /// Compile this; answer with [`Event::Compiled`].
    Compile(Job),
    /// Put this in force.
    Swap(Arc<Snapshot>),
    /// Write what is held to the disk.
    Keep(Held),
    /// Put this in force at once, write the overlay to the disk and answer with [`Event::DenyStored`].
    Deny(Arc<Denied>, Overlay),
    /// The overlay holds less than it did: write it to the disk when there is time.
    KeepOverlay(Overlay),
    /// Follow this until it expires.
    Advise(Advice),
    /// The control plane believes that something else is held, though both mean the same revision: an alarm. A resync is asked for.
    Differs {
        /// The revision.
        revision: u64,
    },
    /// End the stream.
    Close(Lost),
}

/// A world to compile.
#[derive(Clone, Debug)]
pub struct Job {
    before: Held,
    desired: Arc<World>,
}

impl Job {
    /// The revision it leads to: what the crash guard marks.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.desired.revision()
    }

    /// Compiles. Takes as long as the world is large.
    ///
    /// # Errors
    /// The compiler panics whatever is left out.
    pub fn run(self, compile: Compile<'_>) -> Result<Outcome, Panicked> {
        adopt(&self.before, self.desired, compile)
    }
}

/// The proxy's side of the protocol.
#[derive(Debug)]
pub struct Subscriber {
    identity: Identity,
    held: Held,
    overlay: Overlay,
    stored_epoch: u64,
    rejected: Vec<Verdict>,
    warnings: Vec<Verdict>,
    blamed: Option<u64>,
    stream: Option<Stream>,
    compiling: Option<Compiling>,
}

#[derive(Debug)]
struct Stream {
    opened_ms: u64,
    heard_ms: u64,
    sent_ms: u64,
    audited_ms: u64,
    change: Option<Change>,
    /// Changes up to this number are done with.
    closed: u64,
    answer: Option<ConnectRequest>,
}

/// A commit whose outcome is not there yet. Its number is of the stream it came by.
#[derive(Debug)]
struct Compiling {
    nonce: Option<u64>,
    revision: u64,
}

impl Subscriber {
    /// A proxy that holds this from an earlier life. `blamed` is a revision that is not to be tried.
    #[must_use]
    pub fn new(identity: Identity, held: Held, overlay: Overlay, blamed: Option<u64>) -> Self {
        Self {
            stored_epoch: overlay.epoch(),
            identity,
            held,
            overlay,
            rejected: Vec::new(),
            warnings: Vec::new(),
            blamed,
            stream: None,
            compiling: None,
        }
    }

    /// The verdicts over what is held, when it was compiled outside of the protocol: at a start from the disk.
    pub fn verdicts(&mut self, rejected: &[Fault], warnings: &[Fault]) {
        self.rejected = rejected.iter().map(verdict).collect();
        self.warnings = warnings.iter().map(verdict).collect();
    }

    /// What is held.
    #[must_use]
    pub const fn held(&self) -> &Held {
        &self.held
    }

    /// A commit is being compiled.
    #[must_use]
    pub const fn is_compiling(&self) -> bool {
        self.compiling.is_some()
    }

    /// It is in step as far as it can know: the stream lives and no change is open.
    #[must_use]
    pub fn in_step(&self) -> bool {
        let idle = self.stream.as_ref().is_some_and(|stream| stream.change.is_none() && stream.heard_ms > stream.opened_ms);
        idle && self.compiling.is_none() && self.blamed.is_none()
    }

    /// When the next tick is due; `None` without a stream.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let due = |stream: &Stream| (stream.sent_ms + HEARTBEAT_MS).min(stream.heard_ms + SILENCE_MS).min(stream.audited_ms + AUDIT_MS);
        self.stream.as_ref().map(due)
    }

    /// Takes an event. `now_ms` is a clock that never goes back.
    pub fn on(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Err(lost) = self.step(event, now_ms, &mut actions) {
            self.stream = None;
            self.orphan_compiling();
            actions.push(Action::Close(lost));
        }
        if let Some(stream) = self.stream.as_mut().filter(|_| actions.iter().any(|action| matches!(action, Action::Send(_)))) {
            stream.sent_ms = now_ms;
        }
        actions
    }

    fn step(&mut self, event: Event, now_ms: u64, actions: &mut Vec<Action>) -> Result<(), Lost> {
        match event {
            Event::Opened => self.open(now_ms, actions),
            Event::Lost => {
                self.stream = None;
                self.orphan_compiling();
            }
            Event::Received(response) => {
                if let Some(stream) = &mut self.stream {
                    stream.heard_ms = now_ms.max(stream.opened_ms + 1);
                    self.receive(response, actions)?;
                }
            }
            Event::Compiled(result) => self.compiled(result, actions),
            Event::DenyStored(epoch) => {
                self.stored_epoch = self.stored_epoch.max(epoch);
                let report = self.report(0);
                actions.extend(self.stream.is_some().then(|| send_report(report)));
            }
            Event::Oldest(revision) => {
                if self.overlay.forget(revision) {
                    actions.push(Action::KeepOverlay(self.overlay.clone()));
                }
            }
            Event::Tick => {}
        }
        self.beat(now_ms, actions)
    }

    fn open(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.orphan_compiling();
        self.stream = Some(Stream {
            opened_ms: now_ms,
            heard_ms: now_ms,
            sent_ms: now_ms,
            audited_ms: now_ms,
            change: None,
            closed: 0,
            answer: None,
        });
        let hello = words::hello(&self.identity, self.held.desired(), &self.overlay, self.stored_epoch);
        actions.push(send(connect_request::Message::Hello(hello)));
        // What is in force from an earlier stream or life has verdicts too, and nobody there knows them.
        let report = self.report(0);
        if !report.rejected.is_empty() || !report.warnings.is_empty() {
            actions.push(send_report(report));
        }
    }

    fn receive(&mut self, response: ConnectResponse, actions: &mut Vec<Action>) -> Result<(), Lost> {
        use connect_response::Message;
        let (nonce, outcome) = match response.message {
            Some(Message::Deny(entry)) => return self.deny(entry, actions),
            Some(Message::Advice(advice)) => {
                actions.push(Action::Advise(advice));
                return Ok(());
            }
            Some(Message::Heartbeat(heartbeat)) => {
                self.audit(&heartbeat, actions);
                return Ok(());
            }
            None => return Ok(()),
            Some(Message::Commit(commit)) if self.is_closed(commit.nonce) => {
                self.answer_again(commit.nonce, actions);
                return Ok(());
            }
            Some(Message::Begin(begin)) => (begin.nonce, self.begin(&begin)?),
            Some(Message::Put(put)) => (put.nonce, self.open_change(put.nonce).and_then(|change| change.put(put))),
            Some(Message::Remove(remove)) => (remove.nonce, self.open_change(remove.nonce).and_then(|change| change.remove(&remove))),
            Some(Message::Commit(commit)) => (commit.nonce, self.commit(&commit, actions)),
        };
        // What still comes of a change that is done with is of no interest.
        if let Err(disorder) = outcome
            && !self.is_closed(nonce)
        {
            self.refuse(nonce, disorder, actions);
        }
        Ok(())
    }

    fn is_closed(&self, nonce: u64) -> bool {
        self.stream.as_ref().is_none_or(|stream| nonce <= stream.closed)
    }

    /// A Commit that comes again gets the same answer again.
    fn answer_again(&self, nonce: u64, actions: &mut Vec<Action>) {
        let stream = self.stream.as_ref().filter(|stream| stream.closed == nonce);
        actions.extend(stream.and_then(|stream| stream.answer.clone()).map(Action::Send));
    }

    fn begin(&mut self, begin: &Begin) -> Result<Result<(), Disorder>, Lost> {
        if self.is_closed(begin.nonce) {
            return Ok(Ok(()));
        }
        let held = self.held.desired().revision();
        if begin.revision < held {
            return Err(Lost::Behind { offered: begin.revision, held });
        }
        let change = match Change::begin(begin) {
            Ok(change) => change,
            Err(disorder) => return Ok(Err(disorder)),
        };
        if let Some(stream) = &mut self.stream {
            stream.change = Some(change);
        }
        Ok(Ok(()))
    }

    fn open_change(&mut self, nonce: u64) -> Result<&mut Change, Disorder> {
        let change = self.stream.as_mut().and_then(|stream| stream.change.as_mut());
        change.filter(|change| change.nonce() == nonce).ok_or(Disorder::Outside { nonce })
    }

    fn commit(&mut self, commit: &Commit, actions: &mut Vec<Action>) -> Result<(), Disorder> {
        let nonce = commit.nonce;
        if self.compiling.is_some() {
            return Err(Disorder::Outside { nonce });
        }
        let base = Arc::clone(self.held.desired());
        let desired = Arc::new(self.open_change(nonce)?.commit(commit, &base)?);
        self.close(nonce);
        if self.blamed == Some(desired.revision()) {
            let report = self.report(nonce);
            self.answer(report, actions);
            return Ok(());
        }
        self.compiling = Some(Compiling { nonce: Some(nonce), revision: desired.revision() });
        actions.push(Action::Compile(Job { before: self.held.clone(), desired }));
        Ok(())
    }

    /// A change that is not taken. Everything of it that is still to come is of no interest.
    fn refuse(&mut self, nonce: u64, disorder: Disorder, actions: &mut Vec<Action>) {
        tracing::warn!(nonce, reason = %disorder, "a change was not taken; asking for a resync");
        self.close(nonce);
        let shards = shards(self.held.desired());
        actions.push(send_report(Report { resync: true, shards, ..self.report(nonce) }));
    }

    fn close(&mut self, nonce: u64) {
        if let Some(stream) = &mut self.stream {
            stream.change = None;
            stream.closed = stream.closed.max(nonce);
            stream.answer = None;
        }
    }

    fn answer(&mut self, report: Report, actions: &mut Vec<Action>) {
        if let Some(stream) = &mut self.stream {
            let request = ConnectRequest { message: Some(connect_request::Message::Report(report)) };
            stream.answer = Some(request.clone());
            actions.push(Action::Send(request));
        }
    }

    fn compiled(&mut self, result: Result<Outcome, Panicked>, actions: &mut Vec<Action>) {
        let Some(compiling) = self.compiling.take() else { return };
        let report = match result {
            Ok(outcome) => {
                self.blamed = None;
                self.held = outcome.held;
                self.verdicts(&outcome.rejected, &outcome.warnings);
                actions.push(Action::Swap(Arc::new(outcome.snapshot)));
                actions.push(Action::Keep(self.held.clone()));
                compiling.nonce.map(|nonce| self.report(nonce))
            }
            // Nothing has changed here, and the report says why.
            Err(panicked) => compiling.nonce.map(|nonce| {
                let mut report = self.report(nonce);
                report.rejected.push(whole_revision("compile_panicked", compiling.revision, &panicked.to_string()));
                report
            }),
        };
        if let Some(report) = report {
            self.answer(report, actions);
        }
    }

    fn deny(&mut self, entry: Deny, actions: &mut Vec<Action>) -> Result<(), Lost> {
        if self.overlay.take(entry)? {
            actions.push(Action::Deny(Arc::new(self.overlay.denied()), self.overlay.clone()));
        }
        Ok(())
    }

    /// Says that this side lives, and now and then what it holds.
    fn beat(&mut self, now_ms: u64, actions: &mut Vec<Action>) -> Result<(), Lost> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if now_ms >= stream.heard_ms + SILENCE_MS {
            return Err(Lost::Silent);
        }
        let audit = now_ms >= stream.audited_ms + AUDIT_MS;
        if audit {
            stream.audited_ms = now_ms;
        }
        let elapsed_ms = now_ms - stream.opened_ms;
        let quiet = now_ms >= stream.sent_ms + HEARTBEAT_MS && !actions.iter().any(|action| matches!(action, Action::Send(_)));
        let settled = stream.change.is_none() && self.compiling.is_none();
        if audit && settled {
            let desired = self.held.desired();
            let (revision, root_hash) = (desired.revision(), desired.root_hash().to_vec().into());
            actions.push(send(connect_request::Message::Heartbeat(Heartbeat { elapsed_ms, revision, root_hash })));
        } else if quiet {
            actions.push(send(connect_request::Message::Heartbeat(Heartbeat { elapsed_ms, ..Heartbeat::default() })));
        }
        Ok(())
    }

    /// Compares what the control plane believes to be held with what is. A change that is under way makes both right.
    fn audit(&self, heartbeat: &Heartbeat, actions: &mut Vec<Action>) {
        let settled = self.compiling.is_none() && self.stream.as_ref().is_some_and(|stream| stream.change.is_none());
        let desired = self.held.desired();
        let comparable = settled && !heartbeat.root_hash.is_empty() && heartbeat.revision == desired.revision();
        if comparable && heartbeat.root_hash[..] != desired.root_hash()[..] {
            actions.push(Action::Differs { revision: desired.revision() });
            actions.push(send_report(Report { resync: true, shards: shards(desired), ..self.report(0) }));
        }
    }

    /// The outcome of a commit whose stream is gone is taken, and answered by the next Hello.
    const fn orphan_compiling(&mut self) {
        if let Some(compiling) = &mut self.compiling {
            compiling.nonce = None;
        }
    }

    fn report(&self, nonce: u64) -> Report {
        let desired = self.held.desired();
        let mut rejected = self.rejected.clone();
        rejected.extend(self.blamed.map(|revision| {
            let message = format!("revision {revision} ended two processes within seconds; the one before it serves");
            whole_revision("crash_loop", revision, &message)
        }));
        Report {
            nonce,
            applied_revision: desired.revision(),
            root_hash: desired.root_hash().to_vec().into(),
            rejected,
            warnings: self.warnings.clone(),
            deny_epoch: self.stored_epoch,
            resync: false,
            shards: Vec::new(),
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
