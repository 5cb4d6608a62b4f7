//! API keys as they are held by the million: a row of bytes each, a sixth of what the message takes in memory.
//!
//! Row: flags, hash (16 bytes), uid (16 bytes), generation, pepper, then what the flags announce, then the texts, each behind its length. Numbers
//! are varints as in Protocol Buffers. The row lives in this process only: what is hashed and sent is the message.

use std::collections::BTreeMap;

use pbjson_types::Timestamp;
use prost::encoding::{decode_varint, encode_varint};
use waybill_proto::model::v1::{ApiKey, Metadata, Resource, resource::Spec};

use crate::{id::Uid, key::KeyHash};

const DISABLED: u8 = 1;
const OMIT_COST: u8 = 1 << 1;
const CREATED: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;
const LABELS: u8 = 1 << 4;
const LIVE: u8 = 1 << 5;
const TEST: u8 = 1 << 6;

/// What nearly every prefix begins with, and the flag that stands for it.
const PREFIXES: [(u8, &str); 2] = [(LIVE, "wb_live_"), (TEST, "wb_test_")];

const HASH: std::ops::Range<usize> = 1..17;
const UID: std::ops::Range<usize> = 17..33;

/// One API key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Packed(Box<[u8]>);

/// What is in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    flags: u8,
    uid: Uid,
    generation: u64,
    pepper_id: u32,
    create_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    prefix: &'a str,
    pub(crate) name: &'a str,
    pub(crate) workspace: &'a str,
    pub(crate) member: &'a str,
    pub(crate) display_name: &'a str,
    hash: KeyHash,
    labels: &'a [u8],
}

impl Packed {
    /// Packs an API key. `None` if it holds anything that has no place in a row: a uid of another form, a hash of another length.
    pub(crate) fn of(resource: &Resource) -> Option<Self> {
        let (Some(metadata), Some(Spec::ApiKey(spec))) = (&resource.metadata, &resource.spec) else { return None };
        let uid: Uid = metadata.uid.parse().ok()?;
        let hash = KeyHash::try_from(&spec.hash[..]).ok()?;
        let known = PREFIXES.into_iter().find_map(|(flag, begin)| Some((flag, spec.prefix.strip_prefix(begin)?)));
        let (known, prefix) = known.unwrap_or((0, &spec.prefix));
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = known
            | flag(spec.disabled, DISABLED)
            | flag(spec.omit_cost, OMIT_COST)
            | flag(metadata.create_time.is_some(), CREATED)
            | flag(spec.expire_time.is_some(), EXPIRES)
            | flag(!metadata.labels.is_empty(), LABELS);
        let mut row = Vec::with_capacity(128);
        row.push(flags);
        row.extend_from_slice(&hash);
        row.extend_from_slice(uid.as_bytes());
        encode_varint(metadata.generation, &mut row);
        encode_varint(spec.pepper_id.into(), &mut row);
        for time in [&metadata.create_time, &spec.expire_time].into_iter().flatten() {
            write_time(time, &mut row);
        }
        for text in [prefix, &metadata.name, &spec.workspace, &spec.member, &spec.display_name] {
            write_text(text, &mut row);
        }
        for (name, value) in &metadata.labels {
            write_text(name, &mut row);
            write_text(value, &mut row);
        }
        // Copied, so that no row keeps the room it was written in.
        let packed = Self(row.as_slice().into());
        // What a newer build has added to keys has no place here either.
        (packed.message() == *resource).then_some(packed)
    }

    pub(crate) fn hash(&self) -> &[u8] {
        &self.0[HASH]
    }

    pub(crate) fn uid(&self) -> Uid {
        Uid::from_bytes(array(&self.0[UID]))
    }

    /// Reads the row. It was written here, so it is whole.
    pub(crate) fn row(&self) -> Row<'_> {
        let (flags, hash, uid) = (self.0[0], array(&self.0[HASH]), self.uid());
        let mut rest = Rest(&self.0[UID.end..]);
        let (generation, pepper_id) = (rest.number(), rest.number() as u32);
        let mut time = |flag: u8| (flags & flag != 0).then(|| rest.time());
        let (create_time, expire_time) = (time(CREATED), time(EXPIRES));
        let [prefix, name, workspace, member, display_name] = [(); 5].map(|()| rest.text());
        Row {
            flags,
            uid,
            generation,
            pepper_id,
            create_time,
            expire_time,
            prefix,
            name,
            workspace,
            member,
            display_name,
            hash,
            labels: rest.0,
        }
    }

    /// The message.
    pub(crate) fn message(&self) -> Resource {
        let row = self.row();
        let mut labels = BTreeMap::new();
        let mut rest = Rest(if row.flags & LABELS == 0 { &[] } else { row.labels });
        while !rest.0.is_empty() {
            labels.insert(rest.text().to_owned(), rest.text().to_owned());
        }
        let metadata = Metadata {
            name: row.name.to_owned(),
            uid: row.uid.to_string(),
            generation: row.generation,
            labels,
            create_time: row.create_time,
        };
        let spec = ApiKey {
            workspace: row.workspace.to_owned(),
            display_name: row.display_name.to_owned(),
            key_from: None,
            expire_time: row.expire_time,
            disabled: row.is_disabled(),
            omit_cost: row.omits_cost(),
            hash: row.hash.to_vec().into(),
            pepper_id: row.pepper_id,
            prefix: row.prefix(),
            member: row.member.to_owned(),
        };
        Resource { metadata: Some(metadata), spec: Some(Spec::ApiKey(spec)) }
    }
}

impl Row<'_> {
    pub(crate) const fn is_disabled(&self) -> bool {
        self.flags & DISABLED != 0
    }

    pub(crate) const fn omits_cost(&self) -> bool {
        self.flags & OMIT_COST != 0
    }

    pub(crate) fn uid(&self) -> String {
        self.uid.to_string()
    }

    pub(crate) fn prefix(&self) -> String {
        let begin = PREFIXES.into_iter().find(|(flag, _)| self.flags & flag != 0).map_or("", |(_, begin)| begin);
        [begin, self.prefix].concat()
    }

    /// Seconds since 1970.
    pub(crate) fn expire_unix_s(&self) -> Option<i64> {
        self.expire_time.map(|time| time.seconds)
    }
}

/// What of a row is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn number(&mut self) -> u64 {
        decode_varint(&mut self.0).unwrap_or_default()
    }

    fn text(&mut self) -> &'a str {
        let length = usize::try_from(self.number()).unwrap_or_default();
        let (text, rest) = self.0.split_at_checked(length).unwrap_or_default();
        self.0 = rest;
        std::str::from_utf8(text).unwrap_or_default()
    }

    fn time(&mut self) -> Timestamp {
        let (seconds, nanos) = (self.number().cast_signed(), self.number() as u32);
        Timestamp { seconds, nanos: nanos.cast_signed() }
    }
}

fn write_time(time: &Timestamp, row: &mut Vec<u8>) {
    encode_varint(time.seconds.cast_unsigned(), row);
    encode_varint(time.nanos.cast_unsigned().into(), row);
}

fn write_text(text: &str, row: &mut Vec<u8>) {
    encode_varint(text.len() as u64, row);
    row.extend_from_slice(text.as_bytes());
}

fn array(bytes: &[u8]) -> [u8; 16] {
    std::array::from_fn(|index| bytes[index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time() -> impl Strategy<Value = Option<Timestamp>> {
        prop::option::of((any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos }))
    }

    prop_compose! {
        fn key()(
            (name, workspace, member, display_name) in (".{0,40}", "[a-z/]{0,20}", ".{0,10}", ".{0,10}"),
            prefix in prop_oneof!["wb_live_[a-z]{4}", "wb_test_[a-z]{4}", ".{0,14}"],
            labels in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
            (create_time, expire_time) in (time(), time()),
            (uid, hash) in (any::<[u8; 16]>(), any::<[u8; 16]>()),
            (generation, pepper_id, disabled, omit_cost) in (any::<u64>(), any::<u32>(), any::<bool>(), any::<bool>()),
        ) -> Resource {
            let metadata = Metadata { name, uid: Uid::from_bytes(uid).to_string(), generation, labels, create_time };
            let hash = hash.to_vec().into();
            let spec = ApiKey { workspace, display_name, key_from: None, expire_time, disabled, omit_cost, hash, pepper_id, prefix, member };
            Resource { metadata: Some(metadata), spec: Some(Spec::ApiKey(spec)) }
        }
    }

    proptest! {
        #[test]
        fn a_row_is_the_key(key in key()) {
            let packed = Packed::of(&key).expect("it has a place for everything");
            prop_assert_eq!(packed.message(), key);
        }
    }

    #[test]
    fn what_has_no_place_in_a_row_is_not_packed() {
        let good = Resource {
            metadata: Some(Metadata { uid: Uid::from_bytes([1; 16]).to_string(), ..Metadata::default() }),
            spec: Some(Spec::ApiKey(ApiKey { hash: vec![2; 16].into(), ..ApiKey::default() })),
        };
        assert!(Packed::of(&good).is_some());
        let wrongs: [fn(&mut Metadata, &mut ApiKey); 4] = [
            |metadata, _| metadata.uid = "uid-by-hand".to_owned(),
            |metadata, _| metadata.uid = metadata.uid.to_uppercase(),
            |_, spec| spec.hash = vec![2; 15].into(),
            |_, spec| spec.key_from = Some(waybill_proto::model::v1::SecretRef::default()),
        ];
        for (number, wrong) in wrongs.into_iter().enumerate() {
            let mut key = good.clone();
            if let (Some(metadata), Some(Spec::ApiKey(spec))) = (&mut key.metadata, &mut key.spec) {
                wrong(metadata, spec);
            }
            assert!(Packed::of(&key).is_none(), "{number}");
        }
    }
}
