//! A segment's header and names: who wrote this file, and where in its log it stands.
//!
//! ```text
//!  0  magic "WBSPOOL\n"     8   format version (1)   12  header length (88)
//! 16  incarnation          24   process id           32  log index   36 number of logs
//! 40  boot id (16)         56   segment number       60  intents carried forward
//! 64  base sequence        72   created, unix ms     80  zero        84 CRC-32C of all before
//! ```
//!
//! A later version keeps the first 16 bytes and the checksum at the header's end, so that an older program can name what it refuses.

/// Where the first record of a segment lies.
pub(crate) const SEGMENT_HEADER_BYTES: u32 = LENGTH as u32;

const LENGTH: usize = 88;
const MAGIC: [u8; 8] = *b"WBSPOOL\n";
const VERSION: u32 = 1;

/// Who a log is: fixed for its whole life and repeated in every segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Random, one per log and process life; with the sequence it names an event.
    pub incarnation: u64,
    /// Names the process life; all logs of one process carry the same.
    pub process: u64,
    /// Which of the process's logs this is, from 0.
    pub log: u32,
    /// How many logs the process has.
    pub logs: u32,
}

/// What the head of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub identity: Identity,
    /// The machine's boot under which the log was written.
    pub boot: [u8; 16],
    pub segment: u32,
    /// How many open intents stand behind this header before anything new.
    pub carried: u32,
    /// The first sequence number that can appear in this segment.
    pub base_seq: u64,
    pub created_unix_ms: u64,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// It was never finished, or it is damaged.
    Unreadable,
    /// It is whole, but of a version this program does not know.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(LENGTH as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.identity.incarnation.to_le_bytes());
        out[24..32].copy_from_slice(&self.identity.process.to_le_bytes());
        out[32..36].copy_from_slice(&self.identity.log.to_le_bytes());
        out[36..40].copy_from_slice(&self.identity.logs.to_le_bytes());
        out[40..56].copy_from_slice(&self.boot);
        out[56..60].copy_from_slice(&self.segment.to_le_bytes());
        out[60..64].copy_from_slice(&self.carried.to_le_bytes());
        out[64..72].copy_from_slice(&self.base_seq.to_le_bytes());
        out[72..80].copy_from_slice(&self.created_unix_ms.to_le_bytes());
        let sum = crc32c::crc32c(&out[..84]);
        out[84..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads the header of the file that is named as this segment of this log; one that says it is another is unreadable.
    pub(crate) fn decode(bytes: &[u8], incarnation: u64, segment: u32) -> Result<Self, HeaderFault> {
        let length = u32_at(bytes, 12)? as usize;
        if bytes.first_chunk() != Some(&MAGIC) || !(20..=4096).contains(&length) {
            return Err(HeaderFault::Unreadable);
        }
        let summed = bytes.get(..length - 4).ok_or(HeaderFault::Unreadable)?;
        if crc32c::crc32c(summed) != u32_at(bytes, length - 4)? {
            return Err(HeaderFault::Unreadable);
        }
        let version = u32_at(bytes, 8)?;
        if version != VERSION || length != LENGTH {
            return Err(HeaderFault::Version(version));
        }
        let header = Self {
            identity: Identity {
                incarnation: u64_at(bytes, 16)?,
                process: u64_at(bytes, 24)?,
                log: u32_at(bytes, 32)?,
                logs: u32_at(bytes, 36)?,
            },
            boot: chunk_at(bytes, 40)?,
            segment: u32_at(bytes, 56)?,
            carried: u32_at(bytes, 60)?,
            base_seq: u64_at(bytes, 64)?,
            created_unix_ms: u64_at(bytes, 72)?,
        };
        if header.identity.incarnation != incarnation || header.segment != segment {
            return Err(HeaderFault::Unreadable);
        }
        Ok(header)
    }
}

fn chunk_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], HeaderFault> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(HeaderFault::Unreadable)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, HeaderFault> {
    chunk_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, HeaderFault> {
    chunk_at(bytes, at).map(u64::from_le_bytes)
}

/// The folder of a log: its incarnation as 16 hexadecimal digits.
pub(crate) fn folder_name(incarnation: u64) -> String {
    format!("{incarnation:016x}")
}

/// The file of a segment: its number as eight decimal digits.
pub(crate) fn file_name(segment: u32) -> String {
    format!("{segment:08}.seg")
}

pub(crate) fn parse_folder_name(name: &str) -> Option<u64> {
    let incarnation = u64::from_str_radix(name, 16).ok()?;
    (folder_name(incarnation) == name).then_some(incarnation)
}

pub(crate) fn parse_file_name(name: &str) -> Option<u32> {
    let segment = name.strip_suffix(".seg")?.parse().ok()?;
    (file_name(segment) == name).then_some(segment)
}

/// A place in a log, between two records: where one ends and the next begins. Ordered as the log is.
///
/// It is a record's position, the durable position, and a reader's cursor; as a `u64` (segment in the upper half) it can be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub segment: u32,
    pub offset: u32,
}

impl From<Position> for u64 {
    fn from(position: Position) -> Self {
        Self::from(position.segment) << 32 | Self::from(position.offset)
    }
}

impl From<u64> for Position {
    fn from(packed: u64) -> Self {
        Self { segment: (packed >> 32) as u32, offset: packed as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            identity: Identity { incarnation: 0x1122_3344_5566_7788, process: 9, log: 1, logs: 4 },
            boot: *b"boot-boot-boot-0",
            segment: 5,
            carried: 6,
            base_seq: 77,
            created_unix_ms: 1_790_000_000_000,
        }
    }

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_is_believed() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes, 0x1122_3344_5566_7788, 5), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut hit = bytes;
            hit[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&hit, 0x1122_3344_5566_7788, 5), Err(HeaderFault::Unreadable), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(SegmentHeader::decode(&bytes[..length], 0x1122_3344_5566_7788, 5), Err(HeaderFault::Unreadable));
        }
        assert_eq!(SegmentHeader::decode(&bytes, 1, 5), Err(HeaderFault::Unreadable));
        assert_eq!(SegmentHeader::decode(&bytes, 0x1122_3344_5566_7788, 6), Err(HeaderFault::Unreadable));
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let sum = crc32c::crc32c(&bytes[..84]);
        bytes[84..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes, 0x1122_3344_5566_7788, 5), Err(HeaderFault::Version(2)));
    }

    #[test]
    fn only_our_own_names_are_read() {
        assert_eq!(parse_folder_name(&folder_name(0xab)), Some(0xab));
        assert_eq!(parse_file_name(&file_name(12)), Some(12));
        for name in ["ab", "00000000000000AB", "+0000000000000ab", "lost+found", ""] {
            assert_eq!(parse_folder_name(name), None, "{name}");
        }
        for name in ["12.seg", "00000012", "+0000012.seg", "00000012.seg.tmp"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn positions_are_ordered_as_the_log_is() {
        let (a, b) = (Position { segment: 1, offset: 900 }, Position { segment: 2, offset: 88 });
        assert!(a < b && u64::from(a) < u64::from(b));
        assert_eq!(Position::from(u64::from(a)), a);
    }
}
