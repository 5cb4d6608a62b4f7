//! `rollout`: what is on its way, waiting for its end, taking it back.

use std::time::Duration;

use waybill_proto::admin::v1::{HaltRolloutRequest, RolloutRow, RolloutsResponse};

use crate::{
    backend::Backend,
    command::{RolloutArgs, RolloutVerb},
    error::Error,
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
        RolloutVerb::Wait { id } => ended(id, format, backend).await,
        RolloutVerb::Halt { id, reason } => {
            let request = HaltRolloutRequest { id: id.clone(), reason: reason.clone() };
            let row = backend.halt_rollout(request).await?.rollout.unwrap_or_default();
            Ok(Report::of(message(format, &row, || rows(std::slice::from_ref(&row)))?))
        }
    }
}

/// Waits for the end of a rollout. One that was halted fails the command.
pub async fn ended(id: &str, format: Format, backend: &dyn Backend) -> Result<Report, Error> {
    loop {
        let RolloutsResponse { rollouts } = backend.rollouts().await?;
        let Some(row) = rollouts.into_iter().find(|row| row.id == id) else {
            return Err(Error::Refused(format!("there is no rollout `{id}`; `waybill rollout list` shows the last ones")));
        };
        if row.state != "baking" {
            let shown = message(format, &row, || rows(std::slice::from_ref(&row)))?;
            return Ok(Report::of(shown).refused_if(row.state != "done"));
        }
        tokio::time::sleep(LOOK).await;
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
