//! What is known of a proxy: who it is, and what it has applied.

use waybill_proto::sync::v1::{Deny, Hello, Report, Verdict};

/// A proxy with an open session.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its stable name.
    pub proxy: String,
    /// Random per process life.
    pub process: u64,
    /// Its build.
    pub build: String,
    /// The revision sent last; 0 = none in this session.
    pub pushed_revision: u64,
    /// What it has applied.
    pub applied: Applied,
    lifts: Vec<Deny>,
}

/// What a proxy says it has applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The revision in force.
    pub revision: u64,
    /// The deny epoch in force and on its disk.
    pub deny_epoch: u64,
    /// Resources that are not in force as they were sent.
    pub rejected: Vec<Verdict>,
    /// Resources that are in force and will not serve as they are.
    pub warnings: Vec<Verdict>,
    /// It holds the newest publication.
    pub in_step: bool,
    /// If it does not: when it last did, or when the session was opened; milliseconds of the session's clock.
    pub in_step_ms: u64,
}

impl Member {
    pub(super) fn new(hello: Hello, lifts: Vec<Deny>, now_ms: u64) -> Self {
        let applied = Applied { revision: hello.applied_revision, deny_epoch: hello.deny_epoch, in_step_ms: now_ms, ..Applied::default() };
        Self { proxy: hello.proxy, process: hello.process, build: hello.build, pushed_revision: 0, applied, lifts }
    }

    #[cfg(test)]
    pub(crate) fn of_test(hello: Hello) -> Self {
        Self::new(hello, Vec::new(), 0)
    }

    pub(super) fn take_lifts(&mut self) -> Vec<Deny> {
        std::mem::take(&mut self.lifts)
    }
}

impl Applied {
    pub(super) fn verdicts(&mut self, report: Report) {
        self.revision = report.applied_revision;
        self.rejected = report.rejected;
        self.warnings = report.warnings;
    }

    /// A proxy that was in step is so up to the moment at which it is found not to be.
    pub(super) const fn note(&mut self, in_step: bool, now_ms: u64) {
        if self.in_step && !in_step {
            self.in_step_ms = now_ms;
        }
        self.in_step = in_step;
    }
}
