//! What is told: a table of deaths, the findings, and a list of `{name, value, unit, reach, ok}` for programs.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::lives::Life;
use waybill_tests::oracle::verdict::{Finding, Promise, Tally, Verdict};

/// Longest time from the start of a process until it serves.
const READY: Duration = Duration::from_secs(2);

/// Least requests a second, while a process serves.
const RATE: u64 = 200;

/// Findings of one promise that are printed.
const SHOWN: usize = 12;

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: u64,
    unit: &'static str,
    /// At most this much; of a rate, at least. `None` = for information.
    reach: Option<u64>,
    ok: bool,
}

/// One line of the table: all lives that ended by the same death.
#[derive(Debug, Default)]
struct Line {
    death: &'static str,
    lives: u64,
    tally: Tally,
    duplicates: usize,
    losses: usize,
    wrong: usize,
    /// Of the start that followed.
    ready: Duration,
}

/// What the whole run comes to.
pub struct Report {
    figures: Vec<Figure>,
    passed: usize,
    failed: usize,
}

impl Report {
    /// Prints the tables and counts. `failures` is what was to happen and did not.
    pub fn new(lives: &[Life], failures: &[String], verdict: &Verdict) -> Self {
        let mut report = Self { figures: Vec::new(), passed: 0, failed: 0 };
        print_table(&lines(lives, verdict));
        for promise in Promise::ALL {
            let found: Vec<&Finding> = verdict.findings.iter().filter(|finding| finding.promise == promise).collect();
            for finding in found.iter().take(SHOWN) {
                let death = finding.life.and_then(|life| lives.get(life)).map_or("", |life| life.death);
                println!(
                    "  {}: {}{}",
                    promise.figure(),
                    finding.what,
                    if death.is_empty() { String::new() } else { format!(" (life ended: {death})") }
                );
            }
            if found.len() > SHOWN {
                println!("  {}: and {} more", promise.figure(), found.len() - SHOWN);
            }
            report.most(promise.figure(), found.len() as u64, "", 0);
        }
        for failure in failures {
            println!("  did not happen: {failure}");
        }
        report.most("did_not_happen", failures.len() as u64, "", 0);
        let slowest = lives.iter().filter_map(|life| life.ready).max().unwrap_or_default();
        report.most("ready_max", millis(slowest), "ms", millis(READY));
        report.counts(lives, verdict);
        report
    }

    fn counts(&mut self, lives: &[Life], verdict: &Verdict) {
        let sum = |part: fn(&Tally) -> u64| verdict.tallies.iter().map(part).sum::<u64>();
        let requests = sum(|tally| tally.requests);
        for (name, value) in [
            ("kills", lives.iter().filter(|life| life.is_killed).count() as u64),
            ("requests", requests),
            ("seen_to_the_end", sum(|tally| tally.seen)),
            ("answered_with_an_error", sum(|tally| tally.errors)),
            ("cut", sum(|tally| tally.cut)),
            ("cut_and_settled", sum(|tally| tally.cut_and_settled)),
            ("without_an_attempt", sum(|tally| tally.without_attempt)),
            ("settled", sum(|tally| tally.settled)),
            ("orphaned", sum(|tally| tally.orphaned)),
            ("failed", sum(|tally| tally.failed)),
        ] {
            self.figures.push(Figure { name: name.to_owned(), value, unit: "", reach: None, ok: true });
        }
        let served: Duration = lives.iter().map(|life| life.served).sum();
        let rate = u64::try_from(u128::from(requests) * 1000 / served.as_millis().max(1)).unwrap_or(u64::MAX);
        // The machine's figure more than the product's, so it fails no test.
        self.figures.push(Figure { name: "rate".to_owned(), value: rate, unit: "requests/s", reach: Some(RATE), ok: rate >= RATE });
    }

    /// A figure that is a test: it may be so much at most.
    fn most(&mut self, name: &str, value: u64, unit: &'static str, reach: u64) {
        let ok = value <= reach;
        self.passed += usize::from(ok);
        self.failed += usize::from(!ok);
        self.figures.push(Figure { name: name.to_owned(), value, unit, reach: Some(reach), ok });
    }

    pub const fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Prints the figures and the closing line.
    pub fn print(&self) {
        for Figure { name, value, unit, reach, ok } in &self.figures {
            let reach = reach.map_or(String::new(), |reach| format!(" (reach {reach}){}", if *ok { "" } else { "  NOT REACHED" }));
            println!("  {name:<24} {value:>9} {unit}{reach}");
        }
        println!("{} passed, {} failed, 0 skipped", self.passed, self.failed);
    }

    /// Writes all figures as JSON.
    pub fn write(&self, file: &Path) -> Result<()> {
        let named = |figure: &Figure| Figure { name: format!("kill.{}", figure.name), ..*figure };
        let figures: Vec<Figure> = self.figures.iter().map(named).collect();
        Ok(std::fs::write(file, serde_json::to_vec_pretty(&figures)?)?)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Lives by their deaths, in the order in which these came first.
fn lines(lives: &[Life], verdict: &Verdict) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (number, life) in lives.iter().enumerate() {
        let place = lines.iter().position(|line| line.death == life.death).unwrap_or(lines.len());
        if place == lines.len() {
            lines.push(Line { death: life.death, ..Line::default() });
        }
        let line = &mut lines[place];
        line.lives += 1;
        if let Some(tally) = verdict.tallies.get(number) {
            line.tally.add(tally);
        }
        let of = |promise| verdict.findings.iter().filter(|finding| finding.promise == promise && finding.life == Some(number)).count();
        line.duplicates += of(Promise::NothingTwice);
        line.losses += of(Promise::NothingLost);
        line.wrong += of(Promise::Amounts) + of(Promise::Kinds);
        let next = lives[number + 1..].iter().find_map(|life| life.ready);
        line.ready = line.ready.max(next.unwrap_or_default());
    }
    lines
}

fn print_table(lines: &[Line]) {
    println!(
        "{:<22} {:>5} {:>8} {:>8} {:>7} {:>6} {:>8} {:>8} {:>7} {:>5} {:>5} {:>6} {:>9}",
        "died at", "lives", "requests", "seen", "errors", "cut", "settled", "orphaned", "failed", "twice", "lost", "wrong", "ready ms"
    );
    for Line { death, lives, tally, duplicates, losses, wrong, ready } in lines {
        let Tally { requests, seen, errors, cut, settled, orphaned, failed, .. } = tally;
        println!(
            "{death:<22} {lives:>5} {requests:>8} {seen:>8} {errors:>7} {cut:>6} {settled:>8} {orphaned:>8} {failed:>7} {duplicates:>5} {losses:>5} \
             {wrong:>6} {:>9}",
            ready.as_millis()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(death: &'static str, ready_ms: Option<u64>) -> Life {
        Life { death, ready: ready_ms.map(Duration::from_millis), served: Duration::from_secs(1), is_killed: death != "none" }
    }

    #[test]
    fn lives_are_counted_under_their_deaths_and_timed_by_the_next_start() {
        let lives = [life("a", Some(100)), life("b", None), life("a", Some(700)), life("none", Some(300))];
        let finding = Finding { promise: Promise::NothingTwice, life: Some(2), what: String::new() };
        let tallies = vec![Tally { requests: 100, ..Tally::default() }; 4];
        let verdict = Verdict { findings: vec![finding], tallies };
        let lines = lines(&lives, &verdict);
        let read: Vec<_> =
            lines.iter().map(|line| (line.death, line.lives, line.tally.requests, line.duplicates, line.ready.as_millis())).collect();
        assert_eq!(read, [("a", 2, 200, 1, 700), ("b", 1, 100, 0, 700), ("none", 1, 100, 0, 0)]);
        let report = Report::new(&lives, &["something".to_owned()], &verdict);
        assert_eq!((report.passed, report.failed), (Promise::ALL.len(), 2));
        let rate = report.figures.last().unwrap();
        assert_eq!((rate.name.as_str(), rate.value, rate.ok), ("rate", 100, false));
    }
}
