//! What is told: a table for people, and a list of `{name, value, unit, reach, ok}` for programs.

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

/// What one target came to.
pub struct Row {
    name: &'static str,
    pub inputs: u64,
    pub slowest: Duration,
    pub most_bytes_per_byte: f64,
    pub finding: Option<String>,
}

impl Row {
    pub fn new(name: &'static str) -> Self {
        Self { name, inputs: 0, slowest: Duration::ZERO, most_bytes_per_byte: 0.0, finding: None }
    }
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a row and prints it.
    pub fn add(&mut self, row: Row) {
        if self.rows.is_empty() {
            println!("{:<26} {:>9} {:>12} {:>14}  finding", "target", "inputs", "slowest", "bytes per byte");
        }
        let finding = row.finding.as_deref().unwrap_or("none");
        println!(
            "{:<26} {:>9} {:>9.1} ms {:>14.1}  {finding}",
            row.name,
            row.inputs,
            row.slowest.as_secs_f64() * 1e3,
            row.most_bytes_per_byte
        );
        self.rows.push(row);
    }

    pub fn has_failed(&self) -> bool {
        self.rows.iter().any(|row| row.finding.is_some())
    }

    pub fn closing(&self) -> String {
        let failed = self.rows.iter().filter(|row| row.finding.is_some()).count();
        format!("{} passed, {failed} failed", self.rows.len() - failed)
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let figures: Vec<Value> = self
            .rows
            .iter()
            .flat_map(|row| {
                let ok = row.finding.is_none();
                [
                    json!({ "name": format!("fuzz.{}.findings", row.name), "value": u8::from(!ok), "unit": "findings", "reach": 0, "ok": ok }),
                    json!({ "name": format!("fuzz.{}.inputs", row.name), "value": row.inputs, "unit": "inputs", "reach": null, "ok": true }),
                ]
            })
            .collect();
        Ok(std::fs::write(file, serde_json::to_vec_pretty(&figures)?)?)
    }
}
