//! What holds of the dialects' codecs themselves, called without a proxy, over every request and stream of a folder.
//!
//! # Layout
//! - `request`: read and written in its own dialect it is the same JSON value; written in the other dialect, read there and written back, it
//!   lost what the notices named and nothing else.
//! - `answer`: a stream read in pieces says what the whole answer says, wherever it is cut, and again after it was written in either dialect.

mod answer;
mod request;

use crate::case::{Case, Kind};
use crate::judge::Verdict;

/// Checks everything, and adds what is found to a verdict.
pub fn all(cases: &[Case], verdict: &mut Verdict) {
    for case in cases {
        if case.is_request {
            request::check(case, verdict);
        }
        if matches!(case.kind, Kind::Answer) {
            answer::check(case, verdict);
        }
    }
}
