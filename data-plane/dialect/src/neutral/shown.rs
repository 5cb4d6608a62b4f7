//! What an answer shows that the model did not say.

use crate::usage::Reading;

/// The gateway's part of a translated answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The generation's id.
    pub id: &'a str,
    /// The caller's own name for the model, for when the provider told none.
    pub model: &'a str,
    /// Unix time in seconds.
    pub created_s: u64,
    /// What the answer consumed; `None` = the provider did not tell.
    pub reading: Option<&'a Reading>,
    pub cost_picousd: Option<i64>,
    /// The tier that was served.
    pub service_tier: Option<&'a str>,
    /// The `/api/v1` surface: members that only OpenRouter's clients look for.
    pub openrouter: bool,
}
