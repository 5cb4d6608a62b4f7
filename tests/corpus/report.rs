//! What is told: tables for people, and a list of `{name, value, unit, reach, ok}` for programs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::checks::CHECKS;
use crate::dialect::Pair;
use crate::judge::Verdict;

/// One figure.
#[derive(Debug, Serialize)]
pub struct Figure {
    name: String,
    value: usize,
    unit: &'static str,
    /// At most this much; `None` = for information.
    reach: Option<usize>,
    ok: bool,
}

/// What a folder held, before it was asked.
pub struct Inventory {
    pub name: &'static str,
    pub files: BTreeMap<(String, String), usize>,
    pub excluded: BTreeMap<String, Vec<String>>,
    /// Interactions that were asked.
    pub asked: usize,
    /// All that was made of them and of the quoted errors.
    pub cases: usize,
    /// Cases made of quoted errors.
    pub wild: usize,
    /// Errors the table has no row for.
    pub unknown: Vec<String>,
}

/// What the whole run comes to.
#[derive(Default)]
pub struct Report {
    figures: Vec<Figure>,
    passed: usize,
    failed: usize,
}

impl Report {
    /// Prints and counts one folder.
    pub fn folder(&mut self, inventory: &Inventory, verdict: &Verdict) {
        let name = inventory.name;
        let total: usize = inventory.files.values().sum();
        let excluded: usize = inventory.excluded.values().map(Vec::len).sum();
        println!(
            "\n{name}: {total} interactions = {} asked + {excluded} excluded; {} cases of quoted errors",
            inventory.asked, inventory.wild
        );
        println!("  files by provider and dialect:");
        let mut by_provider = BTreeMap::<&str, Vec<String>>::new();
        for ((provider, endpoint), count) in &inventory.files {
            by_provider.entry(provider).or_default().push(format!("{endpoint} {count}"));
        }
        by_provider.iter().for_each(|(provider, counts)| println!("    {provider:<16} {}", counts.join(", ")));
        println!("  excluded:");
        inventory.excluded.iter().for_each(|(reason, ids)| println!("    {:>4}  {reason}", ids.len()));
        println!("  usage that needs arithmetic of its own:");
        for (name, (row, cases)) in &verdict.arithmetic {
            println!("    {:>4}  {name}: {}", cases.len(), row.reason);
        }
        self.table(name, verdict);
        for miss in &verdict.misses {
            println!("  miss: {} {}, {} {}: {}", miss.case, miss.pair, miss.way, miss.check, miss.detail);
        }
        inventory.unknown.iter().for_each(|id| println!("  miss: {id}: the table of errors has no row for it"));
        let unaccounted = total.abs_diff(inventory.asked + excluded);
        for (what, value, unit, reach) in [
            ("interactions", total, "files", None),
            ("asked", inventory.asked, "files", None),
            ("excluded", excluded, "files", None),
            ("unaccounted", unaccounted, "files", Some(0)),
            ("errors-without-a-row", inventory.unknown.len(), "errors", Some(0)),
        ] {
            self.figure(format!("{name}.{what}"), value, unit, reach);
        }
        let mut missed: Vec<&str> = verdict.misses.iter().map(|miss| miss.case.as_str()).collect();
        missed.sort_unstable();
        missed.dedup();
        let failed = missed.len() + inventory.unknown.len() + unaccounted;
        self.failed += failed;
        self.passed += inventory.cases - missed.len();
    }

    /// Pair by check: passed of made, and what the target's dialect cannot say.
    fn table(&mut self, name: &str, verdict: &Verdict) {
        let mut pairs: Vec<Pair> = verdict.made.keys().map(|(pair, _)| *pair).collect();
        pairs.sort_unstable();
        pairs.dedup();
        for pair in pairs {
            println!("  {pair}:");
            for (check, about) in CHECKS {
                let Some(made) = verdict.made.get(&(pair, *check)) else { continue };
                let missed = verdict.misses.iter().filter(|miss| miss.check == *check && miss.pair == pair).count();
                println!("    {check:<17} {:>6} of {made:>6}  {about}", made - missed);
                let key = format!("{name}.{}.{}.{}.missed", pair.caller.name(), pair.provider.name(), check.replace(' ', "-"));
                self.figure(key, missed, "checks", Some(0));
            }
            let made: usize = verdict.made.iter().filter(|((of, _), _)| *of == pair).map(|(_, made)| made).sum();
            let missed = verdict.misses.iter().filter(|miss| miss.pair == pair).count();
            // In ten thousandths, rounded down: all is all.
            let reached = (made - missed) * 10_000 / made.max(1);
            println!("    of what can be said: {}.{:02} % of {made} checks", reached / 100, reached % 100);
            let beyond: usize = verdict.beyond.iter().filter(|((of, ..), _)| *of == pair).map(|(_, cases)| cases.len()).sum();
            self.figure(format!("{name}.{}.{}.checks", pair.caller.name(), pair.provider.name()), made, "checks", None);
            self.figure(format!("{name}.{}.{}.beyond", pair.caller.name(), pair.provider.name()), beyond, "facts", None);
            for ((_, check, reason), cases) in verdict.beyond.iter().filter(|((of, ..), _)| *of == pair) {
                println!("    beyond {check:<10} {:>6} cases  {reason}", cases.len());
            }
        }
    }

    /// Adds a figure.
    pub fn figure(&mut self, name: impl std::fmt::Display, value: usize, unit: &'static str, reach: Option<usize>) {
        self.figures.push(Figure { name: format!("corpus.{name}"), value, unit, reach, ok: reach.is_none_or(|reach| value <= reach) });
    }

    pub const fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// The closing line.
    pub fn closing(&self, skipped: usize) -> String {
        format!("{} passed, {} failed, {skipped} skipped", self.passed, self.failed)
    }

    /// Writes all figures as JSON.
    pub fn write(&self, file: &Path) -> Result<()> {
        Ok(std::fs::write(file, serde_json::to_vec_pretty(&self.figures)?)?)
    }
}
