//! What is missing of a log: the numbers that a proxy has given out, by its own word, against those that have arrived. Pure.
//!
//! A log is complete when it was closed without doubt and each number up to its end has arrived. Until then numbers may be on their way, so that
//! only what is late is a gap.

use waybill_proto::{
    sync::v1::LogReport,
    usage::v1::{Closed, Event},
};

use crate::sequences::Sequences;

/// Proxies report every ten seconds; what is missing for a shorter time than this is on its way.
const GRACE_MS: i64 = 30_000;

/// A process that has not reported for so long is gone. A control plane that was away for longer finds all logs so, until they report again.
const GONE_MS: i64 = 120_000;

/// What is missing of one log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// Whose log.
    pub incarnation: u64,
    /// The proxy that wrote it; empty if it never said so.
    pub proxy: String,
    /// The process of that proxy; 0 with an empty proxy.
    pub process: u64,
    /// Ranges of sequence numbers that have not arrived, both ends included.
    pub missing: Vec<(u64, u64)>,
    /// The last sequence number that is known to be given out.
    pub last_sequence: u64,
    /// Why it is not complete.
    pub state: State,
    /// Since when, milliseconds since 1970; `None` if nothing tells.
    pub since_unix_ms: Option<i64>,
}

impl Gap {
    /// How long it has been open.
    #[must_use]
    pub fn age_seconds(&self, now_unix_ms: i64) -> u64 {
        let age = self.since_unix_ms.map_or(0, |since| now_unix_ms.saturating_sub(since));
        u64::try_from(age / 1_000).unwrap_or(0)
    }
}

impl Gap {
    /// Its first missing number, or the last one that was given out.
    pub(crate) fn first_in_question(&self) -> u64 {
        self.missing.first().map_or(self.last_sequence, |(first, _)| *first)
    }

    /// Whether it is older than what is on its way.
    pub(crate) fn is_late(&self, now_unix_ms: i64) -> bool {
        self.since_unix_ms.is_none_or(|since| now_unix_ms.saturating_sub(since) >= GRACE_MS)
    }
}

/// Those of unknown age come last.
pub(crate) fn oldest_first(gaps: &mut [Gap]) {
    gaps.sort_by_key(|gap| (gap.since_unix_ms.unwrap_or(i64::MAX), gap.incarnation));
}

/// When an event's attempt ended, milliseconds since 1970.
pub(crate) fn end_of(event: &Event) -> Option<i64> {
    let begin = event.attempt.as_ref()?.start_unix_us / 1_000;
    Some(begin.saturating_add(i64::try_from(event.duration_us / 1_000).unwrap_or(0)))
}

/// Why a log is not complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Numbers are missing.
    Missing,
    /// Nothing is missing, but it has no end, and its process is gone: what it wrote last may be lost with it.
    Open,
    /// It was closed with doubt: something without a number may be missing.
    Doubt,
}

impl State {
    /// `missing`, `open` or `doubt`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Open => "open",
            Self::Doubt => "doubt",
        }
    }
}

/// What a proxy has said of a log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reported {
    /// Name of the proxy.
    pub proxy: String,
    /// Its process.
    pub process: u64,
    /// The last number given out.
    pub last_sequence: u64,
    /// It is closed.
    pub closed: bool,
    /// When it was last reported.
    pub seen_unix_ms: i64,
    /// A number that was given out at `mark_unix_ms`. It moves on when everything up to it has arrived, so that something is missing since then
    /// if it has not.
    pub mark_sequence: u64,
    /// See `mark_sequence`.
    pub mark_unix_ms: i64,
}

impl Reported {
    /// This with a new report. Nothing is taken back by one that comes late.
    #[must_use]
    pub fn with(mut self, proxy: &str, process: u64, log: &LogReport, watermark: u64, unix_ms: i64) -> Self {
        if unix_ms >= self.seen_unix_ms {
            (self.proxy, self.process) = (proxy.to_owned(), process);
        }
        self.last_sequence = self.last_sequence.max(log.last_sequence);
        self.closed |= log.closed;
        self.seen_unix_ms = self.seen_unix_ms.max(unix_ms);
        if watermark >= self.mark_sequence {
            (self.mark_sequence, self.mark_unix_ms) = (self.last_sequence, unix_ms);
        }
        self
    }
}

/// What is known of a log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Whose.
    pub incarnation: u64,
    /// What has arrived.
    pub arrived: Sequences,
    /// How it ended, if its end has arrived.
    pub closed: Option<Closed>,
    /// What its proxy said.
    pub reported: Option<Reported>,
    /// A later process of the same proxy has reported.
    pub succeeded: bool,
    /// The number up to which an operator has written off what is missing.
    pub written_off: Option<u64>,
}

impl Log {
    /// The last number that is known to be given out.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        let reported = self.reported.as_ref().map_or(0, |reported| reported.last_sequence);
        let closed = self.closed.map_or(0, |closed| closed.last_sequence);
        self.arrived.highest().max(reported).max(closed)
    }

    /// The numbers that nobody waits for: arrived or written off.
    #[must_use]
    pub fn settled(&self) -> Sequences {
        let written_off = self.written_off.filter(|last| *last > 0).map(|last| (1, last));
        Sequences::of(self.arrived.ranges().chain(written_off))
    }

    /// What is missing, if anything is. Of a log that no proxy has reported the answer has no time, and it may be younger than [`GRACE_MS`].
    #[must_use]
    pub fn gap(&self, now_unix_ms: i64) -> Option<Gap> {
        let (settled, last_sequence) = (self.settled(), self.last_sequence());
        let missing = settled.missing(last_sequence);
        let seen = self.reported.as_ref().map(|reported| reported.seen_unix_ms);
        let written_off = self.written_off.is_some_and(|last| last >= last_sequence);
        let (state, since_unix_ms) = if !missing.is_empty() {
            (State::Missing, self.reported.as_ref().map(|reported| reported.missing_since(&settled)))
        } else if written_off {
            return None;
        } else if let Some(closed) = self.closed {
            if !closed.doubt {
                return None;
            }
            (State::Doubt, seen)
        } else if self.is_gone(now_unix_ms) {
            (State::Open, seen)
        } else {
            return None;
        };
        let (proxy, process) = self.reported.as_ref().map_or_else(Default::default, |reported| (reported.proxy.clone(), reported.process));
        let gap = Gap { incarnation: self.incarnation, proxy, process, missing, last_sequence, state, since_unix_ms };
        gap.is_late(now_unix_ms).then_some(gap)
    }

    fn is_gone(&self, now_unix_ms: i64) -> bool {
        let silent = |reported: &Reported| now_unix_ms.saturating_sub(reported.seen_unix_ms) >= GONE_MS;
        self.reported.as_ref().is_some_and(|reported| !reported.closed && (self.succeeded || silent(reported)))
    }
}

impl Reported {
    fn missing_since(&self, settled: &Sequences) -> i64 {
        if settled.watermark() < self.mark_sequence { self.mark_unix_ms } else { self.seen_unix_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn log(arrived: &[(u64, u64)], last: u64, seconds_ago: i64) -> Log {
        let report = LogReport { incarnation: 7, last_sequence: last, closed: false };
        let reported = Reported::default().with("p-1", 3, &report, 0, NOW - seconds_ago * 1_000);
        Log { incarnation: 7, arrived: Sequences::of(arrived.iter().copied()), reported: Some(reported), ..Log::default() }
    }

    #[test]
    fn only_what_is_late_is_a_gap() {
        let end = |last_sequence, doubt| Some(Closed { last_sequence, doubt });
        let unreported = |arrived: &[(u64, u64)]| Log { reported: None, ..log(arrived, 0, 0) };
        // What is known → missing, state, seconds.
        type Expected<'a> = Option<(&'a [(u64, u64)], State, Option<i64>)>;
        let rows: [(&str, Log, Expected<'_>); 18] = [
            ("all has arrived", log(&[(1, 9)], 9, 60), None),
            ("it is on its way", log(&[(1, 9)], 12, 29), None),
            ("it is late", log(&[(1, 9)], 12, 30), Some((&[(10, 12)], State::Missing, Some(30)))),
            ("a hole", log(&[(1, 3), (5, 9)], 9, 30), Some((&[(4, 4)], State::Missing, Some(30)))),
            ("nothing has come", log(&[], 2, 30), Some((&[(1, 2)], State::Missing, Some(30)))),
            ("nothing was written", log(&[], 0, 60), None),
            ("no end and long silence", log(&[(1, 9)], 9, 120), Some((&[], State::Open, Some(120)))),
            ("no end and a later process", Log { succeeded: true, ..log(&[(1, 9)], 9, 40) }, Some((&[], State::Open, Some(40)))),
            ("a later process a moment ago", Log { succeeded: true, ..log(&[(1, 9)], 9, 20) }, None),
            ("closed and complete", Log { closed: end(8, false), succeeded: true, ..log(&[(1, 9)], 9, 900) }, None),
            ("closed with doubt", Log { closed: end(8, true), ..log(&[(1, 9)], 9, 60) }, Some((&[], State::Doubt, Some(60)))),
            (
                "closed beyond what has come",
                Log { closed: end(11, false), ..unreported(&[(1, 9)]) },
                Some((&[(10, 11)], State::Missing, None)),
            ),
            ("never reported, no end", unreported(&[(1, 9)]), None),
            ("never reported, a hole", unreported(&[(1, 3), (9, 9)]), Some((&[(4, 8)], State::Missing, None))),
            ("written off", Log { written_off: Some(9), ..log(&[(1, 3), (5, 9)], 9, 600) }, None),
            ("more since then", Log { written_off: Some(9), ..log(&[(1, 3)], 11, 60) }, Some((&[(10, 11)], State::Missing, Some(60)))),
            ("the doubt is written off", Log { written_off: Some(9), closed: end(8, true), ..log(&[(1, 9)], 9, 60) }, None),
            ("an empty open log is written off", Log { written_off: Some(0), ..log(&[], 0, 600) }, None),
        ];
        for (what, log, expected) in rows {
            let found = log.gap(NOW).map(|gap| (gap.missing, gap.state, gap.since_unix_ms.map(|since| (NOW - since) / 1_000)));
            assert_eq!(found, expected.map(|(missing, state, since)| (missing.to_vec(), state, since)), "{what}");
        }
    }

    #[test]
    fn the_age_counts_from_the_first_report_of_what_is_missing() {
        let report = |last_sequence| LogReport { incarnation: 7, last_sequence, closed: false };
        let mut reported = Reported::default();
        // Seconds, the last number given out, how far all has arrived → since when something is missing.
        for (seconds, last, watermark, since) in
            [(0, 10, 0, 0), (10, 20, 5, 0), (20, 30, 12, 20), (30, 40, 29, 20), (40, 50, 29, 20), (50, 60, 33, 50), (60, 60, 60, 60)]
        {
            reported = reported.with("p", 1, &report(last), watermark, seconds * 1_000);
            assert_eq!(reported.mark_unix_ms / 1_000, since, "{seconds}");
        }
    }

    #[test]
    fn a_late_report_takes_nothing_back() {
        let newer = LogReport { incarnation: 7, last_sequence: 9, closed: true };
        let older = LogReport { incarnation: 7, last_sequence: 4, closed: false };
        let noted = Reported::default().with("p", 2, &newer, 0, 500);
        assert_eq!(noted.clone().with("p", 1, &older, 0, 400), noted);
    }
}
