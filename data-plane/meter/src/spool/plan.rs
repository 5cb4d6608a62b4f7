//! The recovery planner: what a dead log's bytes mean, and which bytes close it. Pure.
//!
//! The plan is a list of writes to be made in order. It can be cut off after any byte and made anew from what then lies in the segment, with
//! the same outcome: the torn tail is blanked from its payload to its header, so that what is left of it is always a torn tail again; then
//! one `orphaned` per open intent and `closed` are appended, each of which is a torn tail until it is whole.
//!
//! Recovery needs no disk: the writer kept room for these records within the segment (see `log`).

use std::collections::{HashMap, HashSet};

use super::record::{self, HEADER_BYTES, Head, Kind, LEAST_BYTES, MAX_PAYLOAD_BYTES, Place};
use super::scan::{Scanner, Step, Tail};
use super::segment::{HeaderFault, Position, SEGMENT_HEADER_BYTES, SegmentHeader};

/// The payload of a log's last record. Its own sequence number is `last_seq` + 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The sequence number of the last event before this record; 0 if there was none.
    pub last_seq: u64,
    /// Events of this log may be missing: it was damaged, or the machine was restarted under it, or its disk failed.
    pub doubt: bool,
}

impl Closed {
    /// Bytes of the payload.
    pub const BYTES: usize = 16;

    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&self.last_seq.to_le_bytes());
        out[8] = u8::from(self.doubt);
        out
    }

    /// Reads the payload of a record of kind [`Kind::Closed`].
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let payload: &[u8; Self::BYTES] = payload.try_into().ok()?;
        let (seq, rest) = payload.split_first_chunk()?;
        Some(Self { last_seq: u64::from_le_bytes(*seq), doubt: rest[0] != 0 })
    }
}

/// An intent that nobody ended, as recovery found it.
#[derive(Clone, Copy, Debug)]
pub struct IntentRecord<'a> {
    pub incarnation: u64,
    pub attempt: [u8; 16],
    pub payload: &'a [u8],
}

/// Bytes of a log that hold no valid record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    pub incarnation: u64,
    pub from: Position,
    pub to: Position,
}

/// What one segment holds.
#[derive(Debug)]
pub(crate) struct Survey {
    number: u32,
    header: Option<SegmentHeader>,
    /// How many carried intents were found.
    carried: u32,
    /// There is a record that is no carried intent.
    lived: bool,
    /// Begun here and not ended here, in order.
    open: Vec<([u8; 16], Vec<u8>)>,
    /// Ended here, but begun before this segment.
    ended: HashSet<[u8; 16]>,
    last_seq: u64,
    /// The `closed` record, and where it ends.
    closed: Option<(Closed, u32)>,
    damage: Vec<(u32, u32)>,
    tail: Tail,
    /// Its unused end was given back: it and the start of its successor are on the disk. A segment in use always keeps room.
    sealed: bool,
}

/// Reads one segment. The only error is a format version this program does not know: such a log must not be touched.
pub(crate) fn survey(incarnation: u64, number: u32, bytes: &[u8]) -> Result<Survey, HeaderFault> {
    let header = match SegmentHeader::decode(bytes, incarnation, number) {
        Ok(header) => Some(header),
        Err(HeaderFault::Unreadable) => None,
        Err(version @ HeaderFault::Version(_)) => return Err(version),
    };
    let body = bytes.get(SEGMENT_HEADER_BYTES as usize..).unwrap_or_default();
    let mut scanner = Scanner::new(body, SEGMENT_HEADER_BYTES, Place::of(incarnation, number));
    let mut survey = Survey {
        number,
        header,
        carried: 0,
        lived: false,
        open: Vec::new(),
        ended: HashSet::new(),
        last_seq: header.map_or(0, |header| header.base_seq.saturating_sub(1)),
        closed: None,
        damage: Vec::new(),
        tail: Tail::Clean { at: SEGMENT_HEADER_BYTES },
        sealed: false,
    };
    let mut open = OpenIntents::default();
    loop {
        match scanner.step() {
            Step::Record { head, payload, end } => survey.note(&mut open, &head, payload, end),
            Step::Damage { start, end } => survey.damage.push((start, end)),
            Step::End(tail) => {
                survey.tail = tail;
                survey.sealed = survey.header.is_some() && matches!(tail, Tail::Clean { at } if at as usize == bytes.len());
                survey.open = open.into_list();
                return Ok(survey);
            }
        }
    }
}

impl Survey {
    fn note<'a>(&mut self, open: &mut OpenIntents<'a>, head: &Head, payload: &'a [u8], end: u32) {
        self.last_seq = self.last_seq.max(head.seq);
        self.lived |= !head.carried;
        match head.kind {
            Kind::Intent => {
                self.carried += u32::from(head.carried);
                open.begin(head.attempt, payload, head.carried);
            }
            Kind::Settled | Kind::Partial | Kind::Failed | Kind::Orphaned => {
                if !open.end(&head.attempt) {
                    self.ended.insert(head.attempt);
                }
            }
            Kind::Adjusted => {}
            Kind::Closed => self.closed = Closed::decode(payload).map(|closed| (closed, end)),
        }
    }

    /// The writer died while it made this segment: nothing but (some of) the carried intents is in it, and the one before is still whole.
    fn is_half_made(&self) -> bool {
        if self.lived || !self.damage.is_empty() || matches!(self.tail, Tail::Damaged { .. }) {
            return false;
        }
        match self.header {
            Some(header) => self.carried < header.carried,
            None => self.carried == 0 && self.tail == Tail::Clean { at: SEGMENT_HEADER_BYTES },
        }
    }

    /// Every intent that was open when this segment began is in it.
    fn is_base(&self) -> bool {
        self.header.is_some_and(|header| self.carried >= header.carried)
    }

    pub(crate) fn header(&self) -> Option<SegmentHeader> {
        self.header
    }
}

/// Open intents in the order in which they were begun.
#[derive(Debug, Default)]
struct OpenIntents<'a> {
    by_attempt: HashMap<[u8; 16], Begun<'a>>,
    serial: u64,
}

#[derive(Debug)]
struct Begun<'a> {
    serial: u64,
    payload: &'a [u8],
    before: bool,
}

impl<'a> OpenIntents<'a> {
    /// `before`: it was begun in an earlier segment. An intent seen again keeps its turn.
    fn begin(&mut self, attempt: [u8; 16], payload: &'a [u8], before: bool) {
        self.serial += 1;
        self.by_attempt.entry(attempt).or_insert(Begun { serial: self.serial, payload, before });
    }

    /// True if all there is of the attempt is in this segment.
    fn end(&mut self, attempt: &[u8; 16]) -> bool {
        self.by_attempt.remove(attempt).is_some_and(|begun| !begun.before)
    }

    fn into_list(self) -> Vec<([u8; 16], Vec<u8>)> {
        let mut list: Vec<_> = self.by_attempt.into_iter().collect();
        list.sort_unstable_by_key(|(_, begun)| begun.serial);
        list.into_iter().map(|(attempt, begun)| (attempt, begun.payload.to_vec())).collect()
    }
}

/// Are the surveys, the last segment's first, enough to plan with? If not, survey the segment before, if there is one.
///
/// After a process died one segment that begins with all open intents is enough. After a machine died, or a disk failed, such a segment may
/// have outlived an end that was written before it: the walk then goes back to one that was sealed, which is done when its successor is on
/// the disk.
pub(crate) fn is_enough(newest_first: &[Survey], about: Circumstances) -> bool {
    let Some(base) = newest_first.iter().position(|survey| !survey.is_half_made() && survey.is_base()) else {
        return false;
    };
    let (newer, older) = newest_first.split_at(base + 1);
    let same_boot = newer.iter().filter_map(Survey::header).all(|header| header.boot == about.boot);
    same_boot && !about.poisoned || older.iter().any(|survey| survey.sealed)
}

/// What is to be done with a dead log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It died before it could admit anything; the folder goes.
    Discard,
    /// It is closed; at most unused room behind `end` is to be given back.
    Trim {
        segment: u32,
        end: u32,
        closed: Closed,
    },
    Close(Closing),
}

/// How a log is closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    /// Half-made segments, to be deleted before anything is written.
    pub discard: Vec<u32>,
    /// The segment that the writes go to.
    pub segment: u32,
    pub writes: Vec<Write>,
    /// Where the log ends after the writes.
    pub end: u32,
    pub closed: Closed,
    pub orphaned: usize,
    /// Bytes of an interrupted write that are cut.
    pub torn: u32,
    pub damage: Vec<Damage>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub what: Action,
    pub at: u32,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Cut,
    Orphan,
    Close,
}

/// What is known of a dead log beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    pub incarnation: u64,
    /// The boot under which recovery runs.
    pub boot: [u8; 16],
    /// A write or a sync of this log failed.
    pub poisoned: bool,
}

/// The payload that was made for an orphan is longer than any record's may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub bytes: usize,
}

/// Plans the recovery of a log from its last segments, the last one first (as many as [`is_enough`] asked for).
pub(crate) fn plan(
    mut newest_first: Vec<Survey>,
    about: Circumstances,
    orphan: &dyn Fn(&IntentRecord<'_>) -> Vec<u8>,
) -> Result<Plan, TooLong> {
    let mut discard = Vec::new();
    while newest_first.len() > 1 && newest_first[0].is_half_made() {
        discard.push(newest_first.remove(0).number);
    }
    let Some(last) = newest_first.first() else {
        return Ok(Plan::Discard);
    };
    if let Some((closed, end)) = last.closed {
        return Ok(Plan::Trim { segment: last.number, end, closed });
    }
    if last.number == 0 && last.is_half_made() {
        return Ok(Plan::Discard);
    }

    let mut found = Found::gather(&newest_first, about);
    let mut writes = cut(last.tail);
    let mut at = append_at(last.tail);
    let mut seq = found.last_seq;
    let place = Place::of(about.incarnation, last.number);
    let mut append = |what, kind, attempt, seq, payload: &[u8]| {
        let mut bytes = Vec::new();
        record::encode(&mut bytes, place, at, &Head { kind, carried: false, seq, attempt }, payload);
        let start = at;
        at += bytes.len() as u32;
        writes.push(Write { what, at: start, bytes });
    };
    let orphaned = found.open.len();
    for (attempt, payload) in found.open.drain(..) {
        seq += 1;
        let payload = orphan(&IntentRecord { incarnation: about.incarnation, attempt, payload: &payload });
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(TooLong { bytes: payload.len() });
        }
        append(Action::Orphan, Kind::Orphaned, attempt, seq, &payload);
    }
    let closed = Closed { last_seq: seq, doubt: found.doubt };
    append(Action::Close, Kind::Closed, [0; 16], seq + 1, &closed.encode());
    let torn = match last.tail {
        Tail::Torn { at, end } => end - at,
        Tail::Clean { .. } | Tail::Damaged { .. } => 0,
    };
    Ok(Plan::Close(Closing { discard, segment: last.number, end: at, writes, closed, orphaned, torn, damage: found.damage }))
}

/// The state of a log at its end.
struct Found {
    open: Vec<([u8; 16], Vec<u8>)>,
    last_seq: u64,
    damage: Vec<Damage>,
    doubt: bool,
}

impl Found {
    fn gather(newest_first: &[Survey], about: Circumstances) -> Self {
        let mut open = OpenIntents::default();
        let mut found = Self { open: Vec::new(), last_seq: 0, damage: Vec::new(), doubt: about.poisoned };
        let newest = newest_first.first().map_or(0, |last| last.number);
        for survey in newest_first.iter().rev() {
            for attempt in &survey.ended {
                open.end(attempt);
            }
            for (attempt, payload) in &survey.open {
                open.begin(*attempt, payload, true);
            }
            found.last_seq = found.last_seq.max(survey.last_seq);
            found.list_damage(survey, about.incarnation, survey.number == newest);
            found.doubt |= survey.header.is_none_or(|header| header.boot != about.boot);
        }
        // An intent that should have been carried forward and is nowhere is missing for good.
        let complete = newest_first.last().is_some_and(Survey::is_base);
        found.doubt |= !found.damage.is_empty() || !complete;
        if let Some(Tail::Damaged { at, end }) = newest_first.first().map(|last| last.tail) {
            // Sequence numbers that the unreadable records may have used, and that a reader may have seen, are not given out again.
            found.last_seq += u64::from(end - at).div_ceil(LEAST_BYTES as u64);
        }
        found.open = open.into_list();
        found
    }

    fn list_damage(&mut self, survey: &Survey, incarnation: u64, is_last: bool) {
        let mut list = |from, to| {
            let position = |offset| Position { segment: survey.number, offset };
            self.damage.push(Damage { incarnation, from: position(from), to: position(to) });
        };
        if survey.header.is_none() {
            list(0, SEGMENT_HEADER_BYTES);
        }
        for (from, to) in &survey.damage {
            list(*from, *to);
        }
        match survey.tail {
            Tail::Damaged { at, end } => list(at, end),
            // A write that was interrupted is the log's last one.
            Tail::Torn { at, end } if !is_last => list(at, end),
            Tail::Torn { .. } | Tail::Clean { .. } => {}
        }
    }
}

/// Blanks a torn tail: what follows its header first, then the header, so that an interrupted cut leaves a torn tail.
fn cut(tail: Tail) -> Vec<Write> {
    let Tail::Torn { at, end } = tail else {
        return Vec::new();
    };
    let body = (at + HEADER_BYTES as u32).min(end);
    let blank = |from: u32, to: u32| Write { what: Action::Cut, at: from, bytes: vec![0; (to - from) as usize] };
    [blank(body, end), blank(at, body)].into_iter().filter(|write| !write.bytes.is_empty()).collect()
}

/// Damage stays where it is, since a reader's cursor may lie behind it.
fn append_at(tail: Tail) -> u32 {
    match tail {
        Tail::Clean { at } | Tail::Torn { at, .. } => at,
        Tail::Damaged { end, .. } => end,
    }
}
