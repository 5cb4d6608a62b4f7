//! What befalls the control plane, and the way to it.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use waybill_tests::{Direction, wait_until};

use super::{poison, rollout};
use crate::run::{READY_LIMIT, Run};
use crate::table::Line;

/// How long all of it is away.
const AWAY: Duration = Duration::from_secs(6);

/// Row 2: each replica alone, with the other taking writes; then all at once, with the proxies serving what they have.
pub fn killed(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        let count = run.cluster.controls.len();
        for control in 0..count {
            run.cluster.controls[control].node.kill()?;
            let (name, done) = run.write((control + 1) % count)?;
            ensure!(done.status.success(), "with one replica dead, a write failed: {}", done.complained);
            line.time("write with one dead", done.took);
            let role = &mut run.cluster.controls[control];
            role.start()?;
            role.wait_ready(READY_LIMIT)?;
            ensure!(run.is_written(&name)?, "{name} was acknowledged and is not there");
        }
        for role in &mut run.cluster.controls {
            role.node.kill()?;
        }
        sleep(AWAY);
        for role in &mut run.cluster.controls {
            role.start()?;
        }
        for role in &mut run.cluster.controls {
            line.recovered(role.wait_ready(READY_LIMIT)?);
        }
        line.time("fleet in step after", run.converge(READY_LIMIT)?);
        Ok(())
    })
}

/// Row 15: a change made while the proxies are cut off reaches them when the way is mended, and until then they serve what they have.
pub fn cut_off(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        for directions in [&[Direction::ToServer][..], &[Direction::ToClient], &[Direction::ToServer, Direction::ToClient]] {
            for proxy in 0..run.cluster.proxies.len() {
                run.cut_control(proxy, directions);
            }
            let (name, done) = run.write(0)?;
            ensure!(done.status.success(), "{name}: {}", done.complained);
            sleep(AWAY);
            let status = run.status()?;
            let ahead = status.proxies.iter().filter(|proxy| proxy.applied_revision == status.revision && proxy.connected).count();
            if directions.contains(&Direction::ToClient) {
                ensure!(ahead == 0, "{ahead} proxies are said to have what they were cut off from");
            }
            run.cluster.ways.heal();
            let mended = run.converge(READY_LIMIT)?;
            line.recovered(mended);
            line.time(if directions.len() == 2 { "in step after both ways" } else { "in step after one way" }, mended);
        }
        Ok(())
    })?;
    // Still there when all was over, for whoever asks.
    let stale = || run.cluster.proxies.iter().find(|role| role.readiness() != Some(200)).map(|role| role.node.name().to_owned());
    wait_until("every proxy to be ready", READY_LIMIT, || Ok(stale().is_none().then_some(()))).context("after a partition")
}

/// Row 26: what is wrong is refused with its reason, what passes is compiled by every proxy or kept from it, what kills the first proxy of a rollout
/// gets no further, and nobody who calls notices.
pub fn poisoned(run: &mut Run, line: &mut Line) -> Result<()> {
    const SETS: usize = 40;
    let (mut refused, mut passed) = (0, 0);
    run.under_load(|run| {
        let file = run.cluster.folder.join("poison.yaml");
        std::fs::write(&file, poison::right())?;
        let done = run.cluster.operator(&["apply", "-f", &file.to_string_lossy()])?;
        ensure!(done.status.success(), "what is right was refused: {}", done.complained);
        for number in 0..SETS {
            std::fs::write(&file, poison::damaged(number, &mut run.random))?;
            let done = run.cluster.operator(&["apply", "-f", &file.to_string_lossy()])?;
            match done.status.code() {
                Some(0) => passed += 1,
                Some(1 | 2) => refused += 1,
                _ => bail!("set {number} ended with {}: {}", done.status, done.complained),
            }
        }
        line.recovered(run.converge(READY_LIMIT)?);
        rollout::kills_its_first_proxy(run, line)?;
        for role in run.cluster.proxies.iter_mut().chain(&mut run.cluster.controls) {
            role.node.still_runs()?;
        }
        Ok(())
    })?;
    line.figure("refused", f64::from(refused), "sets");
    line.figure("passed", f64::from(passed), "sets");
    ensure!(refused >= 20, "only {refused} of {SETS} sets were refused");
    Ok(())
}
