//! What a dead process has left in its spool: which attempts have an end, and which do not. Read by a reader of its own before the next start,
//! so that what the ledger must say of each attempt is known without asking the product.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::ids::{self, Id};
use super::rows::Kind;

/// How an attempt stands in a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It has an intent and no end.
    Open,
    /// It has an end of this kind.
    Ended(Kind),
}

/// All that the spools of all deaths have said.
#[derive(Debug, Default)]
pub struct Remains {
    pub attempts: HashMap<Id, Left>,
    /// Attempts whose end was torn off, as by the death of the machine: their callers may have seen it, and it is gone.
    pub torn: HashSet<Id>,
    /// Attempts that a later death showed otherwise: an open one may only become an orphan, and an end stays what it is.
    pub changed: Vec<Id>,
}

const SEGMENT_HEADER: usize = 88;
const RECORD_HEADER: usize = 40;
const MAGIC: &[u8] = b"WBr1";

impl Remains {
    /// Tears the last record of one log, as the death of a machine in the middle of its writing does: it begins, and then there are zeros. Only one of
    /// an attempt since then is torn, which cannot have left yet. Gives how
    /// many were torn: none when every log ends with an intent, whose attempt may have left by then.
    pub fn tear(&mut self, spool: &Path, since: SystemTime) -> Result<usize> {
        let since_ms = since.duration_since(UNIX_EPOCH)?.as_millis();
        let all = segments(spool)?;
        let is_newest = |place: usize| all.get(place + 1).is_none_or(|(next, ..)| *next != all[place].0);
        for (incarnation, number, file) in (0..all.len()).filter(|place| is_newest(*place)).map(|place| &all[place]) {
            let mut bytes = fs::read(file)?;
            let place = place_of(*incarnation, *number);
            let (mut offset, mut last) = (SEGMENT_HEADER, None);
            while let Some(record) = Record::at(&bytes, offset, place) {
                let end = offset + record.bytes;
                last = Some((offset, end, record));
                offset = end;
            }
            let is_end = |(_, _, record): &(usize, usize, Record)| {
                Kind::of_number(record.kind) == Some(Kind::Settled) && ids::unix_ms(&record.attempt) >= since_ms
            };
            let Some((from, to, record)) = last.filter(is_end) else { continue };
            bytes[(from + to) / 2..to].fill(0);
            fs::write(file, bytes)?;
            self.torn.insert(record.attempt);
            return Ok(1);
        }
        Ok(0)
    }

    /// Adds what lies in a spool now.
    pub fn read(&mut self, spool: &Path) -> Result<()> {
        let mut now = HashMap::new();
        for (incarnation, number, file) in segments(spool)? {
            segment(&fs::read(&file)?, incarnation, number, &mut now);
        }
        self.add(now);
        Ok(())
    }

    fn add(&mut self, now: HashMap<Id, Left>) {
        for (attempt, left) in now {
            let earlier = self.attempts.insert(attempt, left);
            let may_follow = match earlier {
                None => true,
                Some(Left::Open) => matches!(left, Left::Open | Left::Ended(Kind::Orphaned)),
                Some(ended) => left == ended,
            };
            if !may_follow {
                self.changed.push(attempt);
            }
        }
    }
}

/// All segments: the log's incarnation, the number in it, the file.
fn segments(spool: &Path) -> Result<Vec<(u64, u32, PathBuf)>> {
    let mut found = Vec::new();
    for log in fs::read_dir(spool).with_context(|| format!("the spool {}", spool.display()))? {
        let log = log?;
        let name = log.file_name();
        let Some(incarnation) = name.to_str().and_then(|name| u64::from_str_radix(name, 16).ok()) else { continue };
        for file in fs::read_dir(log.path())? {
            let file = file?.path();
            let number = file.file_name().and_then(|name| name.to_str()?.strip_suffix(".seg")?.parse::<u32>().ok());
            found.extend(number.map(|number| (incarnation, number, file)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What every checksum of a segment begins with.
fn place_of(incarnation: u64, number: u32) -> u32 {
    crc32c(crc32c(0, &incarnation.to_le_bytes()), &number.to_le_bytes())
}

/// Reads the records of a segment, up to the first place where there is none.
fn segment(bytes: &[u8], incarnation: u64, number: u32, into: &mut HashMap<Id, Left>) {
    const INTENT: u8 = 1;
    let place = place_of(incarnation, number);
    let mut offset = SEGMENT_HEADER;
    while let Some(record) = Record::at(bytes, offset, place) {
        offset += record.bytes;
        match Kind::of_number(record.kind) {
            // A record that its writer did not finish says nothing.
            _ if !record.is_whole => {}
            None if record.kind == INTENT => _ = into.entry(record.attempt).or_insert(Left::Open),
            None | Some(Kind::Closed) => {}
            Some(kind) => _ = into.insert(record.attempt, Left::Ended(kind)),
        }
    }
}

/// The header of a record, and whether its payload is as it was written.
struct Record {
    attempt: Id,
    kind: u8,
    bytes: usize,
    is_whole: bool,
}

impl Record {
    fn at(segment: &[u8], offset: usize, place: u32) -> Option<Self> {
        let header = segment.get(offset..offset + RECORD_HEADER).filter(|header| header.starts_with(MAGIC))?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let sum = crc32c(crc32c(place, &u32::try_from(offset).ok()?.to_le_bytes()), &header[..36]);
        if sum != number(36) {
            return None;
        }
        let body = (number(4) as usize + 4).next_multiple_of(8);
        let payload = segment.get(offset + RECORD_HEADER..offset + RECORD_HEADER + body);
        let is_whole = payload.is_some_and(|payload| {
            let (padded, stored) = payload.split_at(body - 4);
            crc32c(sum, padded).to_le_bytes() == *stored
        });
        let mut attempt = [0; 16];
        attempt.copy_from_slice(&header[16..32]);
        Some(Self { attempt, kind: header[32], bytes: RECORD_HEADER + body, is_whole })
    }
}

/// CRC-32C (RFC 3720, appendix B.4), going on from the sum of what came before.
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut sum, mut bit) = (byte as u32, 0);
            while bit < 8 {
                sum = (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
                bit += 1;
            }
            table[byte] = sum;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!sum, |sum, byte| (sum >> 8) ^ TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfc() {
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(crc32c(0, b"1234"), b"56789"), 0xe306_9283);
    }

    /// A segment with these records: attempt, kind, payload.
    fn written(records: &[(u8, u8, &[u8])]) -> Vec<u8> {
        let place = crc32c(crc32c(0, &5_u64.to_le_bytes()), &1_u32.to_le_bytes());
        let mut bytes = vec![0; SEGMENT_HEADER];
        for (attempt, kind, payload) in records {
            let offset = bytes.len() as u32;
            let mut header = MAGIC.to_vec();
            header.extend((payload.len() as u32).to_le_bytes());
            header.extend(9_u64.to_le_bytes());
            header.extend([*attempt; 16]);
            header.extend([*kind, 0, 0, 0]);
            let sum = crc32c(crc32c(place, &offset.to_le_bytes()), &header);
            let mut body = payload.to_vec();
            body.resize((payload.len() + 4).next_multiple_of(8) - 4, 0);
            bytes.extend(header);
            bytes.extend(sum.to_le_bytes());
            bytes.extend(&body);
            bytes.extend(crc32c(sum, &body).to_le_bytes());
        }
        bytes
    }

    fn read(bytes: &[u8], number: u32) -> HashMap<Id, Left> {
        let mut found = HashMap::new();
        segment(bytes, 5, number, &mut found);
        found
    }

    #[test]
    fn open_and_ended_attempts_are_told_apart() {
        let bytes = written(&[(1, 1, b"intent"), (2, 1, b""), (1, 2, b"settled"), (0, 7, b"closed"), (3, 1, b"torn")]);
        let bytes = &bytes[..bytes.len() - 3];
        assert_eq!(read(bytes, 1), HashMap::from([([1; 16], Left::Ended(Kind::Settled)), ([2; 16], Left::Open)]));
        assert!(read(bytes, 2).is_empty(), "the same bytes are nothing in another place");
    }

    #[test]
    fn a_torn_end_leaves_its_attempt_open_and_an_intent_is_not_torn() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("0000000000000005");
        fs::create_dir(&log).unwrap();
        let file = log.join("00000001.seg");
        for (records, torn, left) in [
            (&[(1, 1, &b"intent"[..]), (1, 2, b"a settled end")][..], 1, Left::Open),
            (&[(1, 1, b"intent"), (1, 2, b"a settled end"), (2, 1, b"intent")], 0, Left::Ended(Kind::Settled)),
        ] {
            fs::write(&file, written(records)).unwrap();
            let mut remains = Remains::default();
            assert_eq!(remains.tear(folder.path(), SystemTime::now()).unwrap(), 0, "it may have left by now");
            assert_eq!(remains.tear(folder.path(), UNIX_EPOCH).unwrap(), torn);
            remains.read(folder.path()).unwrap();
            assert_eq!((remains.attempts[&[1; 16]], remains.torn.contains(&[1; 16])), (left, torn == 1));
        }
    }

    #[test]
    fn an_end_that_becomes_another_is_noticed() {
        let (open, settled, orphaned) = (Left::Open, Left::Ended(Kind::Settled), Left::Ended(Kind::Orphaned));
        for (earlier, later, is_right) in [
            (open, open, true),
            (open, orphaned, true),
            (settled, settled, true),
            (open, settled, false),
            (settled, orphaned, false),
            (settled, open, false),
        ] {
            let mut remains = Remains::default();
            remains.add(HashMap::from([([1; 16], earlier)]));
            remains.add(HashMap::from([([1; 16], later)]));
            assert_eq!(remains.changed.is_empty(), is_right, "{earlier:?}, then {later:?}");
        }
    }
}
