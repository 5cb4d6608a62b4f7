//! Records as they travel to the ledger: messages of the contract, whatever way they go.

use prost::Message;
use waybill_proto::usage::v1 as wire;

use super::plan::Closed;
use super::reader::Record;
use super::record::Kind;

impl Record {
    /// The record as billing reads it. The spool writes the end of a log in a form of its own; the ledger knows messages of the contract only.
    #[must_use]
    pub fn into_wire(self) -> wire::Spooled {
        let payload = match (self.kind, Closed::decode(&self.payload)) {
            (Kind::Closed, Some(closed)) => wire::Closed { last_sequence: closed.last_seq, doubt: closed.doubt }.encode_to_vec(),
            _ => self.payload,
        };
        wire::Spooled {
            incarnation: self.incarnation,
            sequence: self.seq,
            kind: wire::Kind::from(self.kind).into(),
            attempt_id: self.attempt.to_vec().into(),
            payload: payload.into(),
        }
    }
}

impl From<Kind> for wire::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Intent => Self::Intent,
            Kind::Settled => Self::Settled,
            Kind::Partial => Self::Partial,
            Kind::Failed => Self::Failed,
            Kind::Orphaned => Self::Orphaned,
            Kind::Adjusted => Self::Adjusted,
            Kind::Closed => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_travels_as_it_was_written_and_the_end_of_a_log_as_the_contract_has_it() {
        let record = |kind, payload: &[u8]| Record {
            incarnation: 1 << 60,
            seq: 7,
            kind,
            attempt: [3; 16],
            carried: false,
            payload: payload.to_vec(),
        };
        let event = record(Kind::Partial, b"an encoded event").into_wire();
        assert_eq!((event.incarnation, event.sequence, event.kind()), (1 << 60, 7, wire::Kind::Partial));
        assert_eq!((&event.attempt_id[..], &event.payload[..]), (&[3; 16][..], &b"an encoded event"[..]));
        let closed = record(Kind::Closed, &Closed { last_seq: 6, doubt: true }.encode()).into_wire();
        assert_eq!(wire::Closed::decode(closed.payload), Ok(wire::Closed { last_sequence: 6, doubt: true }));
    }
}
