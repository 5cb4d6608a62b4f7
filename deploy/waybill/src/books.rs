//! What the proxy asks of the ledger, answered in this process: the questions run on the control plane's runtime, not on a worker's thread.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};
use waybill_billing::{Ledger, Scope};
use waybill_proto::usage::v1::Event;
use waybill_proxy::{Asked, Away, Books, Spent};

/// See the module.
pub struct InProcess {
    pub ledger: Arc<dyn Ledger>,
    pub runtime: Handle,
}

impl InProcess {
    async fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, waybill_billing::Error>> + Send + 'static,
    ) -> Result<T, Away> {
        match self.runtime.spawn(question).await {
            Ok(answer) => answer.map_err(|error| Away(error.to_string())),
            Err(_) => Err(Away("it is stopping".to_owned())),
        }
    }
}

fn scope(owner: &waybill_proxy::Owner) -> Scope {
    Scope { org: owner.org.to_string(), workspace: owner.workspace.to_string(), api_key: owner.api_key.to_string() }
}

impl Books for InProcess {
    fn generation<'a>(&'a self, owner: &'a waybill_proxy::Owner, id: &'a str, wait: Duration) -> Asked<'a, Vec<Event>> {
        let (ledger, scope, id) = (Arc::clone(&self.ledger), scope(owner), id.to_owned());
        Box::pin(async move {
            let rows = self.ask(async move { ledger.wait_for(&id, &scope, Instant::now() + wait).await }).await?;
            // An orphan that was resolved counts as what it was resolved to.
            Ok(rows.into_iter().filter_map(|row| row.adjusted.or(row.event)).collect())
        })
    }

    fn spent<'a>(&'a self, owner: &'a waybill_proxy::Owner) -> Asked<'a, Spent> {
        let (ledger, scope) = (Arc::clone(&self.ledger), scope(owner));
        Box::pin(async move {
            let usage = self.ask(async move { ledger.key_usage(&scope, unix_us()).await }).await?;
            Ok(Spent { total: usage.total, day: usage.daily, week: usage.weekly, month: usage.monthly })
        })
    }
}

/// Microseconds since 1970.
pub fn unix_us() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
}
