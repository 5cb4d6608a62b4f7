//! The only maker of events: whatever a provider sends in whatever order, what comes out is a legal sequence.
//!
//! Blocks follow one another. A provider of the OpenAI family may send fragments of several tool calls in turn: the first call flows on, and a
//! later one waits until the first is over, which its own JSON tells, so that most calls flow without a wait.

use super::block::Reasoning;
use super::event::{Delta, Event, EventKind, Opened};
use super::message::Finish;
use super::text::Text;

/// What a provider names a block by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Text, refusals and thoughts have no name in OpenAI's family: they open by themselves at their first fragment.
    Text,
    Refusal,
    /// Thoughts by the index that OpenRouter gives them.
    Thoughts(u32),
    Summary(u32),
    /// `tool_calls[].index`.
    Call(u32),
    /// Anthropic's `index`.
    Block(u32),
}

/// The provider sends what belongs nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    #[error("a fragment of a tool call or block that had not begun, was over, or is of another kind")]
    Misplaced,
    #[error("more than {limit} bytes of tool calls wait for the one before them (limit frame_bytes)")]
    TooMuch { limit: usize },
    #[error("more than {limit} tool calls in one answer")]
    TooMany { limit: usize },
    #[error("a frame that is cut or no JSON")]
    Unreadable,
}

/// See the module.
#[derive(Debug)]
pub struct Assembler {
    state: State,
    /// The number of the next block.
    next: u32,
    open: Option<Open>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Started,
    Finished,
}

#[derive(Debug)]
struct Open {
    key: Key,
    block: u32,
    kind: Kind,
    arguments: Progress,
}

#[derive(Debug)]
struct Waiting {
    key: Key,
    what: Opened,
    deltas: Vec<Delta>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    Call,
    Foreign,
}

impl Kind {
    const fn of(what: &Opened) -> Self {
        match what {
            Opened::Text | Opened::Refusal => Self::Text,
            Opened::Reasoning(_) => Self::Reasoning,
            Opened::ToolCall { .. } => Self::Call,
            Opened::Foreign { .. } => Self::Foreign,
        }
    }

    const fn takes(self, delta: &Delta) -> bool {
        matches!(
            (self, delta),
            (Self::Text, Delta::Text(_) | Delta::Citation(_))
                | (Self::Reasoning, Delta::Reasoning(_) | Delta::Signature(_))
                | (Self::Call, Delta::Arguments(_))
                | (Self::Foreign, Delta::Foreign(_))
        )
    }
}

impl Assembler {
    /// At most `limit` bytes wait.
    pub fn new(limit: usize) -> Self {
        Self { state: State::Fresh, next: 0, open: None, waiting: Vec::new(), waiting_bytes: 0, limit }
    }

    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// The answer begins; of several beginnings the first stands.
    pub fn start(&mut self, id: Option<Text>, model: Option<Text>, out: &mut Vec<Event>) {
        if self.state == State::Fresh {
            self.state = State::Started;
            out.push(Event(EventKind::Start { id, model }));
        }
    }

    /// A block begins. One that has the key of the open or of a waiting block is the same block.
    ///
    /// # Errors
    /// Too much waits.
    pub fn open(&mut self, key: Key, what: Opened, out: &mut Vec<Event>) -> Result<(), Disorder> {
        if self.state == State::Finished || self.holds(key) {
            return Ok(());
        }
        self.start(None, None, out);
        if self.open.as_ref().is_some_and(Open::is_unfinished_call) || !self.waiting.is_empty() {
            self.waiting_bytes += 64;
            self.waiting.push(Waiting { key, what, deltas: Vec::new() });
            return self.check();
        }
        self.close_open(out);
        self.begin(key, what, out);
        Ok(())
    }

    /// A fragment of a block.
    ///
    /// # Errors
    /// It belongs nowhere, or too much waits.
    pub fn delta(&mut self, key: Key, delta: Delta, out: &mut Vec<Event>) -> Result<(), Disorder> {
        if self.state == State::Finished || delta.is_empty() {
            return Ok(());
        }
        if !self.holds(key) {
            let Some(what) = opened_by(key) else {
                return if delta.is_blank() { Ok(()) } else { Err(Disorder::Misplaced) };
            };
            self.open(key, what, out)?;
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.key == key) {
            if !open.kind.takes(&delta) {
                return Err(Disorder::Misplaced);
            }
            if let Delta::Arguments(text) = &delta {
                open.arguments.feed(text);
            }
            out.push(Event(EventKind::Delta { block: open.block, delta }));
            self.let_waiting_go(out);
            return Ok(());
        }
        let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.key == key) else { return Ok(()) };
        if !Kind::of(&waiting.what).takes(&delta) {
            return Err(Disorder::Misplaced);
        }
        self.waiting_bytes += delta.len() + 32;
        waiting.deltas.push(delta);
        self.check()
    }

    /// The block is over.
    pub fn close(&mut self, key: Key, out: &mut Vec<Event>) {
        if self.open.as_ref().is_some_and(|open| open.key == key) {
            self.close_open(out);
            self.let_waiting_go(out);
        }
    }

    /// The answer is over: whatever is open is closed, whatever waits comes. Of several ends the first stands.
    pub fn finish(&mut self, finish: Finish, stop_sequence: Option<Text>, out: &mut Vec<Event>) {
        if self.state == State::Finished {
            return;
        }
        self.start(None, None, out);
        self.close_open(out);
        while !self.waiting.is_empty() {
            self.next_waiting(out);
            self.close_open(out);
        }
        self.state = State::Finished;
        out.push(Event(EventKind::Finish { finish, stop_sequence }));
    }

    fn holds(&self, key: Key) -> bool {
        self.open.as_ref().is_some_and(|open| open.key == key) || self.waiting.iter().any(|waiting| waiting.key == key)
    }

    fn check(&self) -> Result<(), Disorder> {
        if self.waiting_bytes > self.limit { Err(Disorder::TooMuch { limit: self.limit }) } else { Ok(()) }
    }

    fn begin(&mut self, key: Key, what: Opened, out: &mut Vec<Event>) {
        let block = self.next;
        self.next += 1;
        self.open = Some(Open { key, block, kind: Kind::of(&what), arguments: Progress::default() });
        out.push(Event(EventKind::Open { block, what }));
    }

    fn close_open(&mut self, out: &mut Vec<Event>) {
        if let Some(open) = self.open.take() {
            out.push(Event(EventKind::Close { block: open.block }));
        }
    }

    /// The call before them may have come to its end.
    fn let_waiting_go(&mut self, out: &mut Vec<Event>) {
        while !self.waiting.is_empty() && !self.open.as_ref().is_some_and(Open::is_unfinished_call) {
            self.close_open(out);
            self.next_waiting(out);
        }
    }

    fn next_waiting(&mut self, out: &mut Vec<Event>) {
        let Waiting { key, what, deltas } = self.waiting.remove(0);
        self.waiting_bytes -= (64 + deltas.iter().map(|delta| delta.len() + 32).sum::<usize>()).min(self.waiting_bytes);
        self.begin(key, what, out);
        let Some(open) = &mut self.open else { return };
        for delta in deltas {
            if let Delta::Arguments(text) = &delta {
                open.arguments.feed(text);
            }
            out.push(Event(EventKind::Delta { block: open.block, delta }));
        }
    }
}

impl Open {
    fn is_unfinished_call(&self) -> bool {
        self.kind == Kind::Call && !self.arguments.is_complete()
    }
}

impl Delta {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Reasoning(text) | Self::Signature(text) | Self::Arguments(text) => text.escaped().len(),
            Self::Citation(raw) | Self::Foreign(raw) => raw.json().len(),
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_blank(&self) -> bool {
        matches!(self, Self::Arguments(text) if text.decode().trim().is_empty())
    }
}

/// What begins by itself with its first fragment.
fn opened_by(key: Key) -> Option<Opened> {
    match key {
        Key::Text => Some(Opened::Text),
        Key::Refusal => Some(Opened::Refusal),
        Key::Thoughts(_) => Some(Opened::Reasoning(Reasoning::Text { text: Text::default(), signature: None })),
        Key::Summary(_) => Some(Opened::Reasoning(Reasoning::Summary { text: Text::default() })),
        Key::Call(_) | Key::Block(_) => None,
    }
}

/// How far a JSON object has come, fragment by fragment.
#[derive(Debug, Default)]
struct Progress {
    depth: u32,
    in_string: bool,
    after_backslash: bool,
    complete: bool,
}

impl Progress {
    fn feed(&mut self, fragment: &Text) {
        for byte in fragment.decode().bytes() {
            match (self.in_string, byte) {
                (true, _) if self.after_backslash => self.after_backslash = false,
                (true, b'\\') => self.after_backslash = true,
                (true, b'"') => self.in_string = false,
                (true, _) => {}
                (false, b'"') => self.in_string = true,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.complete |= self.depth == 0;
                }
                (false, _) => {}
            }
        }
    }

    const fn is_complete(&self) -> bool {
        self.complete
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::neutral::{Content, fold};

    fn text(text: &str) -> Text {
        Text::new(text)
    }

    fn call(name: &str) -> Opened {
        Opened::ToolCall { id: text(name), name: text(name) }
    }

    /// The grammar, told once more and by other means.
    fn shape(events: &[Event]) -> String {
        let letter = |event: &Event| match event.kind() {
            EventKind::Start { .. } => "S".to_owned(),
            EventKind::Open { block, .. } => format!("({block}"),
            EventKind::Delta { block, .. } => format!(".{block}"),
            EventKind::Close { block } => format!("){block}"),
            EventKind::Finish { .. } => "F".to_owned(),
        };
        events.iter().map(letter).collect()
    }

    #[test]
    fn calls_whose_fragments_alternate_come_one_after_another() {
        let mut assembler = Assembler::new(1000);
        let mut out = Vec::new();
        assembler.open(Key::Call(0), call("a"), &mut out).expect("room");
        for (index, fragment) in [(0, r#"{"x":"}"#), (1, ""), (0, r#"\""#)] {
            if index == 1 {
                assembler.open(Key::Call(1), call("b"), &mut out).expect("room");
                assembler.delta(Key::Call(1), Delta::Arguments(text("{")), &mut out).expect("waits");
            } else {
                assembler.delta(Key::Call(0), Delta::Arguments(text(fragment)), &mut out).expect("open");
            }
        }
        assert_eq!(shape(&out), "S(0.0.0", "the first call is not over: a brace inside a string closes nothing");
        assembler.delta(Key::Call(0), Delta::Arguments(text(r#""}"#)), &mut out).expect("open");
        assert_eq!(shape(&out), "S(0.0.0.0)0(1.1", "the second flows once the first is whole");
        assembler.delta(Key::Call(1), Delta::Arguments(text("}")), &mut out).expect("open");
        assembler.delta(Key::Text, Delta::Text(text("done")), &mut out).expect("opens by itself");
        assert_eq!(assembler.delta(Key::Call(0), Delta::Arguments(text("{")), &mut out), Err(Disorder::Misplaced));
        assembler.delta(Key::Call(0), Delta::Arguments(text(" ")), &mut out).expect("blanks are nothing");
        assembler.finish(Finish::Stop, None, &mut out);
        assembler.finish(Finish::Length, None, &mut out);
        assert_eq!(shape(&out), "S(0.0.0.0)0(1.1.1)1(2.2)2F");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut assembler = Assembler::new(200);
        let mut out = Vec::new();
        assembler.open(Key::Call(0), call("a"), &mut out).expect("open");
        let outcome = (1..100).map(|index| assembler.open(Key::Call(index), call("b"), &mut out)).find(Result::is_err);
        assert_eq!(outcome, Some(Err(Disorder::TooMuch { limit: 200 })));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Open(u32),
        Arguments(u32, &'static str),
        Text(&'static str),
        Thoughts(u32, &'static str),
        Close(u32),
        Finish,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let fragment = prop::sample::select(vec!["{", "}", "\"", r"\", "a", "[1]", " ", ""]);
        let step = prop_oneof![
            3 => (0..4_u32).prop_map(Step::Open),
            8 => (0..4_u32, fragment).prop_map(|(index, fragment)| Step::Arguments(index, fragment)),
            3 => Just(Step::Text("t")),
            2 => (0..2_u32).prop_map(|index| Step::Thoughts(index, "r")),
            1 => (0..4_u32).prop_map(Step::Close),
            1 => Just(Step::Finish),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        #[test]
        fn any_steps_make_a_legal_sequence_and_lose_nothing_that_was_taken(steps in steps()) {
            let mut assembler = Assembler::new(1 << 20);
            let mut out = Vec::new();
            let mut taken = String::new();
            for step in &steps {
                if assembler.is_finished() {
                    break;
                }
                match step {
                    Step::Open(index) => assembler.open(Key::Call(*index), call("f"), &mut out).expect("room"),
                    Step::Arguments(index, fragment) => {
                        let held = assembler.holds(Key::Call(*index));
                        let outcome = assembler.delta(Key::Call(*index), Delta::Arguments(text(fragment)), &mut out);
                        prop_assert_eq!(outcome.is_ok(), held || fragment.trim().is_empty());
                        if held {
                            taken.push_str(fragment);
                        }
                    }
                    Step::Text(word) => {
                        assembler.delta(Key::Text, Delta::Text(text(word)), &mut out).expect("room");
                        taken.push_str(word);
                    }
                    Step::Thoughts(index, word) => {
                        assembler.delta(Key::Thoughts(*index), Delta::Reasoning(text(word)), &mut out).expect("room");
                        taken.push_str(word);
                    }
                    Step::Close(index) => assembler.close(Key::Call(*index), &mut out),
                    Step::Finish => assembler.finish(Finish::Stop, None, &mut out),
                }
            }
            assembler.finish(Finish::Stop, None, &mut out);

            let (mut open, mut next, mut over) = (None, 0, false);
            for (at, event) in out.iter().enumerate() {
                prop_assert!(!over, "nothing follows the end");
                match event.kind() {
                    EventKind::Start { .. } => prop_assert_eq!(at, 0),
                    EventKind::Open { block, .. } => {
                        prop_assert!(at > 0 && open.is_none());
                        prop_assert_eq!(*block, next);
                        open = Some(*block);
                        next += 1;
                    }
                    EventKind::Delta { block, .. } => prop_assert_eq!(open, Some(*block)),
                    EventKind::Close { block } => prop_assert_eq!(open.take(), Some(*block)),
                    EventKind::Finish { .. } => {
                        prop_assert!(open.is_none());
                        over = true;
                    }
                }
            }
            prop_assert!(over);
            let told = |content: &Content| match content {
                Content::Text { text, .. } => text.decode().into_owned(),
                Content::Reasoning(Reasoning::Text { text, .. }) => text.decode().into_owned(),
                Content::ToolCall { arguments, .. } => arguments.to_text().decode().into_owned(),
                _ => String::new(),
            };
            let sorted = |text: String| {
                let mut letters: Vec<char> = text.chars().collect();
                letters.sort_unstable();
                letters
            };
            let all: String = fold(&out).blocks.iter().map(|block| told(&block.content)).collect();
            prop_assert_eq!(sorted(all), sorted(taken));
        }
    }
}
