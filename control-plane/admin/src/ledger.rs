//! The ledger's verbs.

use std::time::Duration;

use tokio::time::Instant;
use waybill_billing::{Adjustment, Quarantined, WriteOff};
use waybill_model::{
    id::{AttemptId, GenerationId},
    money::Picousd,
};
use waybill_proto::admin::v1::{
    AdjustRequest, AdjustResponse, BalancesRequest, BalancesResponse, EventRow, EventsRequest, ExplainRequest, ExplainResponse, Gap,
    GapsResponse, QuarantineRequest, QuarantineResponse, QuarantinedRow, RecomputeResponse, VerifyResponse, WriteOffRequest,
    WriteOffResponse,
};

use crate::{admin::Admin, error::Error};

/// Rows of a listing of the quarantine that names no limit.
const DEFAULT_ROWS: u32 = 100;

/// Rows of the longest one.
const MOST_ROWS: u32 = 10_000;

/// How long a question about a request waits for the ledger, which follows the spool at a little distance.
const CATCH_UP: Duration = Duration::from_secs(2);

impl Admin {
    /// The attempts of a request, or its refusal while a proxy remembers it. Waits up to two seconds for the ledger.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the ledger failed.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<ExplainResponse, Error> {
        let id = request.id.trim();
        let generation = id.parse::<GenerationId>().ok();
        if let Some(refusal) = generation.and_then(|generation| self.parts.running.refusal(generation)) {
            return Ok(ExplainResponse { attempts: Vec::new(), refusal: Some(refusal) });
        }
        let attempts = self.parts.ledger.explain_by(id, Instant::now() + CATCH_UP).await?;
        if !attempts.is_empty() {
            return Ok(ExplainResponse { attempts, refusal: None });
        }
        Err(Error::NotFound(format!(
            "`{id}` is not in the ledger, and no proxy remembers a refusal of it: a request that is still running comes when it has ended"
        )))
    }

    /// The balances of the accounts that begin with a prefix.
    ///
    /// # Errors
    /// The ledger failed.
    pub async fn balances(&self, request: &BalancesRequest) -> Result<BalancesResponse, Error> {
        Ok(BalancesResponse { balances: self.parts.ledger.balances(&request.prefix).await? })
    }

    /// Events, newest last.
    ///
    /// # Errors
    /// The ledger failed.
    pub async fn events(&self, request: &EventsRequest) -> Result<Vec<EventRow>, Error> {
        Ok(self.parts.ledger.events(request).await?)
    }

    /// Checks the ledger against itself.
    ///
    /// # Errors
    /// The ledger failed; what is wrong with its content is in the answer.
    pub async fn verify(&self) -> Result<VerifyResponse, Error> {
        Ok(self.parts.ledger.verify().await?)
    }

    /// Prices every event again and lists what differs.
    ///
    /// # Errors
    /// The ledger failed.
    pub async fn recompute(&self) -> Result<RecomputeResponse, Error> {
        let versions = self.parts.ledger.price_versions().await?;
        Ok(self.parts.ledger.recompute(&|version| versions.get(version).cloned()).await?)
    }

    /// Resolves an orphaned attempt.
    ///
    /// # Errors
    /// The attempt is not one that can be resolved, the operator is not named, or the ledger failed.
    pub async fn adjust(&self, request: &AdjustRequest) -> Result<AdjustResponse, Error> {
        let attempt: AttemptId = read(&request.attempt_id, "attempt_id")?;
        let amount: Picousd = read(&request.amount_usd, "amount_usd")?;
        let unix_us = self.parts.surroundings.unix_us();
        let adjustment = Adjustment { operator: request.operator.clone(), reason: request.reason.clone(), unix_us };
        let row = self.parts.ledger.adjust(attempt, amount, adjustment).await?;
        tracing::info!(%attempt, amount_picousd = amount.0, operator = request.operator, "an orphaned attempt was adjusted");
        Ok(AdjustResponse { row: Some(row) })
    }

    /// What is missing of logs, oldest first.
    ///
    /// # Errors
    /// The ledger failed.
    pub async fn gaps(&self) -> Result<GapsResponse, Error> {
        let now = self.unix_ms();
        let gaps = self.parts.ledger.gaps(now).await?;
        Ok(GapsResponse { gaps: gaps.iter().map(|gap| shown(gap, now)).collect() })
    }

    /// Declares what is missing of a log as lost.
    ///
    /// # Errors
    /// Nothing is missing of it, the operator is not named, or the ledger failed.
    pub async fn write_off(&self, request: &WriteOffRequest) -> Result<WriteOffResponse, Error> {
        let now = self.unix_ms();
        let word = WriteOff { operator: request.operator.clone(), reason: request.reason.clone(), unix_ms: now };
        let gap = self.parts.ledger.write_off(request.incarnation, word).await?;
        let gap = shown(&gap, now);
        tracing::warn!(
            log = format!("{:016x}", gap.incarnation),
            missing = gap.missing.join(", "),
            operator = request.operator,
            "records are written off"
        );
        Ok(WriteOffResponse { gap: Some(gap) })
    }

    /// Records that were set aside, newest first.
    ///
    /// # Errors
    /// The ledger failed.
    pub async fn quarantine(&self, request: &QuarantineRequest) -> Result<QuarantineResponse, Error> {
        let limit = if request.limit == 0 { DEFAULT_ROWS } else { request.limit.min(MOST_ROWS) };
        let rows = self.parts.ledger.quarantine(limit).await?;
        Ok(QuarantineResponse { rows: rows.iter().map(set_aside).collect() })
    }
}

fn shown(gap: &waybill_billing::Gap, now_unix_ms: i64) -> Gap {
    let range = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    Gap {
        incarnation: gap.incarnation,
        proxy: gap.proxy.clone(),
        process: gap.process,
        missing: gap.missing.iter().map(range).collect(),
        last_sequence: gap.last_sequence,
        state: gap.state.name().to_owned(),
        age_seconds: gap.age_seconds(now_unix_ms),
    }
}

/// The payload stays in the ledger: it may be anything.
fn set_aside(record: &Quarantined) -> QuarantinedRow {
    let attempt: Option<[u8; 16]> = record.attempt_id[..].try_into().ok();
    QuarantinedRow {
        incarnation: record.incarnation,
        sequence: record.sequence,
        kind: record.kind,
        attempt_id: attempt.map_or_else(String::new, |bytes| AttemptId::from_bytes(bytes).to_string()),
        reason: record.reason.clone(),
        payload_bytes: record.payload.len() as u64,
    }
}

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str, field: &'static str) -> Result<T, Error> {
    text.trim().parse().map_err(|error: T::Err| Error::Malformed { field, message: error.to_string() })
}
