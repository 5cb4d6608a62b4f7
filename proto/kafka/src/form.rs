//! The form of a usage record on the topic. Documented for others in `waybill/usage/v1/usage.proto`.

use bytes::Bytes;
use prost::Message;
use waybill_proto::usage::v1::Spooled;

/// The topic, unless the settings name another. A form that cannot be told apart by [`SCHEMA_HEADER`] would need a topic of its own.
pub const TOPIC: &str = "wb.usage.v1";

/// Header that names the version of the value's form, in decimal digits.
pub const SCHEMA_HEADER: &str = "waybill-schema";

/// The version that this build writes and reads: the value is a `Spooled`.
pub const SCHEMA_VERSION: &str = "1";

/// The key of a record: all records of a log go to one partition, so that their order stands there and a gap is seen at once.
#[must_use]
pub const fn key(incarnation: u64) -> [u8; 8] {
    incarnation.to_be_bytes()
}

/// Why a message on the topic is no usage record: whoever wrote it is to blame, and reading it again gives the same.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Strange {
    /// It has no value.
    #[error("it has no value")]
    Empty,
    /// Written by a later build.
    #[error("its form is version `{0}`, which this build does not know")]
    Version(String),
    /// The value is not what the form says.
    #[error("its value is no usage record: {0}")]
    Undecodable(String),
    /// Such a record would be booked under a log that did not write it.
    #[error("its key is not the incarnation of its record")]
    Key,
}

/// Reads a message: its key, the value of [`SCHEMA_HEADER`] (a message without one is of the first version) and its value.
///
/// # Errors
/// It is none of ours.
pub fn read(key: Option<&[u8]>, version: Option<&[u8]>, value: Option<&[u8]>) -> Result<Spooled, Strange> {
    match version {
        Some(version) if version != SCHEMA_VERSION.as_bytes() => {
            return Err(Strange::Version(String::from_utf8_lossy(version.get(..32).unwrap_or(version)).into_owned()));
        }
        _ => {}
    }
    let value = value.ok_or(Strange::Empty)?;
    let record = Spooled::decode(Bytes::copy_from_slice(value)).map_err(|error| Strange::Undecodable(error.to_string()))?;
    if key.is_some_and(|key| key != self::key(record.incarnation)) {
        return Err(Strange::Key);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_by_its_version_and_nothing_else_is_believed() {
        let record = Spooled { incarnation: 0x0102, sequence: 7, kind: 2, payload: b"p".to_vec().into(), ..Spooled::default() };
        let value = record.encode_to_vec();
        let own = key(0x0102);
        assert_eq!(own, [0, 0, 0, 0, 0, 0, 1, 2]);
        let undecodable = |value: &[u8]| Spooled::decode(value).map_err(|error| Strange::Undecodable(error.to_string()));
        type Bytes<'a> = Option<&'a [u8]>;
        let rows: [(Bytes<'_>, Bytes<'_>, Bytes<'_>, Result<Spooled, Strange>); 7] = [
            (Some(&own), Some(b"1"), Some(&value), Ok(record.clone())),
            (None, None, Some(&value), Ok(record)),
            (Some(&own), Some(b"2"), Some(&value), Err(Strange::Version("2".to_owned()))),
            (Some(&own), Some(b""), Some(&value), Err(Strange::Version(String::new()))),
            (Some(&own), Some(b"1"), None, Err(Strange::Empty)),
            (Some(b"other"), Some(b"1"), Some(&value), Err(Strange::Key)),
            (Some(&own), Some(b"1"), Some(b"\xff\xff"), undecodable(b"\xff\xff")),
        ];
        for (key, version, value, expected) in rows {
            assert_eq!(read(key, version, value), expected, "{key:?} {version:?} {value:?}");
        }
    }
}
