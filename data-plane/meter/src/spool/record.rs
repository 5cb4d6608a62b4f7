//! The record codec: how one fact lies in a segment.
//!
//! ```text
//!  0  magic "WBr1"          4   payload length, bytes      8   sequence (0 = none)
//! 16  attempt id (16)      32   kind   33 flags   34 zero  36  CRC-32C of the header
//! 40  payload, zero padding to the next multiple of eight less four, CRC-32C of both
//! ```
//!
//! All integers are little-endian, every record starts and ends on a multiple of eight. Both checksums are seeded: the header's with the
//! incarnation, the segment number and the offset, the payload's with the header's. A record is therefore valid at its own place only: bytes
//! of another log, of another place, or quoted inside a payload are never taken for one.

/// Bytes of a record's header.
pub(crate) const HEADER_BYTES: usize = 40;
/// The smallest record there can be: a header and the checksum of an empty payload.
pub(crate) const LEAST_BYTES: usize = HEADER_BYTES + 8;
/// No payload is longer than this; a longer length in a header is damage.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

const MAGIC: [u8; 4] = *b"WBr1";
const CARRIED: u8 = 1;

/// What a record says. The numbers are the file format and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// An attempt is about to be sent; it has no sequence number.
    Intent = 1,
    /// The attempt ended with the provider's own usage.
    Settled = 2,
    /// The attempt was cut; the usage is estimated.
    Partial = 3,
    /// The attempt ended and costs nothing.
    Failed = 4,
    /// Nobody saw the attempt's end; it stands for the whole reservation.
    Orphaned = 5,
    /// A correction. The ledger writes these under its own incarnation; a spool never does, but the number is taken.
    Adjusted = 6,
    /// The last record of a log: [`Closed`](super::Closed).
    Closed = 7,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Intent,
            2 => Self::Settled,
            3 => Self::Partial,
            4 => Self::Failed,
            5 => Self::Orphaned,
            6 => Self::Adjusted,
            7 => Self::Closed,
            _ => return None,
        })
    }
}

/// The seed of a segment's checksums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u32);

impl Place {
    pub(crate) fn of(incarnation: u64, segment: u32) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(&incarnation.to_le_bytes()), &segment.to_le_bytes()))
    }

    fn at(self, offset: u32) -> u32 {
        crc32c::crc32c_append(self.0, &offset.to_le_bytes())
    }
}

/// A record's header without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub kind: Kind,
    /// An intent that was written again at the start of a segment because it was still open.
    pub carried: bool,
    pub seq: u64,
    pub attempt: [u8; 16],
}

/// Bytes that a record with a payload of this length takes.
pub(crate) const fn record_bytes(payload: usize) -> usize {
    HEADER_BYTES + (payload + 4).next_multiple_of(8)
}

/// Appends the record to `out`; `offset` is where its first byte will lie in the segment.
pub(crate) fn encode(out: &mut Vec<u8>, place: Place, offset: u32, head: &Head, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_PAYLOAD_BYTES);
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&head.seq.to_le_bytes());
    header[16..32].copy_from_slice(&head.attempt);
    header[32] = head.kind as u8;
    header[33] = if head.carried { CARRIED } else { 0 };
    let sum = crc32c::crc32c_append(place.at(offset), &header[..36]);
    header[36..].copy_from_slice(&sum.to_le_bytes());

    let body = record_bytes(payload.len()) - HEADER_BYTES - 4;
    out.extend_from_slice(&header);
    let start = out.len();
    out.extend_from_slice(payload);
    out.resize(start + body, 0);
    let sum = crc32c::crc32c_append(sum, &out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// What lies at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded<'a> {
    Whole {
        head: Head,
        payload: &'a [u8],
        bytes: usize,
    },
    /// The header is right, but the record reaches beyond the bytes given.
    Cropped,
    /// The header is right, so the record's length is known, but its payload is not what was written.
    BadPayload {
        bytes: usize,
    },
    NoHeader,
}

/// Reads the record that starts at the first of `bytes`, which lies at `offset` of its segment.
pub(crate) fn decode(bytes: &[u8], place: Place, offset: u32) -> Decoded<'_> {
    let Some((head, length, sum)) = decode_header(bytes, place, offset) else {
        return Decoded::NoHeader;
    };
    let total = record_bytes(length);
    let Some(body) = bytes.get(HEADER_BYTES..total) else {
        return Decoded::Cropped;
    };
    let (padded, stored) = body.split_at(body.len() - 4);
    if crc32c::crc32c_append(sum, padded).to_le_bytes() != *stored {
        return Decoded::BadPayload { bytes: total };
    }
    Decoded::Whole { head, payload: &padded[..length], bytes: total }
}

/// Is there a valid header at the first of `bytes`?
pub(crate) fn header_at(bytes: &[u8], place: Place, offset: u32) -> bool {
    decode_header(bytes, place, offset).is_some()
}

fn decode_header(bytes: &[u8], place: Place, offset: u32) -> Option<(Head, usize, u32)> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    if header[..4] != MAGIC {
        return None;
    }
    let sum = crc32c::crc32c_append(place.at(offset), &header[..36]);
    if sum != le32(header, 36) {
        return None;
    }
    let length = le32(header, 4) as usize;
    let kind = Kind::from_byte(header[32])?;
    let flags = header[33];
    if length > MAX_PAYLOAD_BYTES || flags & !CARRIED != 0 || header[34..36] != [0, 0] {
        return None;
    }
    let mut attempt = [0; 16];
    attempt.copy_from_slice(&header[16..32]);
    let seq = u64::from(le32(header, 8)) | u64::from(le32(header, 12)) << 32;
    Some((Head { kind, carried: flags & CARRIED != 0, seq, attempt }, length, sum))
}

fn le32(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(kind: Kind) -> Head {
        Head { kind, carried: kind == Kind::Intent, seq: 0x0102_0304_0506_0708, attempt: *b"0123456789abcdef" }
    }

    #[test]
    fn the_bytes_of_a_record_are_the_file_format() {
        let mut out = Vec::new();
        encode(&mut out, Place::of(7, 3), 88, &head(Kind::Settled), b"hello");
        let sum = u32::from_le_bytes([out[36], out[37], out[38], out[39]]);
        let place: Vec<u8> = [7u64.to_le_bytes().as_slice(), &3u32.to_le_bytes(), &88u32.to_le_bytes()].concat();
        assert_eq!(&out[..34], b"WBr1\x05\0\0\0\x08\x07\x06\x05\x04\x03\x02\x010123456789abcdef\x02\0");
        assert_eq!(sum, crc32c::crc32c(&[&place, &out[..36]].concat()));
        assert_eq!(&out[40..52], b"hello\0\0\0\0\0\0\0");
        assert_eq!(out.len(), 56);
    }

    #[test]
    fn a_record_is_valid_at_its_own_place_only() {
        let mut out = Vec::new();
        encode(&mut out, Place::of(7, 3), 88, &head(Kind::Settled), b"hello");
        assert!(matches!(decode(&out, Place::of(7, 3), 88), Decoded::Whole { .. }));
        for (place, offset) in [(Place::of(8, 3), 88), (Place::of(7, 4), 88), (Place::of(7, 3), 96)] {
            assert_eq!(decode(&out, place, offset), Decoded::NoHeader);
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(payload in prop::collection::vec(any::<u8>(), 0..600), kind in 1u8..=7, seq: u64, attempt: [u8; 16], carried: bool) {
            let head = Head { kind: Kind::from_byte(kind).unwrap(), carried, seq, attempt };
            let mut out = Vec::new();
            encode(&mut out, Place::of(seq, 1), 8, &head, &payload);
            prop_assert_eq!(out.len(), record_bytes(payload.len()));
            prop_assert_eq!(out.len() % 8, 0);
            prop_assert_eq!(decode(&out, Place::of(seq, 1), 8), Decoded::Whole { head, payload: &payload, bytes: out.len() });
        }

        #[test]
        fn no_flipped_bit_leaves_a_record_whole(payload in prop::collection::vec(any::<u8>(), 0..64), bit in 0usize..10_000) {
            let mut out = Vec::new();
            encode(&mut out, Place::of(1, 1), 8, &head(Kind::Intent), &payload);
            let bit = bit % (out.len() * 8);
            out[bit / 8] ^= 1 << (bit % 8);
            let whole = matches!(decode(&out, Place::of(1, 1), 8), Decoded::Whole { .. });
            prop_assert!(!whole);
        }
    }
}
