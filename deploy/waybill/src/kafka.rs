//! The operator's commands for the usage topic: `waybill kafka init`, `waybill kafka offsets`, `waybill usage tail`. They speak to Kafka directly.

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};
use waybill_billing::{
    tail::{Wanted, tail},
    topics::{Plan, init, offsets},
};
use waybill_kafka::{KafkaSettings, Mechanism, Security};

/// The topic of usage records.
#[derive(Debug, Subcommand)]
pub enum Kafka {
    /// Makes the topic with the settings that the bill rests on, or brings it to them. Doing it again changes nothing.
    Init(Init),
    /// Shows what Kafka has of each partition.
    Offsets(Brokers),
}

/// The records on the topic.
#[derive(Debug, Subcommand)]
pub enum Usage {
    /// Prints records as lines of JSON, beside the consumers and without disturbing them.
    Tail(Tail),
}

/// How to reach the brokers: the part `kafka` of a role's settings, as flags.
#[derive(Args, Clone, Debug)]
pub struct Brokers {
    /// Brokers to start from, host:port,host:port.
    #[arg(long = "kafka-brokers", env = "WAYBILL_KAFKA_BROKERS")]
    brokers: String,
    /// The topic of usage records.
    #[arg(long = "kafka-topic", default_value = waybill_kafka::TOPIC, env = "WAYBILL_KAFKA_TOPIC")]
    topic: String,
    /// plaintext, tls, sasl_plaintext or sasl_tls.
    #[arg(long = "kafka-security", default_value = "plaintext", env = "WAYBILL_KAFKA_SECURITY", value_parser = word::<Security>)]
    security: Security,
    /// PEM file of the authorities that the brokers' certificates must come from.
    #[arg(long = "kafka-ca-file", env = "WAYBILL_KAFKA_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// PEM file of this client's certificate.
    #[arg(long = "kafka-cert-file", env = "WAYBILL_KAFKA_CERT_FILE")]
    cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long = "kafka-key-file", env = "WAYBILL_KAFKA_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.
    #[arg(long = "kafka-sasl-mechanism", default_value = "SCRAM-SHA-512", env = "WAYBILL_KAFKA_SASL_MECHANISM", value_parser = word::<Mechanism>)]
    sasl_mechanism: Mechanism,
    /// The name that the password is of.
    #[arg(long = "kafka-sasl-user", env = "WAYBILL_KAFKA_SASL_USER")]
    sasl_user: Option<String>,
    /// A file that holds the password.
    #[arg(long = "kafka-sasl-password-file", env = "WAYBILL_KAFKA_SASL_PASSWORD_FILE")]
    sasl_password_file: Option<PathBuf>,
}

/// A word as the settings' file spells it.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

impl Brokers {
    fn settings(self) -> KafkaSettings {
        let Self { brokers, topic, security, ca_file, cert_file, key_file, sasl_mechanism, sasl_user, sasl_password_file } = self;
        KafkaSettings { brokers, topic, security, ca_file, cert_file, key_file, sasl_mechanism, sasl_user, sasl_password_file }
    }
}

#[derive(Args, Clone, Debug)]
pub struct Init {
    #[command(flatten)]
    brokers: Brokers,
    /// Partitions; never lowered.
    #[arg(long, default_value_t = Plan::default().partitions)]
    partitions: i32,
    /// How many brokers have each record.
    #[arg(long, default_value_t = Plan::default().replication)]
    replication: i32,
    /// How many of them must have it before it is acknowledged.
    #[arg(long, default_value_t = Plan::default().min_insync)]
    min_insync: i32,
    /// How long Kafka keeps a record, hours: as long as billing may be away.
    #[arg(long, default_value_t = Plan::default().retention_hours)]
    retention_hours: u32,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum From {
    /// With the first record that Kafka has.
    Earliest,
    /// With what comes now.
    #[default]
    Latest,
}

#[derive(Args, Clone, Debug)]
pub struct Tail {
    #[command(flatten)]
    brokers: Brokers,
    /// Where reading begins.
    #[arg(long, value_enum, default_value_t)]
    from: From,
    /// Ends after so many records.
    #[arg(long)]
    limit: Option<u64>,
    /// Ends when all that was there has been read, instead of waiting for more.
    #[arg(long)]
    until_end: bool,
}

/// Runs one of the commands.
pub fn kafka(command: Kafka) -> Result<ExitCode> {
    match command {
        Kafka::Init(Init { brokers, partitions, replication, min_insync, retention_hours }) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let plan = Plan { partitions, replication, min_insync, retention_hours };
            for step in runtime.block_on(init(&brokers.settings(), plan))? {
                println!("{step}");
            }
        }
        Kafka::Offsets(brokers) => {
            println!("{:>9}  {:>12}  {:>12}", "PARTITION", "FIRST", "NEXT");
            for range in offsets(&brokers.settings())? {
                println!("{:>9}  {:>12}  {:>12}", range.partition, range.low, range.high);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs one of the commands.
pub fn usage(command: Usage) -> Result<ExitCode> {
    let Usage::Tail(Tail { brokers, from, limit, until_end }) = command;
    let wanted = Wanted { earliest: from == From::Earliest, limit, until_end };
    match tail(&brokers.settings(), wanted, &mut io::stdout().lock(), || false) {
        // Whoever reads has enough.
        Err(waybill_billing::tail::TailError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        ended => ended.map(|_| ExitCode::SUCCESS).map_err(Into::into),
    }
}
