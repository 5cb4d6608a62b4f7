//! The spool read in the ledger's own process: a batch and its cursors are one transaction.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};
use waybill_billing::Ledger;
use waybill_meter::Spool;

use crate::suite::{Boxed, Carrying, Transport, all};

#[path = "../../deploy/waybill/src/consume.rs"]
#[allow(dead_code)]
mod consume;

struct Direct;

struct Running {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Transport for Direct {
    fn start(&self, spool: &Spool, ledger: &Arc<dyn Ledger>) -> Boxed<'_, Box<dyn Carrying>> {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(consume::run(spool.clone(), Arc::clone(ledger), Arc::default(), stopped));
        Box::pin(async move { Box::new(Running { task, stop }) as Box<dyn Carrying> })
    }

    fn forget(&self, _: &Path) {
        // The cursors are the ledger's.
    }
}

impl Carrying for Running {
    fn stop(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async move {
            self.stop.send_replace(true);
            self.task.await.expect("it ends");
        })
    }

    fn kill(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async move {
            self.task.abort();
            drop(self.task.await);
            // What its last transaction was doing in a thread of the database's.
            tokio::time::sleep(Duration::from_millis(50)).await;
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spool_read_in_process_keeps_what_a_transport_must() {
    all(&Direct).await;
}
