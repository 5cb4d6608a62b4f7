//! What the spool says of itself outside of the events' own way: how far each log has written, so that somebody can see what never arrived.

use std::sync::atomic::{AtomicU64, Ordering};

use waybill_proto::sync::v1 as wire;

/// How far a log has given out sequence numbers, and how far its records have been released.
#[derive(Debug, Default)]
pub(crate) struct Given {
    last: AtomicU64,
    released: AtomicU64,
}

impl Given {
    /// Of a log that gives out no more.
    pub(crate) fn up_to(last: u64, released: u64) -> Self {
        Self { last: AtomicU64::new(last), released: AtomicU64::new(released) }
    }

    pub(crate) fn give(&self, seq: u64) {
        self.last.store(seq, Ordering::Release);
    }

    pub(crate) fn release(&self, seq: u64) {
        self.released.fetch_max(seq, Ordering::AcqRel);
    }

    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    pub(crate) fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }
}

/// The state of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogReport {
    pub incarnation: u64,
    /// The last sequence number that was given out, that of `closed` included: what the ledger must have in the end.
    pub last_sequence: u64,
    /// The number is final.
    pub closed: bool,
}

/// The state of a spool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The logs that lie in the folder, and those that have left it in this process life.
    pub logs: Vec<LogReport>,
    pub bytes: u64,
    pub bound_bytes: u64,
    /// Records with a sequence number that have not been released. After a start it may count some that an earlier process has.
    pub waiting_events: u64,
}

impl Report {
    /// As it is sent, with the number of requests that were served without a record.
    #[must_use]
    pub fn to_wire(&self, unbilled_requests: u64) -> wire::SpoolReport {
        let log = |log: &LogReport| wire::LogReport { incarnation: log.incarnation, last_sequence: log.last_sequence, closed: log.closed };
        wire::SpoolReport {
            logs: self.logs.iter().map(log).collect(),
            spool_bytes: self.bytes,
            spool_bound_bytes: self.bound_bytes,
            waiting_events: self.waiting_events,
            unbilled_requests,
        }
    }
}
