//! The verdict on every attempt: what the callers saw, what the provider recorded, what the spools of the dead held, against the ledger.

use std::collections::{BTreeMap, HashMap};

use super::call::{self, Call, Ending};
use super::configuration::WORKSPACE;
use super::ids::{self, Id};
use super::load::{Seen, Sent};
use super::prices::Endpoint;
use super::provider::Record;
use super::remains::{Left, Remains};
use super::rows::{Kind, Ledger, Row};

/// A promise that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// One terminal event per attempt, one settled one per request, one arrival at the provider, one event per sequence number.
    NothingTwice,
    /// What was sent has an event, what was seen to the end is settled, no sequence number is missing.
    NothingLost,
    /// Everything in the ledger and at the provider belongs to a request that was sent.
    NothingForeign,
    /// Each event is of the kind that its attempt has earned.
    Kinds,
    /// Each amount is right to the pico-dollar.
    Amounts,
    /// What the caller was shown is what was billed.
    Shown,
    /// The accounts hold the sums of the events.
    Accounts,
    /// The product's own check of its ledger finds nothing.
    Verified,
    /// Pricing every event again changes nothing.
    Recomputed,
    /// No request that could be answered was refused, and none hung.
    Answered,
    /// A process that is told to end answers what it has begun.
    Drained,
}

impl Promise {
    pub const ALL: [Self; 11] = [
        Self::NothingTwice,
        Self::NothingLost,
        Self::NothingForeign,
        Self::Kinds,
        Self::Amounts,
        Self::Shown,
        Self::Accounts,
        Self::Verified,
        Self::Recomputed,
        Self::Answered,
        Self::Drained,
    ];

    /// Its figure's name: the count of what breaks it.
    pub fn figure(self) -> &'static str {
        match self {
            Self::NothingTwice => "duplicates",
            Self::NothingLost => "losses",
            Self::NothingForeign => "foreign",
            Self::Kinds => "wrong_kinds",
            Self::Amounts => "wrong_amounts",
            Self::Shown => "wrongly_shown",
            Self::Accounts => "wrong_balances",
            Self::Verified => "verify_faults",
            Self::Recomputed => "recompute_differences",
            Self::Answered => "unanswered",
            Self::Drained => "cut_by_the_end",
        }
    }
}

/// Something that breaks a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub promise: Promise,
    /// The life it is counted under, where it is one's.
    pub life: Option<usize>,
    pub what: String,
}

/// What the events of a life's requests came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub requests: u64,
    pub seen: u64,
    pub errors: u64,
    pub cut: u64,
    /// Of the cut ones, those whose end was in the spool before their caller could see it.
    pub cut_and_settled: u64,
    /// Of the requests, those that never became an attempt.
    pub without_attempt: u64,
    pub settled: u64,
    pub orphaned: u64,
    pub failed: u64,
}

impl Tally {
    /// Adds another life's.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.seen += other.seen;
        self.errors += other.errors;
        self.cut += other.cut;
        self.cut_and_settled += other.cut_and_settled;
        self.without_attempt += other.without_attempt;
        self.settled += other.settled;
        self.orphaned += other.orphaned;
        self.failed += other.failed;
    }
}

/// Everything that is known.
pub struct Evidence<'a> {
    pub seed: u64,
    pub sent: &'a [Sent],
    pub records: &'a [Record],
    pub remains: &'a Remains,
    pub ledger: &'a Ledger,
    /// The life that was told to end, if one was.
    pub told: Option<usize>,
    /// Every process has ended, so that every incarnation must have its end too.
    pub is_over: bool,
}

/// What is found, and the tallies of each life.
#[derive(Debug, Default)]
pub struct Verdict {
    pub findings: Vec<Finding>,
    pub tallies: Vec<Tally>,
}

/// Judges.
pub fn judge(evidence: &Evidence<'_>, lives: usize) -> Verdict {
    let mut judge = Judge { evidence, verdict: Verdict { findings: Vec::new(), tallies: vec![Tally::default(); lives] } };
    let rows = judge.rows();
    let records = judge.records(&rows);
    for sent in evidence.sent {
        let own = rows.of_request.get(&sent.number).map_or(&[][..], Vec::as_slice);
        judge.request(sent, own, &records);
    }
    judge.remains(&rows);
    judge.sequences();
    judge.accounts();
    judge.checks();
    judge.verdict
}

#[derive(Default)]
struct Rows<'a> {
    of_request: HashMap<u64, Vec<&'a Row>>,
    of_attempt: HashMap<Id, &'a Row>,
}

struct Judge<'a> {
    evidence: &'a Evidence<'a>,
    verdict: Verdict,
}

impl<'a> Judge<'a> {
    fn find(&mut self, promise: Promise, life: Option<usize>, what: impl Into<String>) {
        self.verdict.findings.push(Finding { promise, life, what: what.into() });
    }

    fn sent(&self, number: u64) -> Option<&'a Sent> {
        let sent = self.evidence.sent;
        sent.binary_search_by_key(&number, |sent| sent.number).ok().map(|place| &sent[place])
    }

    /// Orders the events by request and attempt.
    fn rows(&mut self) -> Rows<'a> {
        let mut rows = Rows::default();
        let records =
            self.evidence.records.iter().flat_map(|record| record.attempts.iter().map(|attempt| (*attempt, record.marker.as_str())));
        let (asked, shown) =
            (records.collect::<HashMap<_, _>>(), self.evidence.sent.iter().filter_map(|sent| Some((sent.generation?, sent.number))));
        let shown: HashMap<_, _> = shown.collect();
        for row in &self.evidence.ledger.rows {
            let name = ids::text("att-", &row.attempt);
            // An event without a title is known by what the provider was asked for, or the caller shown.
            let marker = if row.is_shed { asked.get(&row.attempt).copied().unwrap_or_default() } else { &row.marker };
            let number = call::number(self.evidence.seed, marker).or_else(|| shown.get(&row.generation).copied().filter(|_| row.is_shed));
            let sent = number.and_then(|number| self.sent(number));
            let Some(sent) = sent else {
                self.find(Promise::NothingForeign, None, format!("{name} in the ledger is of `{}`, which nobody has sent", row.marker));
                continue;
            };
            if rows.of_attempt.insert(row.attempt, row).is_some() {
                self.find(Promise::NothingTwice, Some(sent.life), format!("{name} has a second event, {:?}", row.kind));
                continue;
            }
            rows.of_request.entry(sent.number).or_default().push(row);
        }
        rows
    }

    /// Orders the provider's records by attempt. Each must have an event.
    fn records(&mut self, rows: &Rows<'a>) -> HashMap<Id, &'a Record> {
        let mut records = HashMap::new();
        for record in self.evidence.records {
            let sent = call::number(self.evidence.seed, &record.marker).and_then(|number| self.sent(number));
            let (Some(sent), [attempt]) = (sent, record.attempts.as_slice()) else {
                let what = format!("the provider was asked for `{}` by {} attempts", record.marker, record.attempts.len());
                self.find(Promise::NothingForeign, None, what);
                continue;
            };
            let name = ids::text("att-", attempt);
            if records.insert(*attempt, record).is_some() {
                self.find(Promise::NothingTwice, Some(sent.life), format!("{name} came to the provider twice"));
            }
            match rows.of_attempt.get(attempt) {
                None => self.find(Promise::NothingLost, Some(sent.life), format!("{name} came to the provider and has no event")),
                Some(row) if row.marker != record.marker && !row.is_shed => {
                    let what = format!("{name} is of {} in the ledger and of {} at the provider", row.marker, record.marker);
                    self.find(Promise::NothingForeign, Some(sent.life), what);
                }
                Some(_) => {}
            }
        }
        records
    }

    /// One request with its events.
    fn request(&mut self, sent: &Sent, rows: &[&Row], records: &HashMap<Id, &Record>) {
        self.tally(sent, rows);
        let life = Some(sent.life);
        for row in rows {
            if sent.generation.is_some_and(|generation| generation != row.generation) {
                self.find(Promise::NothingForeign, life, format!("{} was shown another generation than its event has", row.marker));
            }
            if let Err((promise, what)) = attempt(sent, row, records.get(&row.attempt).copied(), &self.evidence.remains.attempts) {
                self.find(promise, life, format!("{} of {}: {what}", ids::text("att-", &row.attempt), row.marker));
            }
        }
        for (promise, what) in whole(sent, rows, records, self.evidence.remains) {
            self.find(promise, life, format!("request {}: {what}", sent.number));
        }
        if Some(sent.life) == self.evidence.told && sent.seen == Seen::Cut && !rows.is_empty() {
            self.find(Promise::Drained, life, format!("request {} was begun and cut", sent.number));
        }
    }

    fn tally(&mut self, sent: &Sent, rows: &[&Row]) {
        let Some(tally) = self.verdict.tallies.get_mut(sent.life) else { return };
        tally.requests += 1;
        match sent.seen {
            Seen::End(_) => tally.seen += 1,
            Seen::Error(_) => tally.errors += 1,
            Seen::Cut | Seen::Stuck => {
                tally.cut += 1;
                tally.cut_and_settled += u64::from(rows.iter().any(|row| row.kind == Kind::Settled));
            }
        }
        tally.without_attempt += u64::from(rows.is_empty());
        for row in rows {
            match row.kind {
                Kind::Settled => tally.settled += 1,
                Kind::Orphaned => tally.orphaned += 1,
                Kind::Failed => tally.failed += 1,
                Kind::Partial | Kind::Adjusted | Kind::Closed => {}
            }
        }
    }

    /// What a dead process has left must be in the ledger, as it was left.
    fn remains(&mut self, rows: &Rows<'a>) {
        for attempt in &self.evidence.remains.changed {
            self.find(Promise::Kinds, None, format!("{}: its end in the spool was another one later", ids::text("att-", attempt)));
        }
        let lost = self.evidence.remains.attempts.iter().filter(|(attempt, _)| !rows.of_attempt.contains_key(*attempt));
        for (attempt, left) in lost {
            self.find(Promise::NothingLost, None, format!("{} was in a spool ({left:?}) and has no event", ids::text("att-", attempt)));
        }
    }

    /// Each incarnation counts from 1 without a hole, and its last event is its end.
    fn sequences(&mut self) {
        let ledger = self.evidence.ledger;
        let mut incarnations: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for row in ledger.rows.iter().chain(&ledger.closed) {
            incarnations.entry(row.incarnation).or_default().push(row.sequence);
        }
        for (incarnation, sequences) in &mut incarnations {
            sequences.sort_unstable();
            for pair in sequences.windows(2).filter(|pair| pair[1] != pair[0] + 1) {
                let promise = if pair[1] == pair[0] { Promise::NothingTwice } else { Promise::NothingLost };
                self.find(promise, None, format!("{incarnation:016x}: event {} is followed by {}", pair[0], pair[1]));
            }
            let (first, last) = (sequences.first(), sequences.last());
            let ends: Vec<u64> = ledger.closed.iter().filter(|row| row.incarnation == *incarnation).map(|row| row.sequence).collect();
            let is_ended = if self.evidence.is_over { ends.iter().eq(last) } else { ends.is_empty() || ends.iter().eq(last) };
            if first != Some(&1) || !is_ended {
                self.find(Promise::NothingLost, None, format!("{incarnation:016x} goes from {first:?} to {last:?}, and ends at {ends:?}"));
            }
        }
    }

    /// Double entry: settled amounts stand with the workspace and the provider, orphaned ones in suspense.
    fn accounts(&mut self) {
        let ledger = self.evidence.ledger;
        let sum = |kinds: &[Kind]| ledger.rows.iter().filter(|row| kinds.contains(&row.kind)).map(|row| row.amount).sum::<i128>();
        let (billed, suspended) = (sum(&[Kind::Settled, Kind::Partial]), sum(&[Kind::Orphaned]));
        let balance =
            |prefix: &str| ledger.balances.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, amount)| amount).sum::<i128>();
        for (account, expected) in [
            (format!("receivable/{WORKSPACE}"), billed),
            ("usage_revenue".to_owned(), -billed),
            ("provider_cost/".to_owned(), billed),
            ("provider_payable/".to_owned(), -billed),
            (format!("suspense/{WORKSPACE}"), suspended),
            ("provider_payable_unconfirmed/".to_owned(), -suspended),
            (String::new(), 0),
        ] {
            let found = balance(&account);
            if found != expected {
                self.find(Promise::Accounts, None, format!("accounts `{account}…` hold {found}, the events come to {expected}"));
            }
        }
    }

    fn checks(&mut self) {
        let ledger = self.evidence.ledger;
        for fault in &ledger.faults {
            self.find(Promise::Verified, None, fault.as_str());
        }
        for difference in &ledger.differences {
            self.find(Promise::Recomputed, None, difference.as_str());
        }
        if ledger.repriced != ledger.rows.len() as u64 {
            self.find(Promise::Recomputed, None, format!("{} of {} events were priced again", ledger.repriced, ledger.rows.len()));
        }
    }
}

type Broken = (Promise, String);

/// The caller was told that the answer is withheld, since its bill could not be written.
fn is_withheld(sent: &Sent) -> bool {
    sent.told.as_ref().is_some_and(|told| told.code == 503 && told.message.contains("could not be recorded"))
}

/// One event of a request: its kind and its amount.
fn attempt(sent: &Sent, row: &Row, record: Option<&Record>, left: &HashMap<Id, Left>) -> Result<(), Broken> {
    let call = Call::of(sent.number);
    let kind = |what: String| Err((Promise::Kinds, what));
    let amount = |what: String| Err((Promise::Amounts, what));
    let Some(endpoint) = Endpoint::find(&row.endpoint).filter(|endpoint| endpoint.model == call.model) else {
        return Err((Promise::NothingForeign, format!("{} was asked for, and the endpoint `{}` asked", call.model, row.endpoint)));
    };
    if record.is_some_and(|record| record.model != endpoint.provider_model) {
        return Err((Promise::NothingForeign, format!("the provider was asked for another model than `{}`", endpoint.provider_model)));
    }
    match left.get(&row.attempt) {
        Some(Left::Open) if row.kind != Kind::Orphaned => return kind(format!("{:?}, and its process died before its end", row.kind)),
        Some(Left::Ended(ended)) if row.kind != *ended => return kind(format!("{:?}, and {ended:?} was left in the spool", row.kind)),
        _ => {}
    }
    let reservation = endpoint.reservation(sent.body_bytes, call.answers(), call.max_output());
    if row.reservation != reservation {
        return amount(format!("a reservation of {}, not {reservation}", row.reservation));
    }
    if row.lines != row.amount {
        return amount(format!("lines of {} in an event of {}", row.lines, row.amount));
    }
    if row.is_overrun != (row.amount > reservation) {
        return amount(format!("{} with a reservation of {reservation}, and overrun = {}", row.amount, row.is_overrun));
    }
    let has_failed = record.is_some_and(|record| record.status.is_some_and(|status| status >= 400));
    let expected = match row.kind {
        Kind::Partial if matches!(call.ending, Ending::Unstated | Ending::Broken | Ending::Reset) => {
            return partial(&call, endpoint, row, record);
        }
        Kind::Settled => match record.and_then(|record| record.usage_sent) {
            Some(usage) => endpoint.cost(&usage),
            None => return kind("settled, and the provider has stated no usage".to_owned()),
        },
        Kind::Orphaned => {
            let cost = record.and_then(|record| record.usage).map_or(0, |usage| endpoint.cost(&usage));
            if cost > reservation {
                return amount(format!("an orphan of {reservation} for what costs {cost}"));
            }
            reservation
        }
        Kind::Failed if has_failed || call.is_broken && call.ending == Ending::Refused => 0,
        // Whoever hangs up at once may do so before the provider was asked, and then nothing was spent.
        Kind::Failed if record.is_none() && sent.seen == Seen::Cut => 0,
        Kind::Failed => return kind("failed, and the provider has not".to_owned()),
        Kind::Partial | Kind::Adjusted | Kind::Closed => return kind(format!("{:?}, and nobody hung up", row.kind)),
    };
    if row.amount != expected {
        return amount(format!("{:?} with {}, not {expected}", row.kind, row.amount));
    }
    Ok(())
}

/// An estimate, for want of a word of the provider's: not less than what it has written, and not more than was reserved.
fn partial(call: &Call, endpoint: &Endpoint, row: &Row, record: Option<&Record>) -> Result<(), Broken> {
    // What a provider states behind the place where its stream is broken is not read any more.
    let is_known = |record: &&Record| call.ending == Ending::Unstated && record.usage_sent.is_some();
    let Some(record) = record.filter(|record| !is_known(record)) else {
        return Err((Promise::Kinds, "an estimate, and the provider has stated its usage or was not asked".to_owned()));
    };
    let least = record.delivered(call.is_streamed).map_or(0, |usage| endpoint.cost(&usage));
    if (least..=row.reservation).contains(&row.amount) {
        return Ok(());
    }
    Err((Promise::Amounts, format!("an estimate of {}, not from {least} to {}", row.amount, row.reservation)))
}

/// A request and all its events together.
fn whole(sent: &Sent, rows: &[&Row], records: &HashMap<Id, &Record>, remains: &Remains) -> Vec<Broken> {
    let call = Call::of(sent.number);
    let mut broken = Vec::new();
    let mut find = |promise, what: String| broken.push((promise, what));
    let has = |kind: Kind| rows.iter().any(|row| row.kind == kind);
    let is_torn = rows.iter().any(|row| remains.torn.contains(&row.attempt));
    // Of a process that died with it nothing more is known.
    let is_left = rows.is_empty() || rows.iter().any(|row| remains.attempts.contains_key(&row.attempt));
    let settled: Vec<&&Row> = rows.iter().filter(|row| row.kind == Kind::Settled).collect();
    let orphaned = rows.iter().filter(|row| row.kind == Kind::Orphaned).count();
    if settled.len() + orphaned > 1 {
        find(Promise::NothingTwice, format!("{} settled and {orphaned} orphaned events", settled.len()));
    }
    match &sent.seen {
        // The machine has forgotten what its callers saw: what the provider may charge for it is held, and no more.
        Seen::End(_) if is_torn => {}
        Seen::End(_) if !matches!(call.ending, Ending::Whole | Ending::Unstated) => {
            find(Promise::Shown, format!("{} was broken off by its provider and shown as whole", call.model));
        }
        Seen::End(shown) if call.ending == Ending::Unstated => {
            if !has(Kind::Partial) || has(Kind::Settled) {
                find(Promise::Kinds, "seen to its end without a statement of usage, and no estimate".to_owned());
            }
            if shown.usage.is_some() && shown.cost.is_none() {
                find(Promise::Shown, format!("usage {:?}, which the provider never stated", shown.usage));
            }
        }
        Seen::End(shown) => match settled.as_slice() {
            [] => find(Promise::NothingLost, "seen to its end, and not settled".to_owned()),
            [row, ..] => {
                // Where a provider states it in the midst of its words, it is shown to whoever reads these.
                let is_shown = call.shows_usage() || call.is_broken && shown.usage.is_some();
                let expected = records.get(&row.attempt).and_then(|record| record.usage_sent).filter(|_| is_shown);
                if shown.usage != expected {
                    find(Promise::Shown, format!("usage {:?}, not {expected:?}", shown.usage));
                }
                let expected = is_shown.then_some(row.amount);
                if shown.cost != expected {
                    find(Promise::Shown, format!("a cost of {:?}, not {expected:?}", shown.cost));
                }
            }
        },
        Seen::Error(status) => {
            // An answer that was withheld since its end could not be written is held in suspense, as one that nobody could read is.
            let may_be_lost = matches!(call.ending, Ending::Lost | Ending::Reset) || is_withheld(sent);
            let earned = match call.ending {
                Ending::Empty => Kind::Settled,
                _ if may_be_lost => Kind::Orphaned,
                _ => Kind::Failed,
            };
            // Of a request that has failed over, the earlier attempts have failed.
            if rows.iter().any(|row| row.kind != earned && row.kind != Kind::Failed) || may_be_lost && !is_left && !has(earned) {
                find(Promise::Kinds, format!("{:?} for an answer of {status}", rows.iter().map(|row| row.kind).collect::<Vec<_>>()));
            }
            if !call.may_see(&sent.seen, sent.told.as_ref()) {
                find(Promise::Answered, format!("{} answered with {status}", call.model));
            }
        }
        Seen::Cut if is_left => {}
        Seen::Cut => {
            let is_broken = matches!(call.ending, Ending::Broken | Ending::Reset);
            if is_broken && sent.told.is_none() {
                find(Promise::Shown, format!("{} broke off without an error in its stream", call.model));
            }
            if call.ending == Ending::Odd && !has(Kind::Settled) {
                find(Promise::Kinds, "passed on as the provider sent it, and not settled".to_owned());
            }
            if is_broken && sent.told.is_some() && !has(Kind::Partial) {
                find(Promise::Kinds, "broken off after output, and no estimate".to_owned());
            }
        }
        Seen::Stuck => find(Promise::Answered, "no answer came, and the connection stood".to_owned()),
    }
    broken
}

#[cfg(test)]
mod tests;
