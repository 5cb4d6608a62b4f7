//! What befalls etcd, and the way to it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use waybill_tests::{Direction, Rule, wait_until};

use crate::run::{READY_LIMIT, Run};
use crate::table::Line;

/// How often the leader goes.
const LEADERS: usize = 4;

/// How long a write may be refused without a leader.
const ELECTION_LIMIT: Duration = Duration::from_secs(30);

/// An answer to a write that cannot be done must come before a caller gives up.
const REFUSAL_LIMIT: Duration = Duration::from_secs(15);

/// Row 5: writes pause for an election and no longer; what was acknowledged is there, once.
pub fn leader_lost(run: &mut Run, line: &mut Line) -> Result<()> {
    let mut gaps = Vec::new();
    run.under_load(|run| {
        let (mut acknowledged, mut tried) = (Vec::new(), 0_u64);
        let before: u64 = run.status()?.revision.parse()?;
        for number in 0..LEADERS {
            let leader = run.cluster.etcd.wait_leader()?;
            let start = Instant::now();
            if number % 2 == 0 { run.cluster.etcd.node(leader).kill() } else { run.cluster.etcd.node(leader).pause() }?;
            let name = wait_until("a write without the leader", ELECTION_LIMIT, || {
                let (name, done) = run.write(number % run.cluster.controls.len())?;
                tried += 1;
                Ok(done.status.success().then_some(name))
            })?;
            gaps.push(start.elapsed());
            acknowledged.push(name);
            if number % 2 == 0 { run.cluster.etcd.restart(leader) } else { run.cluster.etcd.node(leader).resume() }?;
            run.cluster.etcd.wait_ready(leader)?;
        }
        for name in &acknowledged {
            ensure!(run.is_written(name)?, "{name} was acknowledged and is not there");
        }
        line.recovered(run.converge(READY_LIMIT)?);
        let after: u64 = run.status()?.revision.parse()?;
        let (least, most) = (before + acknowledged.len() as u64, before + tried);
        ensure!((least..=most).contains(&after), "{tried} tries and {} acknowledgements went from {before} to {after}", acknowledged.len());
        Ok(())
    })?;
    gaps.sort_unstable();
    line.time("write gap p50", gaps[gaps.len() / 2]);
    line.time("write gap max", gaps[gaps.len() - 1]);
    Ok(())
}

/// Row 6: nothing can be written, which is said at once and by its name, and nobody who calls a proxy notices.
pub fn majority_lost(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        for node in 0..2 {
            run.cluster.etcd.node(node).kill()?;
        }
        for control in 0..run.cluster.controls.len() {
            let (name, done) = run.write(control)?;
            ensure!(!done.status.success(), "{name} was written without a majority");
            ensure!(done.took < REFUSAL_LIMIT, "a write was refused only after {:?}", done.took);
            // 3 = UNAVAILABLE, and the words say what is.
            let is_named = done.status.code() == Some(3) && done.complained.contains("the store cannot be reached");
            ensure!(is_named, "a write was refused with {}: {}", done.status, done.complained);
            line.time("refused in", done.took);
        }
        sleep(Duration::from_secs(5));
        let start = Instant::now();
        for node in 0..2 {
            run.cluster.etcd.node(node).start()?;
        }
        for node in 0..2 {
            run.cluster.etcd.wait_ready(node)?;
        }
        wait_until("a write with a majority", ELECTION_LIMIT, || Ok(run.write(0)?.1.status.success().then_some(())))?;
        line.recovered(start.elapsed());
        run.converge(READY_LIMIT).map(drop)
    })
}

/// Row 7: what a replica missed has been compacted away, deletions among it; it lists everything and finds the difference.
pub fn compacted(run: &mut Run, line: &mut Line) -> Result<()> {
    const CHANGES: usize = 30;
    run.under_load(|run| {
        let (cut, other) = (0, 1);
        let bytes = |run: &Run| run.cluster.ways.to_etcd[cut].iter().map(|way| way.bytes(Direction::ToClient)).sum::<u64>();
        let doomed: Vec<String> = (0..5).map(|_| Ok(run.write(other)?.0)).collect::<Result<_>>()?;
        run.converge(READY_LIMIT)?;
        for way in &run.cluster.ways.to_etcd[cut] {
            way.set_both(Rule::Drop);
        }
        for _ in 0..CHANGES {
            let (name, done) = run.write(other)?;
            ensure!(done.status.success(), "{name}: {}", done.complained);
        }
        for name in &doomed {
            run.delete(other, name)?;
        }
        run.cluster.etcd.compact()?;
        let (start, before) = (Instant::now(), bytes(run));
        run.cluster.ways.heal();
        let mended = wait_until("the replica that was cut off to catch up", READY_LIMIT, || {
            let newest = run.status_at(other)?.revision;
            Ok(run.status_at(cut).is_ok_and(|status| status.revision == newest).then_some(()))
        });
        mended?;
        run.converge(READY_LIMIT)?;
        line.recovered(start.elapsed());
        line.figure("sent again", (bytes(run) - before) as f64 / 1024.0, "KiB");
        Ok(())
    })
}
