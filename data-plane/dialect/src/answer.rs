//! A whole answer, whatever its dialect: what routing and the bill must know of it.

use crate::classify::Classified;
use crate::output::Output;
use crate::usage::{Reading, UsageFault, UsageObject};

/// A provider's whole answer, as far as it concerns routing and the bill.
#[derive(Clone, Debug)]
pub struct Answer {
    pub id: Option<Box<str>>,
    /// The model that the provider says it was.
    pub model: Option<Box<str>>,
    /// The tier that was served, whose prices hold; `None` = not told.
    pub service_tier: Option<Box<str>>,
    /// `None`: not told, or not believed (then `usage_fault` says why).
    pub usage: Option<Reading>,
    pub usage_fault: Option<UsageFault>,
    /// The provider's own word.
    pub finish: Option<Box<str>>,
    /// What the model wrote.
    pub output: Output,
    /// Nothing was written, nothing was counted and no reason is given but that it is over: as good as no answer.
    pub empty: bool,
    /// The error that a 2xx answer can hold.
    pub error_in_body: Option<Classified>,
    pub(crate) place: Option<UsageObject>,
    pub(crate) has_fingerprint: bool,
}

/// How a whole answer is to be shown when the cost is put into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerOptions {
    /// A `system_fingerprint` that is missing is added as `null`: OpenRouter's strict clients require the member.
    pub add_fingerprint: bool,
}

impl Answer {
    /// Where the top-level usage object lies in the body.
    pub fn usage_span(&self) -> Option<std::ops::Range<usize>> {
        self.place.as_ref().map(|usage| usage.span.start as usize..usage.span.end as usize)
    }
}

/// The provider sent 2xx and no JSON object: its fault, worth a retry elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is no JSON object: broken at byte {at}")]
pub struct BrokenAnswer {
    pub at: usize,
}

/// The meaning of a text that says something.
pub(crate) fn decoded(text: Option<crate::json::Text<'_>>) -> Option<Box<str>> {
    text.and_then(|text| text.decode()).filter(|text| !text.is_empty()).map(|text| text.into())
}
