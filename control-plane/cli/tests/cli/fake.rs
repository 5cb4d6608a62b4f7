//! A backend that remembers what it was asked and answers what it was told to.

use std::sync::Mutex;

use clap::Parser;
use tonic::Status;
use waybill_cli::{Answer, Backend, Command, Error, Report, execute};
use waybill_proto::admin::v1::{
    AdjustRequest, AdjustResponse, ApplyChangeSetRequest, ApplyChangeSetResponse, BalancesRequest, BalancesResponse, EventRow,
    EventsRequest, ExplainRequest, ExplainResponse, GapsResponse, GetRequest, GetResponse, HaltRolloutRequest, HaltRolloutResponse,
    HealthRequest, HealthResponse, ListRequest, ListResponse, QuarantineRequest, QuarantineResponse, RecomputeResponse, RolloutRow,
    RolloutsResponse, StatusResponse, VerifyResponse, WaitAppliedRequest, WaitAppliedResponse, WriteOffRequest, WriteOffResponse,
};

#[derive(Default)]
pub struct Fake {
    pub apply: ApplyChangeSetResponse,
    pub get: GetResponse,
    /// The pages, one a call.
    pub pages: Mutex<Vec<ListResponse>>,
    pub status: StatusResponse,
    pub health: HealthResponse,
    pub wait: WaitAppliedResponse,
    pub waited: Mutex<Vec<WaitAppliedRequest>>,
    pub explain: Option<ExplainResponse>,
    pub balances: BalancesResponse,
    /// All events, oldest first, at positions from 1.
    pub events: Vec<EventRow>,
    pub verify: VerifyResponse,
    pub recompute: RecomputeResponse,
    /// What is told of rollouts, one a look; the last for ever.
    pub rollouts: Mutex<Vec<RolloutsResponse>>,
    pub applied: Mutex<Vec<ApplyChangeSetRequest>>,
    pub adjusted: Mutex<Vec<AdjustRequest>>,
    pub gaps: GapsResponse,
    pub written_off: Mutex<Vec<WriteOffRequest>>,
    pub quarantine: QuarantineResponse,
}

fn now<'a, T: Send + 'a>(answer: Result<T, Status>) -> Answer<'a, T> {
    Box::pin(async move { answer })
}

impl Backend for Fake {
    fn apply(&self, request: ApplyChangeSetRequest) -> Answer<'_, ApplyChangeSetResponse> {
        self.applied.lock().expect("applied").push(request);
        now(Ok(self.apply.clone()))
    }

    fn get(&self, _: GetRequest) -> Answer<'_, GetResponse> {
        now(Ok(self.get.clone()))
    }

    fn list(&self, _: ListRequest) -> Answer<'_, ListResponse> {
        now(Ok(self.pages.lock().expect("pages").remove(0)))
    }

    fn status(&self) -> Answer<'_, StatusResponse> {
        now(Ok(self.status.clone()))
    }

    fn health(&self, request: HealthRequest) -> Answer<'_, HealthResponse> {
        let rows = self.health.endpoints.iter();
        let endpoints = rows.filter(|row| request.name.is_empty() || row.endpoint == request.name || row.model == request.name);
        now(Ok(HealthResponse { endpoints: endpoints.cloned().collect() }))
    }

    fn wait_applied(&self, request: WaitAppliedRequest) -> Answer<'_, WaitAppliedResponse> {
        self.waited.lock().expect("waited").push(request);
        now(Ok(self.wait.clone()))
    }

    fn rollouts(&self) -> Answer<'_, RolloutsResponse> {
        let mut looks = self.rollouts.lock().expect("rollouts");
        now(Ok(if looks.len() > 1 { looks.remove(0) } else { looks.first().cloned().unwrap_or_default() }))
    }

    fn halt_rollout(&self, request: HaltRolloutRequest) -> Answer<'_, HaltRolloutResponse> {
        let rollout = RolloutRow { id: request.id, state: "halted".to_owned(), reason: request.reason, ..RolloutRow::default() };
        now(Ok(HaltRolloutResponse { rollout: Some(rollout) }))
    }

    fn explain(&self, request: ExplainRequest) -> Answer<'_, ExplainResponse> {
        now(self.explain.clone().ok_or_else(|| Status::not_found(format!("`{}` is not in the ledger", request.id))))
    }

    fn balances(&self, _: BalancesRequest) -> Answer<'_, BalancesResponse> {
        now(Ok(self.balances.clone()))
    }

    fn events(&self, request: EventsRequest) -> Answer<'_, Vec<EventRow>> {
        let before = |row: &&EventRow| request.before == 0 || row.position < request.before;
        let mut rows: Vec<EventRow> = self.events.iter().filter(before).rev().take(request.limit as usize).cloned().collect();
        rows.reverse();
        now(Ok(rows))
    }

    fn verify(&self) -> Answer<'_, VerifyResponse> {
        now(Ok(self.verify.clone()))
    }

    fn recompute(&self) -> Answer<'_, RecomputeResponse> {
        now(Ok(self.recompute.clone()))
    }

    fn adjust(&self, request: AdjustRequest) -> Answer<'_, AdjustResponse> {
        self.adjusted.lock().expect("adjusted").push(request);
        now(Ok(AdjustResponse { row: self.events.first().cloned() }))
    }

    fn gaps(&self) -> Answer<'_, GapsResponse> {
        now(Ok(self.gaps.clone()))
    }

    fn write_off(&self, request: WriteOffRequest) -> Answer<'_, WriteOffResponse> {
        let gap = self.gaps.gaps.iter().find(|gap| gap.incarnation == request.incarnation).cloned();
        self.written_off.lock().expect("written off").push(request);
        now(Ok(WriteOffResponse { gap }))
    }

    fn quarantine(&self, request: QuarantineRequest) -> Answer<'_, QuarantineResponse> {
        let rows = self.quarantine.rows.iter().take(request.limit as usize).cloned().collect();
        now(Ok(QuarantineResponse { rows }))
    }
}

/// The commands as the binary has them.
#[derive(Debug, Parser)]
#[command(name = "waybill")]
pub struct Line {
    #[command(subcommand)]
    pub command: Command,
}

/// Types a command.
pub fn run(backend: &Fake, words: &[&str]) -> Result<Report, Error> {
    let line = Line::try_parse_from([&["waybill"], words].concat()).map_err(|error| Error::Usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(execute(&line.command, backend))
}
