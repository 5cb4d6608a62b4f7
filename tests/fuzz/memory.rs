//! How much memory an input took at most.

use crate::ALLOCATOR;

/// What any input may take, however short: tables, first buffers.
const BASE: usize = 512 << 10;
/// Bytes for each byte of input: a tree of `[0,0,0,…` takes some fifty, and the neutral form stands beside it.
const PER_BYTE: usize = 400;

/// The high-water mark since it began.
pub struct Peak {
    before: usize,
}

impl Peak {
    pub fn begin() -> Self {
        ALLOCATOR.reset_peak_usage();
        Self { before: ALLOCATOR.current_usage() }
    }

    pub fn bytes(&self) -> usize {
        ALLOCATOR.peak_usage().saturating_sub(self.before)
    }
}

/// For the report: what lies above the base.
pub fn per_byte(bytes: usize, input: usize) -> f64 {
    bytes.saturating_sub(BASE) as f64 / input.max(1) as f64
}

pub fn is_in_proportion(bytes: usize, input: usize) -> bool {
    bytes <= BASE + PER_BYTE * input
}
