//! `rollout`: what is on its way, waiting for its end, taking it back.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use waybill_proto::admin::v1::{HaltRolloutRequest, ProxyStatus, RolloutRow, RolloutsResponse};

use crate::{
    backend::Backend,
    command::{RolloutArgs, RolloutVerb},
    error::{Error, Exit},
    show::{Format, Report, message, or_dash, table, time_us},
};

/// How often the end is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Runs a verb.
pub async fn rollout(args: &RolloutArgs, backend: &dyn Backend) -> Result<Report, Error> {
    let format = args.connection.output.unwrap_or_default();
    match &args.verb {
        RolloutVerb::List => {
            let response = backend.rollouts().await?;
            Ok(Report::of(message(format, &response, || rows(&response.rollouts))?))
        }
        RolloutVerb::Wait { id } => ended(id, format, None, backend).await,
        RolloutVerb::Halt { id, reason } => {
            let request = HaltRolloutRequest { id: id.clone(), reason: reason.clone() };
            let row = backend.halt_rollout(request).await?.rollout.unwrap_or_default();
            Ok(Report::of(message(format, &row, || rows(std::slice::from_ref(&row)))?))
        }
    }
}

/// Waits for the end of a rollout, and says meanwhile what it waits for. One that was halted fails the command; so does one that stands still for
/// longer than `patience`.
pub async fn ended(id: &str, format: Format, patience: Option<Duration>, backend: &dyn Backend) -> Result<Report, Error> {
    let mut before: Option<(Standing, Instant)> = None;
    loop {
        let RolloutsResponse { rollouts } = backend.rollouts().await?;
        let Some(row) = rollouts.into_iter().find(|row| row.id == id) else {
            return Err(Error::Refused(format!("there is no rollout `{id}`; `waybill rollout list` shows the last ones")));
        };
        if row.state != "baking" {
            let shown = message(format, &row, || rows(std::slice::from_ref(&row)))?;
            return Ok(Report::of(shown).refused_if(row.state != "done"));
        }
        let standing = Standing::of(&row, &backend.status().await?.proxies);
        let since = match &before {
            Some((before, since)) if *before == standing => *since,
            _ => {
                say(&format!("The rollout {id} waits {}.\n", standing.waits));
                Instant::now()
            }
        };
        if patience.is_some_and(|patience| since.elapsed() > patience + standing.watched) {
            let note = format!("waybill: nothing has moved for {} s. `waybill rollout wait {id}` waits on\n", since.elapsed().as_secs());
            return Ok(Report { out: String::new(), note, exit: Exit::Unreachable });
        }
        before = Some((standing, since));
        tokio::time::sleep(LOOK).await;
    }
}

/// Says something while a command waits. Whoever reads it may stop reading.
fn say(line: &str) {
    drop(io::stderr().lock().write_all(line.as_bytes()));
}

/// What a rollout on its way waits for.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    waits: String,
    /// How long that takes by itself.
    watched: Duration,
}

impl Standing {
    fn of(row: &RolloutRow, proxies: &[ProxyStatus]) -> Self {
        let at_once = |waits: String| Self { waits, watched: Duration::ZERO };
        if row.proxies.is_empty() {
            let connected = proxies.iter().any(|proxy| proxy.connected);
            let conductor = "for a replica of the control plane to begin with one proxy";
            return at_once(if connected { conductor } else { "for a proxy: none is connected" }.to_owned());
        }
        let late: Vec<String> = row.proxies.iter().filter_map(|name| lateness(row, name, proxies)).collect();
        if !late.is_empty() {
            return at_once(format!("in ring {}: {}", row.ring, late.join(", ")));
        }
        let seconds = row.bake_ms / 1_000;
        let waits = format!("in ring {}: had by {}, watched for {seconds} s", row.ring, row.proxies.join(", "));
        Self { waits, watched: Duration::from_millis(row.bake_ms) }
    }
}

/// Why a proxy of the ring does not have the change yet; nothing if it has.
fn lateness(row: &RolloutRow, name: &str, proxies: &[ProxyStatus]) -> Option<String> {
    let Some(proxy) = proxies.iter().find(|proxy| proxy.proxy == name) else { return Some(format!("{name} is not known any more")) };
    match (proxy.connected, proxy.applied_revision < row.step_revision) {
        (false, _) => Some(format!("{name} is away")),
        (true, true) => Some(format!("{name} is at revision {} and not yet at {}", proxy.applied_revision, row.step_revision)),
        (true, false) => None,
    }
}

fn rows(of: &[RolloutRow]) -> String {
    let row = |row: &RolloutRow| {
        let resources: Vec<String> = row.resources.iter().map(|resource| format!("{} {}", resource.kind, resource.name)).collect();
        let (begun, end) = (time_us(row.begin_unix_ms.saturating_mul(1_000)), time_us(row.end_unix_ms.saturating_mul(1_000)));
        let proxies = row.proxies.join(", ");
        let ring = row.ring.to_string();
        vec![row.id.clone(), row.state.clone(), ring, begun, end, or_dash(&proxies), resources.join(", "), or_dash(&row.reason)]
    };
    table(&["ID", "STATE", "RING", "BEGUN", "ENDED", "PROXIES", "RESOURCES", "REASON"], of.iter().map(row).collect(), &[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_on_its_way_says_what_it_waits_for() {
        let proxy = |name: &str, connected, applied_revision| ProxyStatus {
            proxy: name.to_owned(),
            connected,
            applied_revision,
            ..ProxyStatus::default()
        };
        let rows: [(&[&str], Vec<ProxyStatus>, &str, u64); 7] = [
            (&[], vec![], "for a proxy: none is connected", 0),
            (&[], vec![proxy("p-1", false, 7)], "for a proxy: none is connected", 0),
            (&[], vec![proxy("p-1", true, 7)], "for a replica of the control plane to begin with one proxy", 0),
            (&["p-1"], vec![], "in ring 2: p-1 is not known any more", 0),
            (&["p-1"], vec![proxy("p-1", true, 8)], "in ring 2: had by p-1, watched for 30 s", 30),
            (&["p-1", "p-2"], vec![proxy("p-1", true, 8), proxy("p-2", false, 8)], "in ring 2: p-2 is away", 0),
            (
                &["p-1", "p-2"],
                vec![proxy("p-1", true, 7), proxy("p-2", false, 7)],
                "in ring 2: p-1 is at revision 7 and not yet at 8, p-2 is away",
                0,
            ),
        ];
        for (members, proxies, waits, watched) in rows {
            let members = members.iter().map(|name| (*name).to_owned()).collect();
            let row = RolloutRow { proxies: members, ring: 2, step_revision: 8, bake_ms: 30_000, ..RolloutRow::default() };
            let expected = Standing { waits: waits.to_owned(), watched: Duration::from_secs(watched) };
            assert_eq!(Standing::of(&row, &proxies), expected);
        }
    }
}
