//! Logs: to standard error, so that what a command prints stays clean.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the process, once; a second call changes nothing. `WAYBILL_LOG` filters as in `tracing_subscriber::EnvFilter`; without it,
/// warnings and errors are shown, and what Waybill itself says from `info` on.
pub fn logs(format: Format) {
    let filter = EnvFilter::try_from_env("WAYBILL_LOG").unwrap_or_else(|_| EnvFilter::new("warn,waybill=info"));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let started = match format {
        Format::Pretty => {
            let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal).with_target(false);
            tracing_subscriber::registry().with(filter).with(layer).try_init()
        }
        Format::Json => tracing_subscriber::registry().with(filter).with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
    // Whoever started logging first keeps it.
    drop(started);
}
