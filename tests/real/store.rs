//! The contract of the store, on etcd: the suite that the store in a file passes too.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use waybill_store::conformance::{CASES as SUITE, Making, Subject, cluster, random};
use waybill_store::{Etcd as Store, EtcdSettings, EtcdTls};
use waybill_tests::{Etcd, EtcdSecurity, Names, Report};

use crate::Case;
use crate::suite::Suite;

pub const CASES: &[Case] = &[
    Case { name: "store: the contract on three nodes of etcd", run: plain },
    Case { name: "store: the contract on three nodes with certificates and users", run: secure },
];

/// Random histories, beside the cases that have a name.
const HISTORIES: u32 = 6;

/// Cases that let the past be forgotten, which etcd takes from the role root only; random histories do too.
const COMPACTING: [&str; 2] = ["the_past_stays_until_it_is_compacted", "history_that_is_gone_is_refused"];

fn plain(folder: &Path, report: &mut Report) -> Result<()> {
    let etcd = Etcd::start(folder, 3, &EtcdSecurity::Plain)?;
    let settings = settings(&etcd)?;
    suite(&settings, &settings, report, "store.plain")
}

fn secure(folder: &Path, report: &mut Report) -> Result<()> {
    let mut etcd = Etcd::start(folder, 3, &EtcdSecurity::MutualTls(folder.join("tls")))?;
    etcd.require_users("waybill", "a-password", "/wb/")?;
    let authority = etcd.authority().context("the cluster has certificates")?;
    let of = |user: &str| -> Result<EtcdSettings> {
        let own = authority.issue(user, &Names::client(user))?;
        let identity = Some((std::fs::read(&own.certificate)?, std::fs::read(&own.key)?));
        let tls = EtcdTls { ca: std::fs::read(authority.certificate())?, identity, server_name: None };
        Ok(EtcdSettings { tls: Some(tls), ..settings(&etcd)? })
    };
    suite(&of("waybill")?, &of("root")?, report, "store.secure")
}

fn settings(etcd: &Etcd) -> Result<EtcdSettings> {
    let addresses: Vec<String> = (0..etcd.count()).map(|node| etcd.address(node).to_string()).collect();
    Ok(EtcdSettings::from_url(&format!("etcd://{}", addresses.join(",")))?)
}

/// Every case, each on the emptied cluster.
fn suite(settings: &EtcdSettings, root: &EtcdSettings, report: &mut Report, name: &'static str) -> Result<()> {
    let mut suite = Suite::new(name);
    for (case, run) in SUITE {
        let settings = if COMPACTING.contains(case) { root } else { settings };
        suite.check(case, async { run(subject(settings).await).await });
    }
    let factory = || -> Making {
        let settings = root.clone();
        Box::pin(async move { subject(&settings).await })
    };
    suite.check_blocking("random histories are those of the model", || random::histories(factory, HISTORIES));
    suite.end(report)
}

async fn subject(settings: &EtcdSettings) -> Subject {
    let store = Store::connect(settings.clone()).await.unwrap_or_else(|error| panic!("the cluster serves, and: {error}"));
    cluster::emptied(Arc::new(store), ()).await
}
