//! The records of the usage topic as lines of JSON, for people and for other programs. Reads beside the consumers and disturbs none.

use std::{
    io::{self, Write},
    time::Duration,
};

use prost::Message as _;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::Consumer,
    error::KafkaError,
    message::{BorrowedMessage, Headers},
};
use serde_json::{Value, json};
use waybill_kafka::{KafkaSettings, SCHEMA_HEADER};
use waybill_proto::usage::v1::{Closed, Event, Kind, Spooled};

use crate::{
    reach::reach,
    topics::{TopicError, client, partitions},
};

/// Longest wait for the next record before it is looked whether to stop.
const NAP: Duration = Duration::from_millis(200);

/// What to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// From the first record that Kafka has; otherwise from what comes now.
    pub earliest: bool,
    /// End after so many.
    pub limit: Option<u64>,
    /// End when all that was there at the start has been read, instead of waiting for more.
    pub until_end: bool,
}

/// Why reading ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl From<KafkaError> for TailError {
    fn from(error: KafkaError) -> Self {
        Self::Topic(error.into())
    }
}

/// Writes a line for each record until `stop` says so, and gives how many. Waits on its thread.
///
/// # Errors
/// Kafka cannot be reached, or the output failed.
pub fn tail(settings: &KafkaSettings, wanted: Wanted, out: &mut impl Write, stop: impl Fn() -> bool) -> Result<u64, TailError> {
    let mut config = client(settings).map_err(TopicError::from)?;
    // A group is never joined; the client wants a name all the same.
    config.set("group.id", "waybill-tail").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.set("auto.offset.reset", "earliest");
    let reader = reach(&config, &settings.topic)?;
    let numbers = partitions(&reader, &settings.topic)?;
    let mut list = TopicPartitionList::new();
    let from = if wanted.earliest { Offset::Beginning } else { Offset::End };
    for partition in &numbers {
        list.add_partition_offset(&settings.topic, *partition, from)?;
    }
    reader.assign(&list)?;
    let (mut written, mut ended) = (0, std::collections::BTreeSet::new());
    while !stop() && wanted.limit.is_none_or(|limit| written < limit) {
        match reader.poll(NAP) {
            None => {}
            Some(Ok(message)) => {
                serde_json::to_writer(&mut *out, &line(&message)).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
                out.flush()?;
                written += 1;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
                if wanted.until_end && ended.len() == numbers.len() {
                    break;
                }
            }
            Some(Err(error)) => match error.rdkafka_error_code().map(|code| format!("{code:?}")) {
                Some(code) => tracing::warn!(kafka = code, "{}", waybill_kafka::advice(&code)),
                None => return Err(error.into()),
            },
        }
    }
    Ok(written)
}

fn line(message: &BorrowedMessage<'_>) -> Value {
    let version =
        message.headers().and_then(|headers| headers.iter().find(|header| header.key == SCHEMA_HEADER)).and_then(|header| header.value);
    let mut line = match waybill_kafka::read(message.key(), version, message.payload()) {
        Ok(record) => show(&record),
        Err(strange) => json!({ "strange": strange.to_string() }),
    };
    line["partition"] = message.partition().into();
    line["offset"] = message.offset().into();
    line
}

/// A record as JSON: its name, its kind, and what it says.
#[must_use]
pub fn show(record: &Spooled) -> Value {
    let mut line = json!({
        "id": format!("evt-{:016x}.{}", record.incarnation, record.sequence),
        "incarnation": format!("{:016x}", record.incarnation),
        "sequence": record.sequence,
        "kind": record.kind().as_str_name(),
    });
    let (name, body) = if record.kind() == Kind::Closed {
        ("closed", Closed::decode(record.payload.clone()).ok().and_then(|closed| serde_json::to_value(closed).ok()))
    } else {
        ("event", Event::decode(record.payload.clone()).ok().and_then(|event| serde_json::to_value(event).ok()))
    };
    match body {
        Some(body) => line[name] = body,
        None => line["strange"] = "the payload is not what its kind says".into(),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_with_its_name_and_what_it_says() {
        let event = Event { kind: Kind::Settled.into(), amount_picousd: 7, ..Event::default() };
        let record = |kind: Kind, payload: Vec<u8>| Spooled {
            incarnation: 0xab,
            sequence: 3,
            kind: kind.into(),
            payload: payload.into(),
            ..Spooled::default()
        };
        let shown = show(&record(Kind::Settled, event.encode_to_vec()));
        assert_eq!(
            (&shown["id"], &shown["kind"], &shown["event"]["amountPicousd"]),
            (&json!("evt-00000000000000ab.3"), &json!("KIND_SETTLED"), &json!("7"))
        );
        let shown = show(&record(Kind::Closed, Closed { last_sequence: 2, doubt: true }.encode_to_vec()));
        assert_eq!(shown["closed"], json!({ "lastSequence": "2", "doubt": true }));
        assert!(show(&record(Kind::Settled, vec![0xff])).get("strange").is_some());
    }
}
