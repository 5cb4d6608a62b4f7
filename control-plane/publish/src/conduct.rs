//! Conducting a rollout: from what is seen of the fleet to the next step. Pure: (record, fleet, time) → decision.
//!
//! Rings: one proxy, 5 %, 25 %, all that are connected; a ring that would add nobody is passed over. A ring is watched for its time once all of
//! its proxies have the change. It is halted if one of them refuses something that it did not refuse before, was started anew, is away, does
//! not take the change, or if attempts at providers fail more often there than at the proxies that do not have it, beyond three standard deviations.

use std::collections::{BTreeMap, BTreeSet};

use waybill_proto::sync::v1::{ErrorClass, ProxyState, Verdict};

use crate::rollout::{Member, Rollout};

/// How many proxies of a hundred the rings have; the first has one proxy, the last all.
const RINGS_PERCENT: [usize; 4] = [0, 5, 25, 100];

/// A member that has not taken the change after this is not going to, milliseconds.
pub const APPLY_MS: u64 = 60_000;

/// A member whose stream has been closed for this long is away, milliseconds. A stream is renewed now and then, and with it the replica.
pub const AWAY_MS: u64 = 20_000;

/// Fewer failures than this are chance, whatever the rate.
const LEAST_FAILURES: u64 = 3;

/// Fewer attempts than this say nothing about a rate.
const LEAST_ATTEMPTS: u64 = 20;

/// What to do with a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Look again.
    Wait,
    /// Give the change to these too.
    Widen {
        /// The ring.
        ring: u32,
        /// All members then.
        members: Vec<Member>,
    },
    /// Make it everybody's.
    Finish,
    /// Take it back.
    Halt(String),
}

/// Attempts that ended, and those of them that failed by what the configuration or the provider did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    attempts: u64,
    failures: u64,
}

/// What is remembered between two looks. A conductor that takes over begins to watch the ring anew.
#[derive(Clone, Debug, Default)]
pub struct Conductor {
    watched: Option<Watched>,
}

#[derive(Clone, Debug)]
struct Watched {
    step: (String, u32),
    since_ms: u64,
    /// When all members had the change.
    whole_ms: Option<u64>,
    /// The counts of every proxy when the ring had it, with its process.
    before: BTreeMap<String, (u64, Tally)>,
}

impl Conductor {
    /// Looks at a rollout that is on its way. `now_ms` is a clock that never goes back.
    pub fn decide(&mut self, rollout: &Rollout, fleet: &[ProxyState], now_ms: u64) -> Decision {
        let step = (rollout.id.clone(), rollout.ring);
        let watched = match self.watched.take().filter(|watched| watched.step == step) {
            Some(watched) => self.watched.insert(watched),
            None => self.watched.insert(Watched { step, since_ms: now_ms, whole_ms: None, before: tallies(fleet) }),
        };
        if rollout.ring == 0 {
            return widen(rollout, fleet);
        }
        let proxies: BTreeMap<&str, &ProxyState> = fleet.iter().map(|state| (state.proxy.as_str(), state)).collect();
        let (mut whole, mut here) = (true, true);
        for member in &rollout.members {
            let state = proxies.get(member.proxy.as_str()).copied();
            if let Some(reason) = fault(rollout, member, state) {
                return Decision::Halt(reason);
            }
            let has_it = state.is_some_and(|state| state.applied_revision >= rollout.step_revision);
            if !has_it && now_ms >= watched.since_ms + APPLY_MS {
                return Decision::Halt(format!(
                    "{} has not applied revision {} after {} s",
                    member.proxy,
                    rollout.step_revision,
                    APPLY_MS / 1000
                ));
            }
            whole &= has_it;
            here &= state.is_some_and(|state| state.connected);
        }
        if let Some(reason) = watched.fails_more(rollout, fleet) {
            return Decision::Halt(reason);
        }
        if whole && watched.whole_ms.is_none() {
            watched.whole_ms = Some(now_ms);
            // What failed before all had it is nobody's.
            watched.before = tallies(fleet);
        }
        match watched.whole_ms {
            // Who is away may have died of it: until it is back, or away for good, nobody else gets the change.
            Some(whole_ms) if here && now_ms >= whole_ms + rollout.bake_ms => widen(rollout, fleet),
            _ => Decision::Wait,
        }
    }
}

/// What is wrong with a member.
fn fault(rollout: &Rollout, member: &Member, state: Option<&ProxyState>) -> Option<String> {
    let proxy = &member.proxy;
    let Some(state) = state else { return Some(format!("{proxy} is gone")) };
    if state.process != member.process {
        return Some(format!("{proxy} was started anew"));
    }
    if !state.connected && state.since_ms >= AWAY_MS {
        return Some(format!("{proxy} has been away for {} s", state.since_ms / 1000));
    }
    if state.applied_revision < rollout.step_revision {
        return None;
    }
    let before: BTreeSet<&str> = member.refused.iter().map(String::as_str).collect();
    let refused = state.rejected.iter().find(|verdict| !before.contains(word(verdict).as_str()))?;
    Some(format!("{proxy} refuses {} {}: {}", refused.kind, refused.name, refused.message))
}

fn word(verdict: &Verdict) -> String {
    format!("{}/{}/{}", verdict.kind, verdict.uid, verdict.code)
}

/// The next ring, or the end behind the last.
fn widen(rollout: &Rollout, fleet: &[ProxyState]) -> Decision {
    let connected: Vec<&ProxyState> = fleet.iter().filter(|state| state.connected).collect();
    let had: BTreeSet<&str> = rollout.members.iter().map(|member| member.proxy.as_str()).collect();
    let next = (rollout.ring + 1..).zip(RINGS_PERCENT.iter().skip(rollout.ring as usize));
    let wider = next.map(|(ring, percent)| (ring, (connected.len() * percent).div_ceil(100).max(1))).find(|(_, size)| *size > had.len());
    let Some((ring, size)) = wider else { return Decision::Finish };
    let mut others: Vec<&ProxyState> = connected.into_iter().filter(|state| !had.contains(state.proxy.as_str())).collect();
    // Another order for every rollout, so that it is not always the same proxy that tries first.
    others.sort_by_key(|state| *blake3::hash(format!("{}/{}", rollout.id, state.proxy).as_bytes()).as_bytes());
    let joined = others.into_iter().take(size - had.len()).map(|state| Member {
        proxy: state.proxy.clone(),
        process: state.process,
        refused: state.rejected.iter().map(word).collect(),
    });
    let members: Vec<Member> = rollout.members.iter().cloned().chain(joined).collect();
    if members.len() == had.len() {
        // Nobody is there: without a proxy there is nothing to watch.
        return if had.is_empty() { Decision::Wait } else { Decision::Finish };
    }
    Decision::Widen { ring, members }
}

fn tallies(fleet: &[ProxyState]) -> BTreeMap<String, (u64, Tally)> {
    fleet.iter().map(|state| (state.proxy.clone(), (state.process, tally(state)))).collect()
}

/// What a proxy counted in its process life. A rate limit is the account's, and what the caller caused says nothing.
fn tally(state: &ProxyState) -> Tally {
    let mut tally = Tally::default();
    for count in state.counts.iter().flat_map(|endpoint| &endpoint.counts) {
        let failed = match count.class() {
            ErrorClass::Unspecified | ErrorClass::Caller | ErrorClass::RateLimited => continue,
            ErrorClass::None => false,
            _ => true,
        };
        tally.attempts = tally.attempts.saturating_add(count.count);
        tally.failures = tally.failures.saturating_add(if failed { count.count } else { 0 });
    }
    tally
}

impl Watched {
    /// Since the ring had the change, attempts of members fail more often than those of the others, beyond chance.
    fn fails_more(&self, rollout: &Rollout, fleet: &[ProxyState]) -> Option<String> {
        self.whole_ms?;
        let members: BTreeSet<&str> = rollout.members.iter().map(|member| member.proxy.as_str()).collect();
        let (mut with, mut without) = (Tally::default(), Tally::default());
        for state in fleet {
            // A proxy that came later, or was started anew, counts from its beginning.
            let before = self.before.get(&state.proxy).filter(|(process, _)| *process == state.process);
            let before = before.map(|(_, tally)| *tally).unwrap_or_default();
            let now = tally(state);
            let group = if members.contains(state.proxy.as_str()) { &mut with } else { &mut without };
            group.attempts += now.attempts.saturating_sub(before.attempts);
            group.failures += now.failures.saturating_sub(before.failures);
        }
        exceeds(with, without).then(|| {
            format!(
                "{} of {} attempts failed at the proxies that have it, {} of {} at the others",
                with.failures, with.attempts, without.failures, without.attempts
            )
        })
    }
}

/// Whether the first group fails at a rate more than three standard deviations above the second's. The deviation is that of a difference of
/// two shares of the second's rate, which is taken as at least one failure in its attempts, for a rate of
/// nought has no deviation.
fn exceeds(with: Tally, without: Tally) -> bool {
    if with.attempts < LEAST_ATTEMPTS || with.failures < LEAST_FAILURES || without.attempts < LEAST_ATTEMPTS {
        return false;
    }
    let (n, m) = (f64::from(narrow(with.attempts)), f64::from(narrow(without.attempts)));
    let share = f64::from(narrow(without.failures.max(1))) / m;
    let above = f64::from(narrow(with.failures)) / n - share;
    let deviation = (share * (1.0 - share).max(1.0 / m) * (1.0 / n + 1.0 / m)).sqrt();
    above > 3.0 * deviation
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
