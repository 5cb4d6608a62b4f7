//! Guardrails: what the keys of a scope may call, whoever asks for what.
//!
//! Pure: a Guardrail is judged by the key's [`Bounds`](waybill_model::guardrail::Bounds), the endpoint and the tariff in force, and by nothing
//! else; what a caller wishes can only narrow it.
//!
//! # Layout
//! - `judge`: [`Guard`], the filter for the routing, and what it says of models before that.
//! - `refusal`: [`Refusal`], what a caller is told.
//!
//! # Invariants
//! - Every Guardrail of a key is kept by itself, so allow lists intersect, deny lists add, the lowest price counts, and one that wants no retention or
//!   no training is enough. One more Guardrail never lets more through.
//! - What is not known (a price, a retention) does not pass a rule about it.
//! - Whatever is refused, there is a Guardrail and a rule that it was refused by.

mod judge;
mod refusal;

pub use judge::Guard;
pub use refusal::{Closed, Refusal};
