//! `waybill control`: a replica of the control plane, as a process of its own.
//!
//! # Layout
//! - This file: from settings to a process that serves, and its end.
//! - `fleet`: what the admin service asks of the proxies. `usage`: what the proxies ask of the ledger. `jobs`: what runs beside.

mod fleet;
mod jobs;
mod usage;

use std::{net::TcpListener, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{runtime::Builder, sync::watch, task::JoinHandle};
use waybill_admin::{Admin, Host, Parts, Running};
use waybill_billing::Ledger;
use waybill_health::Keeper;
use waybill_model::key::Pepper;
use waybill_peer::Role;
use waybill_publish::{Peers, Publisher, Served};
use waybill_store::Store;

use crate::{
    health::Proxies,
    listen::{bind, serve_admin, serve_ops},
    ops::{
        Vitals,
        vitals::{Books, Build, Certificate, Fleet, Jobs, Phase, Stored},
    },
    peers::Myself,
    ready,
    secrets::{read_line, read_peppers},
    settings::{Control as Settings, LedgerUrl, StoreUrl},
    signals::{Signals, ended},
    stores::{open_ledger, open_store, patiently},
};
use fleet::Replica;
use usage::Books as UsageBooks;

/// Runs until a signal.
pub fn run(settings: &Settings) -> Result<ExitCode> {
    let runtime = Builder::new_multi_thread().thread_name("wb-control").enable_all().build()?;
    let code = runtime.block_on(live(settings));
    // Answers that run on in the background have nothing to add.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

/// The addresses, taken before anything is started.
struct Listeners {
    admin: TcpListener,
    sync: TcpListener,
    ops: TcpListener,
}

/// What settings name, read once.
struct Secrets {
    peppers: Vec<Pepper>,
    token: String,
}

async fn live(settings: &Settings) -> Result<ExitCode> {
    let secrets = Secrets {
        peppers: read_peppers(&settings.pepper_files)?,
        token: read_line(
            &settings.operator_token_file,
            "operator token",
            "`waybill secrets new operator-token FILE` makes one; every replica has the same.",
        )?,
    };
    let myself = Myself::load(Role::Control, settings.name.as_deref(), &settings.tls)?;
    let listeners = Listeners {
        admin: bind(settings.admin_listen, "--admin-listen")?,
        sync: bind(settings.sync_listen, "--sync-listen")?,
        ops: bind(settings.ops_listen, "--ops-listen")?,
    };
    let mut signals = Signals::install()?;
    let (phase, vitals) = (Phase::default(), Vitals::default());
    phase.lacks("starting");
    vitals.add(Build);
    vitals.add(phase.clone());
    let (stop, stopped) = watch::channel(false);
    let ops_address = listeners.ops.local_addr()?;
    let ops = serve_ops(listeners.ops, vitals.clone(), stopped.clone())?;
    let addresses = [("admin", listeners.admin.local_addr()?), ("sync", listeners.sync.local_addr()?), ("ops", ops_address)];
    ready::listening(&addresses);
    let opening = async {
        let store =
            patiently(&phase, matches!(settings.store, StoreUrl::Etcd { .. }), || open_store(&settings.store, &settings.etcd)).await?;
        // A store that another build has written is not touched.
        let checking = || async {
            match waybill_store::check_schema(&*store).await {
                Err(error) if error.may_retry() => Err(error.into()),
                checked => Ok(checked),
            }
        };
        patiently(&phase, true, checking).await?.with_context(|| format!("the store {}", settings.store))?;
        let remote = matches!(settings.ledger, LedgerUrl::Postgres(_));
        let ledger = patiently(&phase, remote, || open_ledger(&settings.ledger, &settings.postgres)).await?;
        let publisher =
            patiently(&phase, true, || async { Ok(Publisher::start_with(Arc::clone(&store), settings.relist.0).await?) }).await?;
        for pepper in &secrets.peppers {
            crate::pepper::check(&*store, pepper).await?;
        }
        Ok::<_, anyhow::Error>((store, ledger, publisher))
    };
    let (store, ledger, publisher) = tokio::select! {
        opened = opening => opened?,
        () = signals.first() => return Ok(ExitCode::SUCCESS),
    };
    let parts = Opened { store, ledger: Arc::clone(&ledger), publisher };
    let servers = serve(settings, &myself, secrets, parts, (listeners.admin, listeners.sync), &vitals, &stopped).await?;
    phase.works();
    ready::announce(settings.ready_file.as_deref(), "control", &myself.name, &addresses)?;

    signals.first().await;
    phase.drains();
    tracing::info!("ending: calls in progress may finish");
    let end = async {
        stop.send_replace(true);
        for server in servers {
            ended(server).await;
        }
        ended(ops).await;
        ledger.close().await?;
        Ok(ExitCode::SUCCESS)
    };
    signals.unless_again(end).await
}

/// What has been opened.
struct Opened {
    store: Arc<dyn Store>,
    ledger: Arc<dyn Ledger>,
    publisher: Publisher,
}

async fn serve(
    settings: &Settings,
    myself: &Myself,
    secrets: Secrets,
    opened: Opened,
    (admin_listener, sync_listener): (TcpListener, TcpListener),
    vitals: &Vitals,
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>> {
    let Opened { store, ledger, publisher } = opened;
    let build = env!("CARGO_PKG_VERSION").to_owned();
    let peppers = crate::pepper::prints(&secrets.peppers);
    let address = jobs::sync_address(settings, sync_listener.local_addr()?)?;
    let peers = Peers::new(publisher.clone(), &myself.name, &build, Arc::clone(&store), myself.client(Role::Control));
    let proxies = Arc::new(Proxies { publisher: publisher.clone(), peers: Some(peers.clone()) });
    let health = Arc::new(Keeper::start(Arc::clone(&store), proxies, myself.name.clone().into()));
    let jobs = Jobs::default();
    let deciding = Arc::clone(&health);
    jobs.add("health", move || deciding.leads());
    let replica = Arc::new(Replica { publisher: publisher.clone(), peers: peers.clone(), health });
    let admin = Arc::new(Admin::new(Parts {
        store: Arc::clone(&store),
        ledger: Arc::clone(&ledger),
        peppers: secrets.peppers,
        surroundings: Arc::new(Host),
        running: replica as Arc<dyn Running>,
        build: build.clone(),
    }));
    admin.remember_prices().await.context("the ledger cannot be told the prices")?;
    let usage = Arc::new(UsageBooks::new(Arc::clone(&ledger)));
    vitals.add(Stored(Arc::clone(&store)));
    vitals.add_shared(Arc::clone(&usage) as Arc<dyn crate::ops::Vital>);
    vitals.add(Books::of(Arc::clone(&ledger)));
    vitals.add(Fleet { publisher: publisher.clone(), with_revision: true });
    vitals.add(jobs.clone());
    if let Some(credentials) = &myself.credentials {
        vitals.add(Certificate(credentials.clone()));
    }
    let of = jobs::Of { name: &myself.name, address, store, ledger, publisher: &publisher, peers, admin: &admin, jobs: &jobs };
    let mut servers = jobs::begin(of, stopped);
    servers.push(serve_admin(admin_listener, admin, &secrets.token, stopped.clone())?);
    let served =
        Served { publisher, usage: Some(usage), replica: myself.name.clone(), build, peppers, limits: waybill_publish::Limits::default() };
    let sync_listener = tokio::net::TcpListener::from_std(sync_listener)?;
    let (peers, mut stop) = (myself.server(), stopped.clone());
    servers.push(tokio::spawn(async move {
        let stop = async move { drop(stop.wait_for(|stop| *stop).await) };
        if let Err(error) = waybill_publish::serve(sync_listener, &peers, served, stop).await {
            tracing::error!(%error, "the sync listener failed");
        }
    }));
    Ok(servers)
}
