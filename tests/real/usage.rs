//! The contract of the usage transport, through Kafka: the suite that the spool read in one process passes too.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use waybill_tests::{Kafka, KafkaSetup, Report};

use crate::Case;

pub const CASES: &[Case] = &[Case { name: "usage: the transport through three nodes of Kafka", run: transport }];

/// The suite lives in a test of cargo's, which takes the brokers from its environment.
fn transport(folder: &Path, report: &mut Report) -> Result<()> {
    let kafka = Kafka::start(folder, KafkaSetup { nodes: 3, ..KafkaSetup::default() })?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--workspace", "--locked", "--test", "transport", "--", "kafka"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("WAYBILL_TEST_KAFKA", kafka.brokers()).stdin(Stdio::null());
    let done = command.output().context("starting cargo")?;
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(done.status.success(), "it ended with {}:\n{said}", done.status);
    let passed = said.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u32>().ok());
    let passed = passed.context("cargo did not say what has passed")?;
    ensure!(passed > 0, "no test was run");
    report.figure("usage.cases", f64::from(passed), "");
    Ok(())
}
