//! Seeded worlds for the emitter's decisions: brokers that are away or without a leader, reports that are lost, late, doubled or out of order,
//! producers that fail for good, a control plane that takes records or not, deaths with an old or a torn cursor file.
//!
//! `WAYBILL_TEST_SEEDS` sets how many worlds are lived through, `WAYBILL_TEST_SEED` replays one; a failure names its seed. The checker knows
//! what was written and what each side has taken, and shares nothing with the bookkeeping it checks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    cursors,
    delivery::{Delivery, Limits},
};
use crate::spool::{Batch, Kind, Position, Record};

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

/// Records in a segment of the model spool.
const SEGMENT: u32 = 8;

const LIMITS: Limits = Limits {
    window_records: 24,
    window_bytes: 4096,
    silence_ms: 3000,
    ingest_records: 7,
    ingest_bytes: 64,
    pause_ms: 50,
    longest_pause_ms: 800,
};

/// The spool, as far as the emitter sees it: positions, segments that are deleted whole, logs that are closed.
#[derive(Default)]
struct Spool {
    /// Of each log, how many records it has and whether it is closed.
    logs: BTreeMap<u64, (u32, bool)>,
    /// The first segment that is there.
    kept: BTreeMap<u64, u32>,
}

fn position(index: u32) -> Position {
    Position { segment: index / SEGMENT, offset: index % SEGMENT }
}

fn index(position: Position) -> u32 {
    position.segment * SEGMENT + position.offset
}

/// A reader as the spool's: it goes on where a cursor stands, or where the log begins.
#[derive(Default)]
struct Reader {
    at: BTreeMap<u64, Position>,
    finished: BTreeSet<u64>,
    turn: u64,
}

impl Reader {
    fn next(&mut self, spool: &Spool, max: usize, seed: u64) -> Batch {
        let mut batch = Batch::default();
        let mut logs: Vec<u64> = spool.logs.keys().copied().collect();
        let behind = logs.partition_point(|log| *log <= self.turn);
        logs.rotate_left(behind);
        for log in logs {
            if batch.records.len() >= max {
                break;
            }
            if self.finished.contains(&log) {
                continue;
            }
            self.turn = log;
            let kept = position(spool.kept.get(&log).copied().unwrap_or(0) * SEGMENT);
            let from = self.at.get(&log).copied();
            assert!(
                from.is_none_or(|from| from >= kept),
                "seed {seed}: the cursor {from:?} of log {log} lies in what was deleted, {kept:?}"
            );
            let (count, closed) = spool.logs[&log];
            let mut at = index(from.unwrap_or(kept));
            while at < count && batch.records.len() < max {
                at += 1;
                let payload = vec![at as u8; 1 + (at as usize + log as usize) % 9];
                batch.records.push(Record {
                    incarnation: log,
                    seq: at.into(),
                    kind: Kind::Settled,
                    attempt: [0; 16],
                    carried: false,
                    payload,
                });
            }
            if from != Some(position(at)) {
                batch.cursors.insert(log, position(at));
                self.at.insert(log, position(at));
            }
            if closed && at == count {
                batch.finished.insert(log);
                self.finished.insert(log);
            }
        }
        batch
    }
}

/// A message on its way to a broker, or a report on its way back.
struct Flying {
    arrives: u64,
    producer: u64,
    ticket: u64,
    record: (u64, u64),
}

/// What is in force for a while.
#[derive(Default)]
struct Weather {
    /// No broker at all.
    silent: bool,
    /// Partitions of these logs have no leader.
    leaderless: BTreeSet<u64>,
    control_away: bool,
}

struct World {
    seed: u64,
    dice: Dice,
    now: u64,
    spool: Spool,
    weather: Weather,
    /// What Kafka and the ledger have; records are (log, sequence).
    kafka: BTreeSet<(u64, u64)>,
    ledger: BTreeSet<(u64, u64)>,
    /// Released logs are gone whole.
    gone: BTreeSet<u64>,
    file: Vec<u8>,
    next_log: u64,
    opened: u64,
}

/// One life of the emitter.
struct Life {
    delivery: Delivery,
    reader: Reader,
    to_broker: VecDeque<Flying>,
    reports: VecDeque<Flying>,
    producer: u64,
    ingesting: Option<(u64, Vec<(u64, u64)>)>,
    unsaved: BTreeMap<u64, Position>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            dice: Dice(seed),
            now: 0,
            spool: Spool::default(),
            weather: Weather::default(),
            kafka: BTreeSet::new(),
            ledger: BTreeSet::new(),
            gone: BTreeSet::new(),
            file: Vec::new(),
            next_log: 1,
            opened: 0,
        }
    }

    fn start(&mut self) -> Life {
        let saved = cursors::decode(&self.file).unwrap_or_default();
        // A log that is gone whole may still have a cursor.
        let at = saved.iter().filter(|(log, _)| !self.gone.contains(log)).map(|(log, at)| (*log, *at)).collect();
        for (_, closed) in self.spool.logs.values_mut() {
            // Recovery closes what an earlier life left.
            *closed = true;
        }
        for _ in 0..1 + self.dice.roll(3) {
            self.spool.logs.insert(self.next_log, (0, false));
            self.next_log += 1;
        }
        Life {
            delivery: Delivery::new(LIMITS, saved),
            reader: Reader { at, ..Reader::default() },
            to_broker: VecDeque::new(),
            reports: VecDeque::new(),
            producer: 0,
            ingesting: None,
            unsaved: BTreeMap::new(),
        }
    }

    fn live(&mut self) {
        let mut life = self.start();
        for _ in 0..self.dice.roll(300) {
            self.now += self.dice.roll(60);
            match self.dice.roll(100) {
                0..40 => self.write(),
                40..42 => self.change_weather(),
                42..44 => {
                    let producer = life.producer;
                    if self.dice.chance(30) {
                        life.delivery.producer_failed(Some(producer), self.now);
                    }
                }
                44 => self.close_one(),
                _ => self.turn(&mut life),
            }
        }
        if self.dice.chance(20) {
            self.quiet(&mut life);
        }
        self.die();
    }

    fn write(&mut self) {
        let open: Vec<u64> = self.spool.logs.iter().filter(|(_, (_, closed))| !closed).map(|(log, _)| *log).collect();
        if open.is_empty() {
            return;
        }
        let log = open[self.dice.roll(open.len() as u64) as usize];
        let more = 1 + self.dice.roll(5) as u32;
        self.spool.logs.entry(log).and_modify(|(count, _)| *count += more);
    }

    fn close_one(&mut self) {
        if let Some((_, closed)) = self.spool.logs.values_mut().find(|(_, closed)| !closed) {
            *closed = true;
        }
    }

    fn change_weather(&mut self) {
        let leaderless = self.spool.logs.keys().copied().filter(|_| self.dice.chance(20)).collect();
        self.weather = Weather { silent: self.dice.chance(30), leaderless, control_away: self.dice.chance(40) };
    }

    /// What the shell does in a round, with everything that may go wrong around it.
    fn turn(&mut self, life: &mut Life) {
        self.fly(life);
        self.report(life);
        let room = life.delivery.room();
        if room > 0 && self.dice.chance(80) {
            let batch = life.reader.next(&self.spool, room.min(1 + self.dice.roll(12) as usize), self.seed);
            life.delivery.read(batch, self.now);
        }
        assert!(life.delivery.waiting() <= LIMITS.window_records, "seed {}: {} wait", self.seed, life.delivery.waiting());
        if life.delivery.wants_producer(self.now) {
            life.producer = life.delivery.producer_made();
            life.to_broker.clear();
            if self.dice.chance(10) {
                life.delivery.producer_failed(Some(life.producer), self.now);
            }
        }
        self.hand_over(life);
        self.ingest(life);
        if self.dice.chance(50) {
            self.release(life);
        }
    }

    fn hand_over(&mut self, life: &mut Life) {
        while let Some((ticket, record)) = life.delivery.unsent(self.now) {
            if self.dice.chance(5) {
                break;
            }
            let record = (record.incarnation, record.sequence);
            life.delivery.handed(ticket);
            let arrives = self.now + self.dice.roll(200);
            life.to_broker.push_back(Flying { arrives, producer: life.producer, ticket, record });
        }
        assert!(life.to_broker.len() <= LIMITS.window_records, "seed {}: the producer holds {}", self.seed, life.to_broker.len());
    }

    /// Messages reach the brokers, perhaps twice, perhaps out of order; reports come back or do not.
    fn fly(&mut self, life: &mut Life) {
        let mut waiting = VecDeque::new();
        while let Some(message) = life.to_broker.pop_front() {
            let unreachable = self.weather.silent || self.weather.leaderless.contains(&message.record.0);
            if unreachable || message.arrives > self.now {
                waiting.push_back(message);
                continue;
            }
            match self.dice.roll(100) {
                // Refused.
                0..4 => life.reports.push_back(Flying { arrives: u64::MAX, ..message }),
                // Written, and its answer is lost: the client sends it again, and the broker knows it.
                4..8 => {
                    self.kafka.insert(message.record);
                    waiting.push_back(Flying { arrives: self.now + self.dice.roll(300), ..message });
                }
                _ => {
                    self.kafka.insert(message.record);
                    life.reports.push_back(Flying { arrives: self.now + self.dice.roll(100), ..message });
                }
            }
        }
        life.to_broker = waiting;
    }

    fn report(&mut self, life: &mut Life) {
        let mut later = VecDeque::new();
        while let Some(report) = life.reports.pop_front() {
            let Flying { arrives, producer, ticket, record } = report;
            if arrives == u64::MAX {
                life.delivery.undelivered(producer, ticket, self.now);
            } else if arrives > self.now {
                later.push_back(report);
            } else {
                life.delivery.delivered(producer, ticket, record.0, self.now);
                if self.dice.chance(3) {
                    // An earlier producer had it, too.
                    life.delivery.delivered(producer - 1, ticket, record.0, self.now);
                }
            }
        }
        life.reports = later;
    }

    fn ingest(&mut self, life: &mut Life) {
        if let Some((_, records)) = life.ingesting.take_if(|(answers, _)| *answers <= self.now) {
            // What was sent may be in the ledger whether the answer comes or not.
            let landed = !self.weather.control_away || self.dice.chance(30);
            if landed {
                self.ledger.extend(records);
            }
            life.delivery.ingested(landed && self.dice.chance(80), self.now);
        }
        if life.ingesting.is_none()
            && let Some(records) = life.delivery.ingest(self.now)
        {
            assert!(records.len() <= LIMITS.ingest_records, "seed {}", self.seed);
            self.opened += 1;
            let records = records.iter().map(|record| (record.incarnation, record.sequence)).collect();
            life.ingesting = Some((self.now + self.dice.roll(400), records));
        }
    }

    /// Saves, then deletes, as the shell does; what is deleted must be somewhere else.
    fn release(&mut self, life: &mut Life) {
        life.unsaved.extend(life.delivery.take_moved());
        if life.unsaved.is_empty() {
            return;
        }
        self.file = cursors::encode(life.delivery.cursors());
        for (log, end) in std::mem::take(&mut life.unsaved) {
            for sequence in 1..=u64::from(index(end)) {
                let record = (log, sequence);
                assert!(
                    self.kafka.contains(&record) || self.ledger.contains(&record),
                    "seed {}: {record:?} was released unsent",
                    self.seed
                );
            }
            let (count, closed) = self.spool.logs[&log];
            if closed && index(end) == count && life.reader.finished.contains(&log) {
                self.spool.logs.remove(&log);
                self.spool.kept.remove(&log);
                self.gone.insert(log);
                life.delivery.forget(log);
            } else {
                self.spool.kept.insert(log, end.segment);
            }
        }
    }

    fn die(&mut self) {
        if self.file.is_empty() {
            return;
        }
        match self.dice.roll(10) {
            0 => self.file.truncate(self.dice.roll(self.file.len() as u64) as usize),
            1 => {
                let at = self.dice.roll(self.file.len() as u64) as usize;
                self.file[at] ^= 1 << self.dice.roll(8);
            }
            2 => self.file.clear(),
            _ => {}
        }
    }

    /// The weather clears, nothing more is written: everything leaves, and the second way closes.
    fn quiet(&mut self, life: &mut Life) {
        self.weather = Weather::default();
        for (_, closed) in self.spool.logs.values_mut() {
            *closed = true;
        }
        for _ in 0..5000 {
            self.now += 20;
            self.turn(life);
            if self.spool.logs.is_empty() && life.delivery.waiting() == 0 {
                return;
            }
        }
        panic!("seed {}: {:?} stay in the spool, {} wait", self.seed, self.spool.logs, life.delivery.waiting());
    }
}

fn simulate(seed: u64) -> u64 {
    let mut world = World::new(seed);
    for _ in 0..1 + world.dice.roll(4) {
        world.live();
    }
    let mut life = world.start();
    world.quiet(&mut life);
    world.opened
}

#[test]
fn whatever_fails_nothing_is_released_unsent_and_everything_leaves() {
    if let Some(seed) = std::env::var("WAYBILL_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        simulate(seed);
        return;
    }
    let seeds = std::env::var("WAYBILL_TEST_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1000);
    let opened: u64 = (0..seeds).map(simulate).sum();
    assert!(opened > seeds / 10, "the second way was used {opened} times");
}

/// A record of log 7 for each sequence.
fn batch(sequences: std::ops::RangeInclusive<u64>) -> Batch {
    let record = |seq| Record { incarnation: 7, seq, kind: Kind::Settled, attempt: [0; 16], carried: false, payload: vec![1] };
    let end = *sequences.end() as u32;
    Batch { records: sequences.map(record).collect(), cursors: BTreeMap::from([(7, position(end))]), ..Batch::default() }
}

#[test]
fn the_second_way_opens_after_the_silence_and_closes_with_the_next_delivery() {
    let mut delivery = Delivery::new(LIMITS, BTreeMap::new());
    let producer = delivery.producer_made();
    delivery.read(batch(1..=3), 1000);
    while let Some((ticket, _)) = delivery.unsent(1000) {
        delivery.handed(ticket);
    }
    assert!(delivery.ingest(3999).is_none() && !delivery.second_way());
    let sequences = |records: Vec<waybill_proto::usage::v1::Spooled>| records.iter().map(|record| record.sequence).collect::<Vec<_>>();
    assert_eq!(delivery.ingest(4000).map(sequences), Some(vec![1, 2, 3]));
    assert!(delivery.ingest(4001).is_none(), "one at a time");
    delivery.ingested(false, 4001);
    assert_eq!((delivery.waiting(), delivery.ingest(4002)), (3, None), "a pause follows a failure");
    assert_eq!(delivery.ingest(4051).map(sequences), Some(vec![1, 2, 3]));
    delivery.ingested(true, 4060);
    assert_eq!((delivery.waiting(), delivery.take_moved()), (0, vec![(7, position(3))]));

    // Kafka is known to be silent: what comes now does not wait for another silence.
    delivery.read(batch(4..=4), 9000);
    assert_eq!(delivery.ingest(9000).map(sequences), Some(vec![4]));
    delivery.ingested(false, 9000);
    delivery.delivered(producer, 0, 7, 9001);
    assert!(!delivery.second_way() && delivery.ingest(11_000).is_none(), "the report is of a record that was released long ago");
    assert_eq!(delivery.ingest(12_001).map(sequences), Some(vec![4]));
}

#[test]
fn a_failed_producer_gives_way_after_a_pause_and_all_that_waits_is_sent_again() {
    let mut delivery = Delivery::new(LIMITS, BTreeMap::new());
    let first = delivery.producer_made();
    delivery.read(batch(1..=4), 0);
    let drain = |delivery: &mut Delivery, now| {
        let mut sent = Vec::new();
        while let Some((ticket, record)) = delivery.unsent(now) {
            sent.push(record.sequence);
            delivery.handed(ticket);
        }
        sent
    };
    assert_eq!(drain(&mut delivery, 0), [1, 2, 3, 4]);
    delivery.delivered(first, 1, 7, 5);
    delivery.producer_failed(Some(first), 10);
    delivery.producer_failed(Some(first), 11);
    assert!(!delivery.wants_producer(59) && delivery.wants_producer(60));
    let second = delivery.producer_made();
    assert_eq!(drain(&mut delivery, 60), [1, 3, 4]);
    delivery.delivered(first, 0, 7, 61);
    assert_eq!((delivery.waiting(), delivery.take_moved()), (2, vec![]), "a report of the first is as true as one of the second");
    delivery.undelivered(second, 2, 62);
    assert_eq!(drain(&mut delivery, 161), [0; 0], "a refusal is followed by a pause");
    assert_eq!(drain(&mut delivery, 162), [3]);
    delivery.delivered(second, 3, 7, 163);
    delivery.delivered(second, 2, 7, 163);
    assert_eq!((delivery.waiting(), delivery.take_moved()), (0, vec![(7, position(4))]));
}
