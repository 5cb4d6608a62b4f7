//! A fault of a document, with its place.

use std::fmt;

use crate::check::Code;

/// What kind of fault. The names are promised to programs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FaultCode {
    /// Not text, too large, or not YAML.
    Syntax,
    /// A key that the kind does not have.
    UnknownField,
    /// A key twice in one mapping.
    DuplicateField,
    /// `apiVersion`, `kind` or `metadata` is missing or not known.
    Header,
    /// A value of the wrong type.
    Type,
    /// Anchors, aliases, depth or size beyond the limits.
    Limit,
    /// A rule of the model is broken.
    Rule(Code),
}

impl FaultCode {
    /// The name of the code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::UnknownField => "unknown_field",
            Self::DuplicateField => "duplicate_field",
            Self::Header => "header",
            Self::Type => "type",
            Self::Limit => "limit",
            Self::Rule(code) => code.name(),
        }
    }
}

/// A fault: where, what, and the line it is in. The writer of the document is at fault; a retry does not help.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Fault {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The field: `spec.entries[3].rates[0].usdPerMillion`; empty if the fault is of no field.
    pub path: String,
    /// Which rule.
    pub code: FaultCode,
    /// For people.
    pub message: String,
    /// The line with a caret under the column, in two lines; empty where showing it could show a secret.
    pub snippet: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)?;
        if self.snippet.is_empty() { Ok(()) } else { write!(formatter, "\n{}", self.snippet) }
    }
}

/// Characters of a line that a snippet shows.
const SHOWN: usize = 120;

/// Two lines: the text around the column, and a caret under it.
pub(super) fn snippet(text: &str, line: u32, column: u32) -> String {
    let place = (column.max(1) - 1) as usize;
    let first = place.saturating_sub(SHOWN * 2 / 3);
    let shown: String = text.chars().skip(first).take(SHOWN).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    format!("  {number} | {}\n  {margin} | {}^", shown.trim_end(), " ".repeat(place - first))
}
