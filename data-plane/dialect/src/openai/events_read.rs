//! A provider's stream as events: frames in any cut go in, and what they say about the first choice comes out.

use bytes::Bytes;

use super::calls::Calls;
use super::message_read::{OPAQUE, Piece, citations, images, is_first, pieces, speech};
use super::{finish, reasoning};
use crate::json::{Members, Node, ScanLimits, Tree};
use crate::neutral::{Assembler, Delta, Disorder, Event, Finish, Key, Opened, Reasoning, Text};
use crate::sse::{Payloads, unreadable};

/// The machine. Frames that are no JSON, comments, and chunks that hold no choice pass without a trace.
#[derive(Debug)]
pub struct EventsReader {
    payloads: Payloads,
    assembler: Assembler,
    calls: Calls,
    id: Option<Text>,
    model: Option<Text>,
    finish: Option<Text>,
    /// Blocks that came whole.
    wholes: u32,
    /// The answer is spoken, too.
    has_spoken: bool,
    limit: usize,
}

impl EventsReader {
    /// At most `limit` bytes wait: for the end of a frame, or of tool calls for the one before them.
    pub fn new(limit: usize) -> Self {
        Self {
            payloads: Payloads::new(),
            assembler: Assembler::new(limit),
            calls: Calls::default(),
            id: None,
            model: None,
            finish: None,
            wholes: 0,
            has_spoken: false,
            limit,
        }
    }

    /// Takes bytes from the provider.
    ///
    /// # Errors
    /// The provider breaks the limit, or sends pieces that belong nowhere.
    pub fn push(&mut self, bytes: &Bytes, out: &mut Vec<Event>) -> Result<(), Disorder> {
        let mut bytes = bytes.clone();
        while let Some(payload) = self.payloads.next(&mut bytes) {
            self.payload(&payload, out)?;
        }
        if self.payloads.waiting() > self.limit { Err(Disorder::TooMuch { limit: self.limit }) } else { Ok(()) }
    }

    /// The provider closed. An answer that told no end, or whose last frame is broken, gets none.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        let in_order = self.payloads.last().is_none_or(|payload| self.payload(&payload, out).is_ok());
        if in_order && self.finish.is_some() {
            let _ = self.end(out);
        }
    }

    fn payload(&mut self, data: &Bytes, out: &mut Vec<Event>) -> Result<(), Disorder> {
        if data.trim_ascii() == b"[DONE]" {
            return self.end(out);
        }
        let Ok(tree) = Tree::read(data, ScanLimits::ANSWER, OPAQUE) else { return unreadable(data) };
        match &tree.node {
            Node::Object(chunk) => self.chunk(data, chunk, out),
            _ => Ok(()),
        }
    }

    fn chunk(&mut self, source: &Bytes, chunk: &Members<'_>, out: &mut Vec<Event>) -> Result<(), Disorder> {
        if self.id.is_none() {
            self.id = reasoning::string(source, chunk, "id");
        }
        if self.model.is_none() {
            self.model = reasoning::string(source, chunk, "model");
        }
        let Some(Tree { node: Node::Array(choices), .. }) = chunk.get("choices") else { return Ok(()) };
        for choice in choices {
            let Node::Object(choice) = &choice.node else { continue };
            // More than one answer is never asked for where answers are translated.
            if !is_first(choice) {
                continue;
            }
            self.assembler.start(self.id.clone(), self.model.clone(), out);
            if let Some(Tree { node: Node::Object(delta), .. }) = choice.get("delta") {
                self.delta(source, delta, out)?;
            }
            if self.finish.is_none() {
                self.finish = reasoning::string(source, choice, "finish_reason");
                if self.finish.is_some() && self.calls.has_nameless() {
                    return Err(Disorder::Misplaced);
                }
            }
        }
        Ok(())
    }

    fn delta(&mut self, source: &Bytes, delta: &Members<'_>, out: &mut Vec<Event>) -> Result<(), Disorder> {
        self.thoughts(source, delta, out)?;
        for piece in pieces(source, delta) {
            match piece {
                Piece::Text(text) => self.assembler.delta(Key::Text, Delta::Text(text), out)?,
                Piece::Thought(text) => self.assembler.delta(Key::Thoughts(0), Delta::Reasoning(text), out)?,
            }
        }
        for citation in citations(source, delta) {
            self.assembler.delta(Key::Text, Delta::Citation(citation), out)?;
        }
        if let Some(refusal) = reasoning::string(source, delta, "refusal") {
            self.assembler.delta(Key::Refusal, Delta::Text(refusal), out)?;
        }
        for raw in images(source, delta) {
            self.whole(Opened::Foreign { kind: Text::word("image_url"), raw }, out)?;
        }
        // Sound comes in many pieces; one block stands for all of it.
        if let Some(raw) = speech(source, delta).filter(|_| !std::mem::replace(&mut self.has_spoken, true)) {
            self.whole(Opened::Foreign { kind: Text::word("audio"), raw }, out)?;
        }
        let Some(Tree { node: Node::Array(items), .. }) = delta.get("tool_calls") else { return Ok(()) };
        for item in items {
            if let Node::Object(item) = &item.node {
                self.calls.fragment(source, item, self.id.as_ref(), self.limit, &mut self.assembler, out)?;
            }
        }
        Ok(())
    }

    /// Of the forms that tell the same thought, the richest.
    fn thoughts(&mut self, source: &Bytes, delta: &Members<'_>, out: &mut Vec<Event>) -> Result<(), Disorder> {
        for detail in reasoning::answered(source, delta) {
            let index = detail.index.unwrap_or(0);
            match detail.for_others() {
                Reasoning::Text { text, signature } => {
                    let key = Key::Thoughts(index);
                    self.assembler.delta(key, Delta::Reasoning(text), out)?;
                    if let Some(signature) = signature {
                        self.assembler.delta(key, Delta::Signature(signature), out)?;
                    }
                }
                Reasoning::Summary { text } => self.assembler.delta(Key::Summary(index), Delta::Reasoning(text), out)?,
                sealed @ Reasoning::Encrypted { .. } => self.whole(Opened::Reasoning(sealed), out)?,
            }
        }
        Ok(())
    }

    fn whole(&mut self, what: Opened, out: &mut Vec<Event>) -> Result<(), Disorder> {
        let key = Key::Block(self.wholes);
        self.wholes = self.wholes.wrapping_add(1);
        self.assembler.open(key, what, out)?;
        self.assembler.close(key, out);
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Disorder> {
        if self.calls.has_nameless() {
            return Err(Disorder::Misplaced);
        }
        let has_calls = !self.calls.is_empty();
        let finish = match &self.finish {
            Some(word) => finish::read(word, has_calls),
            None if has_calls => Finish::ToolCalls,
            None => Finish::Stop,
        };
        self.assembler.finish(finish, None, out);
        Ok(())
    }
}
