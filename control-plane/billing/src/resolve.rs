//! The word of a named operator, by which something is resolved that nobody saw. Pure.

use waybill_model::{id::AttemptId, money::Picousd};
use waybill_proto::{
    admin::v1::EventRow,
    usage::v1::{Event, Kind, Source},
};

use crate::{
    batch::Booking,
    error::{Error, Refusal},
    intake::content_hash,
    ledger::post_adjustment,
};

/// Who resolved an attempt, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adjustment {
    /// The named operator.
    pub operator: String,
    /// Why, and on what evidence.
    pub reason: String,
    /// When, microseconds since 1970.
    pub unix_us: i64,
}

/// Who declared records of a log as lost, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WriteOff {
    /// The named operator.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// When, milliseconds since 1970.
    pub unix_ms: i64,
}

/// Who let a partition go on elsewhere, and why: Kafka has deleted what the ledger has not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reset {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
    /// Where the ledger stands, by the operator's knowledge.
    pub from: Option<i64>,
    /// Where it goes on.
    pub to: i64,
    /// The named operator.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// When, milliseconds since 1970.
    pub unix_ms: i64,
}

impl Reset {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        named(&self.operator, &self.reason)
    }

    /// Whether the ledger stands where the operator believes. `found` is its partition, if it knows it.
    pub(crate) fn stands(&self, found: Option<Option<i64>>) -> Result<(), Refusal> {
        let Self { topic, partition, from, .. } = self;
        match found {
            None => Err(Refusal::NoPartition { topic: topic.clone(), partition: *partition }),
            Some(stored) if stored != *from => Err(Refusal::Elsewhere { topic: topic.clone(), partition: *partition, from: *from, stored }),
            Some(_) => Ok(()),
        }
    }
}

impl Adjustment {
    pub(crate) fn check(&self, amount: Picousd) -> Result<(), Refusal> {
        named(&self.operator, &self.reason)?;
        if amount.0 < 0 { Err(Refusal::NegativeAmount) } else { Ok(()) }
    }
}

impl WriteOff {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        named(&self.operator, &self.reason)
    }
}

fn named(operator: &str, reason: &str) -> Result<(), Refusal> {
    if operator.trim().is_empty() {
        return Err(Refusal::NoOperator);
    }
    if reason.trim().is_empty() {
        return Err(Refusal::NoReason);
    }
    Ok(())
}

/// The terminal event of an attempt, if it is orphaned and nobody has resolved it.
pub(crate) fn unresolved(terminal: Option<EventRow>, attempt: AttemptId) -> Result<EventRow, Refusal> {
    let row = terminal.ok_or(Refusal::Unknown(attempt))?;
    let kind = row.event.as_ref().map_or(Kind::Unspecified, Event::kind);
    if kind != Kind::Orphaned {
        let kind = kind.as_str_name().trim_start_matches("KIND_").to_ascii_lowercase();
        return Err(Refusal::NotOrphaned { attempt, kind });
    }
    if row.adjusted.is_some() {
        return Err(Refusal::AlreadyAdjusted(attempt));
    }
    Ok(row)
}

/// The event that resolves an orphan at this amount.
pub(crate) fn adjusted(orphan: &Event, amount: Picousd) -> Event {
    Event {
        attempt: orphan.attempt.clone(),
        kind: Kind::Adjusted.into(),
        source: Source::Operator.into(),
        amount_picousd: amount.0,
        provider_answer_id: orphan.provider_answer_id.clone(),
        model_served: orphan.model_served.clone(),
        outcome: "adjusted".to_owned(),
        ..Event::default()
    }
}

/// What is written of it, under the ledger's own incarnation. `payload` is the encoded event.
pub(crate) fn booking<'a>(identity: (u64, u64), orphan: &'a Event, adjusted: &'a Event, payload: &'a [u8]) -> Result<Booking<'a>, Error> {
    let attempt = adjusted.attempt.as_ref().ok_or_else(|| Error::Damaged("an orphaned event has no attempt".to_owned()))?;
    let entries = post_adjustment(orphan, adjusted).map_err(|error| Error::Damaged(error.to_string()))?;
    let hash = content_hash(adjusted.kind, &attempt.attempt_id, payload);
    Ok(Booking { identity, kind: adjusted.kind, ended: Some((adjusted, attempt)), entries, hash, payload })
}
