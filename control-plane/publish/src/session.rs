//! The protocol with one proxy, the control plane's side. Pure: (event, time) → actions.
//!
//! A session holds what the proxy holds (revision and root hash), and how that is known. It has at most one push on its way; when the answer
//! comes, everything that has changed meanwhile is the next push.

mod push;
mod status;

use waybill_model::world::{Hash, World};
use waybill_proto::sync::v1::{ConnectRequest, Deny, HealthCounts, Heartbeat, Hello, Report, ShardHash, SpoolReport, connect_request};

use crate::{Publication, denials::lift_of_unknown, diff::ShardHashes};
pub use push::{Frames, Push};
pub use status::{Applied, Member};

/// A heartbeat is sent when nothing else was for this long, milliseconds.
pub const HEARTBEAT_MS: u64 = 5_000;

/// A peer that was not heard for this long is gone: three heartbeats missed.
pub const SILENCE_MS: u64 = 3 * HEARTBEAT_MS;

/// A heartbeat says what the proxy should hold about this often, milliseconds.
pub const AUDIT_MS: u64 = 60_000;

/// The version of `model.v1` that this build writes.
pub const SCHEMA: u32 = 1;

/// Most resyncs in a row, before it is clear that the two sides do not hash alike.
const MAX_RESYNCS: u32 = 3;

/// Why a session ends. The proxy may come back after its pause, except where it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The proxy's build and ours do not understand each other: upgrade one of them first.
    #[error("the proxy reads schema {min} to {max}, this control plane writes {SCHEMA}: versions may differ by one")]
    Schema {
        /// The least version the proxy reads.
        min: u32,
        /// The greatest.
        max: u32,
    },
    /// The proxy broke the protocol.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// Nothing was heard.
    #[error("nothing was heard for {SILENCE_MS} ms")]
    Silent,
    /// The proxy does not come to the hash it should, whatever is sent.
    #[error("the proxy does not reach root hash of revision {revision} after {MAX_RESYNCS} resyncs")]
    Diverged {
        /// The revision that was sent last.
        revision: u64,
    },
    /// The change log does not reach back to what the proxy holds; when it comes back, it says by hashes what that is.
    #[error("the proxy is too far behind revision {revision}")]
    FellBehind {
        /// The revision now.
        revision: u64,
    },
    /// It calls itself otherwise than its certificate does.
    #[error("{peer} may not call itself {said}: the certificate does not have this name")]
    Name {
        /// Who its certificate says it is.
        peer: String,
        /// What it said.
        said: String,
    },
    /// It recognises API keys with another pepper.
    #[error(
        "the proxy has another pepper {id} than this control plane, and would refuse every API key: give it the file that the control plane has \
         (`waybill secrets fingerprint` tells them apart)"
    )]
    Pepper {
        /// The number of the pepper.
        id: u32,
    },
    /// The stream has lasted as long as one may, so that the fleet spreads over the replicas.
    #[error("the stream has lasted its time: connect again")]
    Aged,
    /// This replica ends.
    #[error("this replica ends: connect to another")]
    Stopping,
    /// Its channel is closed.
    #[error("the stream was closed")]
    Closed,
}

/// What happened.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made at a time, and none is kept")]
pub enum Event {
    /// The proxy said something.
    Received(ConnectRequest),
    /// There is a new publication.
    Published,
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Send this before what waits of a push.
    Deny(Deny),
    /// Send this before what waits of a push.
    Heartbeat(Heartbeat),
    /// Send this in place of what waits of an older push.
    Push(Push),
    /// The proxy counted this since its last counts.
    Count(HealthCounts),
    /// The proxy's spool, as it is now.
    Spool(SpoolReport),
    /// The proxy holds something else than is believed here: an alarm. It is told what is believed, and answers by shards.
    Differs {
        /// The revision.
        revision: u64,
    },
    /// End the session.
    Close(Refusal),
}

impl Action {
    /// The proxy hears of it.
    const fn is_sent(&self) -> bool {
        matches!(self, Self::Deny(_) | Self::Heartbeat(_) | Self::Push(_))
    }
}

/// One proxy's session.
#[derive(Debug)]
pub struct Session {
    heard_ms: u64,
    sent_ms: u64,
    opened_ms: u64,
    audited_ms: u64,
    /// What is believed has to be said now.
    doubted: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Opened,
    Greeted(Box<Peer>),
    Closed,
}

/// A proxy that has said who it is.
#[derive(Debug)]
struct Peer {
    member: Member,
    nonce: u64,
    held: Held,
    pushed: Option<Pushed>,
    /// A revision that the proxy refuses as a whole.
    refused: u64,
    resyncs: u32,
    deny_epoch: u64,
}

/// What the proxy holds.
#[derive(Debug)]
struct Held {
    revision: u64,
    root: Hash,
    content: Content,
}

/// How far it is known what the proxy holds.
#[derive(Debug)]
enum Content {
    /// What this store held for this proxy at the revision.
    OfRevision,
    /// Anything with these hashes.
    Shards(ShardHashes),
    /// Anything.
    Unknown,
}

/// A push without an answer.
#[derive(Debug)]
struct Pushed {
    nonce: u64,
    revision: u64,
    root: Hash,
}

impl Session {
    /// A session with a proxy that has not said anything yet.
    #[must_use]
    pub const fn new(now_ms: u64) -> Self {
        Self { heard_ms: now_ms, sent_ms: now_ms, opened_ms: now_ms, audited_ms: now_ms, doubted: false, stage: Stage::Opened }
    }

    /// The proxy as far as it is known: `None` before its Hello.
    #[must_use]
    pub fn member(&self) -> Option<&Member> {
        match &self.stage {
            Stage::Greeted(peer) => Some(&peer.member),
            Stage::Opened | Stage::Closed => None,
        }
    }

    /// When the next tick is due.
    #[must_use]
    pub const fn due_ms(&self) -> u64 {
        let (beat, silence, audit) = (self.sent_ms + HEARTBEAT_MS, self.heard_ms + SILENCE_MS, self.audited_ms + AUDIT_MS);
        let first = if beat < silence { beat } else { silence };
        if first < audit { first } else { audit }
    }

    /// Takes an event. `now` is the newest publication, `now_ms` a clock that never goes back.
    pub fn on(&mut self, event: Event, now: &Publication, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let outcome = self.step(event, now, now_ms, &mut actions);
        if let Err(refusal) = outcome {
            self.stage = Stage::Closed;
            actions.push(Action::Close(refusal));
        }
        if actions.iter().any(Action::is_sent) {
            self.sent_ms = now_ms;
        }
        actions
    }

    fn step(&mut self, event: Event, now: &Publication, now_ms: u64, actions: &mut Vec<Action>) -> Result<(), Refusal> {
        if let Event::Received(request) = event {
            self.heard_ms = now_ms;
            self.receive(request, now, now_ms, actions)?;
        }
        if let Stage::Greeted(peer) = &mut self.stage {
            actions.extend(peer.denials(now).into_iter().map(Action::Deny));
            actions.extend(peer.push(now)?.map(Action::Push));
            peer.member.applied.note(peer.in_step(now), now_ms);
        }
        if now_ms >= self.heard_ms + SILENCE_MS {
            return Err(Refusal::Silent);
        }
        self.beat(now_ms, actions);
        Ok(())
    }

    /// Says that this side lives, and now and then what it believes that the other holds.
    fn beat(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let audit = std::mem::take(&mut self.doubted) || now_ms >= self.audited_ms + AUDIT_MS;
        if audit {
            self.audited_ms = now_ms;
        }
        let held = match &self.stage {
            Stage::Greeted(peer) if audit && peer.pushed.is_none() => Some(&peer.held),
            _ => None,
        };
        let quiet = !actions.iter().any(Action::is_sent) && now_ms >= self.sent_ms + HEARTBEAT_MS;
        if quiet || held.is_some() {
            let (revision, root_hash) = held.map(|held| (held.revision, held.root.to_vec().into())).unwrap_or_default();
            actions.push(Action::Heartbeat(Heartbeat { elapsed_ms: now_ms - self.opened_ms, revision, root_hash }));
        }
    }

    fn receive(&mut self, request: ConnectRequest, now: &Publication, now_ms: u64, actions: &mut Vec<Action>) -> Result<(), Refusal> {
        use connect_request::Message;
        match (&mut self.stage, request.message) {
            (Stage::Opened, Some(Message::Hello(hello))) => {
                self.stage = Stage::Greeted(Box::new(Peer::greeted(hello, now, now_ms)?));
                Ok(())
            }
            (Stage::Opened, _) => Err(Refusal::Protocol("the first message is not Hello")),
            (Stage::Greeted(_), Some(Message::Hello(_))) => Err(Refusal::Protocol("a second Hello")),
            (Stage::Greeted(peer), Some(Message::Report(report))) => peer.report(report),
            (Stage::Greeted(_), Some(Message::Health(counts))) => {
                actions.push(Action::Count(counts));
                Ok(())
            }
            (Stage::Greeted(_), Some(Message::Spool(report))) => {
                actions.push(Action::Spool(report));
                Ok(())
            }
            (Stage::Greeted(peer), Some(Message::Heartbeat(heartbeat))) => {
                if peer.differs(&heartbeat) {
                    self.doubted = true;
                    actions.push(Action::Differs { revision: heartbeat.revision });
                }
                Ok(())
            }
            // A message that this build does not know is a newer build's; the schema range says what must be understood.
            (Stage::Greeted(_), None) => Ok(()),
            (Stage::Closed, _) => Err(Refusal::Closed),
        }
    }
}

impl Peer {
    fn greeted(hello: Hello, now: &Publication, now_ms: u64) -> Result<Self, Refusal> {
        if hello.proxy.is_empty() {
            return Err(Refusal::Protocol("Hello without the proxy's name"));
        }
        if !(hello.schema_min..=hello.schema_max).contains(&SCHEMA) {
            return Err(Refusal::Schema { min: hello.schema_min, max: hello.schema_max });
        }
        let root = hash_of(&hello.root_hash).unwrap_or_default();
        let reaches_back = now.changes().after(hello.applied_revision).is_some();
        let in_place = hello.applied_revision != now.revision() || root == now.view(&hello.proxy).root;
        let content = if reaches_back && in_place { Content::OfRevision } else { shards(&hello.shards, &root) };
        // A denial that the proxy holds and this replica never saw is lifted here if the key is good.
        let lifts = hello.denied.iter().filter_map(|uid| lift_of_unknown(now.world(), uid)).collect();
        Ok(Self {
            nonce: 0,
            held: Held { revision: hello.applied_revision, root, content },
            pushed: None,
            refused: 0,
            resyncs: 0,
            deny_epoch: hello.deny_epoch,
            member: Member::new(hello, lifts, now_ms),
        })
    }

    fn in_step(&self, now: &Publication) -> bool {
        self.held.revision == now.revision() && self.held.root == now.view(&self.member.proxy).root
    }

    /// Entries of the overlay that were not sent yet.
    fn denials(&mut self, now: &Publication) -> Vec<Deny> {
        let newer = now.denials().after(self.deny_epoch);
        self.deny_epoch = self.deny_epoch.max(now.denials().epoch());
        self.member.take_lifts().into_iter().chain(newer).collect()
    }

    /// The next push, if one is due.
    fn push(&mut self, now: &Publication) -> Result<Option<Push>, Refusal> {
        // A proxy that is ahead has seen a fresher replica: this one catches up, the proxy does not go back.
        let due = self.pushed.is_none() && !self.in_step(now) && self.held.revision <= now.revision() && self.refused != now.revision();
        if !due {
            return Ok(None);
        }
        let view = now.view(&self.member.proxy);
        let delta = match &self.held.content {
            Content::OfRevision => {
                let keys = now.changes().after(self.held.revision).ok_or(Refusal::FellBehind { revision: now.revision() })?;
                crate::diff::diff_keys(&view.world, &keys)
            }
            Content::Shards(held) => crate::diff::diff_shards(held, &view.world),
            Content::Unknown => crate::diff::diff_whole(&view.world),
        };
        self.nonce += 1;
        self.pushed = Some(Pushed { nonce: self.nonce, revision: now.revision(), root: view.root });
        self.member.pushed_revision = now.revision();
        Ok(Some(Push::new(self.nonce, delta, view.root)))
    }

    /// What the proxy says that it holds is not what is believed here, though both mean the same revision.
    fn differs(&self, heartbeat: &Heartbeat) -> bool {
        let comparable = self.pushed.is_none() && heartbeat.revision == self.held.revision;
        comparable && hash_of(&heartbeat.root_hash).is_some_and(|said| said != self.held.root)
    }

    fn report(&mut self, report: Report) -> Result<(), Refusal> {
        self.member.applied.deny_epoch = self.member.applied.deny_epoch.max(report.deny_epoch);
        // A proxy that saw a number that was never sent asks for a resync under it.
        let answers = |pushed: &mut Pushed| pushed.nonce == report.nonce || (report.resync && report.nonce > pushed.nonce);
        let root = hash_of(&report.root_hash).unwrap_or_default();
        let Some(pushed) = self.pushed.take_if(answers) else {
            if report.nonce == 0 && report.resync && self.pushed.is_none() {
                // It holds something else than this side believes, and says what.
                self.resynced(report.applied_revision)?;
                self.held = Held { revision: report.applied_revision, content: shards(&report.shards, &root), root };
            } else if report.nonce == 0 && !report.resync {
                self.member.applied.verdicts(report);
            }
            return Ok(());
        };
        let reached = report.applied_revision == pushed.revision;
        if report.resync || (reached && root != pushed.root) {
            self.resynced(pushed.revision)?;
            self.held = Held { revision: report.applied_revision, content: shards(&report.shards, &root), root };
            return Ok(());
        }
        self.resyncs = 0;
        if reached {
            self.held = Held { revision: pushed.revision, root, content: Content::OfRevision };
        } else {
            self.refused = pushed.revision;
        }
        self.member.applied.verdicts(report);
        Ok(())
    }

    const fn resynced(&mut self, revision: u64) -> Result<(), Refusal> {
        self.resyncs += 1;
        if self.resyncs >= MAX_RESYNCS { Err(Refusal::Diverged { revision }) } else { Ok(()) }
    }
}

/// What a proxy says about its shards. One that holds something and names no shard gets all of them.
fn shards(hashes: &[ShardHash], root: &Hash) -> Content {
    let parsed = |hash: &ShardHash| Some(((hash.kind.parse().ok()?, u8::try_from(hash.shard).ok()?), hash_of(&hash.hash)?));
    let silent = hashes.is_empty() && *root != World::default().root_hash();
    if silent { Content::Unknown } else { Content::Shards(hashes.iter().filter_map(parsed).collect()) }
}

fn hash_of(bytes: &[u8]) -> Option<Hash> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;
