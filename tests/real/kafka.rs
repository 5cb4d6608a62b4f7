//! Kafka itself: a broker that dies is missed and found again.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use waybill_tests::{Kafka, KafkaSetup, Report, Rule};

use crate::Case;

pub const CASES: &[Case] = &[
    Case { name: "kafka: three nodes miss one that dies and find it again", run: three_nodes },
    Case { name: "kafka: one node with certificates, users and a fault proxy", run: secure },
];

fn three_nodes(folder: &Path, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let mut kafka = Kafka::start(folder, KafkaSetup { nodes: 3, ..KafkaSetup::default() })?;
    report.figure("kafka.three.ready", start.elapsed().as_secs_f64(), "s");
    let brokers = kafka.brokers();
    let start = Instant::now();
    kafka.node(0).kill()?;
    kafka.wait_ready()?;
    report.figure("kafka.three.missed", start.elapsed().as_secs_f64(), "s");
    let start = Instant::now();
    kafka.restart(0)?;
    kafka.wait_ready()?;
    report.figure("kafka.three.found", start.elapsed().as_secs_f64(), "s");
    ensure!(kafka.brokers() == brokers, "it came back elsewhere");
    Ok(())
}

fn secure(folder: &Path, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let setup = KafkaSetup { nodes: 1, is_secure: true, through: Some(1) };
    let mut kafka = Kafka::start(folder, setup)?;
    report.figure("kafka.one_secure.ready", start.elapsed().as_secs_f64(), "s");
    ensure!(kafka.knows_through(0)? == 1, "the way through the fault proxy is closed");
    kafka.proxies()[0].set_both(Rule::Drop);
    ensure!(kafka.knows_through(0).is_err(), "an answer came through a black hole");
    kafka.proxies()[0].heal();
    ensure!(kafka.knows_through(0)? == 1, "the healed way is closed");
    kafka.node(0).stop()
}
