//! Work that must be done by one replica at a time: standing for a job again and again, doing it
//! while leading, and stopping in time.
//!
//! A term is over for its holder when its time to live has passed since the *beginning* of the
//! last renewal that succeeded. A store counts from the moment it hears of the renewal, which is
//! later: so the work of a former leader has stopped before its successor can begin, as long as
//! clocks run equally fast. What is already on its way is the fence's matter: every write of the
//! work carries [`Leadership::fence`].

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::{Candidacy, Election, Error, Leadership, Store};

/// How many renewals fit into a time to live, so that two may fail before the term is over.
const RENEWALS: u32 = 3;

/// How often a candidate who does not lead looks whether the job is free, within a time to live.
const TRIES: u32 = 4;

/// The time to live of the control plane's jobs: a job stands still for so long when its leader
/// dies without a word.
pub const JOB_TTL: Duration = Duration::from_secs(10);

/// Stands for a job for ever, and runs `work` whenever it leads. The work is dropped at its next
/// await when the term is over; when it ends by itself the job is given up, and stood for again
/// after a pause. Dropping the campaign drops the work, and the job falls free when its time to
/// live has passed: [`campaign_until`] gives it up at once.
pub async fn campaign<W, F>(store: Arc<dyn Store>, candidacy: Candidacy, work: W) -> Infallible
where
    W: FnMut(Leadership) -> F + Send,
    F: Future<Output = ()> + Send,
{
    let mut campaign = Campaign { store, candidacy, work, tries: 0 };
    loop {
        campaign.round(std::future::pending()).await;
    }
}

/// The same until `stop` is ready: then the work is dropped and the job is given up for the next
/// candidate.
pub async fn campaign_until<W, F, S>(store: Arc<dyn Store>, candidacy: Candidacy, work: W, stop: S)
where
    W: FnMut(Leadership) -> F + Send,
    F: Future<Output = ()> + Send,
    S: Future<Output = ()> + Send,
{
    let mut campaign = Campaign { store, candidacy, work, tries: 0 };
    let mut stop = pin!(stop);
    while !campaign.round(&mut stop).await {}
}

struct Campaign<W> {
    store: Arc<dyn Store>,
    candidacy: Candidacy,
    work: W,
    tries: u64,
}

impl<W, F> Campaign<W>
where
    W: FnMut(Leadership) -> F + Send,
    F: Future<Output = ()> + Send,
{
    /// Stands once, leads if it won, and pauses. True when it was told to stop.
    async fn round(&mut self, stop: impl Future<Output = ()> + Send) -> bool {
        let mut stop = pin!(stop);
        let begun = Instant::now();
        let (store, candidacy) = (Arc::clone(&self.store), self.candidacy.clone());
        let mut election = store.lead(&candidacy);
        let decided = tokio::select! {
            biased;
            () = &mut stop => None,
            decided = &mut election => Some(decided),
        };
        let Some(election) = decided else {
            // What is won by then is not kept.
            if let Ok(Ok(Election::Won(leadership))) = timeout(candidacy.ttl, election).await {
                give_up(&*store, leadership, true).await;
            }
            return true;
        };
        match election {
            Ok(Election::Won(leadership)) => {
                if self.lead(leadership, begun, &mut stop).await {
                    return true;
                }
            }
            Ok(Election::Held(_)) => {}
            Err(error) => tracing::debug!(job = %self.candidacy.key, %error, "could not stand for the job"),
        }
        let pause = self.pause();
        tokio::select! {
            biased;
            () = &mut stop => true,
            () = sleep(pause) => false,
        }
    }

    /// Works until the term is over, the work ends, or it is told to stop; true for the last.
    async fn lead(&mut self, leadership: Leadership, begun: Instant, stop: impl Future<Output = ()> + Send) -> bool {
        let job = leadership.key.clone();
        tracing::info!(%job, term = %leadership.created, "leads the job");
        let end = {
            let work = (self.work)(leadership.clone());
            tokio::select! {
                biased;
                () = stop => End::Stopped,
                why = term(&*self.store, &leadership, begun) => End::Lost(why),
                () = work => End::Finished,
            }
        };
        if let End::Lost(why) = &end {
            tracing::warn!(%job, term = %leadership.created, why = %why, "leads the job no longer");
            return false;
        }
        let stopped = matches!(end, End::Stopped);
        give_up(&*self.store, leadership, stopped).await;
        stopped
    }

    /// Candidates differ in their pauses, so that they do not stand in step.
    fn pause(&mut self) -> Duration {
        self.tries += 1;
        let step = self.candidacy.ttl / TRIES;
        let seed = blake3::hash(&[&self.candidacy.holder[..], &self.tries.to_le_bytes()].concat());
        step * 3 / 4 + step / 2 * u32::from(seed.as_bytes()[0]) / 255
    }
}

/// Makes room for the next. A store that cannot be reached now lets the term run out.
async fn give_up(store: &dyn Store, leadership: Leadership, stopped: bool) {
    let (job, ttl) = (leadership.key.clone(), leadership.ttl);
    match timeout(ttl, store.resign(leadership)).await {
        Ok(Ok(())) => tracing::info!(%job, stopped, "has given the job up"),
        Ok(Err(error)) => tracing::warn!(%job, stopped, %error, "could not give the job up; it falls free by itself"),
        Err(_) => tracing::warn!(%job, stopped, "could not give the job up in time; it falls free by itself"),
    }
}

enum End {
    Stopped,
    Finished,
    Lost(Error),
}

/// Renews until that fails for good, and says why the term is over.
async fn term(store: &dyn Store, leadership: &Leadership, begun: Instant) -> Error {
    let mut ends = begun + leadership.ttl;
    loop {
        sleep(leadership.ttl / RENEWALS).await;
        let mut trouble = None;
        loop {
            let asked = Instant::now();
            if asked >= ends {
                return trouble.unwrap_or_else(|| Error::LeadershipLost { key: leadership.key.clone() });
            }
            match timeout_at(ends, store.renew(leadership)).await {
                Ok(Ok(())) => {
                    ends = asked + leadership.ttl;
                    break;
                }
                Ok(Err(error)) if error.may_retry() => trouble = Some(error),
                Ok(Err(error)) => return error,
                // The clock has the last word, above.
                Err(_) => continue,
            }
            // A short pause, and the deadline, whichever comes first.
            sleep_until((Instant::now() + leadership.ttl / (RENEWALS * 10)).min(ends)).await;
        }
    }
}

#[cfg(test)]
mod tests;
