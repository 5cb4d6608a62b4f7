//! Routing: from what a caller wishes to the ordered attempts, with a reason for every endpoint that was looked at.
//!
//! Pure: the snapshot, the health of the endpoints, the time and the seed are arguments, so the same inputs give the same plan on every
//! machine. It knows no dialect; the caller fills [`Wishes`] from the neutral form of the request.
//!
//! # Layout
//! - `wishes`: what the caller asks for. `resolve`: names → models. `pattern`: how a provider is named in a preference.
//! - `loss`: why an endpoint is not tried. `judge`: the hard filters. `choice`: the order among those that pass.
//! - `plan`: the one public verb, and its outcome. `explain`: the outcome as the record that is spooled, and as words.
//! - `refusal`: what is said when nothing can be tried.
//! - `breaker`: the state machine of one endpoint. `health`: all of them in one worker thread.
//!
//! # Invariants
//! - Every endpoint of the asked models is a candidate, and every candidate is planned or has lost for exactly one reason.
//! - No planned attempt fails a hard filter.
//! - An open breaker moves an endpoint to the end; it never takes the last one away.
//! - Integers only: neither prices nor chances touch a float.

mod breaker;
mod choice;
mod explain;
mod health;
mod judge;
mod loss;
mod pattern;
mod plan;
mod refusal;
mod resolve;
mod wishes;

pub use breaker::{
    Breaker, Class, FAILURES_TO_OPEN, LONGEST_COOL_DOWN_MS, LONGEST_OPEN_MS, OPEN_STEP_MS, Outcome, PROBE_LAPSE_MS,
    RATE_LIMIT_COOL_DOWN_MS, State,
};
pub use health::Health;
pub use loss::Loss;
pub use plan::{Attempt, Candidate, Plan, Record, Verdict, plan};
pub use refusal::{Code, Excluded, NoEndpoints, Refusal};
pub use wishes::{MaxPrice, Wishes, least_input_tokens};
