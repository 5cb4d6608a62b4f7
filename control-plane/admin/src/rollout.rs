//! Rollouts: the operators' verbs, and the job that conducts the one on its way. What to do is decided by `waybill_publish::conduct`.

use std::{sync::Arc, time::Duration};

use waybill_model::resource::{Kind, metadata};
use waybill_proto::admin::v1::{HaltRolloutRequest, HaltRolloutResponse, ResourceName, RolloutRow, RolloutsResponse};
use waybill_publish::{
    conduct::{Conductor, Decision},
    rollout::{Rollout, State},
};
use waybill_store::{Compare, Leadership};

use crate::{
    admin::Admin,
    commit::{self, Call, Landed},
    error::Error,
    held::Held,
    plan::{Plan, RolloutStep, Step},
};

/// How often the conductor looks at the fleet.
const LOOK: Duration = Duration::from_secs(1);

/// How often a halt is tried while others change the configuration.
const TRIES: u32 = 5;

/// Most bytes of the reason of a halt.
const REASON_BYTES: usize = 1_024;

impl Admin {
    /// The rollout on its way and the last ones that ended, the newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn rollouts(&self) -> Result<RolloutsResponse, Error> {
        let held = self.held().await?;
        Ok(RolloutsResponse { rollouts: held.rollouts().into_iter().map(|rollout| row(rollout)).collect() })
    }

    /// Ends a rollout and takes its change back.
    ///
    /// # Errors
    /// There is none of this id, or it has ended; the store failed.
    pub async fn halt_rollout(&self, request: &HaltRolloutRequest, actor: &str) -> Result<HaltRolloutResponse, Error> {
        if request.reason.len() > REASON_BYTES {
            return Err(Error::Malformed { field: "reason", message: format!("at most {REASON_BYTES} bytes") });
        }
        let reason = if request.reason.is_empty() { format!("halted by {actor}") } else { format!("{} ({actor})", request.reason) };
        for _ in 0..TRIES {
            let held = self.held().await?;
            let found = held.rollouts().into_iter().find(|rollout| rollout.id == request.id).cloned();
            let rollout = found.ok_or_else(|| Error::NotFound(format!("there is no rollout `{}`", request.id)))?;
            if !rollout.is_baking() {
                let message = format!("the rollout `{}` has ended already", rollout.id);
                return Err(Error::Precondition { reason: "rollout_ended", message });
            }
            let ended = rollout.ended(State::Halted, &reason, self.unix_ms());
            if let Some(ended) = self.step(&held, ended, Vec::new(), &Call::of_ours(actor), None).await? {
                return Ok(HaltRolloutResponse { rollout: Some(row(&ended)) });
            }
        }
        Err(Error::Conflict { tries: TRIES })
    }

    /// Looks at the rollout on its way, if there is one, and does what is next. `now_ms` is a clock that never goes back.
    ///
    /// # Errors
    /// The store failed; the next look decides anew.
    pub async fn look_at_rollout(&self, conductor: &mut Conductor, now_ms: u64, fence: &Compare) -> Result<(), Error> {
        let held = self.held().await?;
        let Some(rollout) = held.rollout() else { return Ok(()) };
        let fleet = self.parts.running.fleet().await.states;
        let (next, steps) = match conductor.decide(rollout, &fleet, now_ms) {
            Decision::Wait => return Ok(()),
            Decision::Widen { ring, members } => (Rollout { ring, members, ..Rollout::clone(rollout) }, Vec::new()),
            Decision::Finish => (rollout.ended(State::Done, "", self.unix_ms()), landing(&held, rollout)),
            Decision::Halt(reason) => (rollout.ended(State::Halted, &reason, self.unix_ms()), Vec::new()),
        };
        // If others were faster, the next look decides anew.
        if let Some(next) = self.step(&held, next, steps, &Call::of_ours("rollout"), Some(fence.clone())).await? {
            tracing::info!(rollout = %next.id, state = ?next.state(), ring = next.ring, reason = %next.reason, "a step of a rollout");
        }
        Ok(())
    }

    /// Writes a step of a rollout as a change set; nothing if others were faster.
    async fn step(
        &self,
        held: &Held,
        next: Rollout,
        steps: Vec<Step>,
        call: &Call,
        fence: Option<Compare>,
    ) -> Result<Option<Rollout>, Error> {
        let _turn = self.turn.lock().await;
        let revision = held.revision() + 1;
        let next = Rollout { step_revision: revision, ..next };
        let rollout = Some(RolloutStep::Next(next.clone()));
        let plan = Plan { steps, changes: Vec::new(), generated: Vec::new(), revision, rollout };
        match commit::commit(&*self.parts.store, held, &plan, call, fence, self.unix_ms()).await? {
            Landed::Here(held) => {
                self.hold(held);
                Ok(Some(next))
            }
            Landed::Before(_) | Landed::Nowhere => Ok(None),
        }
    }
}

/// What a rollout brings, as steps on the world that is held. Nobody else has written these resources meanwhile, since it held them.
fn landing(held: &Held, rollout: &Rollout) -> Vec<Step> {
    let puts = rollout.upserts.iter().filter_map(|resource| {
        let before = held.place(Kind::of(resource)?, &metadata(resource).name).cloned();
        Some(Step::Put { resource: Arc::new(resource.clone()), before })
    });
    let deletes = rollout.deletes.iter().filter_map(|target| {
        let kind = target.kind.parse().ok()?;
        let resource = held.find(kind, &target.name)?;
        Some(Step::Delete { resource, before: held.place(kind, &target.name)?.clone() })
    });
    puts.chain(deletes).collect()
}

/// Conducts rollouts while this replica leads the job, for ever. What it writes, it writes under the fence of the leadership.
pub async fn conduct_rollouts(admin: &Admin, leadership: &Leadership) {
    let (mut conductor, began, fence) = (Conductor::default(), tokio::time::Instant::now(), leadership.fence());
    loop {
        let now_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = admin.look_at_rollout(&mut conductor, now_ms, &fence).await {
            tracing::warn!(%error, "the rollout on its way could not be conducted; it is tried again");
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn row(rollout: &Rollout) -> RolloutRow {
    let state = match rollout.state() {
        State::Unknown => "unknown",
        State::Baking => "baking",
        State::Done => "done",
        State::Halted => "halted",
    };
    let resources = rollout.targets.iter().map(|target| ResourceName { kind: target.kind.clone(), name: target.name.clone() });
    RolloutRow {
        id: rollout.id.clone(),
        state: state.to_owned(),
        ring: rollout.ring,
        proxies: rollout.members.iter().map(|member| member.proxy.clone()).collect(),
        resources: resources.collect(),
        reason: rollout.reason.clone(),
        begin_unix_ms: rollout.begin_unix_ms,
        end_unix_ms: rollout.end_unix_ms,
        revision: rollout.revision,
        step_revision: rollout.step_revision,
        bake_ms: rollout.bake_ms,
    }
}
