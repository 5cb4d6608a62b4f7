//! A seeded simulation of many lives: random intents, ends, rolls, syncs, reads, process deaths and machine deaths that lose or garble what was
//! not synced. `WAYBILL_TEST_SEEDS` sets how many worlds are lived through; a failure names its seed. The checker knows only what was asked of the spool and what it answered, and shares nothing with its bookkeeping.

use std::collections::HashMap;

use super::*;
use crate::spool::{Closed, Position, Refusal};

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
}

/// What the checker knows of an attempt.
#[derive(Clone, Debug)]
struct Known {
    incarnation: u64,
    /// Where the intent ends in the log.
    intent: Position,
    /// Kind, sequence, payload, and where the end ends in the log.
    end: Option<(Kind, u64, Vec<u8>, Position)>,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Closed,
    Process,
    Machine,
}

/// What is known of a log.
#[derive(Clone, Debug)]
struct Life {
    death: Death,
    /// Up to where its last completed sync reached.
    durable: Position,
}

/// The consumer: it has committed these events and these cursors, together.
#[derive(Default)]
struct Consumer {
    events: HashMap<(u64, u64), Record>,
    cursors: BTreeMap<u64, Position>,
    damaged: std::collections::BTreeSet<u64>,
}

impl Consumer {
    fn take(&mut self, batch: Batch) {
        for record in batch.records {
            let old = self.events.insert((record.incarnation, record.seq), record.clone());
            assert!(old.is_none_or(|old| old == record), "one sequence with two contents: {record:?}");
        }
        self.cursors.extend(batch.cursors);
        self.damaged.extend(batch.damage.iter().map(|damage| damage.incarnation));
    }
}

struct World {
    dice: Dice,
    folder: std::path::PathBuf,
    boots: u8,
    attempts: HashMap<[u8; 16], Known>,
    lives: HashMap<u64, Life>,
    consumer: Consumer,
    next: u64,
}

impl World {
    fn boot(&self) -> [u8; 16] {
        [self.boots; 16]
    }

    /// One process life, to its death.
    fn live(&mut self) {
        let options = Options { bound_bytes: 64 * 4096, ..small(&self.folder) };
        let (spool, _) = Spool::start_by_hand(options, self.boot(), orphan).unwrap();
        let mut logs: Vec<Log> = (0..1 + self.dice.roll(2)).map(|_| self.open(&spool)).collect();
        let mut open: Vec<Vec<[u8; 16]>> = vec![Vec::new(); logs.len()];
        let mut reader = spool.reader(self.consumer.cursors.clone());
        for _ in 0..self.dice.roll(250) {
            let which = self.dice.roll(logs.len() as u64) as usize;
            match self.dice.roll(20) {
                0..8 => self.intent(&mut logs[which], &mut open[which]),
                8..16 => self.end(&mut logs[which], &mut open[which]),
                16..18 => spool.pass(),
                _ => self.consume(&mut reader, &logs),
            }
        }
        self.die(spool, logs, open);
    }

    fn open(&mut self, spool: &Spool) -> Log {
        let incarnation = self.next;
        self.next += 1;
        spool.open(identity(incarnation)).unwrap()
    }

    fn intent(&mut self, log: &mut Log, open: &mut Vec<[u8; 16]>) {
        self.next += 1;
        let id = attempt(self.next);
        match log.intent(id, &intent_payload(self.next)) {
            Ok(intent) => {
                self.attempts.insert(id, Known { incarnation: log.incarnation(), intent, end: None });
                open.push(id);
            }
            Err(Refusal::Crowded { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn end(&mut self, log: &mut Log, open: &mut Vec<[u8; 16]>) {
        if open.is_empty() {
            return;
        }
        let id = open.swap_remove(self.dice.roll(open.len() as u64) as usize);
        let (end, kind) =
            [(End::Settled, Kind::Settled), (End::Partial, Kind::Partial), (End::Failed, Kind::Failed)][self.dice.roll(3) as usize];
        let payload = end_payload(self.dice.roll(1000) % 90);
        let (seq, position) = log.end(id, end, &payload).unwrap();
        self.attempts.get_mut(&id).unwrap().end = Some((kind, seq, payload, position));
    }

    /// Reads a batch; its commit may fail, and what was committed may be released.
    fn consume(&mut self, reader: &mut super::super::Reader, logs: &[Log]) {
        let batch = reader.next(1 + self.dice.roll(30) as usize).unwrap();
        for log in logs {
            let read_to = batch.cursors.get(&log.incarnation()).copied().unwrap_or_default();
            assert!(read_to <= log.durable_position(), "read beyond the last sync");
        }
        if self.dice.roll(5) == 0 {
            reader.rewind(self.consumer.cursors.clone());
            return;
        }
        let moved: std::collections::BTreeSet<u64> = batch.cursors.keys().chain(&batch.finished).copied().collect();
        self.consumer.take(batch);
        for incarnation in moved {
            if self.dice.roll(2) == 0 && reader.release(incarnation, self.consumer.cursors[&incarnation]).unwrap() {
                self.consumer.cursors.remove(&incarnation);
            }
        }
    }

    fn die(&mut self, spool: Spool, mut logs: Vec<Log>, open: Vec<Vec<[u8; 16]>>) {
        let death = [Death::Closed, Death::Process, Death::Machine][self.dice.roll(3) as usize];
        let mut died = Vec::new();
        for (log, mut open) in logs.iter_mut().zip(open) {
            match death {
                Death::Closed => {
                    while !open.is_empty() {
                        self.end(log, &mut open);
                    }
                    log.close(false).unwrap();
                }
                Death::Process => self.tear(log, &mut open),
                Death::Machine => died.push(log.incarnation()),
            }
            self.lives.insert(log.incarnation(), Life { death, durable: log.durable_position() });
        }
        drop((logs, spool));
        for incarnation in died {
            self.lose_unsynced(incarnation);
        }
        self.boots += u8::from(death == Death::Machine);
    }

    /// The process dies in the middle of writing one more intent, of which nobody has heard.
    fn tear(&mut self, log: &mut Log, open: &mut Vec<[u8; 16]>) {
        let path = |position: Position| self.folder.join(format!("{:016x}/{:08}.seg", log.incarnation(), position.segment));
        let before = fs::read(path(log.written())).unwrap();
        let (start, path) = (log.written(), path(log.written()));
        let known = open.len();
        self.intent(log, open);
        if open.len() > known && log.written().segment == start.segment {
            self.attempts.remove(&open[known]);
            let mut after = fs::read(&path).unwrap();
            let (from, to) = (u64::from(start.offset), u64::from(log.written().offset));
            let cut = (from + self.dice.roll(to - from)) as usize;
            after[cut..].copy_from_slice(&before[cut..]);
            fs::write(&path, after).unwrap();
        }
    }

    /// The machine dies: each eight bytes behind the last sync may have reached the disk or not, and so may each new file's name.
    fn lose_unsynced(&mut self, incarnation: u64) {
        let folder = self.folder.join(format!("{incarnation:016x}"));
        let durable = self.lives[&incarnation].durable;
        if !folder.exists() {
            return;
        }
        let mut files = save(&folder);
        let style = self.dice.roll(3);
        let keep_until = self.dice.roll(4096) as usize;
        files.retain(|name, bytes| {
            let number: u32 = name[..8].parse().unwrap();
            let from = match number.cmp(&durable.segment) {
                std::cmp::Ordering::Less => return true,
                std::cmp::Ordering::Equal => durable.offset as usize,
                std::cmp::Ordering::Greater if self.dice.roll(3) == 0 => return false,
                std::cmp::Ordering::Greater => 0,
            };
            let from = from.min(bytes.len());
            match style {
                0 => bytes[from..].fill(0),
                1 => bytes.iter_mut().skip(from.max(keep_until)).for_each(|byte| *byte = 0),
                _ => bytes[from..].chunks_mut(64).for_each(|chunk| {
                    if self.dice.roll(4) == 0 {
                        chunk.fill(0);
                    }
                }),
            }
            true
        });
        // A later file without an earlier one cannot be: names are made durable in one folder sync, so drop what lies behind a hole.
        let mut expected = files.keys().next().map_or(0, |name| name[..8].parse::<u32>().unwrap());
        files.retain(|name, _| {
            let is_next = *name == format!("{expected:08}.seg");
            expected += u32::from(is_next);
            is_next
        });
        restore(&folder, &files);
    }

    /// Reads everything to the end and holds it against what was promised.
    fn check(&mut self, seed: u64) {
        let (spool, _) = Spool::start_by_hand(small(&self.folder), self.boot(), orphan).unwrap();
        let mut reader = spool.reader(self.consumer.cursors.clone());
        loop {
            let batch = reader.next(50).unwrap();
            if batch.is_empty() {
                break;
            }
            self.consumer.take(batch);
        }
        let mut ends: HashMap<[u8; 16], Vec<&Record>> = HashMap::new();
        for record in self.consumer.events.values().filter(|record| record.kind != Kind::Closed) {
            ends.entry(record.attempt).or_default().push(record);
        }
        for (id, known) in &self.attempts {
            let ends = ends.remove(id).unwrap_or_default();
            self.check_attempt(seed, known, &ends);
        }
        assert!(ends.is_empty(), "seed {seed}: events of attempts that never were: {ends:?}");
        for (incarnation, life) in &self.lives {
            self.check_log(seed, *incarnation, life);
        }
    }

    fn check_attempt(&self, seed: u64, known: &Known, ends: &[&Record]) {
        let life = &self.lives[&known.incarnation];
        let machine = life.death == Death::Machine;
        assert!(ends.len() <= 1, "seed {seed}: {known:?} ended twice: {ends:?}");
        let Some(end) = ends.first() else {
            assert!(machine && known.intent > life.durable, "seed {seed}: {known:?} has no end, {life:?}");
            return;
        };
        match &known.end {
            Some((kind, seq, payload, position)) if end.kind != Kind::Orphaned => {
                assert_eq!((end.kind, end.seq, &end.payload), (*kind, *seq, payload), "seed {seed}: {position:?}");
            }
            Some((.., position)) => assert!(machine && *position > life.durable, "seed {seed}: a durable end was orphaned: {known:?}"),
            None => assert_eq!(end.kind, Kind::Orphaned, "seed {seed}: {known:?}"),
        }
        if end.kind == Kind::Orphaned {
            assert!(end.payload.starts_with(b"orphan of intent "), "seed {seed}: {end:?}");
        }
    }

    fn check_log(&self, seed: u64, incarnation: u64, life: &Life) {
        let mut seqs: Vec<&Record> = self.consumer.events.values().filter(|record| record.incarnation == incarnation).collect();
        seqs.sort_by_key(|record| record.seq);
        let last = seqs.pop().unwrap_or_else(|| panic!("seed {seed}: {incarnation} was never closed"));
        let closed = Closed::decode(&last.payload).filter(|_| last.kind == Kind::Closed).unwrap();
        assert_eq!((closed.last_seq + 1, closed.doubt), (last.seq, life.death == Death::Machine), "seed {seed}: {incarnation} {life:?}");
        let dense = seqs.iter().zip(1..).all(|(record, seq)| record.seq == seq) && seqs.len() as u64 == closed.last_seq;
        assert!(dense || life.death == Death::Machine, "seed {seed}: {incarnation} has a gap");
        assert!(!self.consumer.damaged.contains(&incarnation) || life.death == Death::Machine, "seed {seed}: {incarnation}");
    }
}

fn simulate(seed: u64) {
    let folder = in_memory();
    let mut world = World {
        dice: Dice(seed),
        folder: folder.path().to_owned(),
        boots: 1,
        attempts: HashMap::new(),
        lives: HashMap::new(),
        consumer: Consumer::default(),
        next: 1,
    };
    for _ in 0..1 + world.dice.roll(6) {
        world.live();
    }
    world.check(seed);
}

#[test]
fn whatever_dies_each_attempt_ends_once_and_nothing_durable_is_lost() {
    let seeds = std::env::var("WAYBILL_TEST_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(200);
    for seed in 0..seeds {
        simulate(seed);
    }
}
