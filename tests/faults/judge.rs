//! The promises, over everything that was seen.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use waybill_tests::oracle::call::Call;
use waybill_tests::oracle::load::{Seen, Sent};
use waybill_tests::oracle::rows::{Ledger, Row as Event};
use waybill_tests::oracle::shown::Told;
use waybill_tests::oracle::verdict::{Evidence, judge as verdict};

use crate::rows::Row;
use crate::run::Run;
use crate::secrets;
use crate::table::Line;

/// Answers by which a caller is told that the fault is the caller's.
const CALLERS_FAULT: [u16; 3] = [401, 402, 403];

/// What a caller may be told while nothing can be recorded: whose fault it is, and nothing that would be the caller's.
const UNRECORDED: [&str; 2] = ["cannot be recorded", "could not be recorded"];

/// A request holds the configuration that it began with, and a revision counts as gone back only beyond what a request lasts.
const REQUEST_US: i64 = 2_000_000;

/// A deny epoch is the revision that brought the entry, and below it so many bits for the entry's place.
const EPOCH_PLACE_BITS: u32 = 8;

/// Findings of one promise that are told.
const SHOWN: usize = 8;

/// Everything that is new since the last judgement; nothing when all promises are kept.
pub fn judge(run: &mut Run, row: &Row, line: &mut Line) -> Result<Vec<String>> {
    run.learn()?;
    let source = run.cluster.ledger()?;
    let ledger = Ledger::read(&source, &run.cluster.folder)?;
    let records = run.cluster.provider.records()?;
    let evidence =
        Evidence { seed: run.seed, sent: &run.sent, records: &records, remains: &run.remains, ledger: &ledger, told: None, is_over: false };
    let own: Vec<&Sent> = run.own().collect();
    line.requests = own.len() as u64;
    line.answered = own.iter().filter(|sent| is_answered(sent)).count() as u64;
    // Whether a request was answered is asked of each row by its own measure, below.
    let money = verdict(&evidence, 0).findings.into_iter().filter(|finding| finding.promise.figure() != "unanswered");
    let money: Vec<String> = money.map(|finding| format!("V1 {}: {}", finding.promise.figure(), finding.what)).collect();
    let untruths: Vec<String> = own.iter().filter_map(|sent| untruth(sent)).collect();
    let unanswered = unanswered(&own, row);
    let secrets: Vec<String> = secrets::found(run)?.into_iter().map(|found| format!("V6 {found}")).collect();
    let mut findings = Vec::new();
    for (count, found) in [
        (&mut line.money, money),
        (&mut line.configuration, configuration(&ledger.rows, &run.revisions)),
        (&mut line.untruths, untruths),
        (&mut line.secrets, secrets),
        (&mut line.unanswered, unanswered),
    ] {
        let new: Vec<String> = found.into_iter().filter(|finding| !run.told.contains(finding)).collect();
        *count = new.len();
        run.told.extend(new.iter().cloned());
        findings.extend(new.iter().take(SHOWN).cloned());
        if new.len() > SHOWN {
            findings.push(format!("and {} more of these", new.len() - SHOWN));
        }
    }
    if line.requests == 0 {
        findings.push("nobody called during the fault".to_owned());
    }
    Ok(findings)
}

fn unanswered(own: &[&Sent], row: &Row) -> Vec<String> {
    let may_be = |sent: &Sent| is_answered(sent) || (row.may_break && sent.seen == Seen::Cut) || (row.may_refuse && is_refused(sent));
    let all = own.iter().filter(|sent| !may_be(sent));
    all.map(|sent| format!("V4 request {} at proxy {} after {:?}: {:?}, {:?}", sent.number, sent.place, sent.at, sent.seen, sent.told))
        .collect()
}

/// The whole answer came, or what must come where the provider fails.
fn is_answered(sent: &Sent) -> bool {
    Call::of(sent.number).may_see(&sent.seen, sent.told.as_ref())
}

/// Refused since it could not be recorded, and told so.
fn is_refused(sent: &Sent) -> bool {
    let is_named = |told: &Told| UNRECORDED.iter().any(|words| told.message.contains(words));
    sent.seen == Seen::Error(503) && sent.told.as_ref().is_some_and(is_named)
}

fn untruth(sent: &Sent) -> Option<String> {
    match sent.seen {
        Seen::Error(status) if CALLERS_FAULT.contains(&status) => Some(format!("V8 request {} was answered with {status}", sent.number)),
        _ => None,
    }
}

/// V3: every pair of revision and deny epoch has existed, is one and the same within an event, and in each incarnation neither is older than that
/// of a request that ended before this one began.
fn configuration(rows: &[Event], revisions: &BTreeSet<u64>) -> Vec<String> {
    let newest = revisions.last().copied().unwrap_or(0);
    let mut found = Vec::new();
    let mut incarnations: BTreeMap<u64, Vec<(i64, u64, Option<u64>)>> = BTreeMap::new();
    for row in rows {
        incarnations.entry(row.incarnation).or_default().push((row.start_us, row.revision, row.decided.map(|(_, epoch)| epoch)));
        let (decided, epoch) = row.decided.unwrap_or((row.revision, 0));
        if row.revision == 0 || row.revision > newest {
            found.push(format!("V3 {:016x}: revision {}, and the newest is {newest}", row.incarnation, row.revision));
        }
        if decided != row.revision {
            found.push(format!("V3 {:016x}: routed by revision {decided}, and pinned to {}", row.incarnation, row.revision));
        }
        if epoch != 0 && !revisions.contains(&(epoch >> EPOCH_PLACE_BITS)) {
            found.push(format!("V3 {:016x}: deny epoch {epoch}, of which no change is known", row.incarnation));
        }
    }
    for (incarnation, mut starts) in incarnations {
        starts.sort_unstable();
        // The newest pair of all that began a request's time before.
        let (mut before, mut newest) = (0, (0, 0));
        for (start, revision, epoch) in &starts {
            while starts[before].0 + REQUEST_US < *start {
                newest = (newest.0.max(starts[before].1), newest.1.max(starts[before].2.unwrap_or(0)));
                before += 1;
            }
            if *revision < newest.0 || epoch.is_some_and(|epoch| epoch < newest.1) {
                found.push(format!("V3 {incarnation:016x}: ({revision}, {epoch:?}) after {newest:?}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(incarnation: u64, start_us: i64, revision: u64) -> Event {
        let kind = waybill_tests::oracle::rows::Kind::Settled;
        let (marker, endpoint) = (String::new(), String::new());
        let (amount, reservation, lines) = (0, 0, 0);
        Event {
            incarnation,
            sequence: 1,
            kind,
            attempt: [0; 16],
            generation: [0; 16],
            marker,
            endpoint,
            amount,
            reservation,
            lines,
            is_shed: false,
            is_overrun: false,
            revision,
            decided: None,
            start_us,
        }
    }

    #[test]
    fn a_pair_that_goes_back_or_never_was_is_found_and_one_of_an_open_request_is_not() {
        let second = 1_000_000;
        let with = |epoch: u64, event: Event| Event { decided: Some((event.revision, epoch)), ..event };
        let revisions: BTreeSet<u64> = [4, 6].into();
        for (rows, count) in [
            (vec![event(1, 0, 5), event(1, 5 * second, 6), event(2, 9 * second, 5)], 0),
            (vec![event(1, 0, 6), event(1, second, 5)], 0),
            (vec![event(1, 0, 6), event(1, 5 * second, 5)], 1),
            (vec![event(1, 0, 0)], 1),
            (vec![event(1, 0, 7)], 1),
            (vec![with(0, event(1, 0, 5)), with(4 << 8, event(1, 5 * second, 5))], 0),
            (vec![with(4 << 8, event(1, 0, 5)), with(0, event(1, second, 5))], 0),
            (vec![with(4 << 8, event(1, 0, 5)), event(1, 5 * second, 5)], 0),
            (vec![with(4 << 8, event(1, 0, 5)), with(0, event(1, 5 * second, 5))], 1),
            (vec![with(6 << 8 | 1, event(1, 0, 5))], 0),
            (vec![with(5 << 8, event(1, 0, 5))], 1),
            (vec![Event { decided: Some((4, 0)), ..event(1, 0, 5) }], 1),
        ] {
            assert_eq!(configuration(&rows, &revisions).len(), count, "{rows:?}");
        }
    }
}
