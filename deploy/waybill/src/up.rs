//! `waybill up`: every role in one process, on embedded stores, joined by the real contracts.

use std::{
    io::IsTerminal,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use tokio::sync::{mpsc, watch};
use waybill_admin::{Admin, Parts, Running, Surroundings, conduct_rollouts};
use waybill_billing::Ledger;
use waybill_health::Keeper;
use waybill_proxy::{Limits, Proxy, Settings, SpoolFull};
use waybill_publish::Publisher;
use waybill_store::{Candidacy, JOB_TTL, Leadership, MonotonicClock, Sqlite, Store, campaign, keys};
use waybill_sync::{Identity, Stream, Sync};

use crate::{
    banner::{self, Banner},
    books::InProcess,
    configure::{FirstStart, Wanted, configure, key_prefix},
    consume::{self, Consumed},
    health::{self, Proxies},
    listen::{bind, serve_admin, serve_ops},
    ops::{
        Vitals,
        vitals::{Booking, Books, Build, Fleet, Holding, Phase, Spooled, Workers},
    },
    providers::SandboxMode,
    ready::{self, Ready},
    running::{Here, InForce},
    secrets::{random, resolve},
    signals::{Signals, ended},
    state::{self, State},
};

/// Messages in flight between the planes of one process.
const CHANNEL: usize = 64;

/// How long the first configuration may take to reach the proxy.
const CONFIGURATION_TIME: Duration = Duration::from_secs(30);

/// Starts everything in one process.
#[derive(Args, Clone, Debug)]
pub struct Up {
    /// Where applications call.
    #[arg(long, default_value = "127.0.0.1:8080", env = "WAYBILL_LISTEN")]
    listen: SocketAddr,
    /// Where operators call (gRPC).
    #[arg(long, default_value = "127.0.0.1:7070", env = "WAYBILL_ADMIN_LISTEN")]
    admin_listen: SocketAddr,
    /// Health, readiness, metrics.
    #[arg(long, default_value = "127.0.0.1:7072", env = "WAYBILL_OPS_LISTEN")]
    ops_listen: SocketAddr,
    /// The state folder; default $XDG_STATE_HOME/waybill, else ~/.local/state/waybill.
    #[arg(long, env = "WAYBILL_STATE")]
    state: Option<PathBuf>,
    /// A file or folder of resources (YAML or JSON), applied at start. May be given several times.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Written (0600) once everything serves: JSON {http, admin, ops, api_key, operator_token_file}.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Whether the sandbox provider answers.
    #[arg(long, value_enum, default_value_t, env = "WAYBILL_SANDBOX")]
    sandbox: SandboxMode,
    /// Worker threads of the data plane; default: one per core.
    #[arg(long, env = "WAYBILL_WORKERS")]
    workers: Option<usize>,
    /// Intents and ends are brought to the disk before what follows them is seen outside: nothing is lost when the machine dies, for 5 ms each.
    #[arg(long, env = "WAYBILL_STRICT")]
    strict: bool,
    #[command(flatten)]
    spool: SpoolSize,
    /// What becomes of requests when the spool is full.
    #[arg(long, value_enum, default_value_t, env = "WAYBILL_SPOOL_FULL")]
    spool_full: WhenFull,
    /// Sets a limit of the data plane, for example stall_time=90s; may be given several times. `data-plane/README.md` has the table.
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    limits: Vec<String>,
}

/// What becomes of requests when the spool is full.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum WhenFull {
    /// They are refused with 503 `spool_full`.
    #[default]
    Block,
    /// They are served without a record and counted. Nobody is ever billed for them.
    AllowUnbilled,
}

impl From<WhenFull> for SpoolFull {
    fn from(when: WhenFull) -> Self {
        match when {
            WhenFull::Block => Self::Block,
            WhenFull::AllowUnbilled => Self::AllowUnbilled,
        }
    }
}

/// How much disk the spool takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct SpoolSize {
    /// Most bytes of the spool; at the bound, requests are refused with 503.
    #[arg(long, default_value_t = SpoolSize::default().spool_bytes, env = "WAYBILL_SPOOL_BYTES")]
    pub spool_bytes: u64,
    /// Bytes of a segment of the spool.
    #[arg(long, default_value_t = SpoolSize::default().spool_segment_bytes, env = "WAYBILL_SPOOL_SEGMENT_BYTES")]
    pub spool_segment_bytes: u32,
}

impl Default for SpoolSize {
    fn default() -> Self {
        Self { spool_bytes: 8 << 30, spool_segment_bytes: 64 << 20 }
    }
}

/// Runs until a signal, then drains.
pub fn run(up: &Up) -> Result<ExitCode> {
    let began = Instant::now();
    let folder = up.state.clone().map_or_else(state::default_folder, Ok)?;
    let state = State::open(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("wb-control").enable_all().build()?;
    let (running, signals) = runtime.block_on(start(up, &state, began))?;
    let code = runtime.block_on(running.until_stopped(signals));
    // Answers that run on in the background have nothing to add once the ledger is closed.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

struct Started {
    proxy: Proxy,
    limits: Limits,
    sync: tokio::task::JoinHandle<()>,
    sync_stop: watch::Sender<bool>,
    consumer: tokio::task::JoinHandle<()>,
    consumer_stop: watch::Sender<bool>,
    servers: Vec<tokio::task::JoinHandle<()>>,
    servers_stop: watch::Sender<bool>,
    ledger: Arc<dyn Ledger>,
    sandbox: Option<waybill_sandbox::Sandbox>,
    phase: Phase,
}

async fn start(up: &Up, state: &State, began: Instant) -> Result<(Started, Signals)> {
    let mut limits = Limits::default();
    for limit in &up.limits {
        limits.set(limit).context("--limit")?;
    }
    let pepper = state.pepper()?;
    let token = state.operator_token()?;
    let workers = up.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let process = u64::from_le_bytes(random()?);
    let incarnations: Vec<u64> = (0..workers).map(|_| random().map(u64::from_le_bytes)).collect::<Result<_>>()?;

    // Everything that can be taken by somebody else is taken first.
    let admin_listener = bind(up.admin_listen, "--admin-listen")?;
    let ops_listener = bind(up.ops_listen, "--ops-listen")?;

    let (spool, recovered) = state.folder().open_spool(up.spool.spool_bytes, up.spool.spool_segment_bytes)?;
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&state.database(), Arc::new(MonotonicClock::start())).await?);
    let ledger: Arc<dyn Ledger> = Arc::new(waybill_billing::Sqlite::open(&state.database()).await?);
    crate::pepper::check(&*store, &pepper).await?;

    let publisher = Publisher::start(Arc::clone(&store)).await?;
    let consumed = Arc::new(Consumed::of(process));
    let proxies = Arc::new(Proxies { publisher: publisher.clone(), peers: None });
    let here = Arc::new(Here {
        publisher: publisher.clone(),
        health: Arc::new(Keeper::start(Arc::clone(&store), proxies, "local".into())),
        spool: spool.clone(),
        consumed: Arc::clone(&consumed),
        data_plane: std::sync::OnceLock::new(),
    });
    let host = Arc::new(FirstStart::of(state.first_key()?));
    let admin = Arc::new(Admin::new(Parts {
        store: Arc::clone(&store),
        ledger: Arc::clone(&ledger),
        peppers: vec![pepper.clone()],
        surroundings: Arc::clone(&host) as Arc<dyn Surroundings>,
        running: Arc::clone(&here) as Arc<dyn Running>,
        build: env!("CARGO_PKG_VERSION").to_owned(),
    }));

    let listeners = [up.listen, admin_listener.local_addr()?, ops_listener.local_addr()?];
    if publisher.world().revision() == 0 {
        // What a proxy held of another store must not outlive it: its revisions would be ahead of this one's.
        state.folder().forget_last_known_good()?;
    }
    let (first_key, discovered) = {
        let wanted = Wanted { files: &up.config, sandbox: up.sandbox, state, pepper: &pepper, listeners: &listeners };
        configure(&wanted, &admin, &host, &publisher).await?
    };

    // The proxy's end of the configuration, in step with the publisher over the real messages.
    let identity = Identity {
        proxy: "local".to_owned(),
        process,
        incarnations: incarnations.clone(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        ..Identity::default()
    };
    let sync = Sync::load(&state.folder().last_known_good(), identity, Arc::new(resolve))?;
    let (current, outgoing) = (sync.current(), sync.outgoing());
    let (sync_stop, stopped) = watch::channel(false);
    let sync = tokio::spawn(follow(sync, publisher.clone(), stopped));
    let revision = publisher.world().revision();
    tokio::time::timeout(CONFIGURATION_TIME, current.reached(revision))
        .await
        .with_context(|| format!("the configuration (revision {revision}) did not reach the proxy within {CONFIGURATION_TIME:?}"))?;

    let proxy = Proxy::start(Settings {
        listen: up.listen,
        workers,
        limits: limits.clone(),
        peppers: vec![pepper],
        configuration: Arc::new(InForce(current.clone())),
        books: Arc::new(InProcess { ledger: Arc::clone(&ledger), runtime: tokio::runtime::Handle::current() }),
        spool: spool.clone(),
        process,
        incarnations,
        strict: up.strict,
        spool_full: up.spool_full.into(),
        seed: u64::from_le_bytes(random()?),
    })
    .with_context(|| format!("choose another address with --listen (now {})", up.listen))?;
    drop(here.data_plane.set((proxy.counters().to_vec(), Arc::clone(proxy.refusals()))));

    tokio::spawn(health::report(Arc::clone(proxy.sightings()), outgoing, sync_stop.subscribe()));

    let (consumer_stop, stopped) = watch::channel(false);
    let consumer = tokio::spawn(consume::run(spool.clone(), Arc::clone(&ledger), Arc::clone(&consumed), stopped));
    let signals = Signals::install()?;
    let (servers_stop, stopped) = watch::channel(false);
    let addresses = (proxy.address(), admin_listener.local_addr()?, ops_listener.local_addr()?);
    let phase = Phase::default();
    let vitals = Vitals::default();
    vitals.add(Build);
    vitals.add(phase.clone());
    vitals.add(Holding(current));
    vitals.add(Workers(proxy.counters().to_vec()));
    vitals.add(Spooled::new(spool));
    vitals.add(Booking(consumed));
    vitals.add(Books::of(Arc::clone(&ledger)));
    vitals.add(Fleet { publisher: publisher.clone(), with_revision: false });
    tokio::spawn(tidy(Arc::clone(&admin), servers_stop.subscribe()));
    tokio::spawn(rollouts(store, Arc::clone(&admin)));
    let servers = vec![serve_admin(admin_listener, admin, &token, stopped.clone())?, serve_ops(ops_listener, vitals, stopped)?];

    // Before the key is shown: one that somebody has seen is never replaced.
    state.note_ready()?;
    let token_file = state.operator_token_file();
    if let Some(path) = &up.ready_file {
        let (http, admin, ops) = addresses;
        ready::write(path, &Ready { http, admin, ops, api_key: first_key.as_deref(), operator_token_file: &token_file })?;
    }
    banner::print(&Banner {
        http: addresses.0,
        admin: addresses.1,
        ops: addresses.2,
        state: state.folder().path(),
        first_key: first_key.as_deref(),
        key_prefix: key_prefix(&publisher),
        model: banner::example_model(&publisher.world()),
        providers: &discovered.lines,
        recovered: &recovered,
        revision,
        took: began.elapsed(),
        colour: std::io::stdout().is_terminal(),
    });
    let started = Started {
        proxy,
        limits,
        sync,
        sync_stop,
        consumer,
        consumer_stop,
        servers,
        servers_stop,
        ledger,
        sandbox: discovered.sandbox,
        phase,
    };
    Ok((started, signals))
}

/// Keeps the proxy in step with the publisher until told to stop.
async fn follow(mut sync: Sync, publisher: Publisher, mut stop: watch::Receiver<bool>) {
    let connect = || {
        let publisher = publisher.clone();
        async move {
            let (requests, from_proxy) = mpsc::channel(CHANNEL);
            let (to_proxy, responses) = mpsc::channel(CHANNEL);
            tokio::spawn(async move { publisher.serve(from_proxy, to_proxy).await });
            Ok(Stream { requests, responses, ended: None })
        }
    };
    tokio::select! {
        never = sync.follow(connect) => match never {},
        _ = stop.wait_for(|stop| *stop) => {}
    }
    sync.stop().await;
}

/// Forgets the results of finished calls a day after, so that they do not pile up.
async fn tidy(admin: Arc<Admin>, mut stop: watch::Receiver<bool>) {
    const EVERY: Duration = Duration::from_secs(60 * 60);
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.changed() => return,
        }
        if let Err(error) = admin.forget_finished_calls(None).await {
            tracing::warn!(%error, "results of finished calls stay for another hour");
        }
    }
}

/// Conducts rollouts, though there is one proxy: what holds in a cluster holds here.
async fn rollouts(store: Arc<dyn Store>, admin: Arc<Admin>) {
    let job = Candidacy { key: keys::leader("rollout", 0), holder: "up".into(), ttl: JOB_TTL };
    let work = move |leadership: Leadership| {
        let admin = Arc::clone(&admin);
        async move { conduct_rollouts(&admin, &leadership).await }
    };
    match campaign(store, job, work).await {}
}

impl Started {
    async fn until_stopped(self, mut signals: Signals) -> Result<ExitCode> {
        signals.first().await;
        self.phase.drains();
        eprintln!("draining: open requests may finish within {:?}; once more ends at once", self.limits.drain_time);
        signals.unless_again(self.stop()).await
    }

    /// In the order in which the parts need one another: requests, their events, the ledger, and those who ask it.
    async fn stop(self) -> Result<ExitCode> {
        let proxy = self.proxy;
        tokio::task::spawn_blocking(move || proxy.stop()).await?;
        self.consumer_stop.send_replace(true);
        self.consumer.await?;
        self.sync_stop.send_replace(true);
        self.sync.await?;
        self.servers_stop.send_replace(true);
        for server in self.servers {
            ended(server).await;
        }
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        self.ledger.close().await?;
        Ok(ExitCode::SUCCESS)
    }
}
