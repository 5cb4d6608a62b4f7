//! PostgreSQL itself: what is committed survives its death.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use waybill_tests::{Postgres, Report};

use crate::Case;

pub const CASES: &[Case] = &[Case { name: "postgres: what is committed is there after its death", run: survives }];

fn survives(folder: &Path, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let mut postgres = Postgres::start(folder)?;
    report.figure("postgres.ready", start.elapsed().as_secs_f64(), "s");
    let url = postgres.create_database("kept")?;
    ensure!(url.ends_with("/kept"), "{url}");
    postgres.sql("kept", "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)")?;
    for _ in 0..3 {
        postgres.node().kill()?;
        let start = Instant::now();
        postgres.restart()?;
        report.figure("postgres.back", start.elapsed().as_secs_f64(), "s");
        let sum = postgres.sql("kept", "SELECT count(*), sum(n) FROM t")?;
        ensure!(sum == "1000|500500", "the table holds {sum}");
    }
    Ok(())
}
