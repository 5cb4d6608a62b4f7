//! `waybill billing`: a consumer of usage events, as a process of its own.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{runtime::Builder, sync::watch};
use waybill_billing::consume::{Consumed, Options, run as consume};

use crate::{
    listen::{bind, serve_ops},
    ops::{
        Look, Sheet, Vital, Vitals,
        vitals::{Books, Build, Phase},
    },
    peers::host_name,
    ready,
    settings::{Billing as Settings, LedgerUrl},
    signals::{Signals, ended},
    stores::{open_ledger, patiently},
};

/// Runs until a signal, then commits what it has gathered.
pub fn run(settings: &Settings) -> Result<ExitCode> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("wb-billing").enable_all().build()?;
    let code = runtime.block_on(live(settings));
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

async fn live(settings: &Settings) -> Result<ExitCode> {
    let name = settings.name.clone().map_or_else(host_name, Ok)?;
    let mut options = Options::new(&settings.kafka)?;
    options.group.clone_from(&settings.group);
    let ops_listener = bind(settings.ops_listen, "--ops-listen")?;
    let addresses = [("ops", ops_listener.local_addr()?)];
    let mut signals = Signals::install()?;
    let (phase, vitals) = (Phase::default(), Vitals::default());
    phase.lacks("starting");
    vitals.add(Build);
    vitals.add(phase.clone());
    let (stop, stopped) = watch::channel(false);
    let ops = serve_ops(ops_listener, vitals.clone(), stopped.clone())?;
    ready::listening(&addresses);
    let remote = matches!(settings.ledger, LedgerUrl::Postgres(_));
    let ledger = tokio::select! {
        ledger = patiently(&phase, remote, || open_ledger(&settings.ledger, &settings.postgres)) => ledger?,
        () = signals.first() => return Ok(ExitCode::SUCCESS),
    };
    let consumed = Arc::new(Consumed::default());
    vitals.add(Consumption(Arc::clone(&consumed)));
    vitals.add(Books::of(Arc::clone(&ledger)));
    let consumer = tokio::spawn(consume(Arc::clone(&ledger), options, consumed, stopped));
    phase.works();
    ready::announce(settings.ready_file.as_deref(), "billing", &name, &addresses)?;
    let mut consumer = consumer;
    tokio::select! {
        // It ends by itself only if it could not begin.
        ended = &mut consumer => {
            ended?.context("the consumer")?;
            return Ok(ExitCode::FAILURE);
        }
        () = signals.first() => {}
    }
    phase.drains();
    let end = async {
        stop.send_replace(true);
        consumer.await??;
        ended(ops).await;
        ledger.close().await?;
        Ok(ExitCode::SUCCESS)
    };
    signals.unless_again(end).await
}

/// The consumer: progress is health.
struct Consumption(Arc<Consumed>);

impl Vital for Consumption {
    fn lacks(&self) -> Option<String> {
        let health = self.0.health();
        if health.is_healthy() {
            return None;
        }
        let stopped = health.stopped.iter().map(|(partition, why)| format!("partition {partition} waits for an operator: {why:?}"));
        let stalled = health.stalled.iter().map(|partition| format!("partition {partition} has a lag and no commit for a minute"));
        Some(stopped.chain(stalled).collect::<Vec<_>>().join("\n"))
    }

    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        for metric in self.0.metrics() {
            sheet.told(metric.name, metric.help, metric.counter, metric.value);
        }
        Box::pin(async {})
    }
}
