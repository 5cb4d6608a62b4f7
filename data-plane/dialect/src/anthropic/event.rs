//! One object of an answer, whole or an event of a stream: the members that decide, without a DOM.

use super::usage::Usage;
use crate::json::{Error, Kind, Scan, ScanLimits, Span, Text};
use crate::output::Output;

/// What an object tells.
#[derive(Debug, Default)]
pub(super) struct Told<'a> {
    /// The type of the event, or of the whole answer.
    pub kind: Option<Text<'a>>,
    pub id: Option<Text<'a>>,
    pub model: Option<Text<'a>>,
    pub stop_reason: Option<Text<'a>>,
    /// Of the object itself.
    pub usage: Option<Usage<'a>>,
    /// Of the message that it begins.
    pub begun_usage: Option<Usage<'a>>,
    pub error: Option<Span>,
    pub output: Output,
}

impl<'a> Told<'a> {
    pub(super) fn read(text: &'a [u8]) -> Result<Self, Error> {
        let mut scan = Scan::new(text, ScanLimits::ANSWER);
        let mut told = Self::default();
        let mut inside = scan.object()?;
        while let Some(key) = scan.key(&mut inside)? {
            match (key.raw(), scan.peek()?) {
                (b"message", Kind::Object) => told.message(&mut scan)?,
                (b"delta", Kind::Object) => told.delta(&mut scan)?,
                (b"content_block", Kind::Object) => block(&mut scan, &mut told.output)?,
                (name, kind) => told.member(name, kind, &mut scan)?,
            }
        }
        scan.end()?;
        Ok(told)
    }

    /// The members that a whole message has as well.
    fn member(&mut self, name: &[u8], kind: Kind, scan: &mut Scan<'a>) -> Result<(), Error> {
        match (name, kind) {
            (b"type", Kind::String) => self.kind = Some(scan.string()?),
            (b"id", Kind::String) => self.id = Some(scan.string()?),
            (b"model", Kind::String) => self.model = Some(scan.string()?),
            (b"stop_reason", Kind::String) => self.stop_reason = Some(scan.string()?).filter(|reason| !reason.raw().is_empty()),
            (b"usage", kind) if kind != Kind::Null => self.usage = Some(Usage::read(scan)?),
            (b"error", kind) if kind != Kind::Null => self.error = Some(scan.skip()?),
            (b"content", Kind::Array) => {
                let mut blocks = scan.array()?;
                while scan.element(&mut blocks)? {
                    match scan.peek()? {
                        Kind::Object => block(scan, &mut self.output)?,
                        _ => {
                            scan.skip()?;
                        }
                    }
                }
            }
            _ => {
                scan.skip()?;
            }
        }
        Ok(())
    }

    /// The message that a stream begins with.
    fn message(&mut self, scan: &mut Scan<'a>) -> Result<(), Error> {
        let mut begun = Self::default();
        let mut inside = scan.object()?;
        while let Some(key) = scan.key(&mut inside)? {
            let kind = scan.peek()?;
            begun.member(key.raw(), kind, scan)?;
        }
        self.id = begun.id;
        self.model = begun.model;
        self.begun_usage = begun.usage;
        self.output.add(&begun.output);
        Ok(())
    }

    fn delta(&mut self, scan: &mut Scan<'a>) -> Result<(), Error> {
        let mut inside = scan.object()?;
        while let Some(key) = scan.key(&mut inside)? {
            match (key.raw(), scan.peek()?) {
                (b"text", Kind::String) => self.output.text += written(scan)?,
                (b"thinking", Kind::String) => self.output.reasoning += written(scan)?,
                (b"partial_json", Kind::String) => self.output.tool_calls += written(scan)?,
                // What was made of the prompt when it had grown too long.
                (b"content", Kind::String) => self.output.has_opaque |= written(scan)? > 0,
                (name @ b"stop_reason", kind) => self.member(name, kind, scan)?,
                _ => {
                    scan.skip()?;
                }
            }
        }
        Ok(())
    }
}

/// What stands in one block of content.
fn block(scan: &mut Scan<'_>, output: &mut Output) -> Result<(), Error> {
    let mut kind = None;
    let (mut name, mut input) = (0, 0);
    let mut inside = scan.object()?;
    while let Some(key) = scan.key(&mut inside)? {
        match (key.raw(), scan.peek()?) {
            (b"type", Kind::String) => kind = Some(scan.string()?),
            (b"text", Kind::String) => output.text += written(scan)?,
            (b"thinking", Kind::String) => output.reasoning += written(scan)?,
            (b"name", Kind::String) => name = written(scan)?,
            (b"input", Kind::Object) => {
                let arguments = scan.skip()?;
                // The empty object that a stream begins with is filled by what follows.
                input = u64::from(arguments.end - arguments.start);
                input = if input > 2 { input } else { 0 };
            }
            _ => {
                scan.skip()?;
            }
        }
    }
    match kind.map(|kind| kind.raw()) {
        Some(b"text" | b"thinking") => {}
        Some(b"tool_use" | b"server_tool_use" | b"mcp_tool_use") => {
            output.has_tool_calls = true;
            output.tool_calls += name + input;
        }
        Some(_) => output.has_opaque = true,
        None => {}
    }
    Ok(())
}

fn written(scan: &mut Scan<'_>) -> Result<u64, Error> {
    Ok(scan.string()?.decoded_len() as u64)
}
