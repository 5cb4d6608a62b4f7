//! Callers who wait for a record to arrive. They are woken by its id, so that a busy ledger does not answer each of them after each commit.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::watch,
    time::{Duration, Instant, timeout_at},
};
use waybill_model::id::GenerationId;
use waybill_proto::{
    admin::v1::EventRow,
    usage::v1::{Event, Kind},
};

use crate::{batch::Booking, error::Error};

/// A failed attempt is nearly always followed by the next one of its request, in the same log but perhaps in the next commit. Whoever waits for
/// the request gets this much more time for it.
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);

/// The ids that somebody waits for.
#[derive(Debug, Default)]
pub struct Waiting {
    ids: Mutex<HashMap<String, watch::Sender<()>>>,
    /// How often to look for what another process has written.
    poll: Option<Duration>,
}

/// One who waits. Arrivals since its making are not missed.
#[derive(Debug)]
pub struct Waiter<'a> {
    waiting: &'a Waiting,
    id: &'a str,
    arrivals: Option<watch::Receiver<()>>,
}

impl Waiting {
    /// Of a ledger that other processes write too.
    #[cfg(feature = "postgres")]
    pub fn polling(poll: Duration) -> Self {
        Self { poll: Some(poll), ..Self::default() }
    }

    /// Begins to wait for an id.
    fn begin<'a>(&'a self, id: &'a str) -> Waiter<'a> {
        let mut ids = self.ids();
        let arrivals = match ids.get(id) {
            Some(sender) => sender.subscribe(),
            None => ids.entry(id.to_owned()).or_insert(watch::channel(()).0).subscribe(),
        };
        Waiter { waiting: self, id, arrivals: Some(arrivals) }
    }

    /// Asks until the request has an end that is no failure, or the deadline has passed.
    ///
    /// # Errors
    /// Those of the question.
    pub async fn request<A>(&self, id: &str, deadline: Instant, ask: impl Fn() -> A) -> Result<Vec<EventRow>, Error>
    where
        A: Future<Output = Result<Vec<EventRow>, Error>>,
    {
        // Before the first look, so that what arrives after it is noticed.
        let mut waiter = self.begin(id);
        let mut deadline = deadline;
        loop {
            let attempts = ask().await?;
            let may_go_on = attempts.last().and_then(|row| row.event.as_ref()).is_none_or(|event| event.kind() == Kind::Failed);
            if !may_go_on {
                return Ok(attempts);
            }
            if !attempts.is_empty() {
                deadline = deadline.min(Instant::now() + NEXT_ATTEMPT);
            }
            if !waiter.arrives(deadline).await {
                return Ok(attempts);
            }
        }
    }

    /// Asks until there is an answer, or the deadline has passed.
    ///
    /// # Errors
    /// Those of the question.
    pub async fn any<A>(&self, id: &str, deadline: Instant, ask: impl Fn() -> A) -> Result<Vec<EventRow>, Error>
    where
        A: Future<Output = Result<Vec<EventRow>, Error>>,
    {
        let mut waiter = self.begin(id);
        loop {
            let attempts = ask().await?;
            if !attempts.is_empty() || !waiter.arrives(deadline).await {
                return Ok(attempts);
            }
        }
    }

    /// Wakes those who wait for the requests of what was booked.
    pub fn announce_all(&self, bookings: &[Booking<'_>]) {
        if !self.ids().is_empty() {
            bookings.iter().filter_map(|booking| booking.ended).for_each(|(event, _)| self.announce_end(event));
        }
    }

    /// By the generation id and by the provider's id of the answer.
    fn announce_end(&self, event: &Event) {
        if let Some(Ok(generation)) = event.attempt.as_ref().map(|attempt| attempt.generation_id[..].try_into()) {
            self.announce(&GenerationId::from_bytes(generation).to_string());
        }
        self.announce(&event.provider_answer_id);
    }

    /// Wakes those who wait for this id.
    fn announce(&self, id: &str) {
        if let Some(sender) = self.ids().get(id) {
            sender.send_replace(());
        }
    }

    /// A panic elsewhere leaves the map whole: each change to it is one call.
    fn ids(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// Returns after the next arrival, or when it is time to look again; false if the deadline comes first.
    async fn arrives(&mut self, deadline: Instant) -> bool {
        let look = self.waiting.poll.map_or(deadline, |poll| deadline.min(Instant::now() + poll));
        if let Some(arrivals) = &mut self.arrivals {
            // The sender lives as long as this receiver does.
            timeout_at(look, arrivals.changed()).await.is_ok() || look < deadline
        } else {
            false
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut ids = self.waiting.ids();
        self.arrivals = None;
        if ids.get(self.id).is_some_and(|sender| sender.receiver_count() == 0) {
            ids.remove(self.id);
        }
    }
}
