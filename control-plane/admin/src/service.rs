//! The verbs as gRPC services: deadlines, who calls, and nothing else.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use waybill_proto::admin::v1::{
    AdjustRequest, AdjustResponse, ApplyChangeSetRequest, ApplyChangeSetResponse, BalancesRequest, BalancesResponse, EventsRequest,
    EventsResponse, ExplainRequest, ExplainResponse, GapsRequest, GapsResponse, GetRequest, GetResponse, HaltRolloutRequest,
    HaltRolloutResponse, HealthRequest, HealthResponse, ListRequest, ListResponse, QuarantineRequest, QuarantineResponse, RecomputeRequest,
    RecomputeResponse, RolloutsRequest, RolloutsResponse, StatusRequest, StatusResponse, VerifyRequest, VerifyResponse, WaitAppliedRequest,
    WaitAppliedResponse, WriteOffRequest, WriteOffResponse, config_service_server::ConfigService, ledger_service_server::LedgerService,
};

use crate::{admin::Admin, error::Error, status::status, wait};

/// What most calls may take.
const CALL: Duration = Duration::from_secs(60);

/// What a walk through the whole ledger may take.
const WALK: Duration = Duration::from_secs(3_600);

/// The header in which a caller says on whose behalf it calls. It is a claim: what lets it in is the token.
const ON_BEHALF_OF: &str = "waybill-operator";

/// Both services on one core.
#[derive(Clone, Debug)]
pub struct Services(pub Arc<Admin>);

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>> + Send) -> Result<Response<T>, Status> {
    let timely = tokio::time::timeout(limit, work).await;
    let answer = timely.unwrap_or(Err(Error::Deadline { seconds: limit.as_secs() }));
    answer.map(Response::new).map_err(|error| status(&error))
}

/// Who calls, for the log of changes.
fn actor<T>(request: &Request<T>) -> String {
    let named = request.metadata().get(ON_BEHALF_OF).and_then(|name| name.to_str().ok());
    let name: String = named.unwrap_or_default().chars().filter(char::is_ascii_graphic).take(64).collect();
    if name.is_empty() { "operator".to_owned() } else { format!("operator ({name})") }
}

#[tonic::async_trait]
impl ConfigService for Services {
    async fn apply_change_set(&self, request: Request<ApplyChangeSetRequest>) -> Result<Response<ApplyChangeSetResponse>, Status> {
        let actor = actor(&request);
        let request = request.into_inner();
        let admin = Arc::clone(&self.0);
        // In a task of its own: a key that was made is not lost half-way because its caller has gone away, and the log says that it was.
        let work = tokio::spawn(async move { admin.answer(request, &actor).await });
        within(CALL, async { work.await.unwrap_or_else(|fault| Err(Error::Damaged(format!("the call was cut short: {fault}")))) }).await
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        within(CALL, self.0.get(request.get_ref())).await
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        within(CALL, self.0.list(request.get_ref())).await
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        within(CALL, self.0.status()).await
    }

    async fn wait_applied(&self, request: Request<WaitAppliedRequest>) -> Result<Response<WaitAppliedResponse>, Status> {
        within(wait::LONGEST + CALL, self.0.wait_applied(request.get_ref())).await
    }

    async fn health(&self, request: Request<HealthRequest>) -> Result<Response<HealthResponse>, Status> {
        within(CALL, self.0.health(request.get_ref())).await
    }

    async fn rollouts(&self, _: Request<RolloutsRequest>) -> Result<Response<RolloutsResponse>, Status> {
        within(CALL, self.0.rollouts()).await
    }

    async fn halt_rollout(&self, request: Request<HaltRolloutRequest>) -> Result<Response<HaltRolloutResponse>, Status> {
        let actor = actor(&request);
        within(CALL, self.0.halt_rollout(request.get_ref(), &actor)).await
    }
}

#[tonic::async_trait]
impl LedgerService for Services {
    type EventsStream = Pin<Box<dyn Stream<Item = Result<EventsResponse, Status>> + Send>>;

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        within(CALL, self.0.explain(request.get_ref())).await
    }

    async fn balances(&self, request: Request<BalancesRequest>) -> Result<Response<BalancesResponse>, Status> {
        within(CALL, self.0.balances(request.get_ref())).await
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let rows = within(WALK, self.0.events(request.get_ref())).await?.into_inner();
        let responses = rows.into_iter().map(|row| Ok(EventsResponse { row: Some(row) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(responses))))
    }

    async fn verify(&self, _: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        within(WALK, self.0.verify()).await
    }

    async fn recompute(&self, _: Request<RecomputeRequest>) -> Result<Response<RecomputeResponse>, Status> {
        within(WALK, self.0.recompute()).await
    }

    async fn adjust(&self, request: Request<AdjustRequest>) -> Result<Response<AdjustResponse>, Status> {
        within(CALL, self.0.adjust(request.get_ref())).await
    }

    async fn gaps(&self, _: Request<GapsRequest>) -> Result<Response<GapsResponse>, Status> {
        within(CALL, self.0.gaps()).await
    }

    async fn write_off(&self, request: Request<WriteOffRequest>) -> Result<Response<WriteOffResponse>, Status> {
        within(CALL, self.0.write_off(request.get_ref())).await
    }

    async fn quarantine(&self, request: Request<QuarantineRequest>) -> Result<Response<QuarantineResponse>, Status> {
        within(CALL, self.0.quarantine(request.get_ref())).await
    }
}
