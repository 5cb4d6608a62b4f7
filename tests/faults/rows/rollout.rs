//! Poison that passes every check, in a rollout.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use waybill_tests::wait_until;

use crate::run::{READY_LIMIT, Run};
use crate::table::Line;

/// From the death of the first proxy until the change is taken back, at most.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(60);

/// What `rollout list` says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rollouts {
    rollouts: Vec<Rollout>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rollout {
    id: String,
    state: String,
    reason: String,
    proxies: Vec<String>,
}

/// A change reaches its first proxy, which dies of it: nobody else gets it, it is taken back without an operator, and the proxy serves again.
pub fn kills_its_first_proxy(run: &mut Run, line: &mut Line) -> Result<()> {
    let name = format!("poison-rollout-{}", run.seed);
    let file = run.cluster.folder.join("rollout.yaml");
    std::fs::write(&file, format!("apiVersion: waybill/v1\nkind: Org\nmetadata: {{ name: {name} }}\nspec: {{ displayName: poison }}\n"))?;
    let done = run.cluster.operator(&["apply", "-f", &file.to_string_lossy(), "--rollout", "--bake", "60s"])?;
    ensure!(done.status.success(), "the rollout was refused: {}", done.complained);
    let first = wait_until("the first proxy of the rollout", READY_LIMIT, || {
        let row = newest(run)?;
        ensure!(row.state == "baking", "it is {} ({})", row.state, row.reason);
        Ok(row.proxies.first().cloned())
    })?;
    let number: usize =
        first.rsplit('-').next().and_then(|number| number.parse().ok()).with_context(|| format!("{first} has no number"))?;
    // Its callers leave it before: what a death does to them is told by another row.
    run.drain(number);
    run.kill_proxy(number)?;
    let start = Instant::now();
    sleep(Duration::from_secs(1));
    line.recovered(run.start_proxy(number)?);
    let row = wait_until("the rollout to be taken back", ROLLBACK_LIMIT, || {
        let row = newest(run)?;
        Ok((row.state != "baking").then_some(row))
    })?;
    line.time("a rollout taken back after", start.elapsed());
    line.figure("proxies that had it", row.proxies.len() as f64, "");
    ensure!(
        row.state == "halted" && row.proxies == [first.clone()],
        "rollout {}: {} ({}), had by {:?}",
        row.id,
        row.state,
        row.reason,
        row.proxies
    );
    ensure!(row.reason.contains(&first), "it was halted for another reason: {}", row.reason);
    ensure!(!run.is_written(&name)?, "{name} is everybody's");
    run.converge(READY_LIMIT).map(drop)
}

fn newest(run: &mut Run) -> Result<Rollout> {
    let done = run.cluster.operator(&["rollout", "list", "--output", "json"])?;
    ensure!(done.status.success(), "`waybill rollout list`: {}", done.complained);
    let listed: Rollouts = serde_json::from_str(&done.printed).context("the rollouts")?;
    listed.rollouts.into_iter().next().context("there is no rollout")
}
