//! Whole rollouts under seeds: proxies that are slow, that lose their stream, that a poisoned change kills or makes refuse. What the shell does is
//! done here as well: a decision becomes the next record, and a conductor is replaced now and then.

use waybill_proto::sync::v1::{ClassCount, EndpointCounts};

use super::*;
use crate::rollout::State;

const SEEDS: u64 = 1_000;
const STEP_MS: u64 = 1_000;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What the change does to a proxy that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poison {
    None,
    Kills,
    IsRefused,
    BreaksAttempts,
    IsNeverTaken,
}

struct Fleet {
    states: Vec<ProxyState>,
    /// When each takes the record's last step.
    due_ms: Vec<u64>,
    good: Vec<u64>,
    bad: Vec<u64>,
}

impl Fleet {
    fn new(count: u64) -> Self {
        let state = |number| ProxyState { proxy: format!("p{number}"), process: 1, connected: true, ..ProxyState::default() };
        let zeros = || (0..count).map(|_| 0).collect();
        Self { states: (0..count).map(state).collect(), due_ms: zeros(), good: zeros(), bad: zeros() }
    }

    /// A second passes. Proxies of the rollout have the change as soon as they have taken its last step.
    fn pass(&mut self, rollout: &Rollout, poison: Poison, now_ms: u64, dice: &mut Dice) {
        for (place, state) in self.states.iter_mut().enumerate() {
            let is_member = rollout.is_baking() && rollout.members.iter().any(|member| member.proxy == state.proxy);
            state.since_ms += STEP_MS;
            if dice.below(200) == 0 {
                (state.connected, state.since_ms) = (!state.connected, 0);
            } else if !state.connected && dice.below(3) == 0 {
                (state.connected, state.since_ms) = (true, 0);
            }
            let takes = state.connected && now_ms >= self.due_ms[place] && !(is_member && poison == Poison::IsNeverTaken);
            if takes && state.applied_revision < rollout.step_revision {
                state.applied_revision = rollout.step_revision;
                match poison {
                    Poison::Kills if is_member => state.process += 1,
                    Poison::IsRefused if is_member => {
                        state.rejected = vec![Verdict { kind: "Guardrail".to_owned(), code: "bad".to_owned(), ..Verdict::default() }];
                    }
                    _ => {}
                }
            }
            let breaks = is_member && poison == Poison::BreaksAttempts && state.applied_revision >= rollout.step_revision;
            self.good[place] += if breaks { 10 } else { 20 };
            self.bad[place] += if breaks { 10 } else { dice.below(2) };
            let counts = [(ErrorClass::None, self.good[place]), (ErrorClass::Server, self.bad[place])];
            let counts = counts.map(|(class, count)| ClassCount { class: class.into(), count }).into();
            state.counts = vec![EndpointCounts { endpoint: "e".to_owned(), counts, open_breakers: 0 }];
        }
    }
}

/// One rollout to its end: how it ended, how many had it at most, how long that took at most for each conductor.
fn run(seed: u64, poison: Poison) -> (State, usize, u64) {
    let mut dice = Dice(seed);
    let mut fleet = Fleet::new(1 + dice.below(60));
    let mut rollout =
        Rollout { id: seed.to_string(), state: State::Baking.into(), bake_ms: 10_000, revision: 2, step_revision: 2, ..Rollout::default() };
    let (mut conductor, mut replaced) = (Conductor::default(), 0);
    let (mut revision, mut affected, mut now_ms) = (2, 0, 0);
    while rollout.is_baking() {
        assert!(now_ms < 3_600_000, "seed {seed}: {poison:?} does not end");
        now_ms += STEP_MS;
        fleet.pass(&rollout, poison, now_ms, &mut dice);
        if dice.below(100) == 0 {
            conductor = Conductor::default();
            replaced += 1;
        }
        let before = rollout.members.len();
        match conductor.decide(&rollout, &fleet.states, now_ms) {
            Decision::Wait => continue,
            Decision::Widen { ring, members } => {
                assert!(ring > rollout.ring && members.len() > before, "seed {seed}");
                rollout = Rollout { ring, members, ..rollout };
            }
            Decision::Finish => rollout = rollout.ended(State::Done, "", 1),
            Decision::Halt(reason) => rollout = rollout.ended(State::Halted, &reason, 1),
        }
        revision += 1;
        rollout.step_revision = revision;
        affected = affected.max(rollout.members.len());
        for due_ms in &mut fleet.due_ms {
            *due_ms = now_ms + dice.below(5_000);
        }
    }
    (rollout.state(), affected, now_ms / (replaced + 1))
}

#[test]
fn a_poisoned_change_stops_at_the_first_ring_whatever_happens() {
    for seed in 0..SEEDS {
        for poison in [Poison::Kills, Poison::IsRefused, Poison::IsNeverTaken] {
            let (state, affected, took_ms) = run(seed, poison);
            assert_eq!((state, affected), (State::Halted, 1), "seed {seed}: {poison:?}");
            assert!(took_ms < APPLY_MS + 30_000, "seed {seed}: {poison:?} took {took_ms} ms");
        }
    }
}

#[test]
fn a_change_that_breaks_attempts_is_taken_back_before_it_is_everybodys() {
    for seed in 0..SEEDS {
        let (state, affected, _) = run(seed, Poison::BreaksAttempts);
        // A fleet of one has nobody to be compared with.
        let alone = Fleet::new(1 + Dice(seed).below(60)).states.len() == 1;
        assert!(alone || (state, affected) == (State::Halted, 1), "seed {seed}: {state:?} {affected}");
    }
}

#[test]
fn a_good_change_ends_and_is_seldom_taken_back() {
    let ends: Vec<State> = (0..SEEDS).map(|seed| run(seed, Poison::None).0).collect();
    let done = ends.iter().filter(|state| **state == State::Done).count();
    // Proxies that stay away are a reason to halt, also of a good change.
    assert!(done * 10 > ends.len() * 9, "{done} of {}", ends.len());
    assert_eq!(run(7, Poison::None), run(7, Poison::None));
}
