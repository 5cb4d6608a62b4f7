//! Keeps records: in memory, in a file, or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::record::{self, Event, Line, Outcome, Record};
use crate::reply::Marks;
use crate::request::Request;
use crate::usage::Usage;

/// Where records are kept. A provider that serves people keeps none: prompts are theirs, and memory is finite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    #[default]
    Nothing,
    /// In this process, for [`crate::Provider::records`].
    Memory,
    /// In this process and, line by line, in a file (mode 0600: it holds keys and prompts). A file that is there is continued.
    File(PathBuf),
}

/// The records of one provider.
#[derive(Debug)]
pub(crate) struct Journal {
    arrivals: AtomicU64,
    /// Requests that have arrived and are not over.
    open: AtomicU64,
    /// Told of every arrival and every end.
    changed: Notify,
    kept: Option<Mutex<Kept>>,
    started: Instant,
    started_us: u64,
}

#[derive(Debug, Default)]
struct Kept {
    records: Vec<Record>,
    file: Option<File>,
}

impl Journal {
    pub(crate) fn open(keep: &Keep) -> io::Result<Self> {
        let kept = match keep {
            Keep::Nothing => None,
            Keep::Memory => Some(Kept::default()),
            Keep::File(path) => Some(reopen(path)?),
        };
        let last = kept.as_ref().and_then(|kept| kept.records.last()).map_or(0, |record| record.arrival);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            arrivals: AtomicU64::new(last),
            open: AtomicU64::new(0),
            changed: Notify::new(),
            kept: kept.map(Mutex::new),
            started: Instant::now(),
            started_us: now.as_micros() as u64,
        })
    }

    /// Numbers a request and begins its record.
    pub(crate) fn arrive(self: &Arc<Self>, request: &mut Request) -> io::Result<Entry> {
        // The number is drawn under the lock, so that the records are in the order of their numbers.
        let kept = self.kept();
        self.open.fetch_add(1, Ordering::AcqRel);
        request.arrival = self.arrivals.fetch_add(1, Ordering::AcqRel) + 1;
        let entry = Entry { journal: self.clone(), arrival: request.arrival, body_bytes: 0, said_bytes: 0, over: false };
        if let Some(mut kept) = kept {
            let event = Event::Arrived {
                method: request.method.to_string(),
                path: request.path.clone(),
                headers: header_pairs(request),
                body: (&request.body).into(),
            };
            kept.records.push(Record { arrival: request.arrival, ..Record::default() });
            kept.note(self.line(request.arrival, event))?;
        }
        self.changed.notify_waiters();
        Ok(entry)
    }

    /// All records so far, by number.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.kept().map_or_else(Vec::new, |kept| kept.records.clone())
    }

    /// Requests so far.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Acquire)
    }

    /// Until at least so many requests have arrived and none is being answered.
    pub(crate) async fn quiet(&self, arrivals: u64) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.arrivals() >= arrivals && self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }

    fn note(&self, arrival: u64, event: Event) -> io::Result<()> {
        match self.kept() {
            Some(mut kept) => kept.note(self.line(arrival, event)),
            None => Ok(()),
        }
    }

    fn line(&self, arrival: u64, event: Event) -> Line {
        Line { arrival, at_us: self.started_us + self.started.elapsed().as_micros() as u64, event }
    }

    fn kept(&self) -> Option<MutexGuard<'_, Kept>> {
        self.kept.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kept {
    fn note(&mut self, line: Line) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let mut text = serde_json::to_vec(&line)?;
            text.push(b'\n');
            // One write per line: what this process has handed to the kernel outlives it.
            file.write_all(&text)?;
        }
        let index = self.records.binary_search_by_key(&line.arrival, |record| record.arrival);
        if let Some(record) = index.ok().and_then(|index| self.records.get_mut(index)) {
            record.apply(line);
        }
        Ok(())
    }
}

/// Opens a records file for appending, with what it holds; a torn last line is taken off.
fn reopen(path: &Path) -> io::Result<Kept> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
    let mut text = Vec::new();
    io::Read::read_to_end(&mut file, &mut text)?;
    let complete = text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    file.set_len(complete as u64)?;
    let records = record::read(path).map_err(io::Error::other)?;
    Ok(Kept { records, file: Some(file) })
}

fn header_pairs(request: &Request) -> Vec<(String, String)> {
    let latin1 = |value: &[u8]| value.iter().map(|b| char::from(*b)).collect();
    request.headers.iter().map(|(name, value)| (name.to_string(), latin1(value.as_bytes()))).collect()
}

/// The running record of one request. Dropped before its end, it says that the client hung up.
pub(crate) struct Entry {
    journal: Arc<Journal>,
    arrival: u64,
    body_bytes: u64,
    said_bytes: u64,
    over: bool,
}

impl Entry {
    /// Status and headers are about to be sent.
    pub(crate) fn answering(&mut self, status: u16, usage: Option<Usage>) -> io::Result<()> {
        self.journal.note(self.arrival, Event::Answering { status, usage })
    }

    /// Bytes of the body are about to be sent.
    pub(crate) fn releasing(&mut self, bytes: usize, marks: Marks) -> io::Result<()> {
        if let Some(usage) = marks.usage {
            self.journal.note(self.arrival, Event::Usage { usage })?;
        }
        if marks.done {
            self.journal.note(self.arrival, Event::Done)?;
        }
        self.body_bytes += bytes as u64;
        self.said_bytes += marks.said;
        Ok(())
    }

    /// The end, of whatever kind, is about to be sent. Only the first end counts.
    pub(crate) fn over(&mut self, outcome: Outcome) -> io::Result<()> {
        if self.over {
            return Ok(());
        }
        self.over = true;
        let event = Event::Over { outcome, body_bytes: self.body_bytes, said_bytes: self.said_bytes };
        let noted = self.journal.note(self.arrival, event);
        self.journal.open.fetch_sub(1, Ordering::AcqRel);
        self.journal.changed.notify_waiters();
        noted
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Nobody is left to be told of a full disk; the record then has no outcome.
        let _ = self.over(Outcome::HungUp);
    }
}
