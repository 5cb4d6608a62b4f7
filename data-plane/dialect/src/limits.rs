//! What a request may be at most.

/// Limits of a request, whatever its dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub body_bytes: usize,
    /// At most 64.
    pub json_depth: u32,
    pub json_keys: u32,
    /// Entries of `models` and of each provider list.
    pub list_entries: usize,
    /// Bytes of a model or provider name.
    pub name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 32 << 20, json_depth: 64, json_keys: 100_000, list_entries: 128, name_bytes: 256 }
    }
}
