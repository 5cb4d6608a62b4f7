//! An event as it lies in its row.

use prost::Message;
use waybill_proto::{
    admin::v1::EventRow,
    usage::v1::{Attempt, Event, Kind},
};

use crate::{error::Error, intake::Identity, usage::Scope};

/// Rows of a listing that names no limit.
pub const DEFAULT_EVENTS: u32 = 100;

/// Rows of the longest listing: they are held in memory.
pub const MOST_EVENTS: u32 = 10_000;

/// What is shown of a row.
///
/// # Errors
/// A payload is not an event.
pub fn event_row(identity: Identity, kind: i32, payload: &[u8], adjusted: Option<&[u8]>, position: u64) -> Result<EventRow, Error> {
    let (incarnation, sequence) = identity;
    let event = if kind == i32::from(Kind::Closed) { Event { kind, ..Event::default() } } else { event(payload)? };
    Ok(EventRow { incarnation, sequence, event: Some(event), adjusted: adjusted.map(self::event).transpose()?, position })
}

fn event(payload: &[u8]) -> Result<Event, Error> {
    Event::decode(payload).map_err(|error| Error::Damaged(format!("the payload of an event: {error}")))
}

/// All columns of a row.
pub struct Stored {
    pub id: i64,
    pub incarnation: i64,
    pub sequence: i64,
    pub kind: i32,
    pub attempt: Vec<u8>,
    pub generation: Vec<u8>,
    pub number: i64,
    pub scope: Scope,
    pub model: String,
    /// In the form that the database searches by.
    pub answer: Vec<u8>,
    pub amount: i64,
    pub hash: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Stored {
    /// The columns beside the payload say what it says.
    pub fn agrees(&self, event: &Event, attempt: &Attempt, answer: fn(&str) -> Vec<u8>) -> bool {
        self.kind == event.kind
            && self.attempt == attempt.attempt_id[..]
            && self.generation == attempt.generation_id[..]
            && self.number == i64::from(attempt.number)
            && self.scope == Scope { org: attempt.org.clone(), workspace: attempt.workspace.clone(), api_key: attempt.api_key.clone() }
            && self.model == attempt.model
            && self.answer == answer(&event.provider_answer_id)
            && self.amount == event.amount_picousd
    }
}
