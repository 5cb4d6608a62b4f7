//! Whoever answers the operator's verbs.

use std::pin::Pin;

use tonic::Status;
use waybill_proto::admin::v1::{
    AdjustRequest, AdjustResponse, ApplyChangeSetRequest, ApplyChangeSetResponse, BalancesRequest, BalancesResponse, EventRow,
    EventsRequest, ExplainRequest, ExplainResponse, GapsResponse, GetRequest, GetResponse, HaltRolloutRequest, HaltRolloutResponse,
    HealthRequest, HealthResponse, ListRequest, ListResponse, QuarantineRequest, QuarantineResponse, RecomputeResponse, RolloutsResponse,
    StatusResponse, VerifyResponse, WaitAppliedRequest, WaitAppliedResponse, WriteOffRequest, WriteOffResponse,
};

/// An answer to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send + 'a>>;

/// The admin surface: over gRPC, or the same service in this process.
pub trait Backend: Send + Sync {
    /// Applies a change set.
    fn apply(&self, request: ApplyChangeSetRequest) -> Answer<'_, ApplyChangeSetResponse>;
    /// One resource.
    fn get(&self, request: GetRequest) -> Answer<'_, GetResponse>;
    /// A page of resources.
    fn list(&self, request: ListRequest) -> Answer<'_, ListResponse>;
    /// Revision, replicas, proxies, ledger.
    fn status(&self) -> Answer<'_, StatusResponse>;
    /// The health of endpoints.
    fn health(&self, request: HealthRequest) -> Answer<'_, HealthResponse>;
    /// Waits until the fleet has applied a revision.
    fn wait_applied(&self, request: WaitAppliedRequest) -> Answer<'_, WaitAppliedResponse>;
    /// The rollout on its way and the last ones that ended.
    fn rollouts(&self) -> Answer<'_, RolloutsResponse>;
    /// Ends a rollout and takes its change back.
    fn halt_rollout(&self, request: HaltRolloutRequest) -> Answer<'_, HaltRolloutResponse>;
    /// The attempts of a request.
    fn explain(&self, request: ExplainRequest) -> Answer<'_, ExplainResponse>;
    /// Balances of accounts.
    fn balances(&self, request: BalancesRequest) -> Answer<'_, BalancesResponse>;
    /// Events, newest last.
    fn events(&self, request: EventsRequest) -> Answer<'_, Vec<EventRow>>;
    /// The ledger against itself.
    fn verify(&self) -> Answer<'_, VerifyResponse>;
    /// Every event priced again.
    fn recompute(&self) -> Answer<'_, RecomputeResponse>;
    /// Resolves an orphaned attempt.
    fn adjust(&self, request: AdjustRequest) -> Answer<'_, AdjustResponse>;
    /// What is missing of logs.
    fn gaps(&self) -> Answer<'_, GapsResponse>;
    /// Declares what is missing of a log as lost.
    fn write_off(&self, request: WriteOffRequest) -> Answer<'_, WriteOffResponse>;
    /// Records that were set aside.
    fn quarantine(&self, request: QuarantineRequest) -> Answer<'_, QuarantineResponse>;
}
