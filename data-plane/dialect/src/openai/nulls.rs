//! Members that OpenRouter's strict clients refuse when they are `null`, and the cuts that take them out of a chunk.

use std::ops::Range;

use crate::json::Span;

/// The top-level members `usage` and `system_fingerprint` that are `null`, each from its key to the end of its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nulls {
    /// In the order of the text. An empty span stands for none.
    members: [Span; 2],
}

impl Nulls {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A third one, which only a repeated key can be, is not taken.
    pub(super) fn add(&mut self, start: usize, value: Span) {
        if let Some(free) = self.members.iter_mut().find(|member| member.end == 0) {
            *free = Span { start: Span::new(start, start).start, end: value.end };
        }
    }

    /// What to cut out of the object `text` in which they were found, in order: each member and one comma beside it.
    pub(super) fn cuts(self, text: &[u8]) -> impl Iterator<Item = Range<usize>> {
        let mut cut_to = 0;
        self.members.into_iter().filter(|member| member.end > 0).map(move |member| {
            let (start, end) = (member.start as usize, member.end as usize);
            let cut = match comma_before(text, start) {
                // The comma before the first member that stays is the one behind those that are cut.
                Some(comma) if comma >= cut_to => comma..end,
                _ => start..comma_after(text, end).map_or(end, |comma| comma + 1),
            };
            cut_to = cut.end;
            cut
        })
    }
}

fn comma_before(text: &[u8], at: usize) -> Option<usize> {
    let before = text.get(..at)?.trim_ascii_end();
    before.ends_with(b",").then(|| before.len() - 1)
}

fn comma_after(text: &[u8], at: usize) -> Option<usize> {
    let after = text.get(at..)?;
    let trimmed = after.trim_ascii_start();
    trimmed.starts_with(b",").then(|| at + after.len() - trimmed.len())
}
