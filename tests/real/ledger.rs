//! The contract of the ledger, on PostgreSQL: the suite that the ledger in a file passes too.

use std::path::Path;

use anyhow::Result;
use waybill_billing::conformance::{CASES as SUITE, Making, postgres, random};
use waybill_tests::{Postgres, Report};

use crate::Case;
use crate::suite::Suite;

pub const CASES: &[Case] = &[Case { name: "ledger: the contract on PostgreSQL", run: contract }];

/// Random histories, beside the cases that have a name.
const HISTORIES: u64 = 10;

fn contract(folder: &Path, report: &mut Report) -> Result<()> {
    let server = Postgres::start(folder)?;
    let url = server.create_database("ledger")?;
    let mut suite = Suite::new("ledger");
    for (case, run) in SUITE {
        let url = url.clone();
        suite.check(case, async move { run(postgres(url).await).await });
    }
    let factory = || -> Making { Box::pin(postgres(url.clone())) };
    suite.check("random histories", random::histories(&factory, 0..HISTORIES));
    suite.end(report)
}
