//! What `waybill billing` is told.

use std::{net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waybill_kafka::KafkaSettings;

use super::{
    control::ops_listen,
    fault::Contradictions,
    places::{Postgres, kafka},
    values::LedgerUrl,
};

/// Settings of `waybill billing`: a consumer of usage events.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Billing {
    /// Name of this consumer; by default the host's.
    #[serde(default)]
    pub name: Option<String>,
    /// Where the bill is kept: postgres://USER@HOST:PORT/DATABASE (TLS: ?sslmode=verify-full&sslrootcert=FILE), or sqlite:PATH for one consumer on one machine.
    pub ledger: LedgerUrl,
    #[serde(default)]
    pub postgres: Postgres,
    #[serde(default)]
    pub kafka: KafkaSettings,
    /// The consumers of one group share the partitions of the topic.
    #[serde(default = "group")]
    pub group: String,
    /// Health, readiness, metrics.
    #[serde(default = "ops_listen")]
    pub ops_listen: SocketAddr,
    /// A file that is written (0600) once it runs: JSON with the addresses.
    #[serde(default)]
    pub ready_file: Option<PathBuf>,
}

fn group() -> String {
    "waybill-billing".to_owned()
}

impl Billing {
    /// What cannot be meant.
    pub fn contradictions(&self) -> Contradictions {
        let mut faults = Contradictions::default();
        self.postgres.contradictions(matches!(self.ledger, LedgerUrl::Postgres(_)), &mut faults);
        if self.kafka.brokers.is_empty() {
            faults.push((
                "kafka.brokers",
                "names no broker: this role reads the events from Kafka. Without Kafka there is no such process".to_owned(),
            ));
        }
        if !self.kafka.brokers.is_empty() {
            kafka(&self.kafka, &mut faults);
        }
        if !cfg!(feature = "cluster") {
            faults.push(("kafka.brokers", "this build does not speak to Kafka: take one with the feature `cluster`".to_owned()));
        }
        faults
    }
}
