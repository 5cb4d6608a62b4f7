//! What Waybill tells of itself: logs, and the names that are promised to dashboards.
//!
//! # Layout
//! - [`logs`]: structured logs to standard error. [`Exposition`]: metrics in Prometheus' text format.
//!
//! # Invariants
//! - No prompt, key or secret is a label, a field or a message.
//! - Metric names begin with `waybill_`; counters end in `_total` (added here, so that no name can forget it).

mod exposition;
mod logs;

pub use exposition::{CONTENT_TYPE, Exposition};
pub use logs::{Format, logs};
