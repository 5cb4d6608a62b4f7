//! What befalls the provider.

use anyhow::Result;
use waybill_tests::oracle::load::Seen;

use crate::run::Run;
use crate::table::Line;

/// Requests for models that break: each of them as a stream and as a whole answer, on both surfaces, with and without a word on usage.
const REQUESTS: usize = 32 * 4;

/// Row 22: whoever reads a stream that breaks is told so in it, and the bill is what was delivered, or what the provider has stated last.
pub fn answered(run: &mut Run, line: &mut Line) -> Result<()> {
    let (mut errors, mut told) = (0, 0);
    run.under_load(|run| {
        for number in 0..REQUESTS {
            let sent = run.ask_broken(number % run.cluster.proxies.len())?;
            errors += u32::from(matches!(sent.seen, Seen::Error(_)));
            told += u32::from(sent.seen == Seen::Cut && sent.told.is_some());
        }
        for role in &mut run.cluster.proxies {
            role.node.still_runs()?;
        }
        Ok(())
    })?;
    line.figure("broken by the provider", REQUESTS as f64, "requests");
    line.figure("told in the stream", f64::from(told), "");
    line.figure("told by the status", f64::from(errors), "");
    Ok(())
}
