//! `waybill proxy`: what applications call, as a process of its own. It serves from what it last held, whoever else is away.
//!
//! # Layout
//! - This file: from settings to a process that serves, and its end.
//! - `books`: what it asks of the ledger. `way`: its usage records on their way there. `sending`: the way without Kafka.

mod books;
mod sending;
mod way;

use std::{
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use waybill_meter::Spool;
use waybill_model::key::Pepper;
use waybill_peer::Role;
use waybill_proxy::{Counters, Limits, Proxy, Settings as Start};
use waybill_sync::{Identity, Outgoing, Remote, Sync};

use crate::{
    folder::Folder,
    health,
    listen::{bind, serve_ops},
    ops::{
        Vitals,
        vitals::{Build, Certificate, Holding, Phase, Spooled, Workers},
    },
    peers::Myself,
    pepper::prints,
    ready,
    running::InForce,
    secrets::{random, read_peppers, resolve},
    settings::Proxy as Settings,
    signals::{Signals, ended},
};

/// How often the control plane is told how the spool stands.
const REPORT: Duration = Duration::from_secs(10);

/// What the emitter may take to end beyond its own time.
const GRACE: Duration = Duration::from_secs(1);

/// Runs until a signal, then drains.
pub fn run(settings: &Settings) -> Result<ExitCode> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("wb-control").enable_all().build()?;
    let code = runtime.block_on(live(settings));
    // Answers that run on in the background have nothing to add.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

async fn live(settings: &Settings) -> Result<ExitCode> {
    let limits = settings.limits().map_err(anyhow::Error::msg)?;
    let peppers = read_peppers(&settings.pepper_files)?;
    let myself = Myself::load(Role::Proxy, settings.name.as_deref(), &settings.tls)?;
    let ops_listener = bind(settings.ops_listen, "--ops-listen")?;
    let folder = Folder::open(&settings.state, &[])?;
    let mut signals = Signals::install()?;
    let phase = Phase::default();
    let started = start(settings, &myself, &folder, &limits, peppers, ops_listener, &phase)?;

    let addresses = [("http", started.address), ("ops", started.ops_address)];
    ready::listening(&addresses);
    let current = started.holding.clone();
    tokio::select! {
        () = current.reached(1) => {
            ready::announce(settings.ready_file.as_deref(), "proxy", &myself.name, &addresses)?;
            signals.first().await;
        }
        () = signals.first() => {}
    }
    phase.drains();
    tracing::info!("draining: open requests may finish within {:?}; once more ends at once", limits.drain_time);
    signals.unless_again(started.stop(settings)).await
}

/// A proxy that runs.
struct Started {
    proxy: Proxy,
    address: SocketAddr,
    ops_address: SocketAddr,
    holding: waybill_sync::Current,
    spool: Spool,
    sync: JoinHandle<()>,
    sync_stop: watch::Sender<bool>,
    sending: JoinHandle<()>,
    sending_stop: watch::Sender<bool>,
    ops: JoinHandle<()>,
    ops_stop: watch::Sender<bool>,
}

fn start(
    settings: &Settings,
    myself: &Myself,
    folder: &Folder,
    limits: &Limits,
    peppers: Vec<Pepper>,
    ops_listener: TcpListener,
    phase: &Phase,
) -> Result<Started> {
    let workers = settings.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let process = u64::from_le_bytes(random()?);
    let incarnations: Vec<u64> = (0..workers).map(|_| random().map(u64::from_le_bytes)).collect::<Result<_>>()?;
    let (spool, recovered) = folder.open_spool(settings.spool.bytes, settings.spool.segment_bytes)?;
    for log in recovered.iter().filter(|log| log.orphaned > 0 || !log.damage.is_empty()) {
        tracing::warn!(
            orphaned = log.orphaned,
            damaged = log.damage.len(),
            "attempts of an earlier process have no known end; the ledger holds them in suspense"
        );
    }
    let build = env!("CARGO_PKG_VERSION").to_owned();
    let identity = Identity { proxy: myself.name.clone(), process, incarnations: incarnations.clone(), build, peppers: prints(&peppers) };
    let sync = Sync::load(&folder.last_known_good(), identity, Arc::new(resolve))?;
    let (holding, outgoing) = (sync.current(), sync.outgoing());
    let remote = Remote::new(myself.client(Role::Control), settings.control.iter().map(ToString::to_string).collect());
    let usage = remote.usage();
    let proxy = Proxy::start(Start {
        listen: settings.listen,
        workers,
        limits: limits.clone(),
        peppers,
        configuration: Arc::new(InForce(holding.clone())),
        books: Arc::new(books::Remote { usage: usage.clone(), runtime: Handle::current() }),
        spool: spool.clone(),
        process,
        incarnations,
        strict: settings.strict,
        spool_full: settings.spool.full.into(),
        seed: u64::from_le_bytes(random()?),
    })
    .with_context(|| format!("choose another address with --listen (now {})", settings.listen))?;

    let (sync_stop, stopped) = watch::channel(false);
    let sync = tokio::spawn(follow(sync, remote, stopped.clone()));
    tokio::spawn(health::report(Arc::clone(proxy.sightings()), outgoing.clone(), stopped.clone()));
    tokio::spawn(report(spool.clone(), proxy.counters().to_vec(), outgoing, stopped));

    let vitals = Vitals::default();
    vitals.add(Build);
    vitals.add(phase.clone());
    vitals.add(Holding(holding.clone()));
    vitals.add(Workers(proxy.counters().to_vec()));
    vitals.add(Spooled::new(spool.clone()));
    let (sending_stop, stopped) = watch::channel(false);
    let sending = way::begin(settings, spool.clone(), usage, &vitals, stopped)?;
    if let Some(credentials) = &myself.credentials {
        vitals.add(Certificate(credentials.clone()));
    }
    let ops_address = ops_listener.local_addr()?;
    let (ops_stop, stopped) = watch::channel(false);
    let ops = serve_ops(ops_listener, vitals, stopped)?;
    let address = proxy.address();
    Ok(Started { proxy, address, ops_address, holding, spool, sync, sync_stop, sending, sending_stop, ops, ops_stop })
}

/// Keeps the proxy in step with any replica of the control plane until told to stop.
async fn follow(mut sync: Sync, remote: Remote, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        never = sync.follow(|| remote.connect()) => match never {},
        _ = stop.wait_for(|stop| *stop) => {}
    }
    sync.stop().await;
}

/// Tells the control plane how the spool stands, outside of the events' own way.
async fn report(spool: Spool, counters: Vec<Arc<Counters>>, outgoing: Outgoing, mut stop: watch::Receiver<bool>) {
    loop {
        let unbilled = counters.iter().map(|counters| counters.unbilled.get()).sum();
        outgoing.report_spool(spool.report().to_wire(unbilled));
        tokio::select! {
            () = sleep(REPORT) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Started {
    /// In the order in which the parts need one another: the load balancer, requests, their events, the configuration, those who watch.
    async fn stop(self, settings: &Settings) -> Result<ExitCode> {
        sleep(settings.drain.delay.0).await;
        let proxy = self.proxy;
        tokio::task::spawn_blocking(move || proxy.stop()).await?;
        self.sending_stop.send_replace(true);
        // The emitter keeps the time itself; what comes without Kafka does not.
        let ended_itself = timeout(settings.drain.flush.0 + GRACE, self.sending).await.is_ok();
        let left = self.spool.report();
        if left.waiting_events == 0 && ended_itself {
            tracing::info!("the spool is empty: every usage record has arrived");
        } else {
            let folder = settings.state.join("spool");
            tracing::error!(events = left.waiting_events, bytes = left.bytes, spool = %folder.display(), "usage records are left in the spool: the next start on this state folder sends them");
        }
        self.sync_stop.send_replace(true);
        self.sync.await?;
        self.ops_stop.send_replace(true);
        ended(self.ops).await;
        Ok(ExitCode::SUCCESS)
    }
}
