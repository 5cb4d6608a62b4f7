//! The members of a request that may have to change, and the request with them changed.

use bytes::Bytes;

use crate::body::{Body, Edit, edit};
use crate::fields::Level;
use crate::json::{Span, write_quoted};

/// A member of the request and its neighbours, as offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    key_start: u32,
    pub value: Span,
    /// Where the value before it ends; `None` for the first member.
    previous_end: Option<u32>,
    /// Where the key after it starts; `None` for the last member.
    next_start: Option<u32>,
}

impl Member {
    pub(crate) fn new(key_start: usize, value_start: usize, end: usize, previous_end: Option<usize>) -> Self {
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
    /// Each with the number of its field in the table of its dialect.
    members: Vec<(u32, Member)>,
    /// Whether the member read last is in `members`, and so wants to know its successor.
    last_is_kept: bool,
    include_usage: Option<(Span, bool)>,
}

impl Places {
    /// A member begins at `start`.
    pub(crate) fn next_member(&mut self, start: usize) {
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
    pub(crate) fn keep<L: Level>(&mut self, field: L, member: Member) {
        self.members.push((field.index(), member));
        self.last_is_kept = true;
    }

    pub(crate) fn include_usage(&mut self, start: usize, end: usize, value: Option<bool>) {
        self.include_usage = Some((Span::new(start, end), value == Some(true)));
    }

    /// Where the value of `include_usage` lies, and whether it is `true`.
    pub(crate) fn place_of_include_usage(&self) -> Option<(Span, bool)> {
        self.include_usage
    }

    pub(crate) fn find<L: Level>(&self, field: L) -> Option<Member> {
        self.members.iter().find(|(found, _)| *found == field.index()).map(|(_, member)| *member)
    }
}

/// The changes of one request on its way to a provider.
pub(crate) struct Splicer<'a> {
    body: &'a Bytes,
    pub places: &'a Places,
    edits: Vec<Edit>,
    cuts: Vec<Member>,
}

impl<'a> Splicer<'a> {
    pub(crate) fn new(body: &'a Bytes, places: &'a Places) -> Self {
        Self { body, places, edits: Vec::with_capacity(4), cuts: Vec::new() }
    }

    pub(crate) fn finish(mut self) -> Body {
        self.carry_out_cuts();
        edit(self.body, self.edits)
    }

    pub(crate) fn text(&self, span: Span) -> &'a [u8] {
        span.of(self.body)
    }

    /// Gives the member this string, whether or not it is there.
    pub(crate) fn set_string<L: Level>(&mut self, field: L, name: &str, value: &str) {
        let mut quoted = Vec::with_capacity(value.len() + 2);
        write_quoted(&mut quoted, value);
        match self.places.find(field) {
            Some(member) if member.value.of(self.body) == quoted => {}
            Some(member) => self.replace(member.value, quoted),
            None => self.add(name, &quoted),
        }
    }

    pub(crate) fn cut_each<L: Level>(&mut self, fields: &[L]) {
        for (field, member) in &self.places.members {
            if fields.iter().any(|cut| cut.index() == *field) {
                self.cut(*member);
            }
        }
    }

    pub(crate) fn cut(&mut self, member: Member) {
        self.cuts.push(member);
    }

    /// Each member goes with the comma after it. The last one has none: it takes the comma before it, and with it
    /// the members in between that go as well, down to one that stays; a request's messages always do.
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
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        let mut member = Vec::with_capacity(name.len() + value.len() + 4);
        write_quoted(&mut member, name);
        member.push(b':');
        member.extend_from_slice(value);
        member.push(b',');
        self.insert(self.places.first_key, member);
    }

    pub(crate) fn insert(&mut self, at: u32, with: Vec<u8>) {
        self.replace(Span { start: at, end: at }, with);
    }

    pub(crate) fn replace(&mut self, span: Span, with: Vec<u8>) {
        self.edits.push(Edit { start: span.start as usize, end: span.end as usize, with: with.into() });
    }
}
