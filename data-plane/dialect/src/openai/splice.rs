//! The request towards a provider: the caller's own bytes, with only those spans exchanged that must be.

use bytes::Bytes;

use super::fields::{Field, GATEWAY_ONLY, NEVER_FORWARDED};
use crate::body::{Body, Edit, edit};
use crate::call::Call;
use crate::json::{Span, write_quoted};

/// How a provider is brought to tell usage in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AsksUsage {
    /// By `stream_options.include_usage`, OpenAI's rule.
    #[default]
    StreamOptions,
    /// It tells unasked, and may refuse `stream_options` (Mistral answers 422), which is therefore cut out.
    Always,
    /// It never tells; `stream_options` is cut out.
    Never,
}

/// A limit of the output that the caller did not set and a hard budget asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxOutput {
    pub field: MaxOutputField,
    pub tokens: u64,
}

/// The name under which a provider takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxOutputField {
    MaxTokens,
    MaxCompletionTokens,
}

/// What one endpoint wants to see in the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// The model's name at the provider.
    pub provider_model: &'a str,
    pub asks_usage: AsksUsage,
    /// Cut out all gateway-only fields (see `data-plane/README.md`). Without it, those that are carried out here
    /// (`models`, `route`, `plugins`, `transforms`) are still cut, and the rest passes.
    pub drop_gateway_fields: bool,
    /// Has no effect if the caller set a maximum.
    pub max_output: Option<MaxOutput>,
}

/// A member of the request and its neighbours, as offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    key_start: u32,
    value: Span,
    /// Where the value before it ends; `None` for the first member.
    previous_end: Option<u32>,
    /// Where the key after it starts; `None` for the last member.
    next_start: Option<u32>,
}

impl Member {
    pub(super) fn new(key_start: usize, value_start: usize, end: usize, previous_end: Option<usize>) -> Self {
        Self {
            key_start: Span::new(key_start, key_start).start,
            value: Span::new(value_start, end),
            previous_end: previous_end.map(|at| Span::new(at, at).start),
            next_start: None,
        }
    }
}

/// Where the members lie that a rewrite may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    first_key: u32,
    members: Vec<(Field, Member)>,
    /// Whether the member read last is in `members`, and so wants to know its successor.
    last_is_kept: bool,
    include_usage: Option<(Span, bool)>,
}

impl Places {
    /// A member begins at `start`.
    pub(super) fn next_member(&mut self, start: usize) {
        let start = Span::new(start, start).start;
        if self.first_key == 0 {
            self.first_key = start;
        }
        if std::mem::take(&mut self.last_is_kept)
            && let Some((_, last)) = self.members.last_mut()
        {
            last.next_start = Some(start);
        }
    }

    /// The member that was read may have to change.
    pub(super) fn keep(&mut self, field: Field, member: Member) {
        let changes = matches!(field, Field::Model | Field::StreamOptions | Field::MaxTokens | Field::MaxCompletionTokens);
        if changes || GATEWAY_ONLY.contains(&field) {
            self.members.push((field, member));
            self.last_is_kept = true;
        }
    }

    pub(super) fn include_usage(&mut self, start: usize, end: usize, value: Option<bool>) {
        self.include_usage = Some((Span::new(start, end), value == Some(true)));
    }

    fn find(&self, field: Field) -> Option<&Member> {
        self.members.iter().find(|(found, _)| *found == field).map(|(_, member)| member)
    }
}

/// The request as `target` is to get it. `body` is the one that `call` was read from.
pub fn rewrite(body: &Bytes, call: &Call, target: &Target<'_>) -> Body {
    let mut rewrite = Rewrite { body, places: &call.places, edits: Vec::with_capacity(4), cuts: Vec::new() };
    rewrite.model(target.provider_model);
    rewrite.usage(call, target.asks_usage);
    rewrite.max_output(call, target.max_output);
    rewrite.cut_gateway_fields(target.drop_gateway_fields);
    rewrite.carry_out_cuts();
    edit(body, rewrite.edits)
}

struct Rewrite<'a> {
    body: &'a Bytes,
    places: &'a Places,
    edits: Vec<Edit>,
    cuts: Vec<Member>,
}

impl Rewrite<'_> {
    fn model(&mut self, provider_model: &str) {
        let mut quoted = Vec::with_capacity(provider_model.len() + 2);
        write_quoted(&mut quoted, provider_model);
        match self.places.find(Field::Model) {
            Some(member) if member.value.of(self.body) == quoted => {}
            Some(member) => self.replace(member.value, quoted),
            None => self.add("model", &quoted),
        }
    }

    fn usage(&mut self, call: &Call, rule: AsksUsage) {
        let member = self.places.find(Field::StreamOptions);
        match (rule, member) {
            (AsksUsage::Always | AsksUsage::Never, Some(member)) => self.cut(*member),
            (AsksUsage::StreamOptions, _) if call.stream => match (member, self.places.include_usage) {
                (_, Some((_, true))) => {}
                (_, Some((place, false))) => self.replace(place, b"true".to_vec()),
                (Some(member), None) => self.add_to_stream_options(member.value),
                (None, None) => self.add("stream_options", br#"{"include_usage":true}"#),
            },
            _ => {}
        }
    }

    fn add_to_stream_options(&mut self, value: Span) {
        let text = value.of(self.body);
        let mut inner = text.iter().skip(1).filter(|byte| !byte.is_ascii_whitespace());
        if !text.starts_with(b"{") {
            self.replace(value, br#"{"include_usage":true}"#.to_vec());
        } else if inner.next() == Some(&b'}') {
            self.insert(value.start + 1, br#""include_usage":true"#.to_vec());
        } else {
            self.insert(value.start + 1, br#""include_usage":true,"#.to_vec());
        }
    }

    fn max_output(&mut self, call: &Call, max_output: Option<MaxOutput>) {
        let Some(MaxOutput { field, tokens }) = max_output.filter(|_| call.max_output.is_none()) else {
            return;
        };
        let (field, name) = match field {
            MaxOutputField::MaxTokens => (Field::MaxTokens, "max_tokens"),
            MaxOutputField::MaxCompletionTokens => (Field::MaxCompletionTokens, "max_completion_tokens"),
        };
        let tokens = tokens.to_string();
        match self.places.find(field) {
            Some(null) => self.replace(null.value, tokens.into_bytes()),
            None => self.add(name, tokens.as_bytes()),
        }
    }

    fn cut_gateway_fields(&mut self, all: bool) {
        for (field, member) in &self.places.members {
            if NEVER_FORWARDED.contains(field) || all && GATEWAY_ONLY.contains(field) {
                self.cut(*member);
            }
        }
    }

    fn cut(&mut self, member: Member) {
        self.cuts.push(member);
    }

    /// Each member goes with the comma after it. The last one has none: it takes the comma before it, and with it
    /// the members in between that go as well, down to one that stays; `messages` always does.
    fn carry_out_cuts(&mut self) {
        for at in 0..self.cuts.len() {
            let Some(member) = self.cuts.get(at).copied() else { return };
            let (start, end) = match member.next_start {
                Some(next) => (member.key_start, next),
                None => (self.end_of_what_stays_before(member), member.value.end),
            };
            self.replace(Span { start, end }, Vec::new());
        }
    }

    fn end_of_what_stays_before(&self, last: Member) -> u32 {
        let mut first = last;
        while let Some(end) = first.previous_end {
            match self.cuts.iter().find(|member| member.value.end == end) {
                Some(previous) => first = *previous,
                None => return end,
            }
        }
        first.key_start
    }

    /// Adds a member at the front, where a comma always fits.
    fn add(&mut self, name: &str, value: &[u8]) {
        let mut member = Vec::with_capacity(name.len() + value.len() + 4);
        write_quoted(&mut member, name);
        member.push(b':');
        member.extend_from_slice(value);
        member.push(b',');
        self.insert(self.places.first_key, member);
    }

    fn insert(&mut self, at: u32, with: Vec<u8>) {
        self.replace(Span { start: at, end: at }, with);
    }

    fn replace(&mut self, span: Span, with: Vec<u8>) {
        self.edits.push(Edit { start: span.start as usize, end: span.end as usize, with: with.into() });
    }
}
