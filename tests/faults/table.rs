//! What is told of each row.

use std::time::Duration;

use waybill_tests::Report;

use crate::rows::Row;

/// One row of the table.
#[derive(Debug)]
pub struct Line {
    number: u32,
    fault: &'static str,
    /// Requests that were sent during it.
    pub requests: u64,
    /// Of them, those that were answered as they should be.
    pub answered: u64,
    /// Attempts whose event is not as it must be, or missing, or too many: V1.
    pub money: usize,
    /// Revisions that went back: V3.
    pub configuration: usize,
    /// Places where a secret or a prompt was found: V6.
    pub secrets: usize,
    /// Infrastructure told to a caller as a fault of the caller's: V8.
    pub untruths: usize,
    /// Requests that should have been answered and were not.
    pub unanswered: usize,
    recovered: Option<Duration>,
    settled: Option<Duration>,
    figures: Vec<(String, f64, &'static str)>,
}

impl Line {
    pub const fn new(row: &Row) -> Self {
        Self {
            number: row.number,
            fault: row.fault,
            requests: 0,
            answered: 0,
            money: 0,
            configuration: 0,
            secrets: 0,
            untruths: 0,
            unanswered: 0,
            recovered: None,
            settled: None,
            figures: Vec::new(),
        }
    }

    /// A figure of this row alone.
    pub fn figure(&mut self, name: &str, value: f64, unit: &'static str) {
        self.figures.push((name.to_owned(), value, unit));
    }

    /// A time of this row alone.
    pub fn time(&mut self, name: &str, time: Duration) {
        self.figure(name, time.as_secs_f64(), "s");
    }

    /// How long it took until all was as before: V7. The longest counts.
    pub fn recovered(&mut self, time: Duration) {
        self.recovered = self.recovered.max(Some(time));
    }

    /// How long the ledger took to know of everything: V5. Where nothing else had to be mended that is the recovery, too.
    pub fn settled(&mut self, time: Duration) {
        self.settled = Some(time);
        self.recovered.get_or_insert(time);
    }

    /// V4: of the requests, those that were answered as they should be.
    pub fn availability(&self) -> f64 {
        if self.requests == 0 { 100.0 } else { self.answered as f64 * 100.0 / self.requests as f64 }
    }

    /// Adds its figures.
    pub fn tell(&self, report: &mut Report) {
        let mut tell = |name: &str, value: f64, unit| report.figure(&format!("row_{}.{name}", self.number), value, unit);
        tell("requests", self.requests as f64, "");
        tell("answered", self.availability(), "%");
        for (name, count) in [("v1", self.money), ("v3", self.configuration), ("v6", self.secrets), ("v8", self.untruths)] {
            tell(name, count as f64, "findings");
        }
        for (name, time) in [("recovered", self.recovered), ("ledger_complete", self.settled)] {
            if let Some(time) = time {
                tell(name, time.as_secs_f64(), "s");
            }
        }
        for (name, value, unit) in &self.figures {
            tell(name, *value, unit);
        }
    }
}

/// All rows.
#[derive(Debug, Default)]
pub struct Table(Vec<Line>);

impl Table {
    pub fn add(&mut self, line: Line) {
        self.0.push(line);
    }

    /// As Markdown, so that it can stand in a document as it is.
    pub fn print(&self) {
        println!("\n| # | fault | requests | V1 difference | V3 | V4 answered | V5 complete | V6 | V7 recovered | V8 | figures |");
        println!("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|---|");
        let seconds = |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        let mut lines: Vec<&Line> = self.0.iter().collect();
        lines.sort_unstable_by_key(|line| line.number);
        for line in lines {
            let figures: Vec<String> = line.figures.iter().map(|(name, value, unit)| format!("{name} {value:.2} {unit}")).collect();
            println!(
                "| {} | {} | {} | {} | {} | {:.2} % | {} | {} | {} | {} | {} |",
                line.number,
                line.fault,
                line.requests,
                line.money,
                line.configuration,
                line.availability(),
                seconds(line.settled),
                line.secrets,
                seconds(line.recovered),
                line.untruths,
                figures.join(", ")
            );
        }
        println!();
    }
}
