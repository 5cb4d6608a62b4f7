//! Tables, JSON, YAML, times and amounts.

use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Map, Value};
use time::{OffsetDateTime, macros::format_description};
use waybill_model::{document, resource::Kind};
use waybill_proto::model::v1::Resource;

use crate::error::{Error, Exit};

/// How answers are shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// Canonical JSON of the contract; resources as documents.
    Json,
    /// The same as YAML.
    Yaml,
}

/// What a command says, and how it ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub note: String,
    /// The exit code.
    pub exit: Exit,
}

impl Report {
    /// A report of a command that was done.
    #[must_use]
    pub const fn of(out: String) -> Self {
        Self { out, note: String::new(), exit: Exit::Done }
    }

    /// The same with a note.
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// The same with the exit code of a check that has found something.
    #[must_use]
    pub fn refused_if(self, refused: bool) -> Self {
        Self { exit: if refused { Exit::Refused } else { self.exit }, ..self }
    }
}

/// A message of the contract, or what the table says of it.
pub fn message<M: Serialize>(format: Format, message: &M, table: impl FnOnce() -> String) -> Result<String, Error> {
    match format {
        Format::Table => Ok(table()),
        Format::Json => Ok(format!("{}\n", serde_json::to_string_pretty(message)?)),
        Format::Yaml => Ok(serde_saphyr::to_string(message)?),
    }
}

/// A resource as a document.
pub fn document_value(resource: &Resource) -> Result<Value, Error> {
    let kind = Kind::of(resource).map(Kind::name).unwrap_or_default();
    let mut shown = Map::new();
    shown.insert("apiVersion".to_owned(), document::API_VERSION.into());
    shown.insert("kind".to_owned(), kind.into());
    if let Value::Object(parts) = serde_json::to_value(resource)? {
        // The oneof's own name is the kind; documents call it `spec`.
        shown.extend(parts.into_iter().map(|(part, value)| (if part == "metadata" { part } else { "spec".to_owned() }, value)));
    }
    Ok(Value::Object(shown))
}

/// Resources as the YAML documents that `apply` reads.
pub fn documents_yaml(resources: &[Resource]) -> Result<String, Error> {
    let texts: Result<Vec<String>, Error> = resources.iter().map(|one| Ok(document::write(one, document::Shown::Whole)?)).collect();
    Ok(texts?.join("---\n"))
}

/// A table without lines; the columns at these places are numbers.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, numbers: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header.to_vec());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    format!("{}\n", lines.join("\n"))
}

/// `512 B`, `4.0 KiB`, `7.9 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(size, _)| count >= *size);
    unit.map_or_else(|| format!("{count} B"), |(size, name)| format!("{}.{} {name}", count / size, count % size * 10 / size))
}

/// `2026-11-24 07:04:23.123Z`; a dash for no time.
pub fn time_us(unix_us: i64) -> String {
    let layout = format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z");
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_us) * 1_000).ok().filter(|_| unix_us != 0);
    time.and_then(|time| time.format(layout).ok()).unwrap_or_else(|| "-".to_owned())
}

/// `2026-11-24 07:04:23Z`; a dash for no time.
pub fn time_s(time: Option<&pbjson_types::Timestamp>) -> String {
    let layout = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    let time = time.and_then(|time| OffsetDateTime::from_unix_timestamp(time.seconds).ok());
    time.and_then(|time| time.format(layout).ok()).unwrap_or_else(|| "-".to_owned())
}

/// `850 µs`, `12.3 ms`, `4.56 s`; a dash for 0.
pub fn duration_us(us: u64) -> String {
    match us {
        0 => "-".to_owned(),
        1..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

/// Pico-USD as USD.
pub fn usd(picousd: i64) -> String {
    waybill_model::money::print_usd(picousd.into())
}

/// The text, or a dash.
pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// The word of an enumeration's name: `KIND_SETTLED` → `settled`.
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_short_and_plain() {
        assert_eq!(time_us(1_763_967_863_123_999), "2025-11-24 07:04:23.123Z");
        assert_eq!(time_us(0), "-");
        for (us, text) in [(0, "-"), (850, "850 µs"), (12_345, "12.3 ms"), (4_560_000, "4.56 s"), (61_009_999, "61.00 s")] {
            assert_eq!(duration_us(us), text);
        }
    }

    #[test]
    fn a_table_has_no_trailing_space_and_aligns_numbers_to_the_right() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned(), "x".to_owned()], vec!["long".to_owned(), "100".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "N", "END"], rows, &[1]), "NAME    N  END\na       1  x\nlong  100\n");
    }
}
