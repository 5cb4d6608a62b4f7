//! Many proxies that lose their replica at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;
use waybill_peer::{Credentials, Files, PeerClient, Role as PeerRole};
use waybill_sync::{Identity, Remote, Sync};
use waybill_tests::cluster::{Cluster, Shape};
use waybill_tests::{Direction, FaultProxy, Names, cpu, wait_until};

use crate::run::{READY_LIMIT, Run};
use crate::table::Line;

/// Streams beside those of the cluster's own proxies.
const STREAMS: usize = 1_000;

/// Until all are in step, on a machine that does everything else as well: whoever is refused for good never is.
const JOIN_LIMIT: Duration = Duration::from_secs(180);

/// Of proxies that are in step, as a replica counts them.
const CONNECTED: &str = "waybill_proxies{state=\"connected\"}";
const BEHIND: &str = "waybill_proxies_behind";

/// A cluster of its own.
pub fn shape() -> Shape {
    Shape { spool_bytes: 128 << 20, ..super::usual() }
}

/// Row 31: the replica that serves all is killed; the other one, which has just started, gets everybody at once.
pub fn reconnects(run: &mut Run, line: &mut Line) -> Result<()> {
    let (lost, other) = (0, 1);
    let all = STREAMS + run.cluster.proxies.len();
    run.under_load(|run| {
        run.cluster.controls[other].node.stop()?;
        let start = Instant::now();
        let herd = Herd::start(&run.cluster, run.seed)?;
        wait_until("every stream to be in step", JOIN_LIMIT, || in_step(run, lost, all))?;
        line.time("all joined in", start.elapsed());
        let role = &mut run.cluster.controls[other];
        role.start()?;
        role.wait_ready(READY_LIMIT)?;

        let process = role.node.running()?.id();
        let (resident, used) = (cpu::resident_kib(process)?, cpu::process_ns(process)?);
        run.cluster.controls[lost].node.kill()?;
        let start = Instant::now();
        wait_until("every stream to be in step again", JOIN_LIMIT, || in_step(run, other, all))?;
        line.recovered(start.elapsed());
        line.figure("CPU of the replica", (cpu::process_ns(process)? - used) as f64 / 1e9, "s");
        let peak = cpu::peak_kib(process)?;
        line.figure("its peak", peak as f64 / 1024.0, "MiB");
        line.figure("above before, per stream", peak.saturating_sub(resident) as f64 / all as f64, "KiB");
        line.figure("received per stream", herd.bytes(other, Direction::ToServer) as f64 / STREAMS as f64 / 1024.0, "KiB");
        line.figure("sent per stream", herd.bytes(other, Direction::ToClient) as f64 / STREAMS as f64 / 1024.0, "KiB");
        line.figure("asked to come back", herd.put_off.load(Ordering::Relaxed) as f64, "times");

        let (name, done) = run.write(other)?;
        ensure!(done.status.success(), "{name}: {}", done.complained);
        let start = Instant::now();
        wait_until("every stream to have what was written", JOIN_LIMIT, || in_step(run, other, all))?;
        line.time("a change at all", start.elapsed());
        drop(herd);
        let role = &mut run.cluster.controls[lost];
        role.start()?;
        role.wait_ready(READY_LIMIT)?;
        run.converge(READY_LIMIT).map(drop)
    })
}

/// This replica serves so many, and all of them have its newest revision.
fn in_step(run: &Run, control: usize, count: usize) -> Result<Option<()>> {
    let role = &run.cluster.controls[control];
    // One that is very busy answers later.
    let (Ok(connected), Ok(behind)) = (role.metric(CONNECTED), role.metric(BEHIND)) else { return Ok(None) };
    Ok((connected == Some(count as f64) && behind == Some(0.0)).then_some(()))
}

/// Streams of proxies that serve nobody, each with the product's own end of the protocol.
struct Herd {
    /// Those that the control plane has asked to come back later, each time.
    put_off: Arc<AtomicU64>,
    ways: Vec<FaultProxy>,
    _runtime: Runtime,
}

impl Herd {
    fn start(cluster: &Cluster, seed: u64) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let identity = cluster.authority.issue("herd", &Names::server("herd").with_uri("spiffe://waybill/proxy/herd-*"))?;
        let files = Files { ca: cluster.authority.certificate(), cert: identity.certificate, key: identity.key };
        let client = PeerClient::new(Credentials::load(files, PeerRole::Proxy).context("the herd's certificate")?, PeerRole::Control);
        // Through ways of their own, which count what goes through.
        let way = |address: SocketAddr| FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], 0)), address, seed);
        let ways: Vec<FaultProxy> = cluster.controls.iter().map(|role| way(role.address("sync")?)).collect::<Result<_>>()?;
        let addresses: Vec<String> = ways.iter().map(|way| way.address().to_string()).collect();
        let put_off = Arc::<AtomicU64>::default();
        for number in 0..STREAMS {
            let identity = Identity { proxy: format!("herd-{number}"), process: number as u64, ..Identity::default() };
            let (remote, put_off) = (Remote::new(client.clone(), addresses.clone()), Arc::clone(&put_off));
            let mut sync = Sync::without_folder(identity, Arc::new(|_| None));
            let connect = move || {
                let (remote, put_off) = (remote.clone(), Arc::clone(&put_off));
                async move {
                    let outcome = remote.connect().await;
                    put_off.fetch_add(u64::from(outcome.as_ref().is_err_and(|unreached| unreached.after.is_some())), Ordering::Relaxed);
                    outcome
                }
            };
            runtime.spawn(async move { match sync.follow(connect).await {} });
        }
        Ok(Self { put_off, ways, _runtime: runtime })
    }

    /// What has gone to or from a replica.
    fn bytes(&self, control: usize, direction: Direction) -> u64 {
        self.ways[control].bytes(direction)
    }
}
