//! What befalls proxies.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use waybill_tests::Rule;
use waybill_tests::oracle::load::Seen;

use crate::run::{READY_LIMIT, Run};
use crate::table::Line;

/// Deaths of one run.
const KILLS: usize = 4;

/// Between one thing that happens and the next, under load.
const BETWEEN: Duration = Duration::from_millis(1500);

/// Row 1: random proxies at random instants; the others must not notice.
pub fn killed(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        for _ in 0..KILLS {
            let proxy = run.random.between(0, run.cluster.proxies.len() as u64) as usize;
            sleep(Duration::from_millis(run.random.between(200, 1500)));
            run.kill_proxy(proxy)?;
            sleep(BETWEEN);
            line.recovered(run.start_proxy(proxy)?);
        }
        Ok(())
    })?;
    let broken = run.own().filter(|sent| matches!(sent.seen, Seen::Cut)).count();
    line.figure("broken per kill", broken as f64 / KILLS as f64, "requests");
    Ok(())
}

/// Row 30: every process of ours is asked to end and started again, one after another, in both orders of the planes.
pub fn replaced(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        for order in ["control first", "proxies first"] {
            if order == "control first" {
                controls(run, line)?;
            }
            for proxy in 0..run.cluster.proxies.len() {
                let ended = run.stop_proxy(proxy)?;
                line.time("drained in", ended);
                line.recovered(run.start_proxy(proxy)?);
                sleep(BETWEEN);
            }
            if order != "control first" {
                controls(run, line)?;
            }
        }
        Ok(())
    })?;
    run.converge(READY_LIMIT).map(drop)
}

fn controls(run: &mut Run, line: &mut Line) -> Result<()> {
    for control in 0..run.cluster.controls.len() {
        let role = &mut run.cluster.controls[control];
        role.node.stop()?;
        role.start()?;
        line.recovered(role.wait_ready(READY_LIMIT)?);
        sleep(BETWEEN);
    }
    Ok(())
}

/// Row 32: with Kafka and the second way gone the spool holds everything; the proxy ends in time, and what it held is delivered by its successor.
pub fn ended_full(run: &mut Run, line: &mut Line) -> Result<()> {
    let proxy = 0;
    run.under_load(|run| {
        run.cluster.kafka.proxies().iter().for_each(|way| way.set_both(Rule::Drop));
        for way in &run.cluster.ways.to_control[proxy] {
            way.set_both(Rule::Drop);
        }
        sleep(4 * BETWEEN);
        let ended = run.stop_proxy(proxy)?;
        line.time("ended in", ended);
        ensure!(ended < Duration::from_secs(30), "a proxy with a full spool took {ended:?} to end");
        Ok(())
    })?;
    run.remains.read(&run.cluster.spool(proxy))?;
    let left = run.remains.attempts.len();
    line.figure("left in spools so far", left as f64, "events");
    run.heal();
    let role = &mut run.cluster.proxies[proxy];
    role.start()?;
    line.recovered(role.wait_ready(READY_LIMIT)?);
    Ok(())
}

/// Row 23: the answer is paid for whether it is read or not.
pub fn left(run: &mut Run, line: &mut Line) -> Result<()> {
    const HANG_UPS: usize = 120;
    run.under_load(|run| {
        for number in 0..HANG_UPS {
            // The heads are a few hundred bytes, the longest streams five thousand.
            let bytes = number * 40;
            run.leave(number % run.cluster.proxies.len(), bytes)?;
        }
        Ok(())
    })?;
    line.figure("hang-ups", HANG_UPS as f64, "");
    Ok(())
}
