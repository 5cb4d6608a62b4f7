//! The spool as a whole, on real files in a temporary folder.

mod damage;
mod kill;
mod recovery;
mod simulation;
mod writing;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::plan::IntentRecord;
use super::record::Kind;
use super::{Batch, End, Identity, Log, Options, Record, Recovered, Spool};

const BOOT: [u8; 16] = *b"the-current-boot";

/// A folder in memory where there is such a thing, for tests of many rounds that are about bytes and not about the disk.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Segments so small that a test rolls them: room for about twenty of its attempts.
fn small(folder: &Path) -> Options {
    Options { segment_bytes: 4096, max_intent_bytes: 96, max_end_bytes: 96, ..Options::new(folder) }
}

fn identity(incarnation: u64) -> Identity {
    Identity { incarnation, process: 77, log: 0, logs: 1 }
}

/// The orphan of an intent says whose it is, so that no mix-up goes unseen.
fn orphan(intent: &IntentRecord<'_>) -> Vec<u8> {
    [b"orphan of ".as_slice(), intent.payload].concat()
}

fn start(options: Options) -> (Spool, Vec<Recovered>) {
    Spool::start_by_hand(options, BOOT, orphan).unwrap()
}

fn attempt(number: u64) -> [u8; 16] {
    let mut id = [0xa5; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

fn intent_payload(number: u64) -> Vec<u8> {
    format!("intent {number}, {}", "i".repeat(number as usize % 40)).into_bytes()
}

fn end_payload(number: u64) -> Vec<u8> {
    format!("end {number}, {}", "e".repeat(number as usize * 7 % 50)).into_bytes()
}

/// Writes whole attempts of these numbers.
fn run(log: &mut Log, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        log.intent(attempt(number), &intent_payload(number)).unwrap();
        log.end(attempt(number), End::Settled, &end_payload(number)).unwrap();
    }
}

/// Everything that can be read now, in small batches.
fn read_all(spool: &Spool, intents: bool) -> Batch {
    let mut reader = spool.reader([]);
    if intents {
        reader = reader.with_intents();
    }
    let mut all = Batch::default();
    loop {
        let batch = reader.next(7).unwrap();
        if batch.is_empty() {
            return all;
        }
        all.records.extend(batch.records);
        all.cursors.extend(batch.cursors);
        all.damage.extend(batch.damage);
        all.finished.extend(batch.finished);
    }
}

/// (sequence, kind, attempt, payload) of every event.
fn events(batch: &Batch) -> Vec<(u64, Kind, [u8; 16], Vec<u8>)> {
    let plain = |record: &Record| (record.seq, record.kind, record.attempt, record.payload.clone());
    batch.records.iter().filter(|record| record.kind != Kind::Intent).map(plain).collect()
}

/// The files of a log's folder.
type Files = BTreeMap<String, Vec<u8>>;

fn save(folder: &Path) -> Files {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    fs::read_dir(folder).unwrap().map(entry).collect()
}

fn restore(folder: &Path, files: &Files) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}
