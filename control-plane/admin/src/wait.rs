//! Waiting for the fleet: until every proxy that is there has applied a revision, or has said that it does not.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use waybill_proto::admin::v1::{ProxyStatus, WaitAppliedRequest, WaitAppliedResponse};

use crate::{admin::Admin, error::Error, surroundings::Fleet};

/// How long it is waited if the request does not say.
const USUAL: Duration = Duration::from_secs(30);

/// No request waits longer.
pub const LONGEST: Duration = Duration::from_secs(600);

/// How often the fleet is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);

impl Admin {
    /// Waits until every connected proxy has applied a revision or refuses it, or the time is up. Proxies that are away are not waited for; a
    /// replica that does not answer is, since nobody else knows its proxies.
    ///
    /// # Errors
    /// The request asks for more time than there is.
    pub async fn wait_applied(&self, request: &WaitAppliedRequest) -> Result<WaitAppliedResponse, Error> {
        let limit = if request.timeout_ms == 0 { USUAL } else { Duration::from_millis(request.timeout_ms) };
        if limit > LONGEST {
            let message = format!("at most {} ms can be waited for", LONGEST.as_millis());
            return Err(Error::Malformed { field: "timeoutMs", message });
        }
        let end = Instant::now() + limit;
        loop {
            let fleet = self.parts.running.fleet().await;
            let settled = settled(&fleet, request.revision);
            let now = Instant::now();
            if settled.is_some() || now >= end {
                let Fleet { proxies, replicas, .. } = fleet;
                return Ok(WaitAppliedResponse { applied: settled.unwrap_or(false), proxies, replicas });
            }
            sleep_until(end.min(now + ASK_EVERY)).await;
        }
    }
}

/// Whether all that are there have applied it, once each of them has or says that it does not.
fn settled(fleet: &Fleet, revision: u64) -> Option<bool> {
    let silent = fleet.replicas.iter().any(|replica| !replica.error.is_empty());
    let mut behind = fleet.proxies.iter().filter(|proxy| proxy.connected && proxy.applied_revision < revision).peekable();
    let all = behind.peek().is_none();
    let waiting = silent || behind.any(|proxy| !refuses(proxy, revision));
    (!waiting).then_some(all)
}

/// It refuses the revision as a whole: a verdict that names no resource, with the revision in the generation's place.
fn refuses(proxy: &ProxyStatus, revision: u64) -> bool {
    proxy.rejected.iter().any(|verdict| verdict.kind.is_empty() && verdict.generation >= revision)
}

#[cfg(test)]
mod tests {
    use waybill_proto::{admin::v1::ReplicaStatus, sync::v1::Verdict};

    use super::*;

    fn proxy(connected: bool, applied_revision: u64, refused: u64) -> ProxyStatus {
        let verdict = Verdict { generation: refused, code: "compile_panicked".to_owned(), ..Verdict::default() };
        let rejected = if refused > 0 { vec![verdict] } else { Vec::new() };
        ProxyStatus { connected, applied_revision, rejected, ..ProxyStatus::default() }
    }

    #[test]
    fn it_is_settled_when_all_that_are_there_have_applied_or_refused() {
        type Row = (Vec<ProxyStatus>, Option<bool>);
        let rows: [Row; 8] = [
            (vec![], Some(true)),
            (vec![proxy(true, 7, 0), proxy(true, 8, 0)], Some(true)),
            (vec![proxy(true, 7, 0), proxy(true, 6, 0)], None),
            (vec![proxy(true, 7, 0), proxy(false, 6, 0)], Some(true)),
            (vec![proxy(true, 7, 0), proxy(true, 6, 7)], Some(false)),
            (vec![proxy(true, 6, 0), proxy(true, 6, 7)], None),
            (vec![proxy(true, 6, 6)], None),
            (vec![proxy(true, 7, 6)], Some(true)),
        ];
        for (proxies, expected) in rows {
            let fleet = Fleet { proxies, ..Fleet::default() };
            assert_eq!(settled(&fleet, 7), expected, "{fleet:?}");
            let replica = ReplicaStatus { error: "no answer".to_owned(), ..ReplicaStatus::default() };
            assert_eq!(settled(&Fleet { replicas: vec![replica], ..fleet }, 7), None);
        }
    }
}
