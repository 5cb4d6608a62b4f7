//! The ledger as the operator's command prints it: events, ends of incarnations, balances, and the product's own two checks of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{clean, program, wait_until};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ids::{self, Id};

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum Kind {
    #[serde(rename = "KIND_SETTLED")]
    Settled,
    #[serde(rename = "KIND_PARTIAL")]
    Partial,
    #[serde(rename = "KIND_FAILED")]
    Failed,
    #[serde(rename = "KIND_ORPHANED")]
    Orphaned,
    #[serde(rename = "KIND_ADJUSTED")]
    Adjusted,
    #[serde(rename = "KIND_CLOSED")]
    Closed,
}

impl Kind {
    /// The kind that a spool's record has this number for. An intent is no event.
    pub fn of_number(number: u8) -> Option<Self> {
        [Self::Settled, Self::Partial, Self::Failed, Self::Orphaned, Self::Adjusted, Self::Closed]
            .get(usize::from(number.checked_sub(2)?))
            .copied()
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub incarnation: u64,
    pub sequence: u64,
    pub kind: Kind,
    /// Zeros for the end of an incarnation.
    pub attempt: Id,
    pub generation: Id,
    /// The caller's title: the marker. Empty where it was shed.
    pub marker: String,
    /// The spool was nearly full, so the event leaves out what no bill needs: the title and the decision among it.
    pub is_shed: bool,
    /// Name of the endpoint.
    pub endpoint: String,
    pub amount: i128,
    pub reservation: i128,
    pub lines: i128,
    /// More than was reserved, as it says itself.
    pub is_overrun: bool,
    /// The configuration that the request was pinned to.
    pub revision: u64,
    /// Revision and deny epoch by which the request was routed; on its first attempt.
    pub decided: Option<(u64, u64)>,
    /// When the attempt began, by the proxy's clock.
    pub start_us: i64,
}

/// Everything that the ledger says.
#[derive(Debug)]
pub struct Ledger {
    /// Terminal events, in the order of their arrival.
    pub rows: Vec<Row>,
    /// Ends of incarnations.
    pub closed: Vec<Row>,
    /// Accounts: debits are positive.
    pub balances: BTreeMap<String, i128>,
    /// What `ledger verify` has found.
    pub faults: Vec<String>,
    /// What `ledger recompute` has found.
    pub differences: Vec<String>,
    /// Events that `ledger recompute` says it has priced again.
    pub repriced: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RowText {
    incarnation: String,
    sequence: String,
    event: EventText,
    adjusted: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventText {
    kind: Kind,
    attempt: Option<AttemptText>,
    #[serde(default)]
    amount_picousd: Option<String>,
    #[serde(default)]
    lines: Vec<LineText>,
    #[serde(default)]
    overrun: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttemptText {
    attempt_id: String,
    generation_id: String,
    #[serde(default)]
    app_title: String,
    endpoint: String,
    #[serde(default)]
    reservation_picousd: Option<String>,
    #[serde(default)]
    revision: Option<String>,
    #[serde(default)]
    start_unix_us: Option<String>,
    #[serde(default)]
    decision: Option<DecisionText>,
    #[serde(default)]
    shed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DecisionText {
    #[serde(default)]
    revision: Option<String>,
    #[serde(default)]
    deny_epoch: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LineText {
    #[serde(default)]
    amount_picousd: Option<String>,
}

#[derive(Deserialize)]
struct VerifyText {
    #[serde(default)]
    faults: Vec<String>,
}

#[derive(Deserialize)]
struct RecomputeText {
    #[serde(default)]
    events: Option<String>,
    #[serde(default)]
    differences: Vec<String>,
}

#[derive(Deserialize)]
struct BalancesText {
    balances: Vec<BalanceText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BalanceText {
    account: String,
    #[serde(default)]
    amount_picousd: Option<String>,
}

impl Ledger {
    /// Reads the ledger. What the commands print is kept in `folder`.
    pub fn read(source: &Source, folder: &Path) -> Result<Self> {
        let asked = Asked { source, folder };
        let VerifyText { faults } = asked.json("verify", &[])?;
        let RecomputeText { events, differences } = asked.json("recompute", &[])?;
        let BalancesText { balances } = asked.json("balances", &[])?;
        let balance = |balance: BalanceText| Ok((balance.account, number(balance.amount_picousd.as_deref())?));
        Ok(Self {
            rows: rows(asked.json("show", &[])?)?,
            closed: rows(asked.json("show", &["--kind", "closed"])?)?,
            balances: balances.into_iter().map(balance).collect::<Result<_>>()?,
            faults,
            differences,
            repriced: u64::try_from(number(events.as_deref())?)?,
        })
    }
}

/// Runs `ledger verify` alone, for which the product recovers and reads what a dead process has left. Gives what it has found.
pub fn verify(source: &Source, folder: &Path) -> Result<Vec<String>> {
    let VerifyText { faults } = Asked { source, folder }.json("verify", &[])?;
    Ok(faults)
}

/// Attempts that have a terminal event now, asked of a running ledger while it may still grow.
pub fn attempts(source: &Source, folder: &Path) -> Result<Vec<Id>> {
    let rows = rows(Asked { source, folder }.json("show", &[])?)?;
    Ok(rows.into_iter().map(|row| row.attempt).collect())
}

/// Where a ledger is asked for.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a state folder that no process uses.
    State(PathBuf),
    /// Of a running control plane, with the operator's token.
    Admin { server: SocketAddr, token_file: PathBuf },
}

struct Asked<'a> {
    source: &'a Source,
    folder: &'a Path,
}

impl Asked<'_> {
    /// Runs `waybill ledger VERB` and reads what it prints. A check that has found something ends with 1 and prints too.
    fn json<T: DeserializeOwned>(&self, verb: &str, more: &[&str]) -> Result<T> {
        let printed = self.folder.join(format!("ledger-{verb}{}.json", more.concat()));
        let log: PathBuf = printed.with_extension("log");
        let mut command = Command::new(program("waybill")?);
        clean(&mut command);
        command.args(["ledger", verb, "--output", "json"]).args(more);
        match self.source {
            Source::State(state) => command.arg("--state").arg(state),
            Source::Admin { server, token_file } => command.args(["--admin", &server.to_string(), "--token-file"]).arg(token_file),
        };
        command.stdin(Stdio::null()).stdout(File::create(&printed)?).stderr(File::create(&log)?);
        let mut child = command.spawn().context("starting `waybill ledger`")?;
        let status = match wait_until(&format!("`waybill ledger {verb}`"), LIMIT, || Ok(child.try_wait()?)) {
            Ok(status) => status,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        let said = || fs::read_to_string(&log).unwrap_or_default();
        ensure!(status.success() || status.code() == Some(1), "`waybill ledger {verb}` ended with {status}: {}", said());
        serde_json::from_slice(&fs::read(&printed)?).with_context(|| format!("`waybill ledger {verb}` ended with {status}: {}", said()))
    }
}

fn rows(texts: Vec<RowText>) -> Result<Vec<Row>> {
    texts.into_iter().map(row).collect()
}

fn row(text: RowText) -> Result<Row> {
    let RowText { incarnation, sequence, event, adjusted } = text;
    if adjusted.is_some() {
        bail!("event {sequence} of {incarnation} was adjusted, and nobody has asked for that");
    }
    let attempt = event.attempt.unwrap_or_default();
    let id = |text: &str| match text {
        "" => Ok([0; 16]),
        text => ids::from_base64(text).with_context(|| format!("`{text}` is no id")),
    };
    Ok(Row {
        incarnation: incarnation.parse()?,
        sequence: sequence.parse()?,
        kind: event.kind,
        attempt: id(&attempt.attempt_id)?,
        generation: id(&attempt.generation_id)?,
        marker: attempt.app_title,
        is_shed: attempt.shed,
        endpoint: attempt.endpoint,
        amount: number(event.amount_picousd.as_deref())?,
        reservation: number(attempt.reservation_picousd.as_deref())?,
        lines: event.lines.iter().map(|line| number(line.amount_picousd.as_deref())).sum::<Result<i128>>()?,
        is_overrun: event.overrun,
        revision: u64::try_from(number(attempt.revision.as_deref())?)?,
        decided: attempt.decision.map(decided).transpose()?,
        start_us: i64::try_from(number(attempt.start_unix_us.as_deref())?)?,
    })
}

fn decided(text: DecisionText) -> Result<(u64, u64)> {
    let number = |text: Option<&str>| Ok::<_, anyhow::Error>(u64::try_from(number(text)?)?);
    Ok((number(text.revision.as_deref())?, number(text.deny_epoch.as_deref())?))
}

/// A number of canonical JSON, where 0 is left out.
fn number(text: Option<&str>) -> Result<i128> {
    text.map_or(Ok(0), |text| text.parse().with_context(|| format!("`{text}` is no number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_canonical_json() {
        let text = r#"[{"incarnation":"18446744073709551615","sequence":"3","position":"9","event":{"kind":"KIND_SETTLED","amountPicousd":"42",
            "lines":[{"meter":"input","quantity":"1","amountPicousd":"40"},{"amountPicousd":"2"},{"meter":"request"}],
            "attempt":{"attemptId":"AAECAwQFBgcICQoLDA0ODw==","generationId":"/////////////////////w==","endpoint":"plain","appTitle":"kill-1-2",
            "reservationPicousd":"99","revision":"12","decision":{"revision":"12","denyEpoch":"2560"},"shed":true,"startUnixUs":"1700000000000000"}}},
            {"incarnation":"1","sequence":"4","event":{"kind":"KIND_CLOSED"}}]"#;
        let found = rows(serde_json::from_str(text).unwrap()).unwrap();
        let first = Row {
            incarnation: u64::MAX,
            sequence: 3,
            kind: Kind::Settled,
            attempt: std::array::from_fn(|place| place as u8),
            generation: [0xff; 16],
            marker: "kill-1-2".to_owned(),
            is_shed: true,
            endpoint: "plain".to_owned(),
            amount: 42,
            reservation: 99,
            lines: 42,
            is_overrun: false,
            revision: 12,
            decided: Some((12, 2560)),
            start_us: 1_700_000_000_000_000,
        };
        assert_eq!(found[0], first);
        assert_eq!((found[1].kind, found[1].sequence, found[1].attempt), (Kind::Closed, 4, [0; 16]));
        let adjusted = r#"[{"incarnation":"1","sequence":"4","event":{"kind":"KIND_FAILED"},"adjusted":{}}]"#;
        assert!(rows(serde_json::from_str(adjusted).unwrap()).is_err());
    }

    #[test]
    fn numbers_of_records_are_kinds() {
        let kinds = [None, None, Some(Kind::Settled), Some(Kind::Partial), Some(Kind::Failed), Some(Kind::Orphaned), Some(Kind::Adjusted)];
        for (number, kind) in kinds.into_iter().chain([Some(Kind::Closed), None]).enumerate() {
            assert_eq!(Kind::of_number(number as u8), kind, "{number}");
        }
    }
}
