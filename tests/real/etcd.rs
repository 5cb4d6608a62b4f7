//! etcd itself: what is written survives its deaths, and what is locked stays locked.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use waybill_tests::{Authority, Etcd, EtcdSecurity, Names, Report, wait_until};

use crate::Case;

pub const CASES: &[Case] = &[
    Case { name: "etcd: one node keeps its port and its keys over its death", run: one_node },
    Case { name: "etcd: three nodes go on without their leader, dead or frozen", run: without_leader },
    Case { name: "etcd: certificates and users keep strangers out", run: strangers },
];

/// Three nodes elect another leader in about a second; a busy machine may take a while.
const ELECTION_LIMIT: Duration = Duration::from_secs(30);

fn one_node(folder: &Path, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let mut etcd = Etcd::start(folder, 1, &EtcdSecurity::Plain)?;
    report.figure("etcd.one.ready", start.elapsed().as_secs_f64(), "s");
    let endpoints = etcd.endpoints();
    etcd.control(&["put", "/wb/key", "kept"])?;
    etcd.node(0).kill()?;
    ensure!(etcd.control(&["get", "/wb/key", "--print-value-only"]).is_err(), "a dead node has answered");
    etcd.restart(0)?;
    ensure!(etcd.endpoints() == endpoints, "it came back elsewhere");
    let value = etcd.control(&["get", "/wb/key", "--print-value-only"])?;
    ensure!(value.trim() == "kept", "the key holds `{value}`");
    Ok(())
}

fn without_leader(folder: &Path, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let mut etcd = Etcd::start(folder, 3, &EtcdSecurity::Plain)?;
    report.figure("etcd.three.ready", start.elapsed().as_secs_f64(), "s");
    for how in ["killed", "paused"] {
        let leader = etcd.wait_leader()?;
        etcd.control(&["put", "/wb/key", how])?;
        let start = Instant::now();
        if how == "killed" { etcd.node(leader).kill() } else { etcd.node(leader).pause() }?;
        let others: Vec<String> =
            etcd.endpoints().into_iter().enumerate().filter(|(node, _)| *node != leader).map(|(_, url)| url).collect();
        wait_until("a write without the leader", ELECTION_LIMIT, || {
            Ok(etcd.control_at(&others, &["put", "/wb/after", how, "--command-timeout=500ms"]).is_ok().then_some(()))
        })?;
        report.figure(&format!("etcd.three.write_gap_{how}"), start.elapsed().as_secs_f64(), "s");
        let value = etcd.control_at(&others, &["get", "/wb/key", "--print-value-only"])?;
        ensure!(value.trim() == how, "the key holds `{value}` after its leader was {how}");
        if how == "killed" { etcd.restart(leader) } else { etcd.node(leader).resume() }?;
        etcd.wait_ready(leader)?;
    }
    Ok(())
}

fn strangers(folder: &Path, _report: &mut Report) -> Result<()> {
    let security = EtcdSecurity::MutualTls(folder.join("tls"));
    let mut etcd = Etcd::start(folder, 3, &security)?;
    etcd.require_users("waybill", "a-password", "/wb/")?;
    let authority = etcd.authority().context("the cluster has certificates")?;
    let own = authority.issue("waybill", &Names::client("waybill"))?;
    let stranger = Authority::new(&folder.join("foreign"))?.issue("waybill", &Names::client("waybill"))?;
    etcd.control_as(&own, &["put", "/wb/1/key", "mine"])?;
    for (identity, arguments, refusal) in [
        (&own, &["put", "/other", "not mine"][..], "permission denied"),
        (&own, &["get", "/", "--prefix"], "permission denied"),
        (&stranger, &["get", "/wb/1/key"], "deadline exceeded"),
    ] {
        let error = etcd.control_as(identity, arguments).err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(error.contains(refusal), "{arguments:?}: `{error}` instead of `{refusal}`");
    }
    Ok(())
}
