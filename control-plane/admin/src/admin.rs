//! The core: every verb of the operators' surface, without a network.

use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use waybill_billing::Ledger;
use waybill_model::{compile, key::Pepper, resource::Kind};
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, ApplyChangeSetResponse, LedgerStatus, StatusResponse},
    model::v1::{Resource, resource::Spec},
};
use waybill_store::{Compare, Store, keys};

use crate::{
    asked::Asked,
    commit::{self, Call, Landed},
    error::Error,
    held::Held,
    plan::{self, Plan},
    seal::Sealer,
    sets,
    surroundings::{Fleet, Running, Surroundings},
};

/// How often a change set is validated anew after others changed the configuration meanwhile.
const TRIES: u32 = 5;

/// What an [`Admin`] is made of.
pub struct Parts {
    /// Where the configuration lies.
    pub store: Arc<dyn Store>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The peppers that are valid; new keys are hashed with the first one.
    pub peppers: Vec<Pepper>,
    /// The host; [`Host`](crate::Host) is this process.
    pub surroundings: Arc<dyn Surroundings>,
    /// What runs beside it; [`Alone`](crate::Alone) if nothing does.
    pub running: Arc<dyn Running>,
    /// Version of the build, for `status`.
    pub build: String,
}

/// The operators' verbs.
pub struct Admin {
    pub(crate) parts: Parts,
    /// The world as it was last read or written. Never trusted without a look at the head.
    held: Mutex<Option<Arc<Held>>>,
    /// Change sets of this process take turns, so that they do not make one another's validation void.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl Admin {
    /// An admin of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, held: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Applies a change set, atomically; with `in_sets`, as many as are needed ([`Admin::apply_all`]).
    ///
    /// # Errors
    /// See [`Error`]. Nothing is applied then, except for [`Error::Unfinished`]; after [`Error::Store`] it may have landed.
    pub async fn apply(&self, request: ApplyChangeSetRequest, actor: &str) -> Result<ApplyChangeSetResponse, Error> {
        if request.in_sets {
            return sets::apply(self, request, actor).await;
        }
        let asked = Asked::read(&request)?;
        if asked.dry_run {
            let plan = self.plan(&*self.held().await?, &asked)?;
            return Ok(plan.shown());
        }
        let call = Call::new(&request, actor);
        self.commit(&asked, &call).await
    }

    /// As [`Admin::apply`], but the faults of resources come in the answer if the request asks for that, and an unfinished plan is an answer
    /// too, since it may hold keys that were made. What the wire carries.
    ///
    /// # Errors
    /// As [`Admin::apply`].
    pub async fn answer(&self, request: ApplyChangeSetRequest, actor: &str) -> Result<ApplyChangeSetResponse, Error> {
        let faults_in_answer = request.faults_in_answer;
        match self.apply(request, actor).await {
            Err(Error::Invalid(faults)) if faults_in_answer => {
                let violations = faults.iter().map(Into::into).collect();
                Ok(ApplyChangeSetResponse { violations, ..ApplyChangeSetResponse::default() })
            }
            Err(Error::Unfinished { applied, total, done, source }) => {
                let unfinished =
                    format!("{applied} of {total} change sets stand, up to revision {}; the next was refused: {source}", done.revision);
                Ok(ApplyChangeSetResponse { unfinished, ..*done })
            }
            other => other,
        }
    }

    /// Applies any number of resources as ordered change sets: upserts after what they refer to, then deletes in the reverse order. The whole is
    /// validated first, and what is unchanged makes no change set.
    ///
    /// # Errors
    /// See [`Error`]; of [`Error::Unfinished`] the change sets that it names stand.
    pub async fn apply_all(&self, upserts: Vec<Resource>, deletes: &[(Kind, &str)], actor: &str) -> Result<ApplyChangeSetResponse, Error> {
        let request = ApplyChangeSetRequest { upserts, deletes: sets::names(deletes), in_sets: true, ..ApplyChangeSetRequest::default() };
        sets::apply(self, request, actor).await
    }

    /// Tells the ledger all prices that are in force. Needed once at a start, in case the ledger is younger than the configuration.
    ///
    /// # Errors
    /// The store or the ledger failed.
    pub async fn remember_prices(&self) -> Result<(), Error> {
        let held = self.held().await?;
        let books: Vec<_> = held.world().of_kind(Kind::PriceBook).collect();
        self.remember(books.iter().map(|book| &**book)).await
    }

    /// Forgets the results of calls that are more than a day old, and gives how many. To be called now and then: nothing else bounds them. With the
    /// fence of a job's leader nothing is forgotten any more when another one leads.
    ///
    /// # Errors
    /// The store failed.
    pub async fn forget_finished_calls(&self, fence: Option<&Compare>) -> Result<usize, Error> {
        commit::forget(&*self.parts.store, self.unix_ms(), fence).await
    }

    /// Revision, proxies, ledger.
    ///
    /// # Errors
    /// The store or the ledger failed.
    pub async fn status(&self) -> Result<StatusResponse, Error> {
        let revision = self.held().await?.revision();
        let backlog = self.parts.running.backlog();
        let known = LedgerStatus::from(&self.parts.ledger.status().await?);
        let now = self.unix_ms();
        let oldest = self.parts.ledger.gaps(now).await?.iter().map(|gap| gap.age_seconds(now)).max().unwrap_or(0);
        let ledger = LedgerStatus { spool_bytes: backlog.spool_bytes, lag_events: backlog.lag_events, gap_oldest_seconds: oldest, ..known };
        let Fleet { replicas, proxies, .. } = self.parts.running.fleet().await;
        Ok(StatusResponse { revision, build: self.parts.build.clone(), proxies, ledger: Some(ledger), replicas })
    }

    /// Commits a change set, validating it anew when others were faster.
    pub(crate) async fn commit(&self, asked: &Asked, call: &Call) -> Result<ApplyChangeSetResponse, Error> {
        let _turn = self.turn.lock().await;
        for _ in 0..TRIES {
            if let Some(answer) = commit::answered(&*self.parts.store, call).await? {
                return Ok(answer);
            }
            let held = self.held().await?;
            let plan = self.plan(&held, asked)?;
            if plan.is_empty() && call.idempotency_key().is_none() {
                return Ok(plan.into_response());
            }
            self.remember(plan.puts().filter(|resource| matches!(resource.spec, Some(Spec::PriceBook(_))))).await?;
            match commit::commit(&*self.parts.store, &held, &plan, call, None, self.unix_ms()).await? {
                Landed::Here(next) => {
                    self.hold(next);
                    return Ok(plan.into_response());
                }
                Landed::Before(answer) => return Ok(answer),
                Landed::Nowhere => {}
            }
        }
        Err(Error::Conflict { tries: TRIES })
    }

    pub(crate) fn plan(&self, held: &Held, asked: &Asked) -> Result<Plan, Error> {
        let sealer = Sealer { peppers: &self.parts.peppers, surroundings: &*self.parts.surroundings };
        plan::plan(held, asked, &sealer, self.unix_ms())
    }

    /// The ledger learns prices before they are in force: a bill that cannot be computed again would be worse than a price that nobody uses.
    pub(crate) async fn remember(&self, books: impl Iterator<Item = &Resource>) -> Result<(), Error> {
        let mut tariffs = Vec::new();
        for resource in books {
            if let Some(Spec::PriceBook(book)) = &resource.spec {
                tariffs.extend(compile::tariffs(book).map_err(|error| Error::Damaged(error.to_string()))?);
            }
        }
        if tariffs.is_empty() { Ok(()) } else { Ok(self.parts.ledger.remember_prices(&tariffs).await?) }
    }

    /// The world at head: the one that is held, if the head is still the same.
    pub(crate) async fn held(&self) -> Result<Arc<Held>, Error> {
        let head = self.parts.store.get(&keys::head()).await?;
        let position = head.entry.map(|entry| entry.modified).unwrap_or_default();
        let known = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.position() == position) {
            return Ok(known);
        }
        let read = Arc::new(Held::read(&*self.parts.store).await?);
        self.hold(Arc::clone(&read));
        Ok(read)
    }

    pub(crate) fn hold(&self, next: Arc<Held>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    pub(crate) fn unix_ms(&self) -> i64 {
        self.parts.surroundings.unix_us() / 1_000
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Admin").field("build", &self.parts.build).finish_non_exhaustive()
    }
}

/// Bytes of the resources of a request, as they are counted against the limit.
pub(crate) fn bytes(resources: &[Resource]) -> usize {
    resources.iter().map(Message::encoded_len).sum()
}
