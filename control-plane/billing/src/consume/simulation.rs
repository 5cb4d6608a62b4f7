//! Seeded worlds for the consumer's decisions: several consumers, a group that moves partitions about, zombies that do not know it, messages that
//! come twice, early or from an old queue, commits whose answer is lost, a ledger that is away, deaths.
//!
//! `WAYBILL_TEST_SEEDS` sets how many worlds are lived through, `WAYBILL_TEST_SEED` replays one; a failure names its seed.

use std::collections::BTreeMap;

use waybill_proto::usage::v1::Spooled;

use super::partitions::{Limits, Outcome, Partitions, Stop, Taken};
use crate::progress::{Assignment, PartitionProgress};

/// SplitMix64: small, and the same for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

const LIMITS: Limits =
    Limits { batch_records: 5, gather_ms: 50, held_records: 40, stalled_ms: 5000, reclaim_ms: 900, pause_ms: 20, longest_pause_ms: 200 };

const PARTITIONS: i32 = 4;

/// The ledger, as the contract has it: an epoch and an offset per partition, and what was booked, in order.
#[derive(Default)]
struct Ledger {
    partitions: BTreeMap<i32, (u64, Option<i64>)>,
    booked: BTreeMap<i32, Vec<i64>>,
}

impl Ledger {
    fn assign(&mut self, partition: i32) -> Assignment {
        let (epoch, next_offset) = self.partitions.entry(partition).or_default();
        *epoch += 1;
        Assignment { epoch: *epoch, next_offset: *next_offset }
    }

    /// Books a batch unless it is fenced; one that has landed before changes nothing.
    fn commit(&mut self, progress: &PartitionProgress, records: &[Spooled]) -> Outcome {
        let stored = self.partitions.get(&progress.partition).copied();
        if progress.fence(stored).is_err() {
            return Outcome::Fenced;
        }
        let repeated = stored.and_then(|(_, stored)| stored) == Some(progress.next) && progress.next != progress.from;
        if !repeated {
            let booked = self.booked.entry(progress.partition).or_default();
            booked.extend(records.iter().map(|record| record.sequence.cast_signed()));
        }
        self.partitions.insert(progress.partition, (progress.epoch, Some(progress.next)));
        Outcome::Landed
    }
}

/// A consumer process, with what its client holds: where each partition is read, and messages on their way to it.
struct Consumer {
    core: Partitions,
    /// What it believes to hold, by the group's last word that reached it.
    reads: BTreeMap<i32, usize>,
    queue: Vec<(i32, i64)>,
}

struct World {
    seed: u64,
    dice: Dice,
    now: u64,
    /// Offsets of each partition's messages; topics have holes.
    log: BTreeMap<i32, Vec<i64>>,
    ledger: Ledger,
    ledger_away: bool,
    consumers: Vec<Consumer>,
    /// Who owns what, by the group.
    owners: BTreeMap<i32, usize>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let consumer = || Consumer { core: Partitions::of("t".to_owned(), LIMITS), reads: BTreeMap::new(), queue: Vec::new() };
        let consumers = (0..2 + dice.roll(2)).map(|_| consumer()).collect();
        let log = (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
        Self { seed, dice, now: 0, log, ledger: Ledger::default(), ledger_away: false, consumers, owners: BTreeMap::new() }
    }

    fn step(&mut self) {
        self.now += self.dice.roll(30);
        let who = self.dice.roll(self.consumers.len() as u64) as usize;
        match self.dice.roll(100) {
            0..30 => self.produce(),
            30..33 => self.rebalance(),
            33..35 => self.hear_of_the_group(who),
            35 => self.ledger_away = self.dice.chance(40),
            36 => self.die(who),
            37..70 => self.deliver(who),
            _ => self.work(who),
        }
    }

    fn produce(&mut self) {
        let partition = self.dice.roll(PARTITIONS.unsigned_abs().into()) as i32;
        for _ in 0..self.dice.roll(6) {
            let hole = if self.dice.chance(4) { 1 + self.dice.roll(3) as i64 } else { 0 };
            let log = self.log.entry(partition).or_default();
            let next = log.last().map_or(0, |last| last + 1);
            log.push(next + hole);
        }
    }

    /// The group moves a partition. Its old owner may hear of it much later.
    fn rebalance(&mut self) {
        let partition = self.dice.roll(PARTITIONS.unsigned_abs().into()) as i32;
        let to = self.dice.roll(self.consumers.len() as u64) as usize;
        let from = self.owners.insert(partition, to);
        if let Some(from) = from.filter(|from| *from != to && self.dice.chance(60)) {
            self.revoke(from, partition);
        }
        if self.dice.chance(80) && !self.ledger_away {
            self.assign(to, partition);
        }
    }

    /// A consumer catches up with what the group has decided.
    fn hear_of_the_group(&mut self, who: usize) {
        for partition in 0..PARTITIONS {
            let (owned, held) = (self.owners.get(&partition) == Some(&who), self.consumers[who].reads.contains_key(&partition));
            match (owned, held) {
                (false, true) => self.revoke(who, partition),
                (true, false) if !self.ledger_away => self.assign(who, partition),
                _ => {}
            }
        }
    }

    fn revoke(&mut self, who: usize, partition: i32) {
        let consumer = &mut self.consumers[who];
        consumer.core.revoked(partition);
        consumer.reads.remove(&partition);
        consumer.queue.retain(|(queued, _)| *queued != partition);
    }

    fn range(&self, partition: i32) -> (i64, i64) {
        (0, self.log[&partition].last().map_or(0, |last| last + 1))
    }

    fn assign(&mut self, who: usize, partition: i32) {
        let assignment = self.ledger.assign(partition);
        let known = if self.dice.chance(80) { Some(self.range(partition)) } else { None };
        let start = self.consumers[who].core.assigned(partition, assignment, known, self.now).expect("it is not stopped");
        self.seek(who, partition, start);
    }

    fn seek(&mut self, who: usize, partition: i32, offset: i64) {
        let index = self.log[&partition].partition_point(|known| *known < offset);
        let stays = self.dice.chance(10);
        let consumer = &mut self.consumers[who];
        consumer.reads.insert(partition, index);
        // A client throws away what it has fetched; now and then something is under way all the same.
        consumer.queue.retain(|(queued, _)| *queued != partition || stays);
    }

    /// Messages reach a consumer, in order, some of them twice.
    fn deliver(&mut self, who: usize) {
        let partitions: Vec<i32> = self.consumers[who].reads.keys().copied().collect();
        for partition in partitions {
            for _ in 0..self.dice.roll(8) {
                let log = &self.log[&partition];
                let again = self.dice.chance(3);
                let consumer = &mut self.consumers[who];
                let Some(index) = consumer.reads.get_mut(&partition) else { continue };
                let Some(offset) = log.get(*index) else { break };
                consumer.queue.push((partition, *offset));
                *index += usize::from(!again);
            }
        }
    }

    /// What the shell does in a round.
    fn work(&mut self, who: usize) {
        let queue = std::mem::take(&mut self.consumers[who].queue);
        let mut back = BTreeMap::new();
        for (partition, offset) in queue {
            if back.contains_key(&partition) {
                continue;
            }
            let record = Spooled { sequence: offset.unsigned_abs(), ..Spooled::default() };
            if let Taken::Back(next) = self.consumers[who].core.received(partition, offset, record, self.now) {
                back.insert(partition, next);
            }
        }
        for (partition, next) in back {
            self.seek(who, partition, next);
        }
        while let Some((partition, batch)) = self.consumers[who].core.due(self.now, false) {
            let batch = batch.clone();
            let landed = if self.ledger_away { Outcome::Failed } else { self.ledger.commit(&batch.progress, &batch.records) };
            let outcome = if self.dice.chance(7) { Outcome::Failed } else { landed };
            self.consumers[who].core.committed(partition, outcome, self.now);
            if self.dice.chance(20) {
                break;
            }
        }
        for partition in self.consumers[who].core.to_reclaim(self.now) {
            if self.ledger_away {
                self.consumers[who].core.not_reclaimed(partition, self.now);
            } else {
                self.assign(who, partition);
            }
        }
    }

    fn die(&mut self, who: usize) {
        self.consumers[who] = Consumer { core: Partitions::of("t".to_owned(), LIMITS), reads: BTreeMap::new(), queue: Vec::new() };
    }

    /// Nothing is booked twice, nothing is passed over, everything in order: what each partition has is the beginning of its log.
    fn check(&self) {
        for (partition, booked) in &self.ledger.booked {
            let log = &self.log[partition];
            assert!(log.starts_with(booked), "seed {}: of {log:?} partition {partition} has booked {booked:?}", self.seed);
        }
    }

    /// The ledger is there, everybody hears of the group: all is booked, and everybody is healthy.
    fn quiet(&mut self) {
        self.ledger_away = false;
        for _ in 0..3000 {
            self.now += 20;
            for who in 0..self.consumers.len() {
                if self.dice.chance(10) {
                    self.hear_of_the_group(who);
                }
                self.deliver(who);
                self.work(who);
            }
            let owned: Vec<i32> = self.owners.keys().copied().collect();
            if owned.iter().all(|partition| self.ledger.booked.get(partition).map_or(0, Vec::len) == self.log[partition].len()) {
                assert!(self.consumers.iter().all(|consumer| consumer.core.health(self.now).is_healthy()), "seed {}", self.seed);
                return self.check();
            }
        }
        panic!("seed {}: of {:?} only {:?} is booked; {:?}", self.seed, self.log, self.ledger.booked, self.ledger.partitions);
    }
}

fn simulate(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..world.dice.roll(600) {
        world.step();
        world.check();
    }
    world.quiet();
}

#[test]
fn whoever_reads_each_message_is_booked_once_and_in_order() {
    if let Some(seed) = std::env::var("WAYBILL_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return simulate(seed);
    }
    let seeds = std::env::var("WAYBILL_TEST_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1000);
    (0..seeds).for_each(simulate);
}

fn held(next_offset: Option<i64>, range: Option<(i64, i64)>) -> (Partitions, Option<i64>) {
    let mut core = Partitions::of("t".to_owned(), LIMITS);
    let start = core.assigned(0, Assignment { epoch: 3, next_offset }, range, 0);
    (core, start)
}

#[test]
fn a_partition_whose_messages_are_gone_stops_and_an_operator_moves_it_on() {
    let rows = [
        (None, Some((7, 9)), Some(7), None),
        (None, None, Some(0), None),
        (Some(8), None, Some(8), None),
        (Some(7), Some((7, 9)), Some(7), None),
        (Some(9), Some((7, 9)), Some(9), None),
        (Some(6), Some((7, 9)), None, Some(Stop::Deleted { next: 6, low: 7 })),
        (Some(10), Some((7, 9)), None, Some(Stop::Beyond { next: 10, high: 9 })),
    ];
    for (stored, range, start, stop) in rows {
        let (core, reads) = held(stored, range);
        let health = core.health(0);
        assert_eq!((reads, health.is_healthy()), (start, stop.is_none()), "{stored:?} {range:?}");
        assert_eq!(health.stopped, stop.map(|stop| (0, stop)).into_iter().collect::<Vec<_>>());
    }
    let (mut core, _) = held(Some(6), Some((7, 9)));
    assert_eq!(core.received(0, 7, Spooled::default(), 1), Taken::Ignored);
    let reclaim = LIMITS.reclaim_ms;
    assert_eq!((core.to_reclaim(reclaim - 1), core.to_reclaim(reclaim)), (vec![], vec![0]), "an operator may have decided");
    core.not_reclaimed(0, reclaim);
    assert_eq!((core.to_reclaim(reclaim + 1), core.health(reclaim + 1).stopped.len()), (vec![], 1), "the ledger was away");
    let decided = Assignment { epoch: 3, next_offset: Some(7) };
    assert_eq!(core.assigned(0, decided, Some((7, 9)), 2 * reclaim), Some(7));
    assert_eq!(core.received(0, 7, Spooled::default(), 2 * reclaim), Taken::Gathered);
    assert!(core.health(2 * reclaim).is_healthy());
    assert_eq!(core.check_range(0, (20, 30), 2 * reclaim), Some(Stop::Deleted { next: 8, low: 20 }));
    assert_eq!(core.due(2 * reclaim, true).map(|(_, batch)| batch.progress.next), Some(8), "what came before is booked");
    core.committed(0, Outcome::Landed, 2 * reclaim);
    assert_eq!((core.received(0, 8, Spooled::default(), 3 * reclaim), core.to_reclaim(3 * reclaim)), (Taken::Ignored, vec![0]));
}

#[test]
fn progress_is_health() {
    let (mut core, _) = held(Some(0), Some((0, 0)));
    assert!(core.health(1_000_000).is_healthy(), "nothing to do is no fault");
    core.reaches(0, 3, 1_000_000);
    assert_eq!((core.health(1_004_999).is_healthy(), core.health(1_004_999).lag), (true, 3));
    assert_eq!(core.health(1_005_000).stalled, [0]);
    core.received(0, 0, Spooled::default(), 1_005_000);
    assert!(core.due(1_005_000, true).is_some());
    core.committed(0, Outcome::Failed, 1_005_000);
    assert!(core.due(1_005_019, true).is_none() && !core.health(1_005_019).is_healthy(), "a commit that fails is no progress");
    assert!(core.due(1_005_020, true).is_some());
    core.committed(0, Outcome::Landed, 1_005_020);
    assert_eq!((core.health(1_005_020).is_healthy(), core.health(1_005_020).lag), (true, 2));
}

#[test]
fn batches_are_cut_by_count_and_ripen_by_time() {
    let (mut core, _) = held(Some(0), None);
    for offset in 0..7 {
        assert_eq!(core.received(0, offset, Spooled::default(), 10), Taken::Gathered);
    }
    assert_eq!(core.due(10, false).map(|(_, batch)| (batch.records.len(), batch.progress.next)), Some((5, 5)));
    core.committed(0, Outcome::Landed, 12);
    assert_eq!((core.due(12, false).is_none(), core.next_due()), (true, Some(62)));
    assert_eq!(core.due(62, false).map(|(_, batch)| (batch.records.len(), batch.progress.from, batch.progress.next)), Some((2, 5, 7)));
}
