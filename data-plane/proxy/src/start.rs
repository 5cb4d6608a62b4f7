//! A proxy: its worker threads, from start to stop.

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::watch,
};
use waybill_front::Limits;
use waybill_meter::{Identity, OpenError, Spool};
use waybill_model::key::Pepper;
use waybill_proto::sync::v1::HealthCounts;
use waybill_upstream::{Connector, Pool};

use crate::{
    books::Books,
    configuration::Configuration,
    counters::Counters,
    refusals::Refusals,
    sightings::Sightings,
    worker::{Shared, Worker, run},
};

/// What a proxy is started with.
pub struct Settings {
    /// Where applications call. Port 0 = the system chooses.
    pub listen: SocketAddr,
    /// Worker threads.
    pub workers: usize,
    /// Every limit.
    pub limits: Limits,
    /// Peppers of key records, newest first.
    pub peppers: Vec<Pepper>,
    /// The configuration in force.
    pub configuration: Arc<dyn Configuration>,
    /// The ledger, as far as callers may ask it.
    pub books: Arc<dyn Books>,
    /// The spool, recovered.
    pub spool: Spool,
    /// Random number of this process life.
    pub process: u64,
    /// Random numbers of the logs, one for each worker.
    pub incarnations: Vec<u64>,
    /// Intents and ends are on the disk before what follows them can be seen.
    pub strict: bool,
    /// What becomes of requests when the spool has no room.
    pub spool_full: SpoolFull,
    /// Seed of ids and draws.
    pub seed: u64,
}

/// What becomes of a request that finds the spool, or its disk, full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpoolFull {
    /// It is refused: 503 `spool_full`. What cannot be billed is not sent.
    #[default]
    Block,
    /// It is sent without a record, and counted. Only by the operator's explicit setting: nobody is ever billed for it.
    AllowUnbilled,
}

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// A log cannot be opened.
    #[error("cannot open a spool log: {0}")]
    Log(#[from] OpenError),
    /// No TLS.
    #[error("cannot prepare TLS: {0}")]
    Tls(String),
    /// No thread.
    #[error("cannot start a worker: {0}")]
    Thread(#[from] io::Error),
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    counters: Vec<Arc<Counters>>,
    refusals: Arc<Refusals>,
    sightings: Arc<Sightings>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Starts the workers. They serve when this returns.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let workers = settings.workers.max(1);
        let connector = Connector::new(settings.limits.connect_time).map_err(|error| StartError::Tls(error.to_string()))?;
        let (address, listeners) =
            waybill_front::bind(settings.listen, workers).map_err(|error| StartError::Listen(settings.listen, error))?;
        let (stop, stopped) = watch::channel(false);
        let refusals = Arc::new(Refusals::default());
        let sightings = Arc::new(Sightings::default());
        let shared = Shared {
            limits: settings.limits,
            peppers: settings.peppers.into(),
            configuration: settings.configuration,
            books: settings.books,
            refusals: Arc::clone(&refusals),
            sightings: Arc::clone(&sightings),
            spool: settings.spool,
            process: settings.process,
            strict: settings.strict,
            spool_full: settings.spool_full,
            hop: format!("{:016x}", settings.process).into(),
        };
        let mut proxy = Self { address, counters: Vec::new(), refusals, sightings, stop, threads: Vec::new() };
        let logs = u32::try_from(workers).unwrap_or(u32::MAX);
        for ((listener, incarnation), number) in listeners.into_iter().zip(settings.incarnations).zip(0_u32..) {
            let log = shared.spool.open(Identity { incarnation, process: settings.process, log: number, logs })?;
            let counters = Arc::new(Counters::default());
            proxy.counters.push(Arc::clone(&counters));
            let (shared, connector, mut stopped) = (shared.clone(), connector.clone(), stopped.clone());
            let seed = settings.seed ^ incarnation;
            let (tell, told) = mpsc::channel();
            let thread = thread::Builder::new().name(format!("wb-worker-{number}")).spawn(move || {
                // A local runtime wakes its tasks without a system call, which a `LocalSet` on a runtime does not; it lives where it is made.
                let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(tell.send(error)),
                };
                drop(tell);
                let worker = Rc::new(Worker::new(shared, number, Pool::new(connector), log, counters, seed));
                let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
                runtime.block_on(run(Rc::clone(&worker), listener, stop));
                // Tasks that outlived the drain end here, each attempt with its event; only then is the log closed.
                drop(runtime);
                worker.close();
            })?;
            proxy.threads.push(thread);
            if let Ok(error) = told.recv() {
                return Err(error.into());
            }
        }
        Ok(proxy)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The counters of its workers.
    #[must_use]
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// What it has refused lately.
    #[must_use]
    pub const fn refusals(&self) -> &Arc<Refusals> {
        &self.refusals
    }

    /// What its workers have seen of the endpoints.
    #[must_use]
    pub const fn sightings(&self) -> &Arc<Sightings> {
        &self.sightings
    }

    /// What they counted since this was called last; see [`Sightings::take`].
    #[must_use]
    pub fn health_counts(&self) -> HealthCounts {
        self.sightings.take()
    }

    /// Drains and ends the workers: no new connections, open requests to their end within the drain time, logs closed. Blocks.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked; its log is recovered at the next start");
            }
        }
    }
}
