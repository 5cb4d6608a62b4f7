//! Tool calls in pieces. Providers differ in when they tell name and id, whether they count the calls, and whether they cut them at all.

use bytes::Bytes;

use super::{reasoning, tools};
use crate::json::{Members, Node};
use crate::neutral::{Assembler, Delta, Disorder, Event, Key, Opened, Text};

/// Most calls of one answer: each new fragment is compared with all of them.
const MOST_CALLS: usize = 4096;

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// Of fragments that came before their call's name.
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Call {
    /// The provider's number for it, which may not be its own.
    index: Option<u32>,
    id: Option<Text>,
    opened: bool,
    waiting: Vec<Text>,
}

/// An id for a call whose provider gave none: letters that every dialect takes, and different in every answer.
pub(super) fn made_up_id(answer: Option<&Text>, at: u32) -> Text {
    let answer = answer.map(Text::decode).unwrap_or_default();
    let plain: String = answer.chars().filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')).take(40).collect();
    Text::new(&format!("call_{plain}_{at}"))
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        !self.calls.iter().any(|call| call.opened)
    }

    /// Arguments came for a call that never got a name.
    pub(super) fn has_nameless(&self) -> bool {
        self.calls.iter().any(|call| !call.waiting.is_empty())
    }

    /// Takes one of `delta.tool_calls`.
    ///
    /// # Errors
    /// More than `limit` bytes wait, or there are too many calls.
    pub(super) fn fragment(
        &mut self,
        source: &Bytes,
        item: &Members<'_>,
        answer: Option<&Text>,
        limit: usize,
        assembler: &mut Assembler,
        out: &mut Vec<Event>,
    ) -> Result<(), Disorder> {
        let function = match item.get("function").map(|tree| &tree.node) {
            Some(Node::Object(function)) => Some(function),
            _ => None,
        };
        let id = reasoning::string(source, item, "id");
        let name = function.and_then(|function| reasoning::string(source, function, "name"));
        let arguments = function.and_then(|function| function.get("arguments")).and_then(|tree| tools::arguments(source, tree));
        let arguments = arguments.map(|arguments| arguments.to_text()).filter(|text| !text.is_empty());
        let index = match item.get("index").map(|tree| &tree.node) {
            Some(Node::Number(index)) => index.parse().ok(),
            _ => None,
        };
        let at = self.find(index, id.as_ref(), name.is_some());
        if self.calls.len() > MOST_CALLS {
            return Err(Disorder::TooMany { limit: MOST_CALLS });
        }
        let Some(call) = self.calls.get_mut(at) else { return Ok(()) };
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let key = Key::Call(number);
        if call.id.is_none() {
            call.id = id;
        }
        if let (false, Some(name)) = (call.opened, name) {
            call.opened = true;
            let id = call.id.get_or_insert_with(|| made_up_id(answer, number)).clone();
            assembler.open(key, Opened::ToolCall { id, name }, out)?;
            for text in std::mem::take(&mut call.waiting) {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(text.escaped().len());
                assembler.delta(key, Delta::Arguments(text), out)?;
            }
        }
        let Some(arguments) = arguments else { return Ok(()) };
        if call.opened {
            return assembler.delta(key, Delta::Arguments(arguments), out);
        }
        self.waiting_bytes += arguments.escaped().len();
        call.waiting.push(arguments);
        if self.waiting_bytes > limit { Err(Disorder::TooMuch { limit }) } else { Ok(()) }
    }

    /// Which call the fragment belongs to. An index is believed, unless a whole new call comes under an old one's (Gemini counts none, others
    /// call each of them 0); without an index, whatever has a new id or a name of its own is a new call.
    fn find(&mut self, index: Option<u32>, id: Option<&Text>, has_name: bool) -> usize {
        let same_id = |call: &Call| id.is_some() && call.id.as_ref() == id;
        let found = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if id.is_some() => self.calls.iter().rposition(same_id),
            None if has_name => None,
            None => self.calls.len().checked_sub(1),
        };
        let is_new = |at: &usize| {
            self.calls.get(*at).is_some_and(|call| call.opened && has_name && id.is_some() && call.id.is_some() && call.id.as_ref() != id)
        };
        match found.filter(|at| !is_new(at)) {
            Some(at) => at,
            None => {
                self.calls.push(Call { index, id: None, opened: false, waiting: Vec::new() });
                self.calls.len() - 1
            }
        }
    }
}
