//! What the frames of a stream tell: usage, how it ended, what was written, errors.

use std::ops::Range;

use bytes::Bytes;

use super::event::Told;
use super::usage::{Counts, Usage};
use crate::answer::decoded;
use crate::classify::{Classified, classify_in_body};
use crate::json::Error;
use crate::output::Output;
use crate::usage::{Reading, UsageFault, UsageObject};

/// What the frames have told so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub id: Option<Box<str>>,
    pub model: Option<Box<str>>,
    pub service_tier: Option<Box<str>>,
    counts: Counts,
    pub usage: Option<Reading>,
    pub usage_fault: Option<UsageFault>,
    pub usage_raw: Option<Bytes>,
    pub finish: Option<Box<str>>,
    pub output: Output,
    pub error: Option<Classified>,
    pub malformed: u32,
}

/// What one frame says about the end.
#[derive(Default)]
pub(super) struct Found {
    /// It belongs to the terminal part.
    pub ends: bool,
    /// It is the last event.
    pub stops: bool,
    pub has_output: bool,
    pub usage: Option<UsageObject>,
}

impl Seen {
    /// Reads the payload that lies at `at` in `source`.
    pub(super) fn read(&mut self, source: &Bytes, at: Range<usize>, is_error_event: bool) -> Result<Found, Error> {
        let text = source.get(at.clone()).unwrap_or_default();
        let told = match Told::read(text) {
            Ok(told) => told,
            Err(error) => {
                self.malformed = self.malformed.saturating_add(1);
                if !is_error_event {
                    return Err(error);
                }
                self.error.get_or_insert_with(|| classify_in_body(text));
                return Ok(Found { ends: true, ..Found::default() });
            }
        };
        let is = |word| told.kind.is_some_and(|kind| kind.is(word));
        let failed = is_error_event || is("error") || told.error.is_some();
        if failed {
            self.error.get_or_insert_with(|| classify_in_body(told.error.map_or(text, |error| error.of(text))));
        }
        self.output.add(&told.output);
        if self.id.is_none() {
            self.id = decoded(told.id);
        }
        if self.model.is_none() {
            self.model = decoded(told.model);
        }
        let finishes = told.stop_reason.is_some();
        if self.finish.is_none() {
            self.finish = decoded(told.stop_reason);
        }
        let mut found = Found { ends: failed || finishes, stops: is("message_stop"), has_output: !told.output.is_empty(), usage: None };
        if let Some(usage) = told.begun_usage {
            self.count(usage, source, at.start);
        }
        if let Some(usage) = told.usage {
            found.usage = usage.place();
            // What a message begins with counts one token of output or none, so that only later objects are usage, and only with an output.
            let tells_output = self.usage.is_some() || usage.counts.tells_output();
            self.count(usage, source, at.start);
            (self.usage, self.usage_fault) = match self.counts.reading() {
                Ok(reading) if tells_output => (Some(reading), None),
                Ok(_) => (None, Some(UsageFault::Empty)),
                Err(fault) => (None, Some(fault)),
            };
        }
        Ok(found)
    }

    /// What was told of the input alone. No request is without input: a provider that begins with zeros has not counted yet.
    pub(super) fn input(&self) -> Option<Reading> {
        let reading = self.counts.without_output().reading().ok().filter(|reading| reading.total_input() > 0)?;
        Some(Reading { output: 0, reasoning: 0, searches: 0, reported_cost: None, ..reading })
    }

    fn count(&mut self, usage: Usage<'_>, source: &Bytes, base: usize) {
        let end = source.len().min(base + usage.span.end as usize);
        self.usage_raw = Some(source.slice(end.min(base + usage.span.start as usize)..end));
        self.service_tier = decoded(usage.service_tier).or(self.service_tier.take());
        self.counts.then(usage.counts);
    }
}
