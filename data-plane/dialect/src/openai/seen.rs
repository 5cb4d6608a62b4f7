//! What the frames of a stream tell: usage, how it ended, what was written, errors.

use std::ops::Range;

use bytes::Bytes;

use super::chunk::{Chunk, Form};
use super::nulls::Nulls;
use super::whole::best_of;
use crate::answer::decoded;
use crate::classify::{Classified, classify_in_body};
use crate::json::{Error, Span};
use crate::output::Output;
use crate::usage::{Reading, UsageFault, UsageObject};

/// What the frames have told so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub id: Option<Box<str>>,
    pub model: Option<Box<str>>,
    pub service_tier: Option<Box<str>>,
    pub usage: Option<Reading>,
    pub usage_fault: Option<UsageFault>,
    pub usage_raw: Option<Bytes>,
    pub has_final_usage: bool,
    pub finish: Option<Box<str>>,
    pub finished: u32,
    pub output: Output,
    pub error: Option<Classified>,
    pub malformed: u32,
}

/// What one frame says about the end.
pub(super) struct Found {
    /// It belongs to the terminal part.
    pub ends: bool,
    pub has_output: bool,
    pub usage: Option<UsageObject>,
    pub usage_only: bool,
    pub nulls: Nulls,
}

impl Seen {
    /// Reads the payload that lies at `at` in `source`.
    pub(super) fn read(&mut self, source: &Bytes, at: Range<usize>, is_error_event: bool, n: u32) -> Result<Found, Error> {
        let text = source.get(at.clone()).unwrap_or_default();
        let chunk = match Chunk::read(text, Form::Chunk) {
            Ok(chunk) => chunk,
            Err(error) => {
                self.malformed = self.malformed.saturating_add(1);
                if !is_error_event {
                    return Err(error);
                }
                self.error.get_or_insert_with(|| classify_in_body(text));
                return Ok(Found { ends: true, has_output: false, usage: None, usage_only: false, nulls: Nulls::default() });
            }
        };
        if self.id.is_none() {
            self.id = decoded(chunk.id);
        }
        if self.model.is_none() {
            self.model = decoded(chunk.model);
        }
        if self.service_tier.is_none() {
            self.service_tier = decoded(chunk.service_tier);
        }
        let choices = &chunk.choices;
        self.output.add(&choices.output);
        self.finished = self.finished.saturating_add(choices.finished);
        if self.finish.is_none() {
            self.finish = decoded(choices.finish);
        }
        let error = chunk.error.or(choices.error).map(|span| span.of(text)).or(is_error_event.then_some(text));
        let finished_in_error = choices.finish.is_some_and(|reason| reason.is("error"));
        let failed = error.is_some() || finished_in_error;
        if failed {
            self.error.get_or_insert_with(|| classify_in_body(error.unwrap_or_default()));
        }
        let told = best_of(chunk.usage.as_ref(), chunk.x_groq_usage.as_ref());
        if let Some(told) = told {
            (self.usage, self.usage_fault) = match told {
                Ok(reading) => (Some(reading.clone()), None),
                Err(fault) => (None, Some(fault.clone())),
            };
            let object = chunk.usage.as_ref().or(chunk.x_groq_usage.as_ref());
            self.usage_raw = object.map(|usage| slice(source, usage.span, at.start));
        }
        let is_final = told.is_some() && (choices.count == 0 || self.finished >= n);
        self.has_final_usage |= is_final && told.is_some_and(|told| told.is_ok());
        Ok(Found {
            ends: failed || is_final,
            has_output: !choices.output.is_empty(),
            usage_only: is_final && choices.count == 0 && !failed,
            usage: chunk.usage.filter(|usage| usage.span.of(text).starts_with(b"{")),
            nulls: chunk.nulls,
        })
    }
}

fn slice(source: &Bytes, span: Span, base: usize) -> Bytes {
    let end = source.len().min(base + span.end as usize);
    source.slice(end.min(base + span.start as usize)..end)
}
