//! The cluster with its callers, and what has been seen so far.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use waybill_tests::cluster::{Cluster, Commanded, Shape};
use waybill_tests::oracle::call::{BROKEN, LEAVERS};
use waybill_tests::oracle::configuration;
use waybill_tests::oracle::load::{Door, Load, Pace, Sent, ask, leave};
use waybill_tests::oracle::remains::Remains;
use waybill_tests::oracle::rows;
use waybill_tests::{Random, Rule, wait_until};

/// What the callers try to send: small enough that two cores also carry twelve other processes in a debug build.
const PACE: Pace = Pace { callers: 12, per_second: 60 };

/// API keys that nobody's load uses: each write disables one of them, or enables it again, so that the deny overlay moves too.
const SPARES: u32 = 8;

/// What callers take to notice that a proxy is to be called no more: longer than the pause between two requests of one of them.
const LEAVING: Duration = Duration::from_millis(500);

/// Load before a fault, so that everything is warm.
const WARM: Duration = Duration::from_secs(2);

/// The product's name of what its spool holds.
const SPOOL_BYTES: &str = "waybill_spool_bytes";

/// From the start of a role until it serves.
pub const READY_LIMIT: Duration = Duration::from_secs(60);

/// A cluster, its callers, and the evidence.
pub struct Run {
    pub cluster: Cluster,
    pub random: Random,
    pub seed: u64,
    /// Every request since the start of the cluster.
    pub sent: Vec<Sent>,
    /// What the spools of the dead held.
    pub remains: Remains,
    /// The row that runs: requests are counted under it.
    pub row: usize,
    /// Findings that an earlier row has already been told of.
    pub told: Vec<String>,
    /// Revisions that are known to have been there; every one of them has brought an entry of the deny overlay, or may have.
    pub revisions: BTreeSet<u64>,
    /// API keys that are disabled and enabled: their texts and the files of them.
    pub spares: Vec<(String, PathBuf)>,
    /// A write was not acknowledged, so that its revision is not known.
    is_unsure: bool,
    door: Arc<Door>,
    load_began: Instant,
    writes: u32,
    left: u64,
    broken: u64,
}

/// What `status` says of the fleet.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub revision: String,
    pub proxies: Vec<ProxyStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyStatus {
    pub proxy: String,
    pub connected: bool,
    pub applied_revision: String,
    pub deny_epoch: String,
}

impl Run {
    pub fn start(folder: &Path, shape: &Shape, seed: u64) -> Result<Self> {
        let mut random = Random::new(seed);
        let cluster = Cluster::start(folder, shape, seed)?;
        // Another draw than the one that has made the key of the load.
        random.between(0, u64::MAX);
        let spares = (0..SPARES).map(|number| {
            let (text, file) = (configuration::key(&mut random), cluster.folder.join(format!("spare-{number}")));
            std::fs::write(&file, &text)?;
            Ok((text, file))
        });
        let spares = spares.collect::<Result<Vec<_>>>()?;
        let mut run = Self {
            cluster,
            random,
            seed,
            sent: Vec::new(),
            remains: Remains::default(),
            row: 0,
            told: Vec::new(),
            revisions: BTreeSet::new(),
            spares,
            is_unsure: false,
            door: Arc::default(),
            load_began: Instant::now(),
            writes: 0,
            left: 0,
            broken: 0,
        };
        run.enable_spares()?;
        Ok(run)
    }

    fn enable_spares(&mut self) -> Result<()> {
        let all: String = (0..self.spares.len()).map(|number| self.spare(number, false)).collect();
        let file = self.cluster.folder.join("spares.yaml");
        std::fs::write(&file, all)?;
        let done = self.cluster.operator(&["apply", "-f", &file.to_string_lossy()])?;
        ensure!(done.status.success(), "the spare keys: {}", done.complained);
        self.converge(READY_LIMIT).map(drop)
    }

    /// The document of a spare key.
    fn spare(&self, number: usize, is_disabled: bool) -> String {
        let spec =
            format!("workspace: {}, disabled: {is_disabled}, keyFrom: {{ file: {:?} }}", configuration::WORKSPACE, self.spares[number].1);
        format!("---\napiVersion: waybill/v1\nkind: ApiKey\nmetadata: {{ name: spare-{number} }}\nspec: {{ {spec} }}\n")
    }

    /// From now on requests are counted under this row.
    pub fn begin(&mut self, row: u32) {
        self.row = row as usize;
    }

    /// The requests of this row.
    pub fn own(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| sent.life == self.row)
    }

    /// Does something while callers call every proxy that runs.
    pub fn under_load<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.door = Arc::default();
        for proxy in 0..self.cluster.proxies.len() {
            self.open(proxy)?;
        }
        let numbers = self.sent.iter().map(|sent| sent.number).filter(|number| *number < LEAVERS);
        let first = numbers.max().map_or(0, |last| last + 1);
        let load = Load::start_from(&self.door, &self.cluster.key, self.seed, PACE, first);
        self.load_began = Instant::now();
        sleep(WARM);
        let acted = act(self);
        self.sent.extend(load.stop());
        // The judgement looks a request up by its number.
        self.sent.sort_unstable_by_key(|sent| sent.number);
        acted
    }

    /// One more caller, who hangs up after so many bytes of the answer.
    pub fn leave(&mut self, proxy: usize, bytes: usize) -> Result<()> {
        let number = LEAVERS + self.left;
        self.left += 1;
        let sent = leave(self.cluster.http(proxy)?, number, self.seed, &self.cluster.key, bytes)?;
        self.sent.push(Sent { life: self.row, place: proxy, ..sent });
        Ok(())
    }

    /// One more request, whose answer is read. It counts as every other.
    pub fn ask(&mut self, proxy: usize) -> Result<Sent> {
        let number = LEAVERS + self.left;
        self.left += 1;
        self.ask_numbered(proxy, number)
    }

    /// One more request for a model that the provider cannot answer as it should: the next one in turn.
    pub fn ask_broken(&mut self, proxy: usize) -> Result<Sent> {
        let number = BROKEN + self.broken;
        self.broken += 1;
        self.ask_numbered(proxy, number)
    }

    fn ask_numbered(&mut self, proxy: usize, number: u64) -> Result<Sent> {
        let sent = ask(self.cluster.http(proxy)?, number, self.seed, &self.cluster.key)?;
        self.sent.push(Sent { life: self.row, place: proxy, at: self.since_load(), ..sent });
        Ok(self.sent[self.sent.len() - 1].clone())
    }

    /// Time since the callers began.
    pub fn since_load(&self) -> Duration {
        self.load_began.elapsed()
    }

    /// What the spools of all proxies hold now.
    pub fn spooled_bytes(&self) -> f64 {
        let held = self.cluster.proxies.iter().map(|role| role.metric(SPOOL_BYTES).ok().flatten().unwrap_or(0.0));
        held.sum()
    }

    fn open(&self, proxy: usize) -> Result<()> {
        self.door.open(proxy, self.cluster.http(proxy)?, self.row);
        Ok(())
    }

    /// Callers leave a proxy, as they do when it is taken out of the load balancer.
    pub fn drain(&self, proxy: usize) {
        self.door.close(proxy);
        sleep(LEAVING);
    }

    /// Kills a proxy and reads what it has left.
    pub fn kill_proxy(&mut self, proxy: usize) -> Result<()> {
        self.cluster.proxies[proxy].node.kill()?;
        self.door.close(proxy);
        self.remains.read(&self.cluster.spool(proxy)).context("what a dead proxy has left")
    }

    /// Kills a proxy and tears the last record that it has written, if that is of an attempt since then. Gives how many were torn.
    pub fn tear_proxy(&mut self, proxy: usize, since: SystemTime) -> Result<usize> {
        self.cluster.proxies[proxy].node.kill()?;
        self.door.close(proxy);
        let spool = self.cluster.spool(proxy);
        let torn = self.remains.tear(&spool, since)?;
        self.remains.read(&spool).context("what a dead proxy has left")?;
        Ok(torn)
    }

    /// Asks a proxy to end, and waits for that. Callers leave it first.
    pub fn stop_proxy(&mut self, proxy: usize) -> Result<Duration> {
        self.drain(proxy);
        let start = Instant::now();
        self.cluster.proxies[proxy].node.stop()?;
        Ok(start.elapsed())
    }

    /// Starts a proxy again and gives it callers. Gives the time until it served.
    pub fn start_proxy(&mut self, proxy: usize) -> Result<Duration> {
        let role = &mut self.cluster.proxies[proxy];
        role.start()?;
        let ready = role.wait_ready(READY_LIMIT)?;
        self.open(proxy)?;
        Ok(ready)
    }

    /// Mends everything that a scenario may have broken and starts what does not run.
    pub fn heal(&mut self) {
        self.cluster.ways.heal();
        self.cluster.kafka.proxies().iter().for_each(waybill_tests::FaultProxy::heal);
    }

    /// Writes a resource that nobody else writes, and disables or enables a spare key with it. Gives its name and how it went.
    pub fn write(&mut self, control: usize) -> Result<(String, Commanded)> {
        let (spare, is_disabled) = self.next_spare();
        self.writes += 1;
        let name = format!("written-{}-{}", self.row, self.writes);
        let file = self.cluster.folder.join("written.yaml");
        let org =
            format!("apiVersion: waybill/v1\nkind: Org\nmetadata: {{ name: {name} }}\nspec: {{ displayName: written during a fault }}\n");
        std::fs::write(&file, org + &self.spare(spare, is_disabled))?;
        let done = self.cluster.operator_at(control, &["apply", "-f", &file.to_string_lossy()])?;
        match done.printed.rsplit_once("revision ").and_then(|(_, number)| number.trim().parse().ok()) {
            Some(revision) if done.status.success() => _ = self.revisions.insert(revision),
            _ => self.is_unsure = true,
        }
        Ok((name, done))
    }

    /// Which spare key the next write changes, and whether it disables it.
    pub const fn next_spare(&self) -> (usize, bool) {
        ((self.writes % SPARES) as usize, (self.writes / SPARES).is_multiple_of(2))
    }

    /// Learns of the newest revision, and of those that nobody has acknowledged.
    pub fn learn(&mut self) -> Result<()> {
        let newest = self.status()?.revision.parse()?;
        if std::mem::take(&mut self.is_unsure) {
            self.revisions.extend(1..newest);
        }
        self.revisions.insert(newest);
        Ok(())
    }

    /// True when a resource is there.
    pub fn is_written(&mut self, name: &str) -> Result<bool> {
        Ok(self.cluster.operator(&["get", "Org", name])?.status.success())
    }

    /// Deletes what was written.
    pub fn delete(&mut self, control: usize, name: &str) -> Result<()> {
        let done = self.cluster.operator_at(control, &["delete", "Org", name])?;
        if !done.status.success() {
            bail!("deleting {name}: {}", done.complained);
        }
        Ok(())
    }

    /// What the fleet looks like.
    pub fn status(&mut self) -> Result<Status> {
        let done = self.cluster.operator(&["status", "--output", "json"])?;
        read(&done)
    }

    /// What the fleet looks like to this replica.
    pub fn status_at(&mut self, control: usize) -> Result<Status> {
        let done = self.cluster.operator_at(control, &["status", "--output", "json"])?;
        read(&done)
    }

    /// Waits until every proxy has applied the newest revision. Gives the time that it took.
    pub fn converge(&mut self, limit: Duration) -> Result<Duration> {
        let (start, count) = (Instant::now(), self.cluster.proxies.len());
        wait_until("every proxy to apply the newest revision", limit, || {
            // A replica that is only starting answers nothing yet.
            let Ok(status) = self.status() else { return Ok(None) };
            let is_there = |proxy: &&ProxyStatus| proxy.connected && proxy.applied_revision == status.revision;
            Ok((status.proxies.iter().filter(is_there).count() == count).then_some(()))
        })?;
        Ok(start.elapsed())
    }

    /// Waits until the ledger knows of every attempt that the provider or a dead spool has seen. Gives the time that it took.
    pub fn settle(&mut self, limit: Duration) -> Result<Duration> {
        let start = Instant::now();
        let records = self.cluster.provider.records()?;
        let mut waiting: Vec<_> = records.into_iter().flat_map(|record| record.attempts).collect();
        waiting.extend(self.remains.attempts.keys().copied());
        let folder = self.cluster.folder.clone();
        while !waiting.is_empty() {
            let source = self.cluster.ledger()?;
            if let Ok(known) = rows::attempts(&source, &folder) {
                let known: std::collections::HashSet<_> = known.into_iter().collect();
                waiting.retain(|attempt| !known.contains(attempt));
            }
            if start.elapsed() > limit {
                bail!("{} attempts are not in the ledger {limit:?} after the end of the fault", waiting.len());
            }
            if !waiting.is_empty() {
                sleep(Duration::from_millis(200));
            }
        }
        Ok(start.elapsed())
    }

    /// Breaks every way between a proxy and the control plane.
    pub fn cut_off(&self, proxy: usize, rule: Rule) {
        self.cluster.ways.to_control[proxy].iter().for_each(|way| way.set_both(rule));
    }

    /// Cuts every way between a proxy and the control plane, in the directions that the rule is for.
    pub fn cut_control(&self, proxy: usize, directions: &[waybill_tests::Direction]) {
        for way in &self.cluster.ways.to_control[proxy] {
            directions.iter().for_each(|direction| way.set(*direction, Rule::Drop));
        }
    }
}

fn read(done: &Commanded) -> Result<Status> {
    if !done.status.success() {
        bail!("`waybill status`: {}", done.complained);
    }
    serde_json::from_str(&done.printed).context("the status of the fleet")
}
