//! What befalls the watch of the store.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use waybill_tests::{Client, Request, Rule, wait_until};

use crate::run::{READY_LIMIT, Run};
use crate::table::Line;

/// How often the store is listed anew here. The product does so every ten minutes.
pub const RELIST: Duration = Duration::from_secs(5);

/// Changes, of which the watch leaves out or doubles parts.
const WRITES: usize = 24;

/// One event in so many is left out or shown twice.
const ONE_IN: u64 = 4;

/// A change that the watch has told reaches the proxies within this time; one that took longer was found by the listing.
const TOLD: Duration = Duration::from_secs(2);

/// One question to a proxy.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// What the build with the feature `faults` reads, and what it prints of each lie.
const VARIABLE: &str = "WAYBILL_LYING_WATCH";
const LEFT_OUT: &str = "a lie: left out";
const DOUBLED: &str = "a lie: shown twice";

/// Times that the listing has found something, by the product's name.
const REPAIRS: &str = "waybill_watch_repairs_total";

/// Row 10: a replica whose watch lies to it serves all proxies. Whatever it was not told is found and mended: keys that were disabled are refused.
pub fn lying(run: &mut Run, line: &mut Line) -> Result<()> {
    let (liar, honest) = (0, 1);
    restart(run, liar, &format!("{ONE_IN}:{}", run.seed))?;
    let mut found = Vec::new();
    let mut repairs = 0.0;
    let (mut left_out, mut doubled) = (0, 0);
    run.under_load(|run| {
        for ways in &run.cluster.ways.to_control {
            ways[honest].set_both(Rule::Reset);
        }
        for _ in 0..WRITES {
            let (spare, is_disabled) = run.next_spare();
            let (name, done) = run.write(honest)?;
            ensure!(done.status.success(), "{name}: {}", done.complained);
            let start = Instant::now();
            wait_until(&format!("every proxy to know of {name}"), RELIST + READY_LIMIT, || {
                let knows = (0..run.cluster.proxies.len()).map(|proxy| Ok(is_refused(run, proxy, spare)? == is_disabled));
                Ok(knows.collect::<Result<Vec<_>>>()?.into_iter().all(|knows| knows).then_some(()))
            })?;
            found.push(start.elapsed());
        }
        repairs = run.cluster.controls[liar].metric(REPAIRS)?.unwrap_or(0.0);
        let printed = run.cluster.controls[liar].node.printed();
        (left_out, doubled) = (printed.matches(LEFT_OUT).count(), printed.matches(DOUBLED).count());
        run.cluster.ways.heal();
        // So many as there will never be.
        restart(run, liar, &u64::MAX.to_string())?;
        run.converge(READY_LIMIT).map(drop)
    })?;
    ensure!(left_out > 0 && doubled > 0, "{left_out} events were left out and {doubled} doubled: is it a build with the feature `faults`?");
    found.retain(|time| *time > TOLD);
    found.sort_unstable();
    ensure!(!found.is_empty() && repairs > 0.0, "nothing that was left out has mattered");
    line.figure("changes", WRITES as f64, "");
    line.figure("events left out", left_out as f64, "");
    line.figure("events doubled", doubled as f64, "");
    line.figure("found and mended by the listing", found.len() as f64, "changes");
    line.figure("of them counted by the product", repairs, "");
    line.time("found after p50", found[found.len() / 2]);
    line.time("found after max", found[found.len() - 1]);
    ensure!(found[found.len() - 1] < RELIST + TOLD, "found only after {:?}", found[found.len() - 1]);
    line.recovered(found[found.len() - 1]);
    Ok(())
}

/// Starts a replica again with other lies.
fn restart(run: &mut Run, control: usize, lies: &str) -> Result<()> {
    let role = &mut run.cluster.controls[control];
    role.node.stop()?;
    role.node.change(|launch| launch.variable(VARIABLE, lies));
    role.start()?;
    role.wait_ready(READY_LIMIT).map(drop)
}

/// A proxy turns away who shows this spare key.
fn is_refused(run: &Run, proxy: usize, spare: usize) -> Result<bool> {
    let request = Request::get("/v1/models").bearer(&run.spares[spare].0);
    let status = Client::connect(run.cluster.http(proxy)?, ASK_LIMIT)?.send(&request)?.head.status;
    ensure!([200, 401, 403].contains(&status), "a key was answered with {status}");
    Ok(status != 200)
}
