//! What a suite tells: a line for each test, a table of figures, the closing line, and a list of `{name, value, unit, reach, ok}` for programs.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::servers::Missing;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// `suite.case.what`.
    pub name: String,
    /// Rounded to thousandths.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// At most this much; `None` = for information.
    pub reach: Option<f64>,
    /// False when it misses its reach.
    pub ok: bool,
}

/// All that a suite has to tell.
#[derive(Debug)]
pub struct Report {
    suite: &'static str,
    figures: Vec<Figure>,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    /// Nothing yet.
    pub const fn new(suite: &'static str) -> Self {
        Self { suite, figures: Vec::new(), passed: 0, failed: 0, skipped: 0 }
    }

    /// A test and how it went. A server that cannot be had skips it, unless every server has to be there. True when it did not fail.
    pub fn test(&mut self, name: &str, outcome: &Result<()>, took: Duration) -> bool {
        let seconds = took.as_secs_f64();
        let missing = outcome.as_ref().err().and_then(|error| error.downcast_ref::<Missing>());
        match (outcome, missing) {
            (Ok(()), _) => {
                println!("passed: {name} ({seconds:.1} s)");
                self.passed += 1;
            }
            (Err(_), Some(missing)) if !Missing::is_failure() => {
                println!("skipped: {name}: {missing}");
                self.skipped += 1;
            }
            (Err(error), _) => {
                println!("FAILED: {name} ({seconds:.1} s): {error:#}");
                self.failed += 1;
                return false;
            }
        }
        true
    }

    /// A figure for information.
    pub fn figure(&mut self, name: &str, value: f64, unit: &'static str) {
        self.push(name, value, unit, None);
    }

    /// A figure with a reach. That it is missed is told and fails nothing: what must hold is a test.
    pub fn reach(&mut self, name: &str, value: f64, unit: &'static str, reach: f64) {
        self.push(name, value, unit, Some(reach));
    }

    fn push(&mut self, name: &str, value: f64, unit: &'static str, reach: Option<f64>) {
        let value = (value * 1000.0).round() / 1000.0;
        let ok = reach.is_none_or(|reach| value <= reach);
        self.figures.push(Figure { name: format!("{}.{name}", self.suite), value, unit, reach, ok });
    }

    /// True when a test has failed.
    pub const fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// All figures so far.
    pub fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// Prints the figures and the closing line.
    pub fn close(&self) {
        for Figure { name, value, unit, reach, ok } in &self.figures {
            let reach = reach.map_or(String::new(), |reach| format!(" (reach {reach}){}", if *ok { "" } else { "  NOT REACHED" }));
            println!("  {name:<56} {value:>12} {unit}{reach}");
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
    }

    /// Writes all figures as JSON.
    pub fn write(&self, file: &Path) -> Result<()> {
        Ok(std::fs::write(file, serde_json::to_vec_pretty(&self.figures)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_and_figures_keep_their_reach() {
        let mut report = Report::new("suite");
        assert!(report.test("good", &Ok(()), Duration::ZERO));
        assert!(!report.test("bad", &Err(anyhow::anyhow!("no")), Duration::ZERO));
        report.reach("one.time", 1.23456, "s", 1.0);
        report.figure("one.count", 2.0, "");
        assert_eq!((report.passed, report.failed, report.skipped, report.has_failed()), (1, 1, 0, true));
        let figures: Vec<(&str, f64, bool)> =
            report.figures().iter().map(|figure| (figure.name.as_str(), figure.value, figure.ok)).collect();
        assert_eq!(figures, [("suite.one.time", 1.235, false), ("suite.one.count", 2.0, true)]);
    }

    #[test]
    fn a_missing_server_skips_unless_it_must_be_there() {
        let mut report = Report::new("suite");
        let missing = Missing { server: "etcd", reason: "no go".to_owned() };
        let outcome = Err(anyhow::Error::new(missing).context("starting"));
        report.test("needs it", &outcome, Duration::ZERO);
        let expected = if Missing::is_failure() { (1, 0) } else { (0, 1) };
        assert_eq!((report.failed, report.skipped), expected);
    }
}
