//! What befalls the way from Kafka into the ledger.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::run::{READY_LIMIT, Run};
use crate::table::Line;

/// Deaths of consumers in one run.
const CONSUMER_KILLS: usize = 6;

/// Deaths of the database in one run.
const DATABASE_KILLS: usize = 4;

/// Row 3: one consumer or the other, whatever it is doing.
pub fn consumers_killed(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        for _ in 0..CONSUMER_KILLS {
            let consumer = run.random.between(0, run.cluster.consumers.len() as u64) as usize;
            sleep(Duration::from_millis(run.random.between(300, 2000)));
            let role = &mut run.cluster.consumers[consumer];
            role.node.kill()?;
            sleep(Duration::from_millis(run.random.between(0, 500)));
            let role = &mut run.cluster.consumers[consumer];
            role.start()?;
            line.recovered(role.wait_ready(READY_LIMIT)?);
        }
        Ok(())
    })?;
    line.figure("kills", CONSUMER_KILLS as f64, "");
    Ok(())
}

/// Row 4: in the middle of whatever is being committed; events wait in Kafka meanwhile.
pub fn database_killed(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        for _ in 0..DATABASE_KILLS {
            sleep(Duration::from_millis(run.random.between(500, 2000)));
            run.cluster.postgres.node().kill()?;
            sleep(Duration::from_secs(2));
            let start = Instant::now();
            run.cluster.postgres.restart()?;
            line.recovered(start.elapsed());
        }
        Ok(())
    })?;
    let waiting = run.cluster.provider.records()?.len();
    let caught_up = run.settle(Duration::from_secs(120))?;
    line.time("caught up in", caught_up);
    line.figure("attempts so far", waiting as f64, "");
    Ok(())
}
