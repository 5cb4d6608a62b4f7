//! What messages say about needs and about the bound, and that each result answers a call, without keeping any text.

use std::borrow::Cow;
use std::collections::HashSet;

use super::fields;
use crate::call::{Call, Need, Unbounded};
use crate::fault::{Fault, FaultKind};
use crate::json::Kind;
use crate::read::{Reader, invalid};

/// The messages, as far as they were read. Neighbours of the same role are one turn.
#[derive(Default)]
pub(super) struct Conversation<'a> {
    /// The calls of the assistant's turn before, or of the one that is being read.
    called: HashSet<Cow<'a, str>>,
    after_assistant: bool,
}

impl<'a> Conversation<'a> {
    pub(super) fn read(&mut self, reader: &mut Reader<'a>, call: &mut Call) -> Result<(), Fault> {
        let count = reader.array("messages", |reader| self.message(reader, call))?;
        if count == 0 { Err(invalid("messages", "must not be empty")) } else { Ok(()) }
    }

    fn message(&mut self, reader: &mut Reader<'a>, call: &mut Call) -> Result<(), Fault> {
        let mut role = None;
        let mut blocks = Blocks { tracks_calls: true, ..Blocks::default() };
        reader.object::<fields::Message>("", |reader, field| match field {
            fields::Message::Role => {
                role = Some(reader.name("role")?);
                Ok(())
            }
            fields::Message::Content => blocks.read(reader, call, "content"),
        })?;
        match role.as_deref() {
            Some("assistant") => {
                if !self.after_assistant {
                    self.called.clear();
                }
                self.called.extend(blocks.calls);
                self.after_assistant = true;
                Ok(())
            }
            Some("user") => {
                self.after_assistant = false;
                self.answered(&blocks.results)
            }
            // The provider judges it.
            _ => Ok(()),
        }
    }

    fn answered(&self, results: &[(usize, Cow<'a, str>)]) -> Result<(), Fault> {
        match results.iter().find(|(_, id)| !self.called.contains(id)) {
            None => Ok(()),
            Some((at, _)) => Err(invalid(&format!("content[{at}].tool_use_id"), "no tool_use of the turn before has this id")),
        }
    }
}

/// A list of blocks.
#[derive(Default)]
pub(super) struct Blocks<'a> {
    tracks_calls: bool,
    /// Ids of `tool_use` blocks.
    calls: Vec<Cow<'a, str>>,
    /// Places and ids of `tool_result` blocks.
    results: Vec<(usize, Cow<'a, str>)>,
}

/// One block, when it was read.
#[derive(Default)]
struct Block<'a> {
    kind: Option<Box<str>>,
    id: Option<Cow<'a, str>>,
    tool_use_id: Option<Cow<'a, str>>,
    has_source: bool,
    source: Option<Box<str>>,
}

impl<'a> Blocks<'a> {
    /// A string is one block of text.
    pub(super) fn read(&mut self, reader: &mut Reader<'a>, call: &mut Call, path: &str) -> Result<(), Fault> {
        if reader.scan.peek()? == Kind::String {
            reader.scan.skip()?;
            return Ok(());
        }
        let mut at = 0;
        reader.array(path, |reader| {
            let block = Block::read(reader, call)?;
            if self.tracks_calls {
                self.track(at, block)?;
            }
            at += 1;
            Ok(())
        })?;
        Ok(())
    }

    fn track(&mut self, at: usize, block: Block<'a>) -> Result<(), Fault> {
        match (block.kind.as_deref(), block.id, block.tool_use_id) {
            (Some("tool_use"), Some(id), _) => self.calls.push(id),
            (Some("tool_result"), _, Some(id)) => self.results.push((at, id)),
            (Some("tool_use"), None, _) => return Err(missing("id")),
            (Some("tool_result"), _, None) => return Err(missing("tool_use_id")),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Block<'a> {
    /// As deep as the scan allows, which has a limit.
    fn read(reader: &mut Reader<'a>, call: &mut Call) -> Result<Self, Fault> {
        let mut block = Self::default();
        reader.object::<fields::Block>("", |reader, field| {
            match field {
                fields::Block::Type => block.kind = Some(reader.name("type")?),
                fields::Block::Source => {
                    block.has_source = true;
                    block.source = source(reader, call)?;
                }
                fields::Block::Id => block.id = Some(text(reader, "id")?),
                fields::Block::ToolUseId => block.tool_use_id = Some(text(reader, "tool_use_id")?),
                // Results of a provider's own tools hold one object here.
                fields::Block::Content if reader.scan.peek()? == Kind::Array => Blocks::default().read(reader, call, "content")?,
                fields::Block::Content => {
                    reader.scan.skip()?;
                }
            }
            Ok(())
        })?;
        block.judge(call)?;
        Ok(block)
    }

    fn judge(&self, call: &mut Call) -> Result<(), Fault> {
        let Some(kind) = self.kind.as_deref() else { return Err(missing("type")) };
        match kind {
            "image" => {
                call.needs.insert(Need::ImageInput);
                match self.source()? {
                    "base64" => call.unbounded.insert(Unbounded::InlineImage),
                    "url" => call.unbounded.insert(Unbounded::ImageUrl),
                    "file" => call.unbounded.insert(Unbounded::FileId),
                    _ => call.unbounded.insert(Unbounded::ContentPart),
                }
            }
            "document" => match self.source()? {
                // Plain text has no more tokens than bytes, and blocks were judged one by one.
                "text" | "content" => {}
                source => {
                    call.needs.insert(Need::FileInput);
                    call.unbounded.insert(Unbounded::File);
                    if source == "file" {
                        call.unbounded.insert(Unbounded::FileId);
                    }
                }
            },
            "container_upload" => call.unbounded.insert(Unbounded::FileId),
            // It holds the document that was fetched.
            "web_fetch_tool_result" => call.unbounded.insert(Unbounded::File),
            "text" | "thinking" | "redacted_thinking" | "tool_use" | "tool_result" | "search_result" | "server_tool_use"
            | "mcp_tool_use" | "mcp_tool_result" | "tool_reference" | "compaction" | "fallback" => {}
            kind if kind.ends_with("_result") || kind.ends_with("_error") => {}
            _ => call.unbounded.insert(Unbounded::ContentPart),
        }
        Ok(())
    }

    fn source(&self) -> Result<&str, Fault> {
        match self.source.as_deref() {
            Some(kind) => Ok(kind),
            None if self.has_source => Err(missing("source.type")),
            None => Err(missing("source")),
        }
    }
}

/// The type of the source. Search results name theirs in a string.
fn source<'a>(reader: &mut Reader<'a>, call: &mut Call) -> Result<Option<Box<str>>, Fault> {
    if reader.scan.peek()? == Kind::String {
        reader.scan.skip()?;
        return Ok(None);
    }
    let mut kind = None;
    let (mut has_url, mut has_file) = (false, false);
    reader.object::<fields::Source>("source", |reader, field| {
        match field {
            fields::Source::Type => kind = Some(reader.name("type")?),
            fields::Source::Content if reader.scan.peek()? == Kind::Array => Blocks::default().read(reader, call, "content")?,
            _ => {
                reader.scan.skip()?;
                has_url |= field == fields::Source::Url;
                has_file |= field == fields::Source::FileId;
            }
        }
        Ok(())
    })?;
    // A source is judged by its type and by what it carries: providers differ in which of the two they follow.
    if has_url && kind.as_deref() != Some("url") {
        call.unbounded.insert(Unbounded::ContentPart);
    }
    if has_file {
        call.unbounded.insert(Unbounded::FileId);
    }
    Ok(kind)
}

fn text<'a>(reader: &mut Reader<'a>, path: &str) -> Result<Cow<'a, str>, Fault> {
    reader.expect(Kind::String, path, "must be a string")?;
    reader.scan.string()?.decode().ok_or_else(|| invalid(path, "holds a surrogate that stands alone"))
}

fn missing(path: &str) -> Fault {
    Fault::new(FaultKind::Missing, path, "this field is required")
}
