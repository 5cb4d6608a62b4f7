//! From a desired world to the snapshot in force. A resource that cannot be compiled keeps its last good version and blocks no other; a panic in
//! the compiler is pinned on the resource that causes it, as far as can be found out. A key or a Guardrail that cannot be compiled denies its own
//! scope, a Guardrail unless it says that its last good version goes on.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use waybill_model::{
    compile::{Compiled, Fault},
    guardrail::{closed, is_closed, keeps_last},
    resource::{Kind, metadata},
    snapshot::Snapshot,
    world::{Entry, Key, World},
};
use waybill_proto::model::v1::Resource;

/// How a world becomes a snapshot.
pub type Compile<'a> = &'a dyn Fn(&World) -> Compiled;

/// A change of more resources than this is not searched for the one that makes the compiler panic: each costs a compilation.
const MAX_SUSPECTS: usize = 16;

/// What a proxy holds: the desired world, and where something else is in force.
#[derive(Clone, Debug, Default)]
pub struct Held {
    desired: Arc<World>,
    instead: BTreeMap<Key, Option<Arc<Resource>>>,
}

/// A world that is ready to be put in force.
#[derive(Debug)]
pub struct Outcome {
    /// What is held now.
    pub held: Held,
    /// What is in force.
    pub snapshot: Snapshot,
    /// Resources that are not in force as they are desired.
    pub rejected: Vec<Fault>,
    /// Resources that are in force, but will not serve as they are.
    pub warnings: Vec<Fault>,
}

/// The compiler panics on this world, whichever resource of the change is left out. A bug of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the compiler panicked: {0}")]
pub struct Panicked(pub String);

impl Held {
    /// What was stored.
    #[must_use]
    pub const fn stored(desired: Arc<World>, instead: BTreeMap<Key, Option<Arc<Resource>>>) -> Self {
        Self { desired, instead }
    }

    /// The desired world.
    #[must_use]
    pub const fn desired(&self) -> &Arc<World> {
        &self.desired
    }

    /// What is in force where it is not what is desired; `None` = nothing.
    #[must_use]
    pub const fn instead(&self) -> &BTreeMap<Key, Option<Arc<Resource>>> {
        &self.instead
    }

    /// The version of a resource that is in force.
    fn in_force(&self, key: &Key) -> Option<Arc<Resource>> {
        match self.instead.get(key) {
            Some(instead) => instead.clone(),
            None => self.desired.get(key).map(Entry::resource),
        }
    }

    /// The world that is compiled.
    fn effective(&self) -> World {
        let mut world = World::clone(&self.desired);
        for (key, instead) in &self.instead {
            match instead {
                Some(resource) => drop(world.put(Arc::clone(resource))),
                None => drop(world.remove(key)),
            }
        }
        world
    }
}

/// Compiles a desired world after what was held before.
///
/// # Errors
/// The compiler panics whatever is left out: what was in force before stays.
pub fn adopt(before: &Held, desired: Arc<World>, compile: Compile<'_>) -> Result<Outcome, Panicked> {
    let attempt = |aside: Aside| settle(before, &desired, aside, compile);
    let panicked = match attempt(Aside::new()) {
        Err(panicked) => panicked,
        settled => return settled,
    };
    let suspects = before.desired.differing(&desired);
    if suspects.len() <= MAX_SUSPECTS {
        for suspect in &suspects {
            if let Ok(outcome) = attempt(set_aside(before, &desired, [suspect], &panicked)) {
                return Ok(outcome);
            }
        }
    }
    // First all but the keys: a key that is set aside is a caller that is refused.
    let all_but_keys = suspects.iter().filter(|key| key.kind != Kind::ApiKey);
    attempt(set_aside(before, &desired, all_but_keys, &panicked)).or_else(|_| attempt(set_aside(before, &desired, &suspects, &panicked)))
}

/// Resources that are not in force as desired: why, and what is instead.
type Aside = BTreeMap<Key, (Fault, Option<Arc<Resource>>)>;

/// Compiles, and sets aside what is rejected, kind by kind in the order of references, so that what only refers to a rejected resource finds its
/// last good version instead. Each round sets something aside for good, so it ends.
fn settle(before: &Held, desired: &Arc<World>, mut aside: Aside, compile: Compile<'_>) -> Result<Outcome, Panicked> {
    let instead = aside.iter().map(|(key, (_, instead))| (key.clone(), instead.clone())).collect();
    let mut held = Held { desired: Arc::clone(desired), instead };
    loop {
        let compiled = guarded(compile, &held.effective())?;
        let replaceable = |fault: &Fault| {
            let key = Key { kind: fault.kind, uid: fault.uid.clone() };
            replacement(before, &held, &key).map(|instead| (key, fault.clone(), instead))
        };
        let found: Vec<_> = compiled.rejected.iter().filter_map(replaceable).collect();
        let Some(kind) = Kind::ALL.into_iter().find(|kind| found.iter().any(|(key, ..)| key.kind == *kind)) else {
            return Ok(finish(held, aside, compiled));
        };
        for (key, fault, instead) in found.into_iter().filter(|(key, ..)| key.kind == kind) {
            held.instead.insert(key.clone(), Some(Arc::clone(&instead)));
            // The first fault is the one of what was desired.
            aside.entry(key).and_modify(|(_, stands)| *stands = Some(Arc::clone(&instead))).or_insert((fault, Some(Arc::clone(&instead))));
        }
    }
}

/// What comes in the place of a rejected resource: its last good version, if it is another one than the one that was rejected.
fn replacement(before: &Held, held: &Held, key: &Key) -> Option<Arc<Resource>> {
    if key.kind == Kind::Guardrail {
        return bound(before, held, key);
    }
    // A key that cannot be compiled denies its own scope: an older version of it might admit whom the newer one shuts out.
    let replaceable = key.kind != Kind::ApiKey && !held.instead.contains_key(key);
    let last_good = before.in_force(key).filter(|_| replaceable)?;
    let wanted = held.desired.get(key).map(Entry::resource);
    wanted.is_none_or(|wanted| *wanted != *last_good).then_some(last_good)
}

/// What comes in the place of a rejected Guardrail. There is always something, and the last resort is what denies its scope.
fn bound(before: &Held, held: &Held, key: &Key) -> Option<Arc<Resource>> {
    let wanted = held.desired.get(key).map(Entry::resource);
    let wanted = wanted.as_ref();
    let tried = held.instead.get(key).and_then(Option::as_ref);
    let last_good = before.in_force(key).filter(|last| {
        let wants_it = wanted.is_none_or(|wanted| keeps_last(wanted) && wanted != last);
        tried.is_none() && wants_it && !is_closed(last)
    });
    let subject = wanted.or(tried);
    last_good.or_else(|| subject.and_then(|subject| closed(subject)).map(Arc::new)).filter(|instead| tried != Some(instead))
}

/// What is still rejected is not in force at all; a key or a Guardrail stays as it is, since the compiler keeps it as one that lets nothing through.
fn finish(mut held: Held, mut aside: Aside, compiled: Compiled) -> Outcome {
    for fault in compiled.rejected {
        let key = Key { kind: fault.kind, uid: fault.uid.clone() };
        if !matches!(key.kind, Kind::ApiKey | Kind::Guardrail) {
            held.instead.insert(key.clone(), None);
        }
        aside.entry(key).or_insert((fault, None));
    }
    let rejected = aside.into_values().map(|(fault, _)| fault).collect();
    Outcome { held, snapshot: compiled.snapshot, rejected, warnings: compiled.warnings }
}

fn guarded(compile: Compile<'_>, world: &World) -> Result<Compiled, Panicked> {
    // The compiler borrows the world and keeps nothing, so nothing half-done is left behind.
    catch_unwind(AssertUnwindSafe(|| compile(world))).map_err(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
        Panicked(text.unwrap_or("without a word").to_owned())
    })
}

/// Keeps these resources as they were before. A key is not kept: a new version of it is left out, and a deleted one stays deleted.
fn set_aside<'a>(before: &Held, desired: &World, keys: impl IntoIterator<Item = &'a Key>, panicked: &Panicked) -> Aside {
    let mut aside = Aside::new();
    for key in keys {
        let wanted = desired.get(key).map(Entry::resource);
        let mut last_good = before.in_force(key).filter(|_| key.kind != Kind::ApiKey);
        if let Some(wanted) = wanted.as_ref().filter(|_| key.kind == Kind::Guardrail) {
            let kept = last_good.filter(|last| keeps_last(wanted) && !is_closed(last));
            last_good = kept.or_else(|| closed(wanted).map(Arc::new));
        }
        let Some(subject) = wanted.clone().or_else(|| last_good.clone()) else { continue };
        let metadata = metadata(&subject);
        let fault = Fault {
            kind: key.kind,
            uid: key.uid.clone(),
            name: metadata.name.as_str().into(),
            generation: metadata.generation,
            code: "compile_panicked",
            field: "",
            message: panicked.to_string(),
        };
        aside.insert(key.clone(), (fault, last_good));
    }
    aside
}

#[cfg(test)]
mod tests;
