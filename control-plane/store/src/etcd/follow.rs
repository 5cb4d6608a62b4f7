//! One watch: opened on a server, joined from fragments into whole commits, and given up when the
//! server says nothing any more, or the watcher does not read.

use std::sync::Arc;

use etcd_client::proto::PbWatchResponse;
use etcd_client::{Client, WatchOptions, WatchStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::cluster::{Cluster, Repeat};
use super::endpoint::Endpoint;
use super::failure::judge_cancel;
use super::list::{self, LARGEST_MESSAGE, settle};
use super::settings::EtcdTiming;
use super::wire;
use crate::watch::{Feed, Gone, Room};
use crate::{Batch, Error, Event, Key, Position, Range, Update, Watch};

/// Positions that may pass while a watcher with a full buffer reads nothing.
const PATIENCE_POSITIONS: u64 = 500;

/// Opens a watch. `alive` ends it when the store is dropped.
pub(super) async fn open(cluster: &Cluster, alive: watch::Receiver<()>, range: &Range, after: Position) -> Result<Watch, Error> {
    let now = list::get(cluster, &Key::from_bytes(range.start().to_vec())).await?.position;
    // Beginning at `after` itself, and skipping it, is what makes etcd refuse exactly when history
    // after it is gone. A server tells no progress to a watch that begins in the future.
    let begin = wire::revision(after.min(now)).max(1);
    let (start, end) = (range.start().to_vec(), wire::end(range).to_vec());
    let ask = move |endpoint: Arc<Endpoint>| {
        let (start, end) = (start.clone(), end.clone());
        async move {
            let client = endpoint.own_client().await?;
            let options =
                WatchOptions::new().with_range(end).with_start_revision(begin).with_prev_key().with_progress_notify().with_fragment();
            let mut stream = client.watch_client().max_decoding_message_size(LARGEST_MESSAGE).watch(start, Some(options)).await?;
            let first = stream.message().await?.ok_or_else(|| etcd_client::Error::WatchError("etcd ended a new watch".to_owned()))?;
            if first.canceled() && first.compact_revision() == 0 {
                return Err(etcd_client::Error::WatchError(first.cancel_reason().to_owned()));
            }
            stream.request_progress().await?;
            Ok((client, stream, first.0, endpoint.address.clone()))
        }
    };
    let opened = cluster.call("watch", Repeat::Freely, cluster.timing.attempt, ask).await;
    let (client, stream, first, server) = opened.map_err(|failure| settle("watch", failure))?.value;
    refuse_compacted(&first)?;
    let (feed, watch) = Feed::open();
    let follow = Follow {
        _client: client,
        server,
        timing: cluster.timing,
        head: cluster.head(),
        alive,
        after,
        joining: Vec::new(),
        delivered: after,
        told: None,
    };
    tokio::spawn(follow.run(stream, feed));
    Ok(watch)
}

fn refuse_compacted(response: &PbWatchResponse) -> Result<(), Error> {
    if response.canceled && response.compact_revision > 0 {
        return Err(Error::Compacted { oldest: wire::position(response.compact_revision) });
    }
    Ok(())
}

/// One watch at work.
struct Follow {
    /// Keeps the watch's own connection.
    _client: Client,
    server: String,
    timing: EtcdTiming,
    head: watch::Receiver<Position>,
    alive: watch::Receiver<()>,
    /// Where the watch began: nothing up to here is shown.
    after: Position,
    /// Events of fragments whose last has not come.
    joining: Vec<Told>,
    /// Up to here the watcher has everything.
    delivered: Position,
    /// The last position the watcher heard of; none until it has caught up for the first time.
    told: Option<Position>,
}

/// An event and the position of its commit.
type Told = (Position, Event);

/// Why a watch stops.
enum Stop {
    Gone,
    Failed(Error),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Follow {
    async fn run(mut self, mut stream: WatchStream, feed: Feed) {
        match self.deliver(&mut stream, &feed).await {
            Err(Stop::Failed(error)) => feed.end(error),
            Ok(()) | Err(Stop::Gone) => {}
        }
    }

    /// Returns when the store is dropped.
    async fn deliver(&mut self, stream: &mut WatchStream, feed: &Feed) -> Result<(), Stop> {
        let mut questions = interval(self.timing.progress);
        questions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut patience = Instant::now() + self.timing.silence;
        loop {
            tokio::select! {
                message = stream.message() => {
                    match message {
                        Ok(Some(response)) => self.on(response.0, feed).await?,
                        Ok(None) => return Err(self.dead("its server ended it").into()),
                        Err(error) => return Err(self.dead(&error.to_string()).into()),
                    }
                    // Counted from when we listen again: waiting for the watcher is no silence.
                    patience = Instant::now() + self.timing.silence;
                }
                _ = questions.tick() => {
                    if let Err(error) = stream.request_progress().await {
                        return Err(self.dead(&error.to_string()).into());
                    }
                }
                () = sleep_until(patience) => return Err(self.dead("its server says nothing any more").into()),
                () = feed.closed() => return Err(Stop::Gone),
                Err(_) = self.alive.changed() => return Ok(()),
            }
        }
    }

    fn dead(&self, why: &str) -> Error {
        Error::Unavailable { what: format!("the watch at etcd server {}: {why}", self.server) }
    }

    async fn on(&mut self, response: PbWatchResponse, feed: &Feed) -> Result<(), Stop> {
        if response.canceled {
            refuse_compacted(&response)?;
            return Err(judge_cancel(&response.cancel_reason).into());
        }
        let told_nothing = response.events.is_empty();
        for event in response.events {
            let event = wire::event(event).ok_or_else(|| Error::Corrupt { what: "etcd showed an event of no kind".to_owned() })?;
            if event.0 > self.after {
                self.joining.push(event);
            }
        }
        if response.fragment {
            return Ok(());
        }
        for batch in batches(std::mem::take(&mut self.joining)) {
            self.show(batch, feed).await?;
        }
        // A message without events tells how far the watch has come.
        if told_nothing && !response.created {
            let reached = wire::position(response.header.map_or(0, |header| header.revision));
            self.mark(reached, feed).await?;
        }
        Ok(())
    }

    async fn show(&mut self, batch: Batch, feed: &Feed) -> Result<(), Stop> {
        if batch.position <= self.delivered {
            // A watch that tells the past anew has lied before as well. Listing anew repairs it.
            return Err(self.dead(&format!("it showed position {} after {}", batch.position, self.delivered)).into());
        }
        let position = batch.position;
        self.send(feed, Update::Batch(batch)).await?;
        self.delivered = position;
        // Before the first mark nothing counts as told, so that it comes in any case.
        self.told = self.told.map(|_| position);
        Ok(())
    }

    async fn mark(&mut self, reached: Position, feed: &Feed) -> Result<(), Stop> {
        self.delivered = self.delivered.max(reached);
        if self.told != Some(self.delivered) {
            self.send(feed, Update::Progress(self.delivered)).await?;
            self.told = Some(self.delivered);
        }
        Ok(())
    }

    async fn send(&self, feed: &Feed, update: Update) -> Result<(), Stop> {
        let room = self.room_for(feed, &update).await?;
        Ok(feed.send(room, update)?)
    }

    /// While it waits nothing is read, so that the server holds back what is to come.
    async fn room_for(&self, feed: &Feed, update: &Update) -> Result<Room, Stop> {
        let mut head = self.head.clone();
        let last = Position(head.borrow().0.saturating_add(PATIENCE_POSITIONS));
        tokio::select! {
            biased;
            room = feed.room_for(update) => Ok(room?),
            passed = head.wait_for(|head| *head >= last) => match passed {
                Ok(_) => Err(Error::SlowWatcher { after: self.delivered }.into()),
                // The store is being dropped, and the watch with it.
                Err(_) => Err(Stop::Gone),
            },
        }
    }
}

/// Events in the order of commits, by commit.
fn batches(events: Vec<Told>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (position, event) in events {
        match batches.last_mut() {
            Some(batch) if batch.position == position => batch.events.push(event),
            _ => batches.push(Batch { position, events: vec![event] }),
        }
    }
    batches
}
