//! The operator's commands for the usage topic: `waybill kafka init`, `offsets` and `reset`, `waybill usage tail`. They speak to Kafka directly, and to
//! the ledger, which knows how far each partition was read.

use std::{collections::BTreeMap, io, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use waybill_billing::{
    Ledger, Partition,
    tail::{Wanted, tail},
    topics::{PartitionRange, Plan, init, offsets},
};
use waybill_kafka::{KafkaSettings, Mechanism, Security};

use crate::{
    books::unix_us,
    settings::{LedgerUrl, Postgres},
    stores::open_ledger,
};

/// The topic of usage records.
#[derive(Debug, Subcommand)]
pub enum Kafka {
    /// Makes the topic with the settings that the bill rests on, or brings it to them. Doing it again changes nothing.
    Init(Init),
    /// Shows what Kafka has of each partition, and with `--ledger` how far it was read, and who let it go on elsewhere.
    Offsets(Offsets),
    /// Lets a partition go on elsewhere, by a named operator: Kafka has deleted what the ledger has not. What lies between is not read; the word
    /// is kept in the ledger, and the consumer goes on by itself within half a minute.
    Reset(Reset),
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

/// Where the bill is kept, as in the settings of `waybill billing`.
#[derive(Args, Clone, Debug)]
pub struct Books {
    /// The ledger.
    #[arg(long, env = "WAYBILL_LEDGER", value_name = "URL")]
    ledger: Option<LedgerUrl>,
    /// File with the password of the ledger's user.
    #[arg(long, env = "WAYBILL_POSTGRES_PASSWORD_FILE", value_name = "FILE")]
    postgres_password_file: Option<PathBuf>,
}

impl Books {
    async fn open(&self) -> Result<Option<Arc<dyn Ledger>>> {
        let Some(url) = &self.ledger else { return Ok(None) };
        if let LedgerUrl::Sqlite(path) = url
            && !path.exists()
        {
            bail!("there is no {}", path.display());
        }
        Ok(Some(open_ledger(url, &Postgres { password_file: self.postgres_password_file.clone() }).await?))
    }
}

#[derive(Args, Clone, Debug)]
pub struct Offsets {
    #[command(flatten)]
    brokers: Brokers,
    #[command(flatten)]
    books: Books,
}

#[derive(Args, Clone, Debug)]
pub struct Reset {
    #[command(flatten)]
    brokers: Brokers,
    #[command(flatten)]
    books: Books,
    /// The partition.
    #[arg(long)]
    partition: i32,
    /// Where it goes on: with the first record that Kafka has of it, or behind the last.
    #[arg(long, value_enum)]
    to: From,
    /// Who decides.
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// Why.
    #[arg(long)]
    reason: String,
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
            let plan = Plan { partitions, replication, min_insync, retention_hours };
            for step in once(async { Ok(init(&brokers.settings(), plan).await?) })? {
                println!("{step}");
            }
        }
        Kafka::Offsets(Offsets { brokers, books }) => once(show(&brokers.settings(), &books))?,
        Kafka::Reset(asked) => once(reset(asked))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn once<T>(verb: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(verb)
}

/// Where each partition begins and ends in Kafka, and where the ledger stands.
async fn show(settings: &KafkaSettings, books: &Books) -> Result<()> {
    let ranges = offsets(settings)?;
    let Some(ledger) = books.open().await? else {
        println!("{:>9}  {:>12}  {:>12}", "PARTITION", "FIRST", "NEXT");
        for PartitionRange { partition, low, high } in ranges {
            println!("{partition:>9}  {low:>12}  {high:>12}");
        }
        return Ok(());
    };
    let known = ledger.partitions(&settings.topic).await?;
    let known: BTreeMap<i32, Partition> = known.into_iter().map(|known| (known.partition, known)).collect();
    println!("{:>9}  {:>12}  {:>12}  {:>12}  {:>12}  {:>6}", "PARTITION", "FIRST", "NEXT", "READ TO", "LAG", "EPOCH");
    for PartitionRange { partition, low, high } in ranges {
        let known = known.get(&partition);
        let next = known.and_then(|known| known.next_offset);
        let lag = (high - next.unwrap_or(low)).to_string();
        // Nothing can be read where Kafka has nothing: an operator must decide.
        let lag = if next.is_some_and(|next| next < low || next > high) { "STOPPED".to_owned() } else { lag };
        let (next, epoch) = (or_dash(next), or_dash(known.map(|known| known.epoch)));
        println!("{partition:>9}  {low:>12}  {high:>12}  {next:>12}  {lag:>12}  {epoch:>6}");
    }
    for reset in ledger.resets(&settings.topic).await? {
        let (from, at) = (or_dash(reset.from), waybill_cli::time_us(reset.unix_ms * 1_000));
        println!("{at}  {} let partition {} go on from {from} at {}: {}", reset.operator, reset.partition, reset.to, reset.reason);
    }
    Ok(ledger.close().await?)
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

async fn reset(asked: Reset) -> Result<()> {
    let Reset { brokers, books, partition, to, operator, reason } = asked;
    let settings = brokers.settings();
    let ledger = books.open().await?.context("--ledger (WAYBILL_LEDGER) names no ledger: it keeps the word")?;
    let range = offsets(&settings)?.into_iter().find(|range| range.partition == partition);
    let PartitionRange { low, high, .. } = range.with_context(|| format!("{} has no partition {partition}", settings.topic))?;
    let known = ledger.partitions(&settings.topic).await?.into_iter().find(|known| known.partition == partition);
    let from = known.and_then(|known| known.next_offset);
    match from {
        Some(from) if from > high => bail!(
            "the ledger stands at {from}, behind the end of {}/{partition} at {high}: this is another topic than the one it knows. Give it a name of its own",
            settings.topic
        ),
        Some(from) if from < low => {}
        _ => bail!("{}/{partition} can be read from {} on: there is nothing to decide", settings.topic, from.unwrap_or(low)),
    }
    let to = if to == From::Latest { high } else { low };
    let topic = settings.topic.clone();
    let word = waybill_billing::Reset { topic, partition, from, to, operator, reason, unix_ms: unix_us() / 1_000 };
    ledger.reset(&word).await?;
    println!("{}/{partition} goes on at {to} (it stood at {}), by {}", word.topic, or_dash(from), word.operator.trim());
    Ok(ledger.close().await?)
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
