//! What a change set does to a world: the whole of it checked, every resource with its uid and generation. Pure but for the key texts.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use pbjson_types::Timestamp;
use waybill_model::{
    check::{self, Violation},
    id::Uid,
    resource::{Kind, metadata},
    world::World,
};
use waybill_proto::{
    admin::v1::{ApplyChangeSetResponse, Change, GeneratedKey, change::Action},
    model::v1::{Metadata, Resource, resource::Spec},
};
use waybill_publish::rollout::{Rollout, State, Target};

use crate::{
    asked::Asked,
    error::{Error, Fault},
    fields,
    held::{Held, Place},
    seal::{Sealed, Sealer, key_of},
};

/// One step of a plan.
#[derive(Clone, Debug)]
pub enum Step {
    /// A resource is created, or changed if it had a place.
    Put {
        /// As it will be.
        resource: Arc<Resource>,
        /// Where it stood.
        before: Option<Place>,
    },
    /// A resource is deleted.
    Delete {
        /// As it was.
        resource: Arc<Resource>,
        /// Where it stood.
        before: Place,
    },
}

impl Step {
    /// The resource that is written; nothing if it is deleted.
    const fn put(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::Put { resource, .. } => Some(resource),
            Self::Delete { .. } => None,
        }
    }
}

/// What a change set does.
#[derive(Debug)]
pub struct Plan {
    /// What is written; empty if nothing changes.
    pub steps: Vec<Step>,
    /// One line for every resource that was named.
    pub changes: Vec<Change>,
    /// Keys that were made.
    pub generated: Vec<GeneratedKey>,
    /// The revision afterwards.
    pub revision: u64,
    /// The step of a rollout that this is.
    pub rollout: Option<RolloutStep>,
}

/// A step of a rollout.
#[derive(Clone, Debug)]
pub enum RolloutStep {
    /// It begins: only its record is written, and the steps of the plan are what it brings.
    Begin(Rollout),
    /// It goes on or ends: the record is written with the steps of the plan.
    Next(Rollout),
}

impl Plan {
    /// Nothing changes.
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.rollout.is_none()
    }

    /// The resources that are written.
    pub fn puts(&self) -> impl Iterator<Item = &Resource> {
        self.steps.iter().filter_map(Step::put).map(|resource| &**resource)
    }

    /// The answer once it is done.
    pub fn into_response(self) -> ApplyChangeSetResponse {
        let Self { changes, generated, revision, rollout, .. } = self;
        let rollout = rollout.map(|step| step.record().id.clone()).unwrap_or_default();
        ApplyChangeSetResponse { revision, changes, generated_keys: generated, rollout, ..ApplyChangeSetResponse::default() }
    }

    /// The answer of a dry run: without keys, since those that were made for it are in no record.
    pub fn shown(self) -> ApplyChangeSetResponse {
        Self { generated: Vec::new(), rollout: None, ..self }.into_response()
    }
}

/// Plans a change set on the world that is held.
pub fn plan(held: &Held, asked: &Asked, sealer: &Sealer<'_>, unix_ms: i64) -> Result<Plan, Error> {
    check_preconditions(held, asked)?;
    let mut faults = Vec::new();
    let mut drawn = Drawn::default();
    let mut upserts = Vec::with_capacity(asked.upserts.len());
    for written in &asked.upserts {
        upserts.push(drawn.draw(held, written, sealer, unix_ms, &mut faults)?);
    }
    check_deletes(held, asked, &mut faults);
    faults.extend(check_world(held.world(), asked, &upserts));
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let mut plan = Plan { steps: Vec::new(), changes: Vec::new(), generated: drawn.generated, revision: held.revision(), rollout: None };
    for resource in upserts {
        plan.upsert(held, resource)?;
    }
    for (kind, name) in &asked.deletes {
        plan.delete(held, *kind, name);
    }
    check_rollout(held, &plan, asked.bake_ms.is_some())?;
    if let Some(rollout) = held.rollout().filter(|_| !plan.is_empty()) {
        // It may become everybody's, so what is written meanwhile must stand beside it as well.
        let written: Vec<Arc<Resource>> = plan.steps.iter().filter_map(Step::put).cloned().collect();
        let faults = check_world(&rollout.change(held.world()), asked, &written);
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
    }
    plan.revision += u64::from(!plan.is_empty());
    if let Some(bake_ms) = asked.bake_ms.filter(|_| !plan.is_empty()) {
        plan.rollout = Some(RolloutStep::Begin(begin(&plan, bake_ms, sealer, unix_ms)?));
    }
    Ok(plan)
}

impl RolloutStep {
    /// What is written.
    pub const fn record(&self) -> &Rollout {
        let (Self::Begin(rollout) | Self::Next(rollout)) = self;
        rollout
    }
}

/// The record of a rollout that brings what is planned. Nobody has it yet: who is first is the conductor's choice.
fn begin(plan: &Plan, bake_ms: u64, sealer: &Sealer<'_>, unix_ms: i64) -> Result<Rollout, Error> {
    let mut rollout = Rollout {
        id: uid(sealer, unix_ms)?,
        state: State::Baking.into(),
        bake_ms,
        begin_unix_ms: unix_ms,
        revision: plan.revision,
        step_revision: plan.revision,
        ..Rollout::default()
    };
    for step in &plan.steps {
        let (Step::Put { resource, .. } | Step::Delete { resource, .. }) = step;
        let Some(target) = Target::of(resource) else { continue };
        match step {
            Step::Put { resource, .. } => rollout.upserts.push(Resource::clone(resource)),
            Step::Delete { .. } => rollout.deletes.push(target.clone()),
        }
        rollout.targets.push(target);
    }
    Ok(rollout)
}

/// A rollout on its way holds what it changes, and there is one at a time.
fn check_rollout(held: &Held, plan: &Plan, begins: bool) -> Result<(), Error> {
    let Some(rollout) = held.rollout().filter(|_| !plan.is_empty()) else { return Ok(()) };
    let refuse = |reason, message| Err(Error::Precondition { reason, message });
    let wait = format!("wait for its end, or end it with `waybill rollout halt {}`", rollout.id);
    if begins {
        return refuse("rollout_active", format!("the rollout {} is on its way, and there is one at a time: {wait}", rollout.id));
    }
    let written = plan.steps.iter().filter_map(|step| {
        let (Step::Put { resource, .. } | Step::Delete { resource, .. }) = step;
        Some((Kind::of(resource)?, metadata(resource).name.as_str()))
    });
    match written.into_iter().find(|(kind, name)| rollout.holds(*kind, name)) {
        Some((kind, name)) => refuse("rollout_holds", format!("{kind} `{name}` is held by the rollout {}: {wait}", rollout.id)),
        None => Ok(()),
    }
}

impl Plan {
    fn upsert(&mut self, held: &Held, resource: Arc<Resource>) -> Result<(), Error> {
        let Some(kind) = Kind::of(&resource) else { return Ok(()) };
        let name = metadata(&resource).name.clone();
        let known = held.find(kind, &name);
        let (action, fields) = match &known {
            None => (Action::Created, Vec::new()),
            Some(known) if **known == *resource => (Action::Unchanged, Vec::new()),
            Some(known) => (Action::Changed, fields::changes(known, &resource)?),
        };
        let generation = metadata(&resource).generation;
        self.changes.push(Change { action: action.into(), kind: kind.name().to_owned(), name: name.clone(), generation, fields });
        if action != Action::Unchanged {
            self.steps.push(Step::Put { resource, before: held.place(kind, &name).cloned() });
        }
        Ok(())
    }

    fn delete(&mut self, held: &Held, kind: Kind, name: &str) {
        let (Some(resource), Some(before)) = (held.find(kind, name), held.place(kind, name).cloned()) else { return };
        self.changes.push(Change {
            action: Action::Deleted.into(),
            kind: kind.name().to_owned(),
            name: name.to_owned(),
            generation: metadata(&resource).generation,
            fields: Vec::new(),
        });
        self.steps.push(Step::Delete { resource, before });
    }
}

fn check_preconditions(held: &Held, asked: &Asked) -> Result<(), Error> {
    if asked.if_revision != 0 && asked.if_revision != held.revision() {
        let message = format!("the configuration is at revision {}, not at {}: read it again", held.revision(), asked.if_revision);
        return Err(Error::Precondition { reason: "revision_mismatch", message });
    }
    for (kind, wanted) in &asked.preconditions {
        let found = held.find(*kind, &wanted.name).map_or(0, |known| metadata(&known).generation);
        if found != wanted.generation {
            let is = if found == 0 { "does not exist".to_owned() } else { format!("has generation {found}") };
            let be = if wanted.generation == 0 { "must not exist".to_owned() } else { format!("must have {}", wanted.generation) };
            let message = format!("{kind} `{}` {is} and {be}: read it again", wanted.name);
            return Err(Error::Precondition { reason: "generation_mismatch", message });
        }
    }
    Ok(())
}

/// Makes of what was written what will be stored.
#[derive(Default)]
struct Drawn {
    generated: Vec<GeneratedKey>,
}

impl Drawn {
    fn draw(
        &mut self,
        held: &Held,
        written: &Resource,
        sealer: &Sealer<'_>,
        unix_ms: i64,
        faults: &mut Vec<Fault>,
    ) -> Result<Arc<Resource>, Error> {
        let Some(kind) = Kind::of(written) else { return Ok(Arc::new(written.clone())) };
        let known = held.find(kind, &metadata(written).name);
        let mut drawn = written.clone();
        if let Some(asked) = key_of(written) {
            let sealed = sealer.seal(written, asked, known.as_deref().and_then(key_of))?;
            match sealed {
                Sealed::Record(record) => drawn.spec = Some(Spec::ApiKey(record)),
                Sealed::Generated(record, key) => {
                    drawn.spec = Some(Spec::ApiKey(record));
                    self.generated.push(key);
                }
                Sealed::Faulty(fault) => faults.push(fault),
            }
        }
        if let Some(asked) = written.metadata.as_ref() {
            drawn.metadata = Some(match &known {
                Some(known) => {
                    let before = metadata(known);
                    let generation = before.generation + u64::from(known.spec != drawn.spec);
                    Metadata { name: asked.name.clone(), labels: asked.labels.clone(), generation, ..before.clone() }
                }
                None => created(asked, sealer, unix_ms)?,
            });
        }
        Ok(Arc::new(drawn))
    }
}

fn created(asked: &Metadata, sealer: &Sealer<'_>, unix_ms: i64) -> Result<Metadata, Error> {
    let nanos = i32::try_from(unix_ms.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    Ok(Metadata {
        name: asked.name.clone(),
        labels: asked.labels.clone(),
        uid: uid(sealer, unix_ms)?,
        generation: 1,
        create_time: Some(Timestamp { seconds: unix_ms.div_euclid(1_000), nanos }),
    })
}

fn uid(sealer: &Sealer<'_>, unix_ms: i64) -> Result<String, Error> {
    let mut random = [0; 10];
    sealer.surroundings.random(&mut random).map_err(Error::Randomness)?;
    Ok(Uid::new(u64::try_from(unix_ms).unwrap_or_default(), random).to_string())
}

fn check_deletes(held: &Held, asked: &Asked, faults: &mut Vec<Fault>) {
    let upserts: HashSet<(Option<Kind>, &str)> =
        asked.upserts.iter().map(|resource| (Kind::of(resource), metadata(resource).name.as_str())).collect();
    let mut seen = HashSet::new();
    for (kind, name) in &asked.deletes {
        let (code, message) = if held.find(*kind, name).is_none() {
            ("resource_missing", format!("there is no {kind} `{name}` to delete"))
        } else if upserts.contains(&(Some(*kind), name)) {
            ("delete_and_upsert", "it is to be deleted and to be written in the same change set: use two".to_owned())
        } else if !seen.insert((*kind, name)) {
            ("name_duplicate", "it is to be deleted twice".to_owned())
        } else {
            continue;
        };
        faults.push(Fault { kind: kind.name().to_owned(), name: name.clone(), path: "metadata.name".to_owned(), code, message });
    }
}

/// The faults of the whole world as it would be. A fault that is there already, as a newer build with a new rule may find it, does not stop
/// changes of other resources; one that is written again does.
fn check_world(held: &World, asked: &Asked, upserts: &[Arc<Resource>]) -> Vec<Fault> {
    type Name<'a> = (Option<Kind>, &'a str);
    fn name(resource: &Resource) -> Name<'_> {
        (Kind::of(resource), &metadata(resource).name)
    }
    let written: HashSet<Name<'_>> = upserts.iter().map(|resource| name(resource)).collect();
    let deleted: HashSet<Name<'_>> = asked.deletes.iter().map(|(kind, name)| (Some(*kind), name.as_str())).collect();
    let stays = |resource: &Resource| !written.contains(&name(resource)) && !deleted.contains(&name(resource));
    let kept = held.resources().filter(|resource| stays(resource));
    let world: Vec<Arc<Resource>> = kept.chain(upserts.iter().cloned()).collect();
    let mut found = check::check(&world);
    if !found.is_empty() {
        let before: Vec<Arc<Resource>> = held.resources().collect();
        let known: HashSet<_> = check::check(&before).into_iter().map(place).collect();
        let is_written = |violation: &Violation| world.get(violation.index).is_some_and(|resource| written.contains(&name(resource)));
        found.retain(|violation| is_written(violation) || !known.contains(&place(violation.clone())));
    }
    found.into_iter().map(Fault::from).chain(same_texts(&world, &written)).collect()
}

fn place(violation: Violation) -> (&'static str, String, String, check::Code) {
    (violation.kind, violation.name, violation.path, violation.code)
}

/// A key text belongs to one key: of two, nobody could say whose a request is.
fn same_texts(world: &[Arc<Resource>], written: &HashSet<(Option<Kind>, &str)>) -> Vec<Fault> {
    if !written.iter().any(|(kind, _)| *kind == Some(Kind::ApiKey)) {
        return Vec::new();
    }
    let mut owners: HashMap<&[u8], &str> = HashMap::new();
    let mut faults = Vec::new();
    for resource in world {
        let Some(key) = key_of(resource).filter(|key| !key.hash.is_empty()) else { continue };
        let name = metadata(resource).name.as_str();
        // Two documents of one name are reported as such.
        if let Some(other) = owners.insert(&key.hash, name).filter(|other| *other != name) {
            let message = format!("the key `{other}` has the same text: give each its own");
            let (kind, path) = ("ApiKey".to_owned(), "spec.keyFrom".to_owned());
            faults.push(Fault { kind, name: name.to_owned(), path, code: "key_duplicate", message });
        }
    }
    faults
}
