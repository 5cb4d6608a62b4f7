//! Random histories against a model. The model keeps nothing but the list of what was done and
//! works everything else out by going through it, so that it shares no idea with a store.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Making, Subject, batches_until, key, runtime};
use crate::{
    Batch, Compare, Done, Entry, Error, Event, Key, Operation, Outcome, Position, Range, Read, Relation, Target, Transaction, Watch,
};

/// Keys are single letters, so that they meet often.
const LETTERS: u8 = 6;

/// Runs so many random histories, each on a store of its own.
pub fn histories(factory: impl Fn() -> Making, cases: u32) {
    let runtime = runtime();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..40), |steps| {
            runtime.block_on(async { Run::new(factory().await).await.through(&steps).await });
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[derive(Debug, Clone)]
enum Step {
    Commit { conditions: Vec<Condition>, then: Vec<Move>, otherwise: Vec<Move> },
    Compact(prop::sample::Index),
    Watch(Letters, prop::sample::Index),
}

/// From one letter, inclusive, to another, exclusive.
type Letters = (u8, u8);

#[derive(Debug, Clone)]
struct Condition {
    letter: u8,
    relation: Relation,
    against: Against,
}

#[derive(Debug, Clone)]
enum Against {
    /// A position of the history so far, or none.
    Modified(prop::sample::Index),
    Created(prop::sample::Index),
    Version(u64),
    Value(u8),
}

#[derive(Debug, Clone)]
enum Move {
    Put(u8, u8),
    Delete(Letters),
    Get(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let moves = || prop::collection::vec(a_move(), 0..4);
    prop_oneof![
        12 => (prop::collection::vec(condition(), 0..3), moves(), moves())
            .prop_map(|(conditions, then, otherwise)| Step::Commit { conditions, then, otherwise }),
        1 => any::<prop::sample::Index>().prop_map(Step::Compact),
        2 => (letters(), any::<prop::sample::Index>()).prop_map(|(letters, start)| Step::Watch(letters, start)),
    ]
}

fn letters() -> impl Strategy<Value = Letters> {
    (0..LETTERS, 1..=LETTERS).prop_map(|(from, many)| (from, (from + many).min(LETTERS)))
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        5 => (0..LETTERS, 0..3_u8).prop_map(|(letter, value)| Move::Put(letter, value)),
        2 => (0..LETTERS).prop_map(|letter| Move::Delete((letter, letter + 1))),
        1 => letters().prop_map(Move::Delete),
        2 => (0..LETTERS).prop_map(Move::Get),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let relation = prop::sample::select(vec![Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater]);
    let against = prop_oneof![
        any::<prop::sample::Index>().prop_map(Against::Modified),
        any::<prop::sample::Index>().prop_map(Against::Created),
        (0..4_u64).prop_map(Against::Version),
        (0..3_u8).prop_map(Against::Value),
    ];
    (0..LETTERS, relation, against).prop_map(|(letter, relation, against)| Condition { letter, relation, against })
}

fn name(letter: u8) -> Key {
    key([b'a' + letter])
}

fn range((from, until): Letters) -> Range {
    Range::between(&name(from), &name(until))
}

fn value(number: u8) -> Bytes {
    Bytes::from(vec![number; usize::from(number)])
}

fn operation(a_move: &Move) -> Operation {
    match a_move {
        Move::Put(letter, number) => Operation::Put(name(*letter), value(*number)),
        Move::Delete((from, until)) if from + 1 == *until => Operation::delete(&name(*from)),
        Move::Delete(letters) => Operation::Delete(range(*letters)),
        Move::Get(letter) => Operation::Get(name(*letter)),
    }
}

/// What was done: at each position, which letter got which value, or none.
#[derive(Debug, Default)]
struct Model {
    done: Vec<(Position, u8, Option<u8>)>,
}

impl Model {
    fn entry(&self, letter: u8, at: Position) -> Option<Entry> {
        self.done.iter().filter(|(position, other, _)| *other == letter && *position <= at).fold(
            None,
            |held: Option<Entry>, (position, _, number)| {
                let number = (*number)?;
                let (created, version) = held.map_or((*position, 0), |held| (held.created, held.version));
                Some(Entry { key: name(letter), value: value(number), created, modified: *position, version: version + 1 })
            },
        )
    }

    fn listing(&self, (from, until): Letters, at: Position) -> Vec<Entry> {
        (from..until).filter_map(|letter| self.entry(letter, at)).collect()
    }

    fn batches(&self, (from, until): Letters, after: Position) -> Vec<Batch> {
        let mut batches: BTreeMap<Position, Vec<Event>> = BTreeMap::new();
        for (position, letter, number) in &self.done {
            if *position <= after || !(from..until).contains(letter) {
                continue;
            }
            let previous = self.entry(*letter, Position(position.0 - 1));
            let event = match number {
                Some(_) => {
                    let entry = self.entry(*letter, *position).expect("what was put is there");
                    Event::Put { entry, previous }
                }
                None => Event::Delete { key: name(*letter), previous },
            };
            batches.entry(*position).or_default().push(event);
        }
        batches.into_iter().map(|(position, events)| Batch { position, events }).collect()
    }
}

/// Whether a branch puts a letter twice, or puts one that it deletes.
fn writes_twice(moves: &[Move]) -> bool {
    (0..LETTERS).any(|letter| {
        let puts = moves.iter().filter(|a_move| matches!(a_move, Move::Put(put, _) if *put == letter)).count();
        let deletes = moves.iter().any(|a_move| matches!(a_move, Move::Delete((from, until)) if (*from..*until).contains(&letter)));
        puts > 1 || (puts == 1 && deletes)
    })
}

/// A store and its model on their way through a history.
struct Run {
    subject: Subject,
    model: Model,
    /// Every position the store has been at.
    positions: Vec<Position>,
    oldest: Position,
    watches: Vec<(Letters, Position, Watch)>,
}

impl Run {
    async fn new(subject: Subject) -> Self {
        let start = subject.now().await;
        Self { subject, model: Model::default(), positions: vec![start], oldest: Position::NONE, watches: Vec::new() }
    }

    fn now(&self) -> Position {
        *self.positions.last().expect("the start at least")
    }

    async fn through(mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Commit { conditions, then, otherwise } => self.commit(conditions, then, otherwise).await,
                Step::Compact(at) => self.compact(*at.get(&self.positions)).await,
                Step::Watch(letters, start) => self.watch(*letters, *start.get(&self.positions)).await,
            }
        }
        self.look_at_every_position().await;
    }

    async fn commit(&mut self, conditions: &[Condition], then: &[Move], otherwise: &[Move]) {
        let compares = conditions.iter().map(|condition| self.compare(condition)).collect();
        let transaction =
            Transaction { compares, then: then.iter().map(operation).collect(), otherwise: otherwise.iter().map(operation).collect() };
        let answer = self.subject.store.commit(transaction.clone()).await;
        if writes_twice(then) || writes_twice(otherwise) {
            assert!(matches!(answer, Err(Error::DuplicateKey { .. })), "{transaction:?}: {answer:?}");
            return;
        }
        let outcome = answer.expect("a commit");
        let succeeded = transaction.compares.iter().zip(conditions).all(|(compare, condition)| self.holds(compare, condition));
        assert_eq!(outcome.succeeded, succeeded, "{transaction:?}");
        let results = self.perform(if succeeded { then } else { otherwise }, &outcome);
        assert_eq!(outcome.results, results, "{transaction:?}");
    }

    fn compare(&self, condition: &Condition) -> Compare {
        let target = match &condition.against {
            Against::Modified(index) => Target::Modified(self.some_position(index)),
            Against::Created(index) => Target::Created(self.some_position(index)),
            Against::Version(version) => Target::Version(*version),
            Against::Value(number) => Target::Value(value(*number)),
        };
        Compare { key: name(condition.letter), target, relation: condition.relation }
    }

    fn some_position(&self, index: &prop::sample::Index) -> Position {
        let index = index.index(self.positions.len() + 1);
        self.positions.get(index).copied().unwrap_or(Position::NONE)
    }

    fn holds(&self, compare: &Compare, condition: &Condition) -> bool {
        let entry = self.model.entry(condition.letter, self.now());
        let (less, equal) = match &compare.target {
            Target::Modified(position) => {
                let held = entry.map_or(0, |entry| entry.modified.0);
                (held < position.0, held == position.0)
            }
            Target::Created(position) => {
                let held = entry.map_or(0, |entry| entry.created.0);
                (held < position.0, held == position.0)
            }
            Target::Version(version) => {
                let held = entry.map_or(0, |entry| entry.version);
                (held < *version, held == *version)
            }
            Target::Value(value) => match entry {
                None => return false,
                Some(entry) => (entry.value < *value, entry.value == *value),
            },
        };
        match compare.relation {
            Relation::Equal => equal,
            Relation::NotEqual => !equal,
            Relation::Less => less,
            Relation::Greater => !less && !equal,
        }
    }

    /// Does the branch on the model, at the position that the store says it did.
    fn perform(&mut self, moves: &[Move], outcome: &Outcome) -> Vec<Done> {
        let before = self.model.done.len();
        let next = Position(self.now().0 + 1).max(outcome.position);
        let mut results = Vec::new();
        for a_move in moves {
            results.push(match a_move {
                Move::Get(letter) => Done::Got(self.model.entry(*letter, next)),
                Move::Put(letter, number) => {
                    self.model.done.push((next, *letter, Some(*number)));
                    Done::Put
                }
                Move::Delete(letters) => {
                    let held: Vec<u8> = (letters.0..letters.1).filter(|letter| self.model.entry(*letter, next).is_some()).collect();
                    self.model.done.extend(held.iter().map(|letter| (next, *letter, None)));
                    Done::Deleted(held.len() as u64)
                }
            });
        }
        if self.model.done.len() == before {
            assert_eq!(outcome.position, self.now(), "nothing changed");
        } else {
            assert_eq!(outcome.position, next, "something changed");
            self.positions.push(next);
        }
        results
    }

    async fn compact(&mut self, at: Position) {
        // Watches that are open have to be through first: being overtaken is another test's matter.
        self.finish_watches().await;
        self.subject.store.compact(at).await.expect("a compaction");
        self.oldest = self.oldest.max(at);
    }

    async fn watch(&mut self, letters: Letters, after: Position) {
        if after >= self.oldest {
            let watch = self.subject.watch(range(letters), after).await;
            self.watches.push((letters, after, watch));
        }
    }

    async fn finish_watches(&mut self) {
        let now = self.now();
        for (letters, after, mut watch) in std::mem::take(&mut self.watches) {
            let batches = if after < now { batches_until(&mut watch, now).await } else { Vec::new() };
            assert_eq!(batches, self.model.batches(letters, after), "{letters:?} after {after}");
        }
    }

    async fn look_at_every_position(&mut self) {
        self.finish_watches().await;
        let everything = (0, LETTERS);
        for at in self.positions.clone() {
            let read = Read::at(range(everything), at);
            if at < self.oldest {
                let answer = self.subject.store.list(&read).await;
                assert!(matches!(answer, Err(Error::Compacted { .. })), "{at}: {answer:?}");
                continue;
            }
            assert_eq!(self.subject.entries(read).await, self.model.listing(everything, at), "{at}");
            for letters in [everything, (1, 4)] {
                self.watch(letters, at).await;
            }
        }
        self.finish_watches().await;
    }
}
