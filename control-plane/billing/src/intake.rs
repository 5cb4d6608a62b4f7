//! What becomes of a record that arrives: booked, known already, or set aside. Pure.
//!
//! A record never stops the ledger. What cannot be read or contradicts what is booked goes to quarantine, whole, with the reason. The verdicts do
//! not depend on how a stream of records is cut into batches or how often it is delivered.

use std::collections::{HashMap, HashSet};

use prost::Message;
use waybill_proto::usage::v1::{Attempt, Closed, Event, Kind, Spooled};

use crate::ledger::{Entries, Unpostable, post};

/// The first 16 bytes of the BLAKE3 hash of all of a record but its (incarnation, sequence).
pub type ContentHash = [u8; 16];

/// The 16 bytes of an attempt id.
pub type AttemptKey = [u8; 16];

/// The name of a record: (incarnation, sequence).
pub type Identity = (u64, u64);

/// What is read from a record's payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The end of an attempt.
    Ended {
        /// The event.
        event: Box<Event>,
        /// Its attempt's id.
        attempt: AttemptKey,
    },
    /// The end of an incarnation.
    Closed(Closed),
}

impl Body {
    /// The event of an attempt's end, with what was known before the request left.
    #[must_use]
    pub fn ended(&self) -> Option<(&Event, &Attempt)> {
        match self {
            Self::Ended { event, .. } => event.attempt.as_ref().map(|attempt| (&**event, attempt)),
            Self::Closed(_) => None,
        }
    }

    /// The entries it makes.
    ///
    /// # Errors
    /// None for a body that [`read`] has accepted.
    pub fn entries(&self) -> Result<Entries<'_>, Unpostable> {
        match self {
            Self::Ended { event, .. } => post(event),
            Self::Closed(_) => Ok(Entries::default()),
        }
    }
}

/// Why a record is set aside.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The payload is not the message that the kind names.
    #[error("the payload cannot be decoded: {0}")]
    Undecodable(String),
    /// Records outside and inside must agree, or the wrong attempt would be settled.
    #[error("the record and its payload disagree about {0}")]
    Disagreement(&'static str),
    /// A part that the ledger cannot do without.
    #[error("{0} is missing or malformed")]
    Malformed(&'static str),
    /// Not something that a proxy may write.
    #[error("it cannot be posted: {0}")]
    Unpostable(#[from] Unpostable),
    /// Only the ledger writes under its own incarnation.
    #[error("it claims the ledger's own incarnation")]
    ForeignIncarnation,
    /// The name is taken by another content.
    #[error("another content is booked under the same incarnation and sequence")]
    Contradiction,
    /// An attempt ends once.
    #[error("a terminal event of the same attempt is booked already")]
    SecondTerminal,
}

/// Bytes of the longest name that is kept: more than any resource can have.
const LONGEST_NAME: usize = 512;

/// A record that has been read, or the reason why it could not be.
pub struct Record<'a> {
    /// As it came.
    pub spooled: &'a Spooled,
    /// Its content.
    pub hash: ContentHash,
    /// What it says.
    pub body: Result<Body, Fault>,
}

impl Record<'_> {
    /// Its name.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        (self.spooled.incarnation, self.spooled.sequence)
    }
}

/// Reads one record.
#[must_use]
pub fn read(spooled: &Spooled) -> Record<'_> {
    // The end of an incarnation has no attempt, whatever the field holds.
    let attempt_id = if spooled.kind() == Kind::Closed { &[] } else { &spooled.attempt_id[..] };
    Record { spooled, hash: content_hash(spooled.kind, attempt_id, &spooled.payload), body: read_body(spooled) }
}

/// The content hash of a record.
#[must_use]
pub fn content_hash(kind: i32, attempt_id: &[u8], payload: &[u8]) -> ContentHash {
    let mut hash = blake3::Hasher::new();
    hash.update(&kind.to_le_bytes());
    hash.update(&(attempt_id.len() as u64).to_le_bytes());
    hash.update(attempt_id);
    hash.update(payload);
    let mut content = ContentHash::default();
    hash.finalize_xof().fill(&mut content);
    content
}

/// Whether a record under this name counts for the completeness of its incarnation. SQLite's integers end at 63 bits.
#[must_use]
pub const fn counts(identity: Identity, own: u64) -> bool {
    identity.1 >= 1 && identity.1 <= i64::MAX as u64 && identity.0 != own
}

fn read_body(spooled: &Spooled) -> Result<Body, Fault> {
    if spooled.kind() == Kind::Closed {
        let closed = Closed::decode(spooled.payload.clone()).map_err(|error| Fault::Undecodable(error.to_string()))?;
        return if closed.last_sequence > i64::MAX as u64 {
            Err(Fault::Malformed("the last sequence number"))
        } else {
            Ok(Body::Closed(closed))
        };
    }
    let event = Event::decode(spooled.payload.clone()).map_err(|error| Fault::Undecodable(error.to_string()))?;
    if event.kind != spooled.kind {
        return Err(Fault::Disagreement("the kind"));
    }
    let attempt = event.attempt.as_ref().ok_or(Fault::Malformed("the attempt"))?;
    if attempt.attempt_id != spooled.attempt_id {
        return Err(Fault::Disagreement("the attempt id"));
    }
    if attempt.generation_id.len() != 16 {
        return Err(Fault::Malformed("the generation id"));
    }
    if let Some(field) = unkeepable(attempt) {
        return Err(Fault::Malformed(field));
    }
    let attempt = attempt.attempt_id[..].try_into().map_err(|_| Fault::Malformed("the attempt id"))?;
    post(&event)?;
    Ok(Body::Ended { event: Box::new(event), attempt })
}

/// The first name of an attempt that cannot be one of a resource: those have at most 128 bytes and no control letters. A database may not take others
/// (PostgreSQL neither a NUL nor a long key of an index), and then the whole batch would fail with this record.
fn unkeepable(attempt: &Attempt) -> Option<&'static str> {
    let names = [
        (&attempt.org, "the org"),
        (&attempt.workspace, "the workspace"),
        (&attempt.api_key, "the key"),
        (&attempt.account, "the account"),
        (&attempt.model, "the model"),
    ];
    names.into_iter().find(|(name, _)| name.len() > LONGEST_NAME || name.contains('\0')).map(|(_, field)| field)
}

/// What the ledger holds that a batch can meet.
#[derive(Debug, Default)]
pub struct Known {
    /// The ledger's own incarnation.
    pub own: u64,
    /// Contents booked under the names of the batch.
    pub events: HashMap<Identity, ContentHash>,
    /// Attempts of the batch that have a terminal event.
    pub ended: HashSet<AttemptKey>,
}

/// What becomes of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// A new row.
    Book,
    /// Booked already, with the same content.
    Duplicate,
    /// Set aside.
    Quarantine(Fault),
}

impl Known {
    /// Judges the records of a batch in their order; each booked one is known to the next.
    pub fn judge(&mut self, records: &[Record<'_>]) -> Vec<Verdict> {
        records.iter().map(|record| self.judge_one(record)).collect()
    }

    fn judge_one(&mut self, record: &Record<'_>) -> Verdict {
        let identity = record.identity();
        if identity.0 == self.own {
            return Verdict::Quarantine(Fault::ForeignIncarnation);
        }
        if !counts(identity, self.own) {
            return Verdict::Quarantine(Fault::Malformed("the sequence number"));
        }
        match self.events.get(&identity) {
            Some(booked) if *booked == record.hash => return Verdict::Duplicate,
            Some(_) => return Verdict::Quarantine(Fault::Contradiction),
            None => {}
        }
        match &record.body {
            Err(fault) => return Verdict::Quarantine(fault.clone()),
            Ok(Body::Ended { attempt, .. }) if !self.ended.insert(*attempt) => return Verdict::Quarantine(Fault::SecondTerminal),
            Ok(_) => {}
        }
        self.events.insert(identity, record.hash);
        Verdict::Book
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(attempt: u8, kind: Kind, amount: i64) -> Event {
        let attempt = Attempt {
            attempt_id: vec![attempt; 16].into(),
            generation_id: vec![9; 16].into(),
            workspace: "w".into(),
            ..Attempt::default()
        };
        Event { attempt: Some(attempt), kind: kind.into(), amount_picousd: amount, ..Event::default() }
    }

    fn spooled(incarnation: u64, sequence: u64, event: &Event) -> Spooled {
        let attempt_id = event.attempt.as_ref().map(|attempt| attempt.attempt_id.clone()).unwrap_or_default();
        Spooled { incarnation, sequence, kind: event.kind, attempt_id, payload: event.encode_to_vec().into() }
    }

    fn closed(incarnation: u64, sequence: u64, last_sequence: u64) -> Spooled {
        let payload = Closed { last_sequence, doubt: false }.encode_to_vec().into();
        Spooled { incarnation, sequence, kind: Kind::Closed.into(), payload, ..Spooled::default() }
    }

    /// Judges the records one after the other, as one batch, by a ledger whose own incarnation is 99.
    fn check(records: &[Spooled], expected: &[Verdict]) {
        let read: Vec<_> = records.iter().map(read).collect();
        assert_eq!(Known { own: 99, ..Known::default() }.judge(&read), expected);
    }

    #[test]
    fn a_record_is_booked_once_and_an_attempt_ends_once() {
        let (first, other) = (event(1, Kind::Settled, 5), event(2, Kind::Failed, 0));
        check(
            &[
                spooled(1, 1, &first),
                spooled(1, 1, &first),
                spooled(1, 1, &other),
                spooled(1, 2, &other),
                spooled(2, 1, &first),
                spooled(2, 2, &event(1, Kind::Orphaned, 5)),
                closed(1, 3, 2),
                closed(1, 3, 2),
            ],
            &[
                Verdict::Book,
                Verdict::Duplicate,
                Verdict::Quarantine(Fault::Contradiction),
                Verdict::Book,
                Verdict::Quarantine(Fault::SecondTerminal),
                Verdict::Quarantine(Fault::SecondTerminal),
                Verdict::Book,
                Verdict::Duplicate,
            ],
        );
    }

    #[test]
    fn a_damaged_record_does_not_take_the_place_of_the_sound_one() {
        let sound = spooled(1, 1, &event(1, Kind::Settled, 5));
        let damaged = Spooled { payload: vec![0xff].into(), ..sound.clone() };
        let verdicts = Known { own: 99, ..Known::default() }.judge(&[read(&damaged), read(&sound)]);
        assert!(matches!(verdicts[..], [Verdict::Quarantine(Fault::Undecodable(_)), Verdict::Book]), "{verdicts:?}");
    }

    #[test]
    fn what_a_proxy_may_not_write_is_set_aside() {
        let sound = event(1, Kind::Settled, 5);
        let without = |change: fn(&mut Attempt)| {
            let mut event = sound.clone();
            event.attempt.as_mut().into_iter().for_each(change);
            event
        };
        let rows: [(Spooled, Fault); 14] = [
            (spooled(99, 1, &sound), Fault::ForeignIncarnation),
            (spooled(1, 0, &sound), Fault::Malformed("the sequence number")),
            (spooled(1, 1 << 63, &sound), Fault::Malformed("the sequence number")),
            (Spooled { kind: Kind::Orphaned.into(), ..spooled(1, 1, &sound) }, Fault::Disagreement("the kind")),
            (Spooled { attempt_id: vec![7; 16].into(), ..spooled(1, 1, &sound) }, Fault::Disagreement("the attempt id")),
            (spooled(1, 1, &Event { attempt: None, ..sound.clone() }), Fault::Malformed("the attempt")),
            (spooled(1, 1, &without(|attempt| attempt.attempt_id = vec![1; 15].into())), Fault::Malformed("the attempt id")),
            (spooled(1, 1, &without(|attempt| attempt.generation_id.clear())), Fault::Malformed("the generation id")),
            (spooled(1, 1, &without(|attempt| attempt.workspace = "w\0".into())), Fault::Malformed("the workspace")),
            (spooled(1, 1, &without(|attempt| attempt.account = "a".repeat(513))), Fault::Malformed("the account")),
            (spooled(1, 1, &event(1, Kind::Settled, -5)), Fault::Unpostable(Unpostable::NegativeAmount)),
            (spooled(1, 1, &event(1, Kind::Adjusted, 5)), Fault::Unpostable(Unpostable::AdjustmentAlone)),
            (spooled(1, 1, &event(1, Kind::Intent, 5)), Fault::Unpostable(Unpostable::NotAnEvent)),
            (closed(1, 1, u64::MAX), Fault::Malformed("the last sequence number")),
        ];
        for (record, fault) in rows {
            check(&[record], &[Verdict::Quarantine(fault)]);
        }
    }
}
