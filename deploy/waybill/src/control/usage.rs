//! What the proxies ask of the ledger, answered by this replica.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use waybill_billing::{Ledger, Progress, Scope};
use waybill_proto::usage::v1::{
    GenerationRequest, GenerationResponse, IngestRequest, IngestResponse, KeyScope, SpentRequest, SpentResponse,
};
use waybill_publish::{
    Usage,
    usage::{Answer, Unanswered},
};

use crate::{
    books::unix_us,
    ops::{Look, Sheet, Vital, names},
};

/// Nobody waits longer than this for the ledger to catch up.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The ledger, for proxies; counts what came in by this way.
pub struct Books {
    ledger: Arc<dyn Ledger>,
    booked: AtomicU64,
    quarantined: AtomicU64,
}

impl Books {
    pub fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger, booked: AtomicU64::new(0), quarantined: AtomicU64::new(0) }
    }
}

impl Usage for Books {
    fn ingest(&self, request: IngestRequest) -> Answer<'_, IngestResponse> {
        Box::pin(async move {
            let records = request.records;
            let report = self.ledger.commit(&records, Progress::None).await.map_err(|error| unanswered(&error))?;
            let (booked, quarantined) = (report.inserted as u64, report.quarantined as u64);
            self.booked.fetch_add(booked, Ordering::Relaxed);
            self.quarantined.fetch_add(quarantined, Ordering::Relaxed);
            if quarantined > 0 {
                tracing::error!(records = quarantined, "usage records were set aside; `waybill status` counts them");
            }
            let known = (records.len() as u64).saturating_sub(booked + quarantined);
            Ok(IngestResponse { booked, known, quarantined })
        })
    }

    fn generation(&self, request: GenerationRequest) -> Answer<'_, GenerationResponse> {
        Box::pin(async move {
            let scope = scope(request.scope)?;
            let deadline = Instant::now() + Duration::from_millis(request.wait_ms).min(LONGEST_WAIT);
            let rows = self.ledger.wait_for(&request.id, &scope, deadline).await.map_err(|error| unanswered(&error))?;
            // An orphan that was resolved counts as what it was resolved to.
            Ok(GenerationResponse { events: rows.into_iter().filter_map(|row| row.adjusted.or(row.event)).collect() })
        })
    }

    fn spent(&self, request: SpentRequest) -> Answer<'_, SpentResponse> {
        Box::pin(async move {
            let scope = scope(request.scope)?;
            let usage = self.ledger.key_usage(&scope, unix_us()).await.map_err(|error| unanswered(&error))?;
            Ok(SpentResponse {
                total: usage.total.to_string(),
                day: usage.daily.to_string(),
                week: usage.weekly.to_string(),
                month: usage.monthly.to_string(),
            })
        })
    }
}

impl Vital for Books {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        sheet.write(&names::BOOKED, self.booked.load(Ordering::Relaxed));
        sheet.write(&names::QUARANTINED, self.quarantined.load(Ordering::Relaxed));
        Box::pin(async {})
    }
}

fn scope(scope: Option<KeyScope>) -> Result<Scope, Unanswered> {
    let KeyScope { org, workspace, api_key } = scope.ok_or_else(|| Unanswered::Malformed("the scope is missing".to_owned()))?;
    Ok(Scope { org, workspace, api_key })
}

fn unanswered(error: &waybill_billing::Error) -> Unanswered {
    if error.may_retry() { Unanswered::Away(error.to_string()) } else { Unanswered::Failed(error.to_string()) }
}
