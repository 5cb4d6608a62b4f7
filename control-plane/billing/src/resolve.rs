//! The word of a named operator, by which something is resolved that nobody saw.

use crate::error::Refusal;

/// Who resolved an attempt, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adjustment {
    /// The named operator.
    pub operator: String,
    /// Why, and on what evidence.
    pub reason: String,
    /// When, microseconds since 1970.
    pub unix_us: i64,
}

/// Who declared records of a log as lost, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WriteOff {
    /// The named operator.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// When, milliseconds since 1970.
    pub unix_ms: i64,
}

impl Adjustment {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        named(&self.operator, &self.reason)
    }
}

impl WriteOff {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        named(&self.operator, &self.reason)
    }
}

fn named(operator: &str, reason: &str) -> Result<(), Refusal> {
    if operator.trim().is_empty() {
        return Err(Refusal::NoOperator);
    }
    if reason.trim().is_empty() {
        return Err(Refusal::NoReason);
    }
    Ok(())
}
