//! How many events the product's ledger holds: what makes a figure valid, since fast and unbilled is worth nothing.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use waybill_tests::{Client, Request};

/// The ops listener's counter of events that are booked.
const METRIC: &str = "waybill_ledger_events_total";
/// How long the ledger may lag behind the last answer.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at. Each look costs the product CPU that is counted, so it is not often.
const LOOK: Duration = Duration::from_millis(50);

/// The ledger of one instance, which is told of every request that was made.
pub struct Ledger {
    ops: SocketAddr,
    expected: u64,
}

impl Ledger {
    /// The ledger behind this ops listener.
    pub fn new(ops: SocketAddr) -> Result<Self> {
        let mut ledger = Self { ops, expected: 0 };
        ledger.expected = ledger.booked()?;
        Ok(ledger)
    }

    /// Waits until the events of this many more requests are booked. One too few after the limit, or one too many, is an error.
    pub fn settle(&mut self, requests: u64) -> Result<()> {
        self.expected += requests;
        let start = Instant::now();
        loop {
            let booked = self.booked()?;
            ensure!(booked <= self.expected, "the ledger holds {booked} events after {} requests", self.expected);
            if booked == self.expected {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                bail!("{} of {} events are missing from the ledger", self.expected - booked, self.expected);
            }
            sleep(LOOK);
        }
    }

    fn booked(&self) -> Result<u64> {
        let answer = Client::connect(self.ops, LIMIT)?.send(&Request::get("/metrics"))?;
        ensure!(answer.head.status == 200, "/metrics answered {}", answer.head.status);
        total(&String::from_utf8_lossy(&answer.body)).with_context(|| format!("{METRIC} in /metrics"))
    }
}

/// The counter's value, summed over its labels; text format of Prometheus.
fn total(metrics: &str) -> Option<u64> {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(METRIC)?;
        let value = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_summed_over_its_labels() {
        for (text, expected) in [
            ("# TYPE waybill_ledger_events_total counter\nwaybill_ledger_events_total 7\n", Some(7)),
            ("waybill_ledger_events_total{kind=\"settled\"} 5\nwaybill_ledger_events_total{kind=\"failed\"} 2 1700\n", Some(7)),
            ("waybill_ledger_events_total_other 5\nwaybill_ledger_lag 2\n", None),
        ] {
            assert_eq!(total(text), expected, "{text}");
        }
    }
}
