//! The ledger's verbs on a state folder, while no Waybill runs on it: the same admin service, in this process, after the spool has been recovered
//! and read to its end.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use waybill_admin::{Admin, Alone, Error, Host, Parts, status};
use waybill_billing::Ledger;
use waybill_cli::{Answer, Backend};
use waybill_proto::admin::v1::{
    AdjustRequest, AdjustResponse, ApplyChangeSetRequest, ApplyChangeSetResponse, BalancesRequest, BalancesResponse, EventRow,
    EventsRequest, ExplainRequest, ExplainResponse, GapsResponse, GetRequest, GetResponse, HaltRolloutRequest, HaltRolloutResponse,
    HealthRequest, HealthResponse, ListRequest, ListResponse, QuarantineRequest, QuarantineResponse, RecomputeResponse, RolloutsResponse,
    StatusResponse, VerifyResponse, WaitAppliedRequest, WaitAppliedResponse, WriteOffRequest, WriteOffResponse,
};
use waybill_store::{MonotonicClock, Sqlite};

use crate::{
    consume::{self, Consumed},
    state::State,
    up::SpoolSize,
};

/// The admin service on a state folder.
pub struct Offline {
    admin: Admin,
    /// The folder stays locked while it is read.
    _state: State,
}

impl Offline {
    /// Locks the folder, recovers the spool and reads it into the ledger.
    pub async fn open(folder: &Path) -> Result<Self> {
        if !folder.join("waybill.db").exists() {
            anyhow::bail!("{} is no state folder: there is no waybill.db in it", folder.display());
        }
        let state = State::open(folder)?;
        let pepper = state.pepper()?;
        let size = SpoolSize::default();
        let (spool, _) = state.folder().open_spool(size.spool_bytes, size.spool_segment_bytes)?;
        let store = Sqlite::open(&state.database(), Arc::new(MonotonicClock::start())).await?;
        let ledger: Arc<dyn Ledger> = Arc::new(waybill_billing::Sqlite::open(&state.database()).await?);
        let mut reader = spool.reader(ledger.cursors().await?.iter().map(consume::position));
        consume::drain(&mut reader, &*ledger, &Consumed::default()).await?;
        let admin = Admin::new(Parts {
            store: Arc::new(store),
            ledger,
            peppers: vec![pepper],
            surroundings: Arc::new(Host),
            running: Arc::new(Alone),
            build: env!("CARGO_PKG_VERSION").to_owned(),
        });
        Ok(Self { admin, _state: state })
    }
}

fn answered<'a, T: 'a>(verb: impl Future<Output = Result<T, Error>> + Send + 'a) -> Answer<'a, T> {
    Box::pin(async move { verb.await.map_err(|error| status(&error)) })
}

/// The name under which changes on a state folder are logged.
const ACTOR: &str = "local";

impl Backend for Offline {
    fn apply(&self, request: ApplyChangeSetRequest) -> Answer<'_, ApplyChangeSetResponse> {
        answered(self.admin.answer(request, ACTOR))
    }

    fn get(&self, request: GetRequest) -> Answer<'_, GetResponse> {
        answered(async move { self.admin.get(&request).await })
    }

    fn list(&self, request: ListRequest) -> Answer<'_, ListResponse> {
        answered(async move { self.admin.list(&request).await })
    }

    fn status(&self) -> Answer<'_, StatusResponse> {
        answered(self.admin.status())
    }

    fn health(&self, request: HealthRequest) -> Answer<'_, HealthResponse> {
        answered(async move { self.admin.health(&request).await })
    }

    fn wait_applied(&self, request: WaitAppliedRequest) -> Answer<'_, WaitAppliedResponse> {
        answered(async move { self.admin.wait_applied(&request).await })
    }

    fn rollouts(&self) -> Answer<'_, RolloutsResponse> {
        answered(self.admin.rollouts())
    }

    fn halt_rollout(&self, request: HaltRolloutRequest) -> Answer<'_, HaltRolloutResponse> {
        answered(async move { self.admin.halt_rollout(&request, ACTOR).await })
    }

    fn explain(&self, request: ExplainRequest) -> Answer<'_, ExplainResponse> {
        answered(async move { self.admin.explain(&request).await })
    }

    fn balances(&self, request: BalancesRequest) -> Answer<'_, BalancesResponse> {
        answered(async move { self.admin.balances(&request).await })
    }

    fn events(&self, request: EventsRequest) -> Answer<'_, Vec<EventRow>> {
        answered(async move { self.admin.events(&request).await })
    }

    fn verify(&self) -> Answer<'_, VerifyResponse> {
        answered(self.admin.verify())
    }

    fn recompute(&self) -> Answer<'_, RecomputeResponse> {
        answered(self.admin.recompute())
    }

    fn adjust(&self, request: AdjustRequest) -> Answer<'_, AdjustResponse> {
        answered(async move { self.admin.adjust(&request).await })
    }

    fn gaps(&self) -> Answer<'_, GapsResponse> {
        answered(self.admin.gaps())
    }

    fn write_off(&self, request: WriteOffRequest) -> Answer<'_, WriteOffResponse> {
        answered(async move { self.admin.write_off(&request).await })
    }

    fn quarantine(&self, request: QuarantineRequest) -> Answer<'_, QuarantineResponse> {
        answered(async move { self.admin.quarantine(&request).await })
    }
}
