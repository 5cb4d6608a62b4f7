//! The refusals of this proxy: a bounded ring, so that `explain` can tell for a while why a request was not even sent.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use waybill_model::id::GenerationId;
use waybill_proto::usage::v1::Decision;

/// How many are kept.
const KEPT: usize = 10_000;

/// A request that was refused before any attempt.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its id, as the caller saw it.
    pub generation: GenerationId,
    /// Status the caller got.
    pub status: u16,
    /// One of the stable error types.
    pub error_type: &'static str,
    /// What the caller was told.
    pub message: String,
    /// How routing came to it.
    pub decision: Decision,
    /// Microseconds since 1970.
    pub unix_us: u64,
}

/// The last refusals of all workers. Off the path of requests that are served.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<VecDeque<Refused>>);

impl Refusals {
    pub(crate) fn push(&self, refused: Refused) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(refused);
    }

    /// The refusal of a generation, while it is remembered.
    #[must_use]
    pub fn find(&self, generation: GenerationId) -> Option<Refused> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().rev().find(|refused| refused.generation == generation).cloned()
    }
}
