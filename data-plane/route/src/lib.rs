//! Routing: from what a caller wishes to the ordered attempts, with a reason for every endpoint that was looked at.
//!
//! Pure: the snapshot, the health of the endpoints, the time and the seed are arguments, so the same inputs give the same plan on every
//! machine. It knows no dialect; the caller fills [`Wishes`] from the neutral form of the request. It knows no Guardrail either: what those of
//! the key say of an endpoint comes as a [`Filter`](waybill_model::guardrail::Filter).
//!
//! # Layout
//! - `wishes`: what the caller asks for. `resolve`: names → models.
//! - `loss`: why an endpoint is not tried. `judge`: the hard filters. `choice`: the order among those that pass.
//! - `plan`: the one public verb, and its outcome. `explain`: the outcome as the record that is spooled, and as words.
//! - `refusal`: what is said when nothing can be tried.
//! - `outcome`: how attempts end. `breaker`: the state machine of one endpoint. `window`: its last ten seconds. `advice`: what the fleet says.
//! - `health`: all of it in one worker thread. `lag`: who stands behind for it in a plan.
//!
//! # Invariants
//! - Every endpoint of the asked models is a candidate, and every candidate is planned or has lost for exactly one reason.
//! - No planned attempt fails a hard filter.
//! - Bad health moves an endpoint to the end; it never takes the last one away. Advice that would leave less than half of what could answer is not
//!   followed.
//! - Integers only: neither prices nor chances touch a float.

mod advice;
mod breaker;
mod choice;
mod explain;
mod health;
mod judge;
mod lag;
mod loss;
mod outcome;
mod plan;
mod refusal;
mod resolve;
mod window;
mod wishes;

pub use advice::{Advice, Ejected, LONGEST_ADVICE_MS};
pub use breaker::{
    Breaker, FAILURES_TO_OPEN, LONGEST_COOL_DOWN_MS, LONGEST_OPEN_MS, OPEN_STEP_MS, PROBE_LAPSE_MS, RATE_LIMIT_COOL_DOWN_MS, SLOW_START_MS,
    SLOW_START_PERMILLE, State, WHOLE_PERMILLE,
};
pub use health::{Health, Place, Standing, Why};
pub use loss::Loss;
pub use outcome::{Class, Outcome};
pub use plan::{Attempt, Candidate, Plan, Record, Verdict, plan};
pub use refusal::{Code, Excluded, NoEndpoints, Refusal};
pub use window::WINDOW_LEAST;
pub use wishes::{MaxPrice, Wishes, least_input_tokens};
