//! Who stands behind the others for their health.
//!
//! An endpoint that should get a part of its share stands in its place with that chance and behind the others otherwise. Whoever stands behind is
//! still tried when those before it fail.

use waybill_model::snapshot::{Endpoint, Model};

use crate::{
    breaker::WHOLE_PERMILLE,
    choice::{Contender, SplitMix64},
    health::{Health, Standing, Why},
    loss::Loss,
};

/// Sets these draws apart from those of the order.
const STREAM: u64 = 0x6c61_675f_6865_616c;

/// What is known for one plan.
pub struct Lag<'a> {
    health: &'a Health,
    now_unix_ms: i64,
    seed: u64,
}

impl<'a> Lag<'a> {
    /// Nothing, where nothing bad is known of any endpoint.
    pub fn of(health: &'a Health, now_unix_ms: i64, seed: u64) -> Option<Self> {
        (!health.is_quiet(now_unix_ms)).then_some(Self { health, now_unix_ms, seed })
    }

    /// Judges the contenders of one model, whose candidates begin at `before`.
    pub fn put_behind(&self, contenders: &mut [Contender], before: usize, model: &Model) {
        let panics = self.panics(contenders, before, model);
        for contender in contenders {
            let Some(endpoint) = endpoint_of(contender, before, model) else { continue };
            let health = self.health;
            let standing = if panics { health.local(endpoint, self.now_unix_ms) } else { health.standing(endpoint, self.now_unix_ms) };
            contender.behind = self.behind(standing, contender.candidate);
        }
    }

    /// What is advised would leave too little of what could take this request.
    fn panics(&self, contenders: &[Contender], before: usize, model: &Model) -> bool {
        let names = contenders.iter().filter_map(|contender| Some(&*endpoint_of(contender, before, model)?.name));
        self.health.advice(self.now_unix_ms).is_some_and(|advice| advice.panics(names))
    }

    fn behind(&self, Standing { weight_permille, why }: Standing, candidate: usize) -> Option<Loss> {
        let loss = match why? {
            Why::Ejected(ejected) => Loss::Ejected(ejected),
            why => Loss::BreakerOpen(why),
        };
        let drawn = || SplitMix64(self.seed ^ STREAM ^ (candidate as u64).rotate_left(32)).draw() % u64::from(WHOLE_PERMILLE);
        (weight_permille == 0 || drawn() >= u64::from(weight_permille)).then_some(loss)
    }
}

fn endpoint_of<'a>(contender: &Contender, before: usize, model: &'a Model) -> Option<&'a Endpoint> {
    contender.candidate.checked_sub(before).and_then(|place| model.endpoints.get(place)).map(|endpoint| &**endpoint)
}
