//! Cases of somebody else's suite, which panic when something is not as it must be.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Result, bail};
use waybill_tests::Report;

/// A suite at work.
pub struct Suite {
    name: &'static str,
    start: Instant,
    cases: usize,
    failed: Vec<String>,
}

impl Suite {
    /// Nothing was run yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, start: Instant::now(), cases: 0, failed: Vec::new() }
    }

    /// Runs a case to its end or its panic.
    pub fn check(&mut self, case: &str, run: impl Future<Output = ()>) {
        self.check_blocking(case, || runtime().block_on(run));
    }

    /// The same for one that brings a runtime of its own.
    pub fn check_blocking(&mut self, case: &str, run: impl FnOnce()) {
        self.cases += 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            self.failed.push(format!("{case}: {}", said.unwrap_or("it panicked")));
        }
    }

    /// All that failed are told.
    pub fn end(self, report: &mut Report) -> Result<()> {
        report.figure(&format!("{}.cases", self.name), self.cases as f64, "");
        report.figure(&format!("{}.took", self.name), self.start.elapsed().as_secs_f64(), "s");
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("{} of {} cases failed:\n  {}", self.failed.len(), self.cases, self.failed.join("\n  "))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap_or_else(|error| panic!("a runtime: {error}"))
}
