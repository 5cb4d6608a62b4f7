//! The state of the ledger in numbers.

use waybill_proto::{admin::v1::LedgerStatus, usage::v1::Closed};

use crate::sequences::Sequences;

/// The state of the ledger.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Events, terminal or not.
    pub events: u64,
    /// Orphaned attempts that nobody has resolved.
    pub orphaned_open: u64,
    /// Records set aside.
    pub quarantined: u64,
    /// Each incarnation that has sent something.
    pub incarnations: Vec<IncarnationStatus>,
}

/// How complete the events of an incarnation are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IncarnationStatus {
    /// The incarnation.
    pub incarnation: u64,
    /// Up to here nothing is missing.
    pub watermark: u64,
    /// The highest sequence number that has arrived.
    pub highest: u64,
    /// Ranges that have not arrived, both ends included. Of a closed incarnation they will not come any more.
    pub missing: Vec<(u64, u64)>,
    /// How it ended, if it has.
    pub closed: Option<Closed>,
}

impl IncarnationStatus {
    pub(crate) fn of(incarnation: u64, arrived: &Sequences, closed: Option<Closed>) -> Self {
        let highest = arrived.highest();
        let last = highest.max(closed.map_or(0, |closed| closed.last_sequence));
        Self { incarnation, watermark: arrived.watermark(), highest, missing: arrived.missing(last), closed }
    }
}

/// A record that was set aside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quarantined {
    /// Under which incarnation it came.
    pub incarnation: u64,
    /// And with which sequence number.
    pub sequence: u64,
    /// Its kind, as the record says.
    pub kind: i32,
    /// Its attempt id, as the record says.
    pub attempt_id: Vec<u8>,
    /// Why it cannot be booked.
    pub reason: String,
    /// The payload as it came.
    pub payload: Vec<u8>,
}

impl From<&Status> for LedgerStatus {
    /// The spools' part (bytes, lag) is not known here and left at 0.
    fn from(status: &Status) -> Self {
        let Status { events, orphaned_open, quarantined, .. } = *status;
        Self { events, orphaned_open, quarantined, ..Self::default() }
    }
}
