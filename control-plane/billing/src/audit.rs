//! Checks the ledger against itself. Pure: the database gives every row, and what it keeps beside them.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use waybill_model::id::AttemptId;
use waybill_proto::{
    admin::v1::VerifyResponse,
    usage::v1::{Closed, Event, Kind},
};

use crate::{
    intake::{AttemptKey, Identity, content_hash, counts},
    ledger::{Entries, post, post_adjustment},
    reprice::arithmetic,
    row::Stored,
    sequences::{Sequences, ranges_text},
    status::IncarnationStatus,
    usage::{Scope, spent},
};

/// Faults that are listed; more are counted.
const LISTED: usize = 1_000;

/// What a pass over all events adds up, to be compared with what the ledger keeps.
pub struct Audit {
    own: u64,
    answer: VerifyResponse,
    faults: Vec<String>,
    /// Name, balance, and the sum of the postings, by account id.
    accounts: HashMap<i64, (String, i128, i128)>,
    spend: BTreeMap<(Scope, i64), i128>,
    arrived: BTreeMap<u64, Sequences>,
    closed: BTreeMap<u64, Closed>,
    last_id: i64,
    form: Form,
}

/// In what the databases differ.
#[derive(Clone, Copy)]
pub struct Form {
    /// The ids of events have no holes.
    pub dense_ids: bool,
    /// The form in which a provider's id of an answer is searched by.
    pub answer: fn(&str) -> Vec<u8>,
}

/// What the ledger keeps beside the events, and what it finds among them by other means.
#[derive(Default)]
pub struct Kept {
    /// Events, postings and attempts as the database counts them, and the events as the ledger counts them.
    pub events: u64,
    pub counted: u64,
    pub postings: u64,
    pub attempts: u64,
    /// Attempts with the fault that was found of them.
    pub attempt_faults: Vec<(Vec<u8>, &'static str)>,
    pub spend: Vec<((Scope, i64), i128)>,
    pub set_aside: Vec<Identity>,
    pub incarnations: Vec<IncarnationStatus>,
    /// The numbers up to which logs were written off.
    pub written_off: HashMap<u64, u64>,
}

impl Audit {
    /// Of the ledger with this incarnation. Accounts: name and balance, by id. Faults that were found already come first.
    pub fn begin(own: u64, accounts: HashMap<i64, (String, i128)>, faults: Vec<String>, form: Form) -> Self {
        let accounts = accounts.into_iter().map(|(id, (name, balance))| (id, (name, balance, 0))).collect();
        let (spend, arrived, closed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { own, answer: VerifyResponse::default(), faults, accounts, spend, arrived, closed, last_id: 0, form }
    }

    /// The attempt whose orphaned event is needed to check this row.
    pub fn needs(row: &Stored) -> Option<AttemptId> {
        let attempt: Option<AttemptKey> = row.attempt[..].try_into().ok();
        attempt.filter(|_| row.kind == i32::from(Kind::Adjusted)).map(AttemptId::from_bytes)
    }

    /// Checks one row with its postings: account, amount. `orphan` is the terminal event of the attempt that [`Audit::needs`] names.
    pub fn event(&mut self, row: &Stored, postings: &[(i64, i64)], orphan: Option<&Event>) {
        let name = name(row.incarnation, row.sequence);
        self.answer.events += 1;
        self.answer.postings += postings.len() as u64;
        if self.form.dense_ids && row.id != self.last_id + 1 {
            self.faults.push(format!("{name}: there is a hole before row {} of the events", row.id));
        }
        self.last_id = row.id;
        let (incarnation, sequence) = (row.incarnation.cast_unsigned(), row.sequence.cast_unsigned());
        self.arrived.entry(incarnation).or_default().insert(sequence);
        if content_hash(row.kind, &row.attempt, &row.payload)[..] != row.hash {
            self.faults.push(format!("{name}: the content is not the one that was booked"));
        }
        let stored = self.stored_entries(&name, postings);
        if row.kind == i32::from(Kind::Closed) {
            self.end(&name, incarnation, &row.payload);
            self.compare_entries(&name, &stored, Some(&Entries::default()));
            return;
        }
        let event = match Event::decode(&row.payload[..]) {
            Ok(event) => event,
            Err(error) => {
                self.faults.push(format!("{name}: the payload cannot be decoded: {error}"));
                return;
            }
        };
        self.faults.extend(arithmetic(&event).into_iter().map(|fault| format!("{name}, {}: {fault}", attempt_text(&event))));
        if !event.attempt.as_ref().is_some_and(|attempt| row.agrees(&event, attempt, self.form.answer)) {
            self.faults.push(format!("{name}: the columns of its row are not what its payload says"));
        }
        if let Some((scope, day, amount)) = spent(&event) {
            *self.spend.entry((scope, day)).or_default() += i128::from(amount);
        }
        let expected = match orphan {
            Some(orphan) => post_adjustment(orphan, &event),
            None => post(&event),
        };
        self.compare_entries(&name, &stored, expected.ok().as_ref());
    }

    fn end(&mut self, name: &str, incarnation: u64, payload: &[u8]) {
        match Closed::decode(payload) {
            Ok(closed) => {
                let known = self.closed.entry(incarnation).or_default();
                known.last_sequence = known.last_sequence.max(closed.last_sequence);
                known.doubt |= closed.doubt;
            }
            Err(error) => self.faults.push(format!("{name}: the payload cannot be decoded: {error}")),
        }
    }

    /// The postings of an event by the names of their accounts; adds them to the accounts' sums.
    fn stored_entries(&mut self, name: &str, postings: &[(i64, i64)]) -> Vec<(String, i64)> {
        let mut stored = Vec::with_capacity(postings.len());
        for (account, amount) in postings {
            match self.accounts.get_mut(account) {
                Some((account, _, sum)) => {
                    *sum += i128::from(*amount);
                    stored.push((account.clone(), *amount));
                }
                None => self.faults.push(format!("{name}: it is posted to account {account}, which does not exist")),
            }
        }
        stored.sort_unstable();
        stored
    }

    fn compare_entries(&mut self, name: &str, stored: &[(String, i64)], expected: Option<&Entries<'_>>) {
        let sum: i128 = stored.iter().map(|(_, amount)| i128::from(*amount)).sum();
        if sum != 0 {
            self.faults.push(format!("{name}: its entries sum to {sum}, not to zero"));
        }
        let expected = expected.map(|entries| {
            let mut expected: Vec<(String, i64)> =
                entries.as_slice().iter().map(|entry| (entry.account.to_string(), entry.amount)).collect();
            expected.sort_unstable();
            expected
        });
        match expected {
            None => self.faults.push(format!("{name}: it is not an event that can be posted")),
            Some(expected) if expected != stored => {
                self.faults.push(format!("{name}: it is posted as {stored:?}, which should be {expected:?}"))
            }
            Some(_) => {}
        }
    }

    fn balances(&mut self) {
        let mut accounts: Vec<_> = self.accounts.values().collect();
        accounts.sort_unstable();
        let total: i128 = accounts.iter().map(|(_, _, sum)| sum).sum();
        if total != 0 {
            self.faults.push(format!("all entries sum to {total}, not to zero"));
        }
        let wrong = accounts.into_iter().filter(|(_, balance, sum)| balance != sum);
        self.faults
            .extend(wrong.map(|(name, balance, sum)| format!("account {name}: the balance is {balance}, its postings sum to {sum}")));
    }

    /// Compares with what the ledger keeps, and answers.
    pub fn finish(mut self, kept: Kept) -> VerifyResponse {
        self.balances();
        for (what, all, met) in [
            ("events", kept.events, self.answer.events),
            ("events by the ledger's own count", kept.counted, self.answer.events),
            ("postings", kept.postings, self.answer.postings),
        ] {
            if all != met {
                self.faults.push(format!("there are {all} {what}, of which {met} are in their place"));
            }
        }
        self.answer.attempts = kept.attempts;
        self.faults.extend(kept.attempt_faults.into_iter().map(|(attempt, fault)| format!("{}: {fault}", id_text(&attempt))));
        for (key, amount) in kept.spend {
            *self.spend.entry(key).or_default() -= amount;
        }
        let wrong = self.spend.iter().filter(|(_, rest)| **rest != 0);
        self.faults.extend(
            wrong.map(|((scope, day), rest)| format!("key {}, day {day}: {rest} of its events is not in its spend", scope.api_key)),
        );
        for identity in kept.set_aside.into_iter().filter(|identity| counts(*identity, self.own)) {
            self.arrived.entry(identity.0).or_default().insert(identity.1);
        }
        self.sequences(kept.incarnations, &kept.written_off);
        VerifyResponse { faults: listed(self.faults), ..self.answer }
    }

    fn sequences(&mut self, kept: Vec<IncarnationStatus>, written_off: &HashMap<u64, u64>) {
        self.answer.incarnations = self.arrived.len() as u64;
        let kept: BTreeMap<u64, _> = kept.into_iter().map(|status| (status.incarnation, status)).collect();
        for (incarnation, arrived) in &self.arrived {
            let status = kept.get(incarnation).cloned().unwrap_or_default();
            let closed = self.closed.get(incarnation).copied();
            if status.closed != closed {
                self.faults
                    .push(format!("incarnation {incarnation:016x}: its end is kept as {:?}, its events say {closed:?}", status.closed));
            }
            let really = IncarnationStatus::of(*incarnation, arrived, closed);
            if (status.watermark, status.highest) != (really.watermark, really.highest)
                || (closed == status.closed && status.missing != really.missing)
            {
                let (kept, really) = (status.watermark, really.watermark);
                self.faults.push(format!("incarnation {incarnation:016x}: the sequences kept (watermark {kept}) are not those of its records (watermark {really})"));
            }
            let lost_before = written_off.get(incarnation).copied().unwrap_or(0);
            let missing: Vec<(u64, u64)> = really.missing.into_iter().filter(|(_, last)| *last > lost_before).collect();
            if closed.is_some() && !missing.is_empty() {
                self.faults.push(format!(
                    "incarnation {incarnation:016x} is closed, and these sequences never arrived: {}",
                    ranges_text(&missing, 20)
                ));
            }
        }
        let strange = kept.keys().filter(|incarnation| !self.arrived.contains_key(incarnation));
        self.faults
            .extend(strange.map(|incarnation| format!("incarnation {incarnation:016x}: sequences are kept of which there is no record")));
    }
}

pub fn listed(mut faults: Vec<String>) -> Vec<String> {
    let all = faults.len();
    if all > LISTED {
        faults.truncate(LISTED);
        faults.push(format!("… and {} more", all - LISTED));
    }
    faults
}

pub fn name(incarnation: i64, sequence: i64) -> String {
    format!("evt-{:016x}.{sequence}", incarnation.cast_unsigned())
}

pub fn attempt_text(event: &Event) -> String {
    event.attempt.as_ref().map_or_else(String::new, |attempt| id_text(&attempt.attempt_id))
}

fn id_text(bytes: &[u8]) -> String {
    bytes.try_into().map_or_else(|_| "an attempt without id".to_owned(), |bytes| AttemptId::from_bytes(bytes).to_string())
}
