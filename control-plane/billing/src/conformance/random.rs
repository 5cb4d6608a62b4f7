//! Random histories against the model: duplicates, contradictions, any order, owners that were replaced, the second way beside the first, callers
//! that give up, answers that are lost. A seed is a history, so that one that fails can be run again.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use tokio::task::yield_now;
use waybill_model::money::Picousd;
use waybill_proto::usage::v1::{Kind, Spooled};

use super::{
    Factory, Subject, every_event,
    model::{Ending, Fact, Model, View, What},
    partitions::progress,
    sample,
};
use crate::{Adjustment, Error, Ledger, PartitionProgress, Progress, Refusal, Report, Scope};

const LOGS: u64 = 4;
const PARTITIONS: usize = 2;
const HANDLES: usize = 3;
const STEPS: u64 = 24;

/// Runs these histories, each on a ledger of its own.
pub async fn histories(factory: Factory<'_>, seeds: Range<u64>) {
    for seed in seeds {
        println!("history {seed}");
        History::new(factory().await, seed).await.run().await;
    }
}

/// A stream of numbers that is the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }
}

/// A record with what it is.
type Told = (Spooled, Fact);

/// A partition as its owner sees it.
#[derive(Clone, Copy, Default)]
struct Owned {
    epoch: u64,
    offset: i64,
}

struct History {
    subject: Subject,
    dice: Dice,
    handles: Vec<Arc<dyn Ledger>>,
    records: Vec<Told>,
    owned: [Owned; PARTITIONS],
    model: Model,
}

impl History {
    async fn new(subject: Subject, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut handles = Vec::new();
        for _ in 0..HANDLES {
            handles.push(subject.open().await);
        }
        let records = records(&mut dice);
        let mut owned = [Owned::default(); PARTITIONS];
        for (partition, owned) in (0..).zip(&mut owned) {
            owned.epoch = handles[0].assign("wb.usage.v1", partition).await.expect("assigned").epoch;
        }
        Self { subject, dice, handles, records, owned, model: Model::default() }
    }

    async fn run(mut self) {
        for _ in 0..STEPS {
            match self.dice.below(10) {
                0..=2 => self.hand_in().await,
                3 | 4 => self.read().await,
                5 => self.two_at_once().await,
                6 => self.give_up().await,
                7 => self.replace().await,
                8 => self.resolve().await,
                _ => self.reopen().await,
            }
        }
        let all: Vec<Told> = self.records.clone();
        self.deliver(&all).await;
        self.compare().await;
        let ledger = self.handle();
        let faults = ledger.verify().await.expect("verified").faults;
        assert!(faults.iter().all(|fault| fault.contains("never arrived")), "{faults:?}");
        assert_eq!(!faults.is_empty(), self.model.lost(), "{faults:?}");
        let recomputed = ledger.recompute(&|_| Some(sample::tariff())).await.expect("recomputed");
        assert_eq!(recomputed.differences, Vec::<String>::new());
    }

    fn handle(&mut self) -> Arc<dyn Ledger> {
        Arc::clone(self.dice.pick(&self.handles))
    }

    fn batch(&mut self) -> Vec<Told> {
        let length = self.dice.below(20);
        (0..length).map(|_| self.dice.pick(&self.records).clone()).collect()
    }

    async fn deliver(&mut self, batch: &[Told]) {
        let report = self.handle().commit(&wire(batch), Progress::None).await.expect("committed");
        assert_eq!(counted(report), self.model.deliver(&facts(batch)));
    }

    async fn hand_in(&mut self) {
        let batch = self.batch();
        self.deliver(&batch).await;
    }

    fn step(&mut self, partition: usize, batch: &[Told]) -> PartitionProgress {
        let Owned { epoch, offset } = self.owned[partition];
        let next = offset + i64::try_from(batch.len()).expect("small") + i64::try_from(self.dice.below(2)).expect("small");
        progress(i32::try_from(partition).expect("small"), epoch, offset, next)
    }

    /// By the owner; in every second case its answer is lost, and it does the same again.
    async fn read(&mut self) {
        let partition = usize::try_from(self.dice.below(PARTITIONS as u64)).expect("small");
        let batch = self.batch();
        let step = self.step(partition, &batch);
        let report = self.handle().commit(&wire(&batch), Progress::Partition(&step)).await.expect("committed");
        assert_eq!(counted(report), self.model.deliver(&facts(&batch)));
        if self.dice.below(2) == 0 {
            let again = self.handle().commit(&wire(&batch), Progress::Partition(&step)).await.expect("repeated");
            assert_eq!(counted(again), (0, batch.len(), 0));
        }
        self.owned[partition].offset = step.next;
    }

    /// The first way beside the second, with whatever they contradict each other in: the outcome is that of one order or the other.
    async fn two_at_once(&mut self) {
        let (one, two) = (self.batch(), self.batch());
        let step = self.step(0, &one);
        let (first, second) = (self.handle(), self.handle());
        let (one_wire, two_wire) = (wire(&one), wire(&two));
        let (by_first, by_second) =
            tokio::join!(first.commit(&one_wire, Progress::Partition(&step)), second.commit(&two_wire, Progress::None));
        let (by_first, by_second) = (counted(by_first.expect("committed")), counted(by_second.expect("committed")));
        self.owned[0].offset = step.next;
        let seen = view(&*first).await;
        for turn in [true, false] {
            let mut model = self.model.clone();
            let (counted_one, counted_two) = if turn {
                let counted_one = model.deliver(&facts(&one));
                (counted_one, model.deliver(&facts(&two)))
            } else {
                let counted_two = model.deliver(&facts(&two));
                (model.deliver(&facts(&one)), counted_two)
            };
            if (counted_one, counted_two) == (by_first, by_second) && model.view() == seen {
                self.model = model;
                return;
            }
        }
        panic!("neither order makes what is seen: {seen:#?}");
    }

    /// A caller that does not wait for the answer: the batch is there whole or not at all.
    async fn give_up(&mut self) {
        let batch = self.batch();
        let (ledger, records, turns) = (self.handle(), wire(&batch), self.dice.below(40));
        let patience = async {
            for _ in 0..turns {
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = patience => {}
            report = ledger.commit(&records, Progress::None) => drop(report.expect("committed")),
        }
        // Whoever comes next for the same logs waits for what was left behind: an empty batch says nothing, so the same records do.
        let mut after = self.model.clone();
        after.deliver(&facts(&batch));
        let report = counted(self.handle().commit(&records, Progress::None).await.expect("committed"));
        assert!(report == (0, batch.len(), 0) || report == self.model.deliver(&facts(&batch)), "{report:?}");
        self.model = after;
    }

    /// Another owner; the one before goes on as if nothing had happened.
    async fn replace(&mut self) {
        let partition = usize::try_from(self.dice.below(PARTITIONS as u64)).expect("small");
        let zombies_batch = self.batch();
        let zombies_step = self.step(partition, &zombies_batch);
        let number = i32::try_from(partition).expect("small");
        let assigned = self.handle().assign("wb.usage.v1", number).await.expect("assigned");
        let offset = self.owned[partition].offset;
        assert_eq!(assigned.epoch, self.owned[partition].epoch + 1);
        assert_eq!(assigned.next_offset.unwrap_or(0), offset);
        self.owned[partition].epoch = assigned.epoch;
        let refused = self.handle().commit(&wire(&zombies_batch), Progress::Partition(&zombies_step)).await;
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
        self.compare().await;
    }

    async fn resolve(&mut self) {
        let number = self.dice.below(self.records.len() as u64);
        let word = Adjustment { operator: "ann".into(), reason: "invoice".into(), unix_us: 1 };
        let done = self.handle().adjust(sample::attempt_id(number), Picousd(number.cast_signed()), word).await;
        let expected = self.model.resolve(number, i128::from(number));
        assert!(matches!(done, Ok(_) | Err(Refusal::Unknown(_) | Refusal::NotOrphaned { .. } | Refusal::AlreadyAdjusted(_))), "{done:?}");
        assert_eq!(done.is_ok(), expected, "{done:?}");
    }

    async fn reopen(&mut self) {
        let place = usize::try_from(self.dice.below(HANDLES as u64)).expect("small");
        self.handles[place] = self.subject.open().await;
        self.compare().await;
    }

    async fn compare(&mut self) {
        assert_eq!(view(&*self.handle()).await, self.model.view());
    }
}

/// Logs with attempts of all kinds. Some records are damaged, some names are used twice with different contents, some attempts end twice, some logs
/// are closed, some of them twice.
fn records(dice: &mut Dice) -> Vec<Told> {
    let mut records = Vec::new();
    let mut content = 0;
    for log in 1..=LOGS {
        let last = dice.below(16);
        for sequence in 1..=last {
            for _ in 0..if dice.below(6) == 0 { 2 } else { 1 } {
                content += 1;
                records.push(record(dice, log, sequence, content));
            }
        }
        for closing in 0..dice.below(3) {
            content += 1;
            let (last, doubt) = (last + dice.below(2), dice.below(2) == 0);
            let sequence = last + 1 + closing;
            let fact = Fact { log, sequence, content, what: What::Close { last, doubt } };
            records.push((sample::closed(log, sequence, last, doubt), fact));
        }
    }
    content += 1;
    records.push(record(dice, LOGS + 1, 1, content));
    same_names_differ(records)
}

fn record(dice: &mut Dice, log: u64, sequence: u64, content: u64) -> Told {
    // Few attempts for many records: some end twice.
    let attempt = dice.below(60);
    let (kind, ending) = *dice.pick(&[
        (Kind::Settled, Ending::Sold),
        (Kind::Partial, Ending::Sold),
        (Kind::Failed, Ending::Failed),
        (Kind::Orphaned, Ending::Orphaned),
    ]);
    let mut event = sample::event(attempt, kind);
    event.duration_us = content;
    let mut spooled = sample::spooled(log, sequence, &event);
    let mut what = What::End { attempt, ending, amount: i128::from(event.amount_picousd) };
    if dice.below(8) == 0 {
        spooled.payload = spooled.payload.slice(..spooled.payload.len() - 1);
        what = What::Noise;
    }
    (spooled, Fact { log, sequence, content, what })
}

/// Closings of a log may fall on the same number: what is the same has the same content.
fn same_names_differ(records: Vec<Told>) -> Vec<Told> {
    let mut contents: BTreeMap<(u64, u64, Vec<u8>, i32), u64> = BTreeMap::new();
    let told = |(spooled, mut fact): Told| {
        let name = (fact.log, fact.sequence, spooled.payload.to_vec(), spooled.kind);
        fact.content = *contents.entry(name).or_insert(fact.content);
        (spooled, fact)
    };
    records.into_iter().map(told).collect()
}

fn wire(batch: &[Told]) -> Vec<Spooled> {
    batch.iter().map(|(spooled, _)| spooled.clone()).collect()
}

fn facts(batch: &[Told]) -> Vec<Fact> {
    batch.iter().map(|(_, fact)| fact.clone()).collect()
}

const fn counted(report: Report) -> (usize, usize, usize) {
    (report.inserted, report.duplicates, report.quarantined)
}

/// Everything that can be seen of a ledger.
async fn view(ledger: &dyn Ledger) -> View {
    let mut view = View::default();
    for row in every_event(ledger, Kind::Unspecified).await {
        let event = row.event.unwrap_or_default();
        if event.kind() != Kind::Adjusted {
            view.ends.insert((row.incarnation, row.sequence), i128::from(event.amount_picousd));
        }
    }
    view.closings = every_event(ledger, Kind::Closed).await.iter().map(|row| (row.incarnation, row.sequence)).collect();
    view.balances = super::balances(ledger).await.into_iter().collect();
    for key in 0..3 {
        let (org, workspace, api_key) = sample::owner(key);
        let total = ledger.key_usage(&Scope { org, workspace, api_key }, sample::NOON_US).await.expect("usage").total;
        if total != 0 {
            view.spent.insert(key, total);
        }
    }
    let status = ledger.status().await.expect("status");
    for log in status.incarnations.into_iter().filter(|log| log.incarnation != ledger.incarnation()) {
        let missing = |sequence: &u64| log.missing.iter().any(|(first, last)| (*first..=*last).contains(sequence));
        view.arrived.insert(log.incarnation, (1..=log.highest).filter(|sequence| !missing(sequence)).collect());
        if let Some(closed) = log.closed {
            view.closed.insert(log.incarnation, (closed.last_sequence, closed.doubt));
        }
    }
    view.unresolved = status.orphaned_open;
    let aside = ledger.quarantine(10_000).await.expect("rows");
    assert_eq!(status.quarantined, aside.len() as u64);
    for row in aside {
        *view.set_aside.entry((row.incarnation, row.sequence)).or_default() += 1;
    }
    view
}
