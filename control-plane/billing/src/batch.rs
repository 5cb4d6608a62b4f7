//! What a batch of records does to the ledger. Pure: a database looks up what it meets, and writes what comes out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use waybill_proto::usage::v1::{Attempt, Closed, Event, Spooled};

use crate::{
    error::Error,
    intake::{AttemptKey, Body, ContentHash, Fault, Identity, Record, Verdict, counts, read},
    ledger::Entries,
    sequences::Sequences,
    usage::{Scope, spent},
};

/// A batch that has been read.
pub struct Batch<'a> {
    pub records: Vec<Record<'a>>,
    /// The names that count for completeness.
    pub names: Vec<Identity>,
}

impl<'a> Batch<'a> {
    /// Reads the records, for a ledger of this incarnation.
    pub fn read(records: &'a [Spooled], own: u64) -> Self {
        let records: Vec<Record<'_>> = records.iter().map(read).collect();
        let names = records.iter().map(Record::identity).filter(|identity| counts(*identity, own)).collect();
        Self { records, names }
    }

    /// Its logs, in the order of their numbers.
    pub fn incarnations(&self) -> Vec<u64> {
        let incarnations: BTreeSet<u64> = self.names.iter().map(|name| name.0).collect();
        Vec::from_iter(incarnations)
    }

    /// The names under which something has arrived before. What has never arrived cannot be booked, so that a batch of new records needs no
    /// look-up by name.
    pub fn met(&self, arrived: &HashMap<u64, Sequences>) -> Vec<Identity> {
        let has_arrived = |(incarnation, sequence): &&Identity| arrived.get(incarnation).is_some_and(|set| set.contains(*sequence));
        self.names.iter().filter(has_arrived).copied().collect()
    }

    /// The attempts that it ends.
    pub fn attempts(&self) -> Vec<AttemptKey> {
        let attempt = |record: &Record<'_>| match &record.body {
            Ok(Body::Ended { attempt, .. }) => Some(*attempt),
            _ => None,
        };
        self.records.iter().filter_map(attempt).collect()
    }

    /// What is to be booked.
    pub fn bookings(&self, verdicts: &[Verdict]) -> Vec<Booking<'_>> {
        let booked = self.records.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Book);
        booked.filter_map(|(record, _)| Booking::of(record)).collect()
    }

    /// What is to be set aside.
    pub fn faults<'b>(&'b self, verdicts: &'b [Verdict]) -> Vec<(&'b Record<'a>, &'b Fault)> {
        let faulty = self.records.iter().zip(verdicts);
        faulty.filter_map(|(record, verdict)| if let Verdict::Quarantine(fault) = verdict { Some((record, fault)) } else { None }).collect()
    }

    /// The logs that it ends. Recovery can be interrupted and close a log twice: the later word adds to the earlier one.
    pub fn ends(&self, verdicts: &[Verdict]) -> BTreeMap<u64, Closed> {
        let mut ends: BTreeMap<u64, Closed> = BTreeMap::new();
        for (record, verdict) in self.records.iter().zip(verdicts) {
            if let (Verdict::Book, Ok(Body::Closed(closed))) = (verdict, &record.body) {
                let known = ends.entry(record.spooled.incarnation).or_default();
                known.last_sequence = known.last_sequence.max(closed.last_sequence);
                known.doubt |= closed.doubt;
            }
        }
        ends
    }

    /// What has arrived of its logs after it: all its records, since one that was set aside is not missing.
    pub fn arrived_after(&self, arrived: &HashMap<u64, Sequences>) -> BTreeMap<u64, Sequences> {
        let mut after: BTreeMap<u64, Sequences> = BTreeMap::new();
        for (incarnation, sequence) in &self.names {
            after.entry(*incarnation).or_insert_with(|| arrived.get(incarnation).cloned().unwrap_or_default()).insert(*sequence);
        }
        after
    }

    /// Says in the log what was set aside.
    pub fn log(&self, verdicts: &[Verdict]) {
        for (record, fault) in self.faults(verdicts) {
            let (incarnation, sequence) = record.identity();
            tracing::error!(incarnation = format!("{incarnation:016x}"), sequence, %fault, "a usage record is in quarantine");
        }
    }
}

/// An event that is to be written.
pub struct Booking<'a> {
    pub identity: Identity,
    pub kind: i32,
    /// `None` for the end of an incarnation.
    pub ended: Option<(&'a Event, &'a Attempt)>,
    pub entries: Entries<'a>,
    pub hash: ContentHash,
    pub payload: &'a [u8],
}

impl<'a> Booking<'a> {
    fn of(record: &'a Record<'_>) -> Option<Self> {
        let body = record.body.as_ref().ok()?;
        Some(Self {
            identity: record.identity(),
            kind: record.spooled.kind,
            ended: body.ended(),
            entries: body.entries().ok()?,
            hash: record.hash,
            payload: &record.spooled.payload,
        })
    }
}

/// The entries of bookings, and what they add to the accounts.
pub struct Postings {
    /// The place of the booking, the account, the amount.
    pub entries: Vec<(usize, String, i64)>,
    /// In the order of the accounts' names.
    pub sums: BTreeMap<String, i128>,
}

impl Postings {
    /// # Errors
    /// [`Error::Unbalanced`]: nothing that does not sum to zero is written.
    pub fn of(bookings: &[Booking<'_>]) -> Result<Self, Error> {
        let mut postings = Self { entries: Vec::with_capacity(bookings.len() * 4), sums: BTreeMap::new() };
        for (place, booking) in bookings.iter().enumerate() {
            let sum = booking.entries.sum();
            if sum != 0 {
                return Err(Error::Unbalanced { incarnation: booking.identity.0, sequence: booking.identity.1, sum });
            }
            for entry in booking.entries.as_slice() {
                let account = entry.account.to_string();
                match postings.sums.get_mut(&account) {
                    Some(sum) => *sum += i128::from(entry.amount),
                    None => drop(postings.sums.insert(account.clone(), i128::from(entry.amount))),
                }
                postings.entries.push((place, account, entry.amount));
            }
        }
        Ok(postings)
    }
}

/// What bookings add to the spend of keys on days, in order.
pub fn spend(bookings: &[Booking<'_>]) -> BTreeMap<(Scope, i64), i128> {
    let mut sums: BTreeMap<(Scope, i64), i128> = BTreeMap::new();
    for (scope, day, amount) in bookings.iter().filter_map(|booking| booking.ended.and_then(|(event, _)| spent(event))) {
        *sums.entry((scope, day)).or_default() += i128::from(amount);
    }
    sums
}

/// What changes in the ranges that are kept when the numbers of a log become `after`: the beginnings of ranges that go, ranges that are new or longer.
pub fn range_changes(before: &Sequences, after: &Sequences) -> (Vec<u64>, Vec<(u64, u64)>) {
    let kept: Vec<(u64, u64)> = after.ranges().collect();
    let held: Vec<(u64, u64)> = before.ranges().collect();
    let gone = |first: &u64| kept.binary_search_by_key(first, |(first, _)| *first).is_err();
    let gone = held.iter().map(|(first, _)| *first).filter(gone).collect();
    let changed = kept.iter().filter(|range| held.binary_search(range).is_err()).copied().collect();
    (gone, changed)
}
