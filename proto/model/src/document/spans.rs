//! Pass 1: the position of every field, and the scalars of the head.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, Span};

use super::{
    fault::{Fault, FaultCode},
    source::{Text, count},
};

/// Levels of nesting. The deepest field of the contract is at seven.
pub(super) const DEPTH: usize = 32;

/// Nodes of one document: more than its bytes can hold of what the contract knows.
pub(super) const NODES: usize = 200_000;

/// Where fields are, by path.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    positions: HashMap<String, (u32, u32)>,
}

impl Spans {
    /// Line and column of a field, from 1; of the nearest field around it if it is not in the text.
    #[must_use]
    pub fn find(&self, path: &str) -> (u32, u32) {
        let mut path = path;
        loop {
            if let Some(position) = self.positions.get(path) {
                return *position;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None if path.is_empty() => return (1, 1),
                None => path = "",
            }
        }
    }
}

/// Where the fields of one text in YAML or JSON are, also of one that holds no resource: a file of settings.
///
/// # Errors
/// The text is no YAML, or larger or deeper than a document may be.
pub fn positions(file: &str, text: &str) -> Result<Spans, Fault> {
    outline(Text { file, text, first_line: 1 }).map(|found| found.spans)
}

/// What pass 1 finds.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) spans: Spans,
    /// Scalars of the root mapping: `apiVersion` and `kind`.
    pub(super) head: HashMap<String, String>,
    /// The root is a mapping.
    pub(super) is_mapping: bool,
}

enum Open {
    /// A mapping; the key whose value is awaited, with its place.
    Mapping {
        path: String,
        key: Option<(String, (u32, u32))>,
    },
    Sequence {
        path: String,
        next: usize,
    },
    /// A collection in the place of a key: nothing in it is a field.
    Key,
}

/// Walks the events of one document.
pub(super) fn outline(text: Text<'_>) -> Result<Outline, Fault> {
    let options = serde_saphyr::granit_parser::options! { emit_comments: false, flow_nesting_limit: DEPTH, block_nesting_limit: DEPTH };
    let mut walk = Walk { found: Outline::default(), open: Vec::new(), nodes: 0 };
    for event in Parser::new_from_str_with_options(text.text, options) {
        let (event, span) = event.map_err(|error| {
            let (line, column) = (count(error.marker().line()), count(error.marker().col() + 1));
            text.fault(line, column, "", FaultCode::Syntax, plain(&error.info().to_string()))
        })?;
        walk.step(&event, &span).map_err(|message| {
            let (line, column) = place(&span);
            text.fault(line, column, "", FaultCode::Limit, message)
        })?;
    }
    Ok(walk.found)
}

/// A parser's message in our words where its own would puzzle.
fn plain(message: &str) -> String {
    if message.contains("tab") { format!("{message}: indent with spaces") } else { message.to_owned() }
}

fn place(span: &Span) -> (u32, u32) {
    (count(span.start.line()), count(span.start.col() + 1))
}

struct Walk {
    found: Outline,
    open: Vec<Open>,
    nodes: usize,
}

impl Walk {
    fn step(&mut self, event: &Event<'_>, span: &Span) -> Result<(), String> {
        match event {
            Event::MappingStart(..) => {
                let path = self.node(place(span), None)?;
                self.found.is_mapping |= self.open.is_empty();
                self.open.push(path.map_or(Open::Key, |path| Open::Mapping { path, key: None }));
            }
            Event::SequenceStart(..) => {
                let path = self.node(place(span), None)?;
                self.open.push(path.map_or(Open::Key, |path| Open::Sequence { path, next: 0 }));
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
            }
            Event::Scalar(value, ..) => {
                self.node(place(span), Some(value))?;
            }
            Event::Alias(_) => {
                self.node(place(span), None)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a node: its path if it is a value, `None` if it is a key.
    fn node(&mut self, place: (u32, u32), scalar: Option<&str>) -> Result<Option<String>, String> {
        self.nodes += 1;
        if self.nodes > NODES || self.open.len() > DEPTH {
            return Err(format!("the document is too large or too deep: at most {NODES} values and {DEPTH} levels"));
        }
        let top = self.open.len() == 1;
        let (path, place) = match self.open.last_mut() {
            None => (String::new(), place),
            Some(Open::Key) => return Ok(None),
            Some(Open::Sequence { path, next }) => {
                let path = format!("{path}[{next}]");
                *next += 1;
                (path, place)
            }
            Some(Open::Mapping { path, key }) => match key.take() {
                None => {
                    *key = Some((scalar.unwrap_or_default().to_owned(), place));
                    return Ok(None);
                }
                Some((name, key_place)) => {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    if let (true, Some(value)) = (top, scalar) {
                        self.found.head.insert(name, value.to_owned());
                    }
                    // A scalar is shown where it is, a collection where its key is.
                    (path, if scalar.is_some() { place } else { key_place })
                }
            },
        };
        // Documents may spell a field as the contract does (`usd_per_million`); faults speak of `usdPerMillion`.
        let camel = camel_case(&path);
        if camel != path {
            self.found.spans.positions.entry(camel).or_insert(place);
        }
        self.found.spans.positions.entry(path.clone()).or_insert(place);
        Ok(Some(path))
    }
}

fn camel_case(path: &str) -> String {
    let mut camel = String::with_capacity(path.len());
    let mut raise = false;
    for letter in path.chars() {
        match letter {
            '_' => raise = true,
            _ if raise => {
                camel.extend(letter.to_uppercase());
                raise = false;
            }
            _ => camel.push(letter),
        }
    }
    camel
}
