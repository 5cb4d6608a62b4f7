//! What the proxy asks of the ledger, by way of the control plane. The questions run on the process's own runtime, where the connection lives, not
//! on a worker's thread.

use std::time::Duration;

use tokio::runtime::Handle;
use waybill_proto::usage::v1::{Event, KeyScope};
use waybill_proxy::{Asked, Away, Books, Owner, Spent};
use waybill_sync::{Unanswered, UsageClient};

/// See the module.
pub struct Remote {
    pub usage: UsageClient,
    pub runtime: Handle,
}

impl Remote {
    async fn ask<T: Send + 'static>(&self, question: impl Future<Output = Result<T, Unanswered>> + Send + 'static) -> Result<T, Away> {
        match self.runtime.spawn(question).await {
            // Callers are told that it is away, and operators where it was looked for.
            Ok(answer) => answer.map_err(|unanswered| {
                tracing::warn!(error = %unanswered, "a question about the ledger was not answered");
                Away("the control plane does not answer".to_owned())
            }),
            Err(_) => Err(Away("this proxy is stopping".to_owned())),
        }
    }
}

fn scope(owner: &Owner) -> KeyScope {
    KeyScope { org: owner.org.to_string(), workspace: owner.workspace.to_string(), api_key: owner.api_key.to_string() }
}

impl Books for Remote {
    fn generation<'a>(&'a self, owner: &'a Owner, id: &'a str, wait: Duration) -> Asked<'a, Vec<Event>> {
        let (usage, scope, id) = (self.usage.clone(), scope(owner), id.to_owned());
        Box::pin(self.ask(async move { usage.generation(scope, &id, wait).await }))
    }

    fn spent<'a>(&'a self, owner: &'a Owner) -> Asked<'a, Spent> {
        let (usage, scope) = (self.usage.clone(), scope(owner));
        Box::pin(async move {
            let spent = self.ask(async move { usage.spent(scope).await }).await?;
            let amount =
                |text: &str| text.parse().map_err(|_| Away(format!("`{text}` is no amount: the control plane is of another build")));
            Ok(Spent { total: amount(&spent.total)?, day: amount(&spent.day)?, week: amount(&spent.week)?, month: amount(&spent.month)? })
        })
    }
}
