//! Guardrails, and which of them hold for which key.

use std::{collections::HashMap, sync::Arc};

use waybill_proto::model::v1::{self as wire, OnError, resource::Spec};

use super::{Cause, Faults, boxed, price_limit};
use crate::{
    guardrail::{Bounds, Guardrail, is_closed},
    pattern::ModelList,
    resource::{Kind, metadata},
    world::World,
};

/// All Guardrails of a world by their scopes.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    /// `None` = it cannot be kept.
    guardrails: Vec<(Box<str>, Option<Arc<Guardrail>>)>,
    of_workspace: HashMap<Box<str>, Vec<usize>>,
    of_member: HashMap<Box<str>, Vec<usize>>,
    of_key: HashMap<Box<str>, Vec<usize>>,
    /// What holds for the sets of Guardrails that keys have.
    bounds: HashMap<Box<[usize]>, Arc<Bounds>>,
    none: Arc<Bounds>,
}

impl Scopes {
    /// Compiles all Guardrails of the world. One that cannot be compiled keeps its scope, and closes it.
    pub(super) fn of(world: &World, faults: &mut Faults) -> Self {
        let mut scopes = Self::default();
        let mut all: Vec<_> = world.of_kind(Kind::Guardrail).collect();
        all.sort_unstable_by(|one, other| metadata(one).name.cmp(&metadata(other).name));
        let mut usable = 0;
        for resource in &all {
            let (name, Some(Spec::Guardrail(spec))) = (metadata(resource).name.as_str(), &resource.spec) else { continue };
            let compiled = if is_closed(resource) { None } else { guardrail(name, usable, spec, resource, faults) };
            usable += u32::from(compiled.is_some());
            scopes.add(name, spec, compiled);
        }
        scopes
    }

    fn add(&mut self, name: &str, spec: &wire::Guardrail, compiled: Option<Arc<Guardrail>>) {
        let place = self.guardrails.len();
        self.guardrails.push((name.into(), compiled));
        let scopes = [(&mut self.of_workspace, &spec.workspaces), (&mut self.of_member, &spec.members), (&mut self.of_key, &spec.api_keys)];
        for (scope, names) in scopes {
            for name in names {
                scope.entry(name.as_str().into()).or_default().push(place);
            }
        }
    }

    /// Those that can be kept, by name.
    pub(super) fn guardrails(&self) -> Vec<Arc<Guardrail>> {
        self.guardrails.iter().filter_map(|(_, guardrail)| guardrail.clone()).collect()
    }

    /// There is a key of this name, in this workspace, of this member.
    pub(super) fn remember(&mut self, name: &str, workspace: &str, member: &str) {
        let places = self.places(name, workspace, member);
        if !places.is_empty() && !self.bounds.contains_key(&places[..]) {
            let bounds = Arc::new(self.together(&places));
            self.bounds.insert(places.into(), bounds);
        }
    }

    /// What holds for a key.
    pub(crate) fn bounds(&self, name: &str, workspace: &str, member: &str) -> Arc<Bounds> {
        let places = self.places(name, workspace, member);
        if places.is_empty() {
            return Arc::clone(&self.none);
        }
        self.bounds.get(&places[..]).map_or_else(|| Arc::new(self.together(&places)), Arc::clone)
    }

    fn places(&self, name: &str, workspace: &str, member: &str) -> Vec<usize> {
        if self.guardrails.is_empty() {
            return Vec::new();
        }
        // A key without a member is in the scope of no member, also not of one without a name.
        let member = Some(member).filter(|member| !member.is_empty());
        let scopes = [self.of_workspace.get(workspace), member.and_then(|member| self.of_member.get(member)), self.of_key.get(name)];
        let mut places: Vec<usize> = scopes.into_iter().flatten().flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    fn together(&self, places: &[usize]) -> Bounds {
        let mut bounds = Bounds::default();
        let mut guardrails = Vec::with_capacity(places.len());
        for (name, guardrail) in places.iter().filter_map(|place| self.guardrails.get(*place)) {
            match guardrail {
                Some(guardrail) => guardrails.push(Arc::clone(guardrail)),
                None => bounds.unusable = bounds.unusable.or_else(|| Some(name.clone())),
            }
        }
        bounds.guardrails = guardrails.into();
        bounds
    }
}

fn guardrail(name: &str, index: u32, spec: &wire::Guardrail, resource: &wire::Resource, faults: &mut Faults) -> Option<Arc<Guardrail>> {
    match compiled(name, index, spec) {
        Ok(guardrail) => Some(Arc::new(guardrail)),
        Err(cause) => {
            faults.rejected.push(cause.of(Kind::Guardrail, resource));
            None
        }
    }
}

fn compiled(name: &str, index: u32, spec: &wire::Guardrail) -> Result<Guardrail, Cause> {
    let models = |entries: &[String], field| ModelList::parse(entries).map_err(|error| Cause::new("bad_pattern", field, error.to_string()));
    if OnError::try_from(spec.on_error).is_err() {
        // A newer build knows what it means; this one must not guess.
        return Err(Cause::new("unknown_value", "onError", format!("{} is not a value of OnError", spec.on_error)));
    }
    let providers = |entries: &[String], field| {
        let empty = entries.iter().any(String::is_empty);
        if empty { Err(Cause::new("bad_pattern", field, "an entry without a name means no provider")) } else { Ok(boxed(entries)) }
    };
    Ok(Guardrail {
        name: name.into(),
        index,
        allowed_models: models(&spec.allowed_models, "allowedModels")?,
        ignored_models: models(&spec.ignored_models, "ignoredModels")?,
        allowed_providers: providers(&spec.allowed_providers, "allowedProviders")?,
        ignored_providers: providers(&spec.ignored_providers, "ignoredProviders")?,
        max_prompt_price: price_limit(&spec.max_prompt_price, "maxPromptPrice")?,
        max_completion_price: price_limit(&spec.max_completion_price, "maxCompletionPrice")?,
        zero_data_retention: spec.zero_data_retention,
        no_training: spec.no_training,
    })
}
