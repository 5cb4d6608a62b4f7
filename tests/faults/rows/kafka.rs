//! What befalls Kafka, and the way to it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use waybill_tests::Rule;
use waybill_tests::oracle::load::Sent;

use crate::run::Run;
use crate::table::Line;

/// How long it is away.
const AWAY: Duration = Duration::from_secs(12);

/// Times that it freezes, how long, and how long it is well in between.
const FREEZES: usize = 3;
const FROZEN: Duration = Duration::from_secs(5);
const THAWED: Duration = Duration::from_secs(3);

/// Row 11: requests do not notice, the spool holds what happens, and everything is in the ledger afterwards.
pub fn away(run: &mut Run, line: &mut Line) -> Result<()> {
    let mut spooled = 0.0_f64;
    let mut from = Duration::ZERO;
    run.under_load(|run| {
        for node in 0..run.cluster.kafka.count() {
            run.cluster.kafka.node(node).kill()?;
        }
        from = run.since_load();
        let start = Instant::now();
        while start.elapsed() < AWAY {
            sleep(Duration::from_millis(500));
            spooled = spooled.max(run.spooled_bytes());
        }
        for node in 0..run.cluster.kafka.count() {
            run.cluster.kafka.restart(node)?;
        }
        let start = Instant::now();
        run.cluster.kafka.wait_ready()?;
        line.recovered(start.elapsed());
        Ok(())
    })?;
    line.figure("most in spools", spooled / 1024.0, "KiB");
    let (before, during): (Vec<&Sent>, Vec<&Sent>) = run.own().partition(|sent| sent.at < from);
    line.figure("added p99", percentile_ms(&during) - percentile_ms(&before), "ms");
    let drained = run.settle(Duration::from_secs(120))?;
    line.time("drained in", drained);
    Ok(())
}

/// Row 13: the brokers hold their connections and say nothing, again and again.
pub fn frozen(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        for _ in 0..FREEZES {
            for node in 0..run.cluster.kafka.count() {
                run.cluster.kafka.node(node).pause()?;
            }
            sleep(FROZEN);
            for node in 0..run.cluster.kafka.count() {
                run.cluster.kafka.node(node).resume()?;
            }
            sleep(THAWED);
        }
        Ok(())
    })?;
    let drained = run.settle(Duration::from_secs(120))?;
    line.time("drained in", drained);
    Ok(())
}

/// Row 16: Kafka is well and the proxies cannot reach it; the second way brings everything into the ledger while the cut lasts.
pub fn cut_off(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        run.cluster.kafka.proxies().iter().for_each(|way| way.set_both(Rule::Drop));
        sleep(AWAY);
        Ok(())
    })?;
    let delay = run.settle(Duration::from_secs(60))?;
    line.time("complete by the second way after", delay);
    ensure!(run.cluster.kafka.knows_through(0).is_err(), "the way to Kafka was open");
    Ok(())
}

fn percentile_ms(sent: &[&Sent]) -> f64 {
    let mut times: Vec<Duration> = sent.iter().map(|sent| sent.took).collect();
    times.sort_unstable();
    times.get((times.len() * 99 / 100).min(times.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
