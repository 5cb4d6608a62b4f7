//! What is told: a table for people, and a list of `{name, value, unit, reach, ok}` for programs.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// `bench.<case>.<who>.<what>`.
    pub name: String,
    /// `None` = void: what was measured cannot be trusted, and `note` says why.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: &'static str,
    /// At most this much is reached for; `None` = the figure is for information.
    pub reach: Option<f64>,
    /// False when it is void or misses its reach.
    pub ok: bool,
    /// What else is to be said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    figures: Vec<Figure>,
    void: bool,
}

impl Report {
    /// Adds a figure and prints it.
    pub fn add(&mut self, name: impl AsRef<str>, value: f64, unit: &'static str, reach: Option<f64>, note: impl Into<String>) {
        // Three significant places are more than any of these figures is steady to; the rounding is for the reader only.
        let value = (value * 1_000.0).round() / 1_000.0;
        let ok = reach.is_none_or(|reach| value <= reach);
        self.push(Figure { name: format!("bench.{}", name.as_ref()), value: Some(value), unit, reach, ok, note: note.into() });
    }

    /// Adds a figure that could not be had. It makes the run fail, since a failed request or a missing event is no matter of speed.
    pub fn void(&mut self, name: impl AsRef<str>, unit: &'static str, reach: Option<f64>, error: &anyhow::Error) {
        self.void = true;
        self.push(Figure { name: format!("bench.{}", name.as_ref()), value: None, unit, reach, ok: false, note: format!("{error:#}") });
    }

    /// True when a figure is void.
    pub fn is_void(&self) -> bool {
        self.void
    }

    /// Writes all figures as JSON.
    pub fn write(&self, file: &Path) -> Result<()> {
        Ok(std::fs::write(file, serde_json::to_vec_pretty(&self.figures)?)?)
    }

    fn push(&mut self, figure: Figure) {
        if self.figures.is_empty() {
            println!("{:<48} {:>12}  {:<16} {:>8}  {:<4} note", "figure", "value", "unit", "reach", "ok");
        }
        println!("{}", line(&figure));
        self.figures.push(figure);
    }
}

fn line(figure: &Figure) -> String {
    let value = figure.value.map_or("void".to_owned(), |value| format!("{value:.2}"));
    let reach = figure.reach.map_or(String::new(), |reach| format!("{reach}"));
    let ok = match (figure.ok, figure.reach, figure.value) {
        (true, None, _) => "",
        (true, _, _) => "yes",
        (false, _, _) => "no",
    };
    let text = format!("{:<48} {value:>12}  {:<16} {reach:>8}  {ok:<4} {}", figure.name, figure.unit, figure.note);
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_is_met_missed_or_not_there() {
        let mut report = Report::default();
        report.add("a", 1.5, "x", Some(1.5), "");
        report.add("b", 1.501, "x", Some(1.5), "");
        report.add("c", 9.0, "x", None, "");
        assert_eq!(report.figures.iter().map(|figure| figure.ok).collect::<Vec<_>>(), [true, false, true]);
        assert!(!report.is_void(), "a figure of speed fails nothing");
        report.void("d", "x", Some(1.5), &anyhow::anyhow!("an event is missing"));
        assert!(report.is_void() && !report.figures[3].ok && report.figures[3].value.is_none());
    }
}
