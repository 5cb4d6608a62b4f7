//! `apply --wait`: what became of a change in the fleet.

use std::fmt::Write;

use waybill_proto::{
    admin::v1::{ApplyChangeSetResponse, ProxyStatus, WaitAppliedRequest, WaitAppliedResponse},
    sync::v1::Verdict,
};

use crate::{backend::Backend, error::Error, error::Exit, status::said};

/// Waits for the fleet, and tells what became of what was applied: a note, and how the command ends.
pub async fn wait(applied: &ApplyChangeSetResponse, seconds: u64, backend: &dyn Backend) -> Result<(String, Exit), Error> {
    let request = WaitAppliedRequest { revision: applied.revision, timeout_ms: seconds.saturating_mul(1_000) };
    let waited = backend.wait_applied(request).await?;
    Ok(told(applied, &waited))
}

/// What the fleet says. Who refuses something that was applied just now makes the command fail; what was refused before is `status`'s matter.
fn told(applied: &ApplyChangeSetResponse, waited: &WaitAppliedResponse) -> (String, Exit) {
    let revision = applied.revision;
    let mut note = String::new();
    let connected: Vec<&ProxyStatus> = waited.proxies.iter().filter(|proxy| proxy.connected).collect();
    let (mut refused_by, mut late) = (0, 0);
    for proxy in &connected {
        let refused: Vec<&Verdict> = proxy.rejected.iter().filter(|verdict| is_of(verdict, applied)).collect();
        for verdict in &refused {
            writeln!(note, "{} refused {}", proxy.proxy, said(verdict)).unwrap_or_default();
        }
        refused_by += usize::from(!refused.is_empty());
        if proxy.applied_revision < revision && refused.is_empty() {
            late += 1;
            writeln!(note, "{} is still at revision {}", proxy.proxy, proxy.applied_revision).unwrap_or_default();
        }
    }
    for proxy in waited.proxies.iter().filter(|proxy| !proxy.connected) {
        writeln!(note, "{} is away, at revision {} for {} s", proxy.proxy, proxy.applied_revision, proxy.stale_seconds).unwrap_or_default();
    }
    let silent = waited.replicas.iter().filter(|replica| !replica.error.is_empty());
    let silent = silent.map(|replica| writeln!(note, "replica {} does not answer: {}", replica.replica, replica.error)).count();
    let done = connected.iter().filter(|proxy| proxy.applied_revision >= revision).count();
    if connected.is_empty() && silent == 0 {
        writeln!(note, "no proxy is connected: revision {revision} waits for the first").unwrap_or_default();
    } else {
        writeln!(note, "revision {revision}: applied by {done} of {} connected proxies", connected.len()).unwrap_or_default();
    }
    let exit = match (refused_by, late + silent) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Unreachable,
        _ => Exit::Refused,
    };
    (note, exit)
}

/// A verdict over something that this change set changed, or over its revision as a whole.
fn is_of(verdict: &Verdict, applied: &ApplyChangeSetResponse) -> bool {
    let whole = verdict.kind.is_empty() && verdict.generation >= applied.revision;
    whole || applied.changes.iter().any(|change| change.kind == verdict.kind && change.name == verdict.name)
}

#[cfg(test)]
mod tests {
    use waybill_proto::admin::v1::{Change, ReplicaStatus};

    use super::*;

    fn proxy(name: &str, connected: bool, applied_revision: u64, rejected: &[(&str, &str)]) -> ProxyStatus {
        let verdict = |(kind, name): &(&str, &str)| Verdict {
            kind: (*kind).to_owned(),
            name: (*name).to_owned(),
            generation: 8,
            field: "providers".to_owned(),
            message: "too many".to_owned(),
            ..Verdict::default()
        };
        let rejected = rejected.iter().map(verdict).collect();
        ProxyStatus { proxy: name.to_owned(), connected, applied_revision, rejected, stale_seconds: 9, ..ProxyStatus::default() }
    }

    #[test]
    fn a_wait_tells_who_refused_and_why_who_is_late_and_who_is_away() {
        let changes = vec![Change { kind: "Guardrail".to_owned(), name: "pii".to_owned(), ..Change::default() }];
        let applied = ApplyChangeSetResponse { revision: 8, changes, ..ApplyChangeSetResponse::default() };
        let silent = ReplicaStatus { replica: "c-2".to_owned(), error: "no answer within 1 s".to_owned(), ..ReplicaStatus::default() };
        type Row<'a> = (Vec<ProxyStatus>, Vec<ReplicaStatus>, &'a str, Exit);
        let rows: [Row<'_>; 7] = [
            (vec![], vec![], "no proxy is connected: revision 8 waits for the first\n", Exit::Done),
            (vec![proxy("p-1", true, 8, &[])], vec![], "revision 8: applied by 1 of 1 connected proxies\n", Exit::Done),
            // What was refused before is not this command's matter.
            (vec![proxy("p-1", true, 9, &[("Model", "m")])], vec![], "revision 8: applied by 1 of 1 connected proxies\n", Exit::Done),
            (
                vec![proxy("p-1", true, 8, &[("Guardrail", "pii")]), proxy("p-2", false, 6, &[])],
                vec![],
                "p-1 refused Guardrail pii (generation 8): spec.providers: too many\np-2 is away, at revision 6 for 9 s\nrevision 8: applied by 1 of 1 connected proxies\n",
                Exit::Refused,
            ),
            (
                vec![proxy("p-1", true, 7, &[]), proxy("p-2", true, 8, &[])],
                vec![],
                "p-1 is still at revision 7\nrevision 8: applied by 1 of 2 connected proxies\n",
                Exit::Unreachable,
            ),
            (
                vec![proxy("p-1", true, 7, &[("", "")])],
                vec![],
                "p-1 refused the whole revision 8: too many\nrevision 8: applied by 0 of 1 connected proxies\n",
                Exit::Refused,
            ),
            (
                vec![proxy("p-1", true, 8, &[])],
                vec![silent],
                "replica c-2 does not answer: no answer within 1 s\nrevision 8: applied by 1 of 1 connected proxies\n",
                Exit::Unreachable,
            ),
        ];
        for (proxies, replicas, note, exit) in rows {
            let waited = WaitAppliedResponse { applied: exit == Exit::Done, proxies, replicas };
            assert_eq!(told(&applied, &waited), (note.to_owned(), exit));
        }
    }
}
