//! A stream of the Messages API into events of the neutral form.

use bytes::Bytes;

use super::block_read::OPAQUE;
use super::finish::read_finish;
use crate::json::{ScanLimits, Tree};
use crate::neutral::{Assembler, Delta, Disorder, Event, Fields, Finish, Key, Opened, Raw, Reasoning, Text};
use crate::sse::{Payloads, unreadable};

/// Bytes in any cut go in, events come out. Frames that are no JSON and events of unknown types are passed over: the protocol
/// demands that of a client, and pings, errors and usage are read by the machine before this one.
#[derive(Debug)]
pub struct EventsReader {
    payloads: Payloads,
    limit: usize,
    assembler: Assembler,
    /// The open block, if it is one that passes as it is.
    foreign: Option<u32>,
    /// The call whose arguments stood in its start.
    told_at_start: Option<u32>,
    finish: Option<Finish>,
    stop_sequence: Option<Text>,
}

impl EventsReader {
    /// At most `limit` bytes of an unfinished frame, and of what waits, are held.
    pub fn new(limit: usize) -> Self {
        Self {
            payloads: Payloads::new(),
            limit,
            assembler: Assembler::new(limit),
            foreign: None,
            told_at_start: None,
            finish: None,
            stop_sequence: None,
        }
    }

    /// # Errors
    /// The provider sent a fragment of a block that is not open, or a frame beyond the limit.
    pub fn push(&mut self, bytes: &Bytes, out: &mut Vec<Event>) -> Result<(), Disorder> {
        let mut bytes = bytes.clone();
        while let Some(payload) = self.payloads.next(&mut bytes) {
            self.payload(&payload, out)?;
        }
        if self.payloads.waiting() > self.limit { Err(Disorder::TooMuch { limit: self.limit }) } else { Ok(()) }
    }

    /// The provider closed. An answer whose end had not come, or whose last frame is broken, stays unfinished.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        let in_order = self.payloads.last().is_none_or(|payload| self.payload(&payload, out).is_ok());
        if in_order && let Some(finish) = self.finish.take() {
            self.assembler.finish(finish, self.stop_sequence.take(), out);
        }
    }

    fn payload(&mut self, source: &Bytes, out: &mut Vec<Event>) -> Result<(), Disorder> {
        let Ok(tree) = Tree::read(source, ScanLimits::ANSWER, OPAQUE) else { return unreadable(source) };
        let Ok(mut fields) = Fields::of(source, tree) else { return Ok(()) };
        let kind = text(&mut fields, "type");
        let block = fields.whole("index", 0).ok().flatten().and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
        match &*kind.decode() {
            "message_start" => {
                if let Some((mut message, _)) = object(&mut fields, "message") {
                    let (id, model) = (message.text("id").ok().flatten(), message.text("model").ok().flatten());
                    self.assembler.start(id, model, out);
                }
            }
            "content_block_start" => {
                if let Some((content, raw)) = object(&mut fields, "content_block") {
                    return self.block_starts(block, content, raw, out);
                }
            }
            "content_block_delta" => {
                if let Some((content, raw)) = object(&mut fields, "delta") {
                    return self.block_grows(block, content, raw, out);
                }
            }
            "content_block_stop" => self.assembler.close(Key::Block(block), out),
            "message_delta" => {
                if let Some((mut delta, _)) = object(&mut fields, "delta") {
                    let told = delta.text("stop_reason").ok().flatten();
                    self.finish = told.as_ref().map(read_finish).or(self.finish.take());
                    self.stop_sequence = delta.text("stop_sequence").ok().flatten().or(self.stop_sequence.take());
                }
            }
            "message_stop" => {
                let finish = self.finish.take().unwrap_or(Finish::Stop);
                self.assembler.finish(finish, self.stop_sequence.take(), out);
            }
            _ => {}
        }
        Ok(())
    }

    fn block_starts(&mut self, block: u32, mut content: Fields<'_>, raw: Raw, out: &mut Vec<Event>) -> Result<(), Disorder> {
        let key = Key::Block(block);
        let kind = text(&mut content, "type");
        if self.foreign == Some(block) {
            self.foreign = None;
        }
        let mut begins_with = Vec::new();
        let what = match &*kind.decode() {
            "text" => {
                begins_with.push(Delta::Text(text(&mut content, "text")));
                let citations = content.array("citations").ok().flatten().unwrap_or_default();
                begins_with.extend(citations.iter().map(|citation| Delta::Citation(raw.part(citation.raw))));
                Opened::Text
            }
            "thinking" => {
                begins_with.push(Delta::Reasoning(text(&mut content, "thinking")));
                begins_with.push(Delta::Signature(text(&mut content, "signature")));
                Opened::Reasoning(Reasoning::Text { text: Text::default(), signature: None })
            }
            "redacted_thinking" => Opened::Reasoning(Reasoning::Encrypted { data: text(&mut content, "data") }),
            "tool_use" => {
                if let Some(input) = content.object("input").ok().flatten().filter(|input| !is_empty(input)) {
                    begins_with.push(Delta::Arguments(Text::new(&String::from_utf8_lossy(input.json()))));
                    self.told_at_start = Some(block);
                }
                let name = text(&mut content, "name");
                if name.is_empty() {
                    // Nobody can carry out a call of nothing, and the caller must not take it for none.
                    return Err(Disorder::Misplaced);
                }
                Opened::ToolCall { id: text(&mut content, "id"), name }
            }
            _ => {
                self.foreign = Some(block);
                Opened::Foreign { kind, raw }
            }
        };
        self.assembler.open(key, what, out)?;
        begins_with.into_iter().try_for_each(|delta| self.assembler.delta(key, delta, out))
    }

    fn block_grows(&mut self, block: u32, mut delta: Fields<'_>, raw: Raw, out: &mut Vec<Event>) -> Result<(), Disorder> {
        let key = Key::Block(block);
        if self.foreign == Some(block) {
            return self.assembler.delta(key, Delta::Foreign(raw), out);
        }
        let kind = text(&mut delta, "type");
        let grown = match &*kind.decode() {
            "text_delta" => Delta::Text(text(&mut delta, "text")),
            "thinking_delta" => Delta::Reasoning(text(&mut delta, "thinking")),
            "signature_delta" => Delta::Signature(text(&mut delta, "signature")),
            "input_json_delta" if self.told_at_start == Some(block) => return Ok(()),
            "input_json_delta" => Delta::Arguments(text(&mut delta, "partial_json")),
            "citations_delta" => match object(&mut delta, "citation") {
                Some((_, citation)) => Delta::Citation(citation),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.assembler.delta(key, grown, out)
    }
}

/// A string member; what is no string says nothing.
fn text(fields: &mut Fields<'_>, name: &'static str) -> Text {
    fields.text(name).ok().flatten().unwrap_or_default()
}

fn object<'a>(fields: &mut Fields<'a>, name: &'static str) -> Option<(Fields<'a>, Raw)> {
    fields.inner(name).ok().flatten()
}

fn is_empty(object: &Raw) -> bool {
    object.json().iter().all(|byte| matches!(byte, b'{' | b'}' | b' ' | b'\t' | b'\r' | b'\n'))
}
