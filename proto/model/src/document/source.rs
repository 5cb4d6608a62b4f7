//! Sources: bytes → documents' texts with the lines they begin at.

use std::str;

use super::fault::{Fault, FaultCode, snippet};

/// Bytes of one source. More is not written by people: divide it into files.
pub const SOURCE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of one document. A resource has at most 64 KiB in binary form; text with comments and indentation is several times as long.
pub const DOCUMENT_BYTES: usize = 1024 * 1024;

/// The text of one document within its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// The file's line of the text's first line, from 1.
    pub(super) first_line: u32,
}

impl Text<'_> {
    /// A fault at a line and column of this text, both from 1.
    pub(super) fn fault(&self, line: u32, column: u32, path: &str, code: FaultCode, message: String) -> Fault {
        let shown = self.text.lines().nth((line.max(1) - 1) as usize).unwrap_or_default();
        let line = self.first_line + line.max(1) - 1;
        Fault {
            file: self.file.to_owned(),
            line,
            column: column.max(1),
            path: path.to_owned(),
            code,
            message,
            snippet: snippet(shown, line, column),
        }
    }
}

/// Divides a source into its documents; those that hold only white space and comments are left out.
pub(super) fn divide<'a>(file: &'a str, bytes: &'a [u8]) -> Result<Vec<Text<'a>>, Fault> {
    let whole = |message: String, line: u32, column: u32, code: FaultCode| Fault {
        file: file.to_owned(),
        line,
        column,
        path: String::new(),
        code,
        message,
        snippet: String::new(),
    };
    if bytes.len() > SOURCE_BYTES {
        return Err(whole(format!("the file has {} bytes: at most {SOURCE_BYTES}", bytes.len()), 1, 1, FaultCode::Limit));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        whole("this byte is not UTF-8: save the file as UTF-8".to_owned(), count(line), count(column), FaultCode::Syntax)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents: Vec<Text<'a>> =
        pieces(text).filter(|(_, piece)| says_something(piece)).map(|(first_line, text)| Text { file, text, first_line }).collect();
    if documents.is_empty() {
        return Err(whole("the file holds no document".to_owned(), 1, 1, FaultCode::Syntax));
    }
    Ok(documents)
}

/// The pieces between document markers. A line that begins with `---` or `...` and white space is always a marker, even within quotes
/// (YAML 1.2.2 §9.1.2: such a line is forbidden inside a document). A piece keeps its own `---`, which may have content behind it.
fn pieces(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let mut starts = vec![(1, 0)];
    let (mut line_number, mut offset) = (1, 0);
    for line in text.split_inclusive('\n') {
        let is = |marker: &str| line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if is("---") {
            starts.push((line_number, offset));
        }
        line_number += 1;
        offset += line.len();
        if is("...") {
            starts.push((line_number, offset));
        }
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|(_, offset)| *offset).chain([text.len()]).collect();
    starts.into_iter().zip(ends).map(move |((line, start), end)| (line, text.get(start..end).unwrap_or_default()))
}

fn says_something(piece: &str) -> bool {
    piece.lines().any(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !(line.is_empty() || line.starts_with('#') || line == "..." || line.starts_with("%YAML"))
    })
}

/// A count as a line or column; beyond 32 bits it stays at the end.
pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
