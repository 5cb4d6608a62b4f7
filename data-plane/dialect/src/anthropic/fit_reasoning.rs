//! How much the model is to think, in the controls that the endpoint's model has.

use super::fit::Most;
use super::prompt_read::LEAST_BUDGET;
use crate::neutral::{Carrier, Effort, Notice, ReasoningWish};

/// Where the wish stands in the caller's request.
pub(super) const PATH: &str = "reasoning";
/// Where it stands if all that is told is an effort.
pub(super) const SHORT: &str = "reasoning_effort";
/// Beyond it OpenRouter turns no effort into a budget.
const MOST_OF_AN_EFFORT: u64 = 128_000;
/// Room for the answer beside a budget, where nobody says how long it may be.
const ROOM: u64 = 4096;

/// The wish in this dialect's words; `None` = nothing is said. `obstacles`: why the model cannot think here at all, and why not with a budget.
pub(super) fn wish(
    wish: &ReasoningWish,
    carrier: &Carrier<'_>,
    most: &mut Most,
    obstacles: [Option<&'static str>; 2],
    notices: &mut Vec<Notice>,
) -> Option<ReasoningWish> {
    let controls = carrier.reasoning;
    let thinks_by_switch = controls.budget || controls.adaptive || controls.toggle;
    if wish.enabled == Some(false) || wish.effort == Some(Effort::None) {
        if controls.effort && !thinks_by_switch {
            notices.push(Notice::dropped(PATH, "the model cannot be told not to think"));
        }
        return thinks_by_switch.then(|| ReasoningWish { enabled: Some(false), ..ReasoningWish::default() });
    }
    if wish.enabled.is_none() && wish.effort.is_none() && wish.budget.is_none() && !wish.adaptive {
        return None;
    }
    if !controls.are_known() {
        notices.push(Notice::dropped(PATH, "the endpoint's model is not known to think"));
        return None;
    }
    let effort = wish.effort.or_else(|| wish.budget.map(|budget| Effort::nearest(budget, most.tokens)));
    if thinks_by_switch && let Some(obstacle) = obstacles[0] {
        notices.push(Notice::dropped(PATH, obstacle));
        return None;
    }
    // A budget that was asked for goes as one where it can; an effort rather lets the model decide.
    let by_budget = controls.budget && wish.budget.is_some() || !controls.adaptive && (controls.budget || controls.toggle);
    if by_budget {
        if let Some(obstacle) = obstacles[1] {
            notices.push(Notice::dropped(PATH, obstacle));
            return None;
        }
        let budget = budget(wish, most, carrier.max_output, notices)?;
        return Some(ReasoningWish { enabled: Some(true), budget: Some(budget), hidden: wish.hidden, ..ReasoningWish::default() });
    }
    let effort = effort.map(|effort| effort.max(Effort::Low));
    if wish.budget.is_some() {
        let how = if controls.effort { "as the nearest effort" } else { "the model decides how much" };
        notices.push(Notice::approximated(PATH, how));
    } else if wish.effort == Some(Effort::Minimal) && controls.effort {
        notices.push(Notice::approximated(PATH, "minimal as low"));
    } else if wish.effort.is_some() && !controls.effort {
        notices.push(Notice::approximated(PATH, "the model decides how much"));
    }
    if wish.hidden && !controls.adaptive {
        notices.push(Notice::dropped("reasoning.exclude", "the model's thoughts cannot be left out there"));
    }
    Some(ReasoningWish {
        enabled: controls.adaptive.then_some(true),
        effort: effort.filter(|_| controls.effort),
        budget: None,
        adaptive: controls.adaptive,
        hidden: wish.hidden,
    })
}

/// At least 1,024 tokens, and fewer than the answer may have in all.
fn budget(wish: &ReasoningWish, most: &mut Most, ceiling: u64, notices: &mut Vec<Notice>) -> Option<u64> {
    let is_fixed = most.is_told || ceiling > 0;
    if is_fixed && most.tokens <= LEAST_BUDGET {
        notices.push(Notice::dropped(PATH, "max_tokens leaves no room for thoughts, which take 1024 at least"));
        return None;
    }
    let wanted = match (wish.budget, wish.effort) {
        (Some(told), _) => told,
        (None, effort) => {
            notices.push(Notice::approximated(PATH, "as a share of max_tokens"));
            share(effort.unwrap_or(Effort::Medium), most.tokens)
        }
    };
    let wanted = wanted.max(LEAST_BUDGET);
    if wanted >= most.tokens && !is_fixed {
        most.tokens = wanted.saturating_add(ROOM);
    }
    let fitting = wanted.min(most.tokens.saturating_sub(1));
    if wish.budget.is_some_and(|told| told != fitting) {
        notices.push(Notice::approximated(PATH, "moved between 1024 and max_tokens"));
    }
    Some(fitting)
}

fn share(effort: Effort, most: u64) -> u64 {
    (most.saturating_mul(effort.percent()) / 100).clamp(LEAST_BUDGET, MOST_OF_AN_EFFORT)
}
