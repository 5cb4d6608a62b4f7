//! The usage topic: made with the settings that the bill rests on, and brought to them if it is there already.

use std::{collections::BTreeMap, fmt};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfig,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::MetadataTopic,
};
use waybill_kafka::{KafkaSettings, SettingsError};

use crate::reach::{TIME, reach};

/// What the topic is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Never lowered, since Kafka cannot; more of them only spread the logs anew.
    pub partitions: i32,
    /// How many brokers have each record.
    pub replication: i32,
    /// How many of them must have it before it is acknowledged.
    pub min_insync: i32,
    /// How long Kafka keeps a record, hours: as long as billing may be away.
    pub retention_hours: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self { partitions: 64, replication: 3, min_insync: 2, retention_hours: 7 * 24 }
    }
}

impl Plan {
    /// The topic's settings, by Kafka's names.
    fn settings(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("cleanup.policy", "delete".to_owned()),
            ("min.insync.replicas", self.min_insync.to_string()),
            // A replica that is behind must not become the leader: it would lose acknowledged records.
            ("unclean.leader.election.enable", "false".to_owned()),
            ("retention.ms", (u64::from(self.retention_hours) * 3_600_000).to_string()),
            ("retention.bytes", "-1".to_owned()),
        ])
    }
}

/// What [`init`] found or did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    Made {
        topic: String,
        plan: Plan,
    },
    /// Nothing was to be done about this.
    Right(String),
    Changed {
        what: String,
        from: String,
        to: String,
    },
    /// It is not as planned and is left so.
    Differs {
        what: String,
        is: String,
        planned: String,
        why: &'static str,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made { topic, plan } => {
                write!(formatter, "made {topic}: {} partitions, {} replicas", plan.partitions, plan.replication)
            }
            Self::Right(what) => write!(formatter, "as planned: {what}"),
            Self::Changed { what, from, to } => write!(formatter, "changed {what}: {from} -> {to}"),
            Self::Differs { what, is, planned, why } => write!(formatter, "DIFFERS {what}: {is}, planned {planned}; {why}"),
        }
    }
}

/// Why the topic could not be looked after. Retry when it is mended.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The operator's fault.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The operator's fault.
    #[error("the plan cannot be: {0}")]
    Plan(String),
    #[error("Kafka cannot be reached: {reason} ({advice})")]
    Unreachable { reason: String, advice: &'static str },
    #[error("Kafka failed: {error} ({advice})")]
    Kafka { error: KafkaError, advice: &'static str },
    #[error("Kafka refused to {what}: {code} ({advice})")]
    Refused { what: &'static str, code: RDKafkaErrorCode, advice: &'static str },
}

impl From<KafkaError> for TopicError {
    fn from(error: KafkaError) -> Self {
        let kind = match &error {
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => "configuration".to_owned(),
            error => error.rdkafka_error_code().map_or_else(String::new, |code| format!("{code:?}")),
        };
        let advice = waybill_kafka::advice(&kind);
        Self::Kafka { error, advice }
    }
}

fn refused<T>(what: &'static str) -> impl Fn((T, RDKafkaErrorCode)) -> TopicError {
    move |(_, code)| {
        let advice = match code {
            RDKafkaErrorCode::InvalidReplicationFactor => "there are fewer brokers than replicas; ask for fewer replicas",
            code => waybill_kafka::advice(&format!("{code:?}")),
        };
        TopicError::Refused { what, code, advice }
    }
}

/// What Kafka has of a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartitionRange {
    pub partition: i32,
    /// The first offset that is there.
    pub low: i64,
    /// One behind the last.
    pub high: i64,
}

/// A client with these settings and nothing else.
pub(crate) fn client(settings: &KafkaSettings) -> Result<ClientConfig, SettingsError> {
    let mut config = ClientConfig::new();
    for (name, value) in settings.properties(cfg!(feature = "kafka-tls"))? {
        config.set(name, value);
    }
    config.set("client.id", "waybill-operator").set("allow.auto.create.topics", "false").set("log.connection.close", "false");
    Ok(config)
}

/// Makes the topic, or brings it to the plan as far as can be. Doing it again changes nothing.
///
/// # Errors
/// Kafka cannot be reached or refuses; what was done before that stands.
pub async fn init(settings: &KafkaSettings, plan: Plan) -> Result<Vec<Step>, TopicError> {
    if plan.partitions < 1 || plan.replication < 1 || plan.min_insync < 1 || plan.min_insync > plan.replication {
        let Plan { partitions, replication, min_insync, .. } = plan;
        return Err(TopicError::Plan(format!("{partitions} partitions, {replication} replicas of which {min_insync} must acknowledge")));
    }
    let config = client(settings)?;
    let (greeted, topic) = (config.clone(), settings.topic.clone());
    let greeting = tokio::task::spawn_blocking(move || reach(&greeted, &topic).map(drop));
    // A task that panicked has nothing to answer; the client below meets the same brokers.
    greeting.await.unwrap_or(Ok(()))?;
    let admin = AdminClient::<DefaultClientContext>::from_config(&config)?;
    let options = AdminOptions::new().request_timeout(Some(TIME)).operation_timeout(Some(TIME));
    let wanted = plan.settings();
    let new = NewTopic::new(&settings.topic, plan.partitions, TopicReplication::Fixed(plan.replication));
    let new = wanted.iter().fold(new, |new, (name, value)| new.set(name, value));
    match admin.create_topics([&new], &options).await?.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
        Some(Err(failed)) => return Err(refused("make the topic")(failed)),
        _ => return Ok(vec![Step::Made { topic: settings.topic.clone(), plan }]),
    }
    let mut steps = shape(&admin, &options, settings, plan).await?;
    steps.extend(configure(&admin, &options, &settings.topic, &wanted).await?);
    Ok(steps)
}

type Admin = AdminClient<DefaultClientContext>;

/// Partitions and replicas of a topic that is there.
async fn shape(admin: &Admin, options: &AdminOptions, settings: &KafkaSettings, plan: Plan) -> Result<Vec<Step>, TopicError> {
    let metadata = admin.inner().fetch_metadata(Some(&settings.topic), TIME)?;
    let partitions = metadata.topics().first().map_or(&[][..], MetadataTopic::partitions);
    let (count, replicas) = (partitions.len(), partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0));
    let planned = usize::try_from(plan.partitions).unwrap_or(0);
    let what = || "partitions".to_owned();
    let mut steps = Vec::new();
    if count < planned {
        let more = admin.create_partitions([&NewPartitions::new(&settings.topic, planned)], options).await?;
        more.into_iter().collect::<Result<Vec<_>, _>>().map_err(refused("add partitions"))?;
        steps.push(Step::Changed { what: what(), from: count.to_string(), to: planned.to_string() });
    } else if count > planned {
        let why = "Kafka cannot lower them, and more do no harm";
        steps.push(Step::Differs { what: what(), is: count.to_string(), planned: planned.to_string(), why });
    } else {
        steps.push(Step::Right(format!("{count} partitions")));
    }
    if usize::try_from(plan.replication).is_ok_and(|planned| planned == replicas) {
        steps.push(Step::Right(format!("{replicas} replicas")));
    } else {
        let why = "move them with Kafka's own tool for reassignment";
        steps.push(Step::Differs { what: "replicas".to_owned(), is: replicas.to_string(), planned: plan.replication.to_string(), why });
    }
    Ok(steps)
}

/// Settings of a topic that is there.
async fn configure(
    admin: &Admin,
    options: &AdminOptions,
    topic: &str,
    wanted: &BTreeMap<&'static str, String>,
) -> Result<Vec<Step>, TopicError> {
    let specifier = ResourceSpecifier::Topic(topic);
    let described = admin.describe_configs([&specifier], options).await?;
    let found = match described.into_iter().next() {
        Some(Ok(found)) => found,
        Some(Err(code)) => return Err(refused("show the topic's settings")(((), code))),
        None => return Ok(Vec::new()),
    };
    // Kafka replaces the settings of the topic's own whole: those that are not ours are given back as they are.
    let own = found.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    let mut all: BTreeMap<&str, &str> = own.filter_map(|entry| Some((&*entry.name, entry.value.as_deref()?))).collect();
    let mut steps = Vec::new();
    let mut changed = false;
    for (name, value) in wanted {
        let is = found.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        // Said as the topic's own even where the broker's default agrees today.
        all.insert(name, value);
        if is == *value {
            steps.push(Step::Right(format!("{name}={value}")));
        } else {
            changed = true;
            steps.push(Step::Changed { what: (*name).to_owned(), from: is, to: value.clone() });
        }
    }
    if changed {
        let alter = all.iter().fold(AlterConfig::new(specifier), |alter, (name, value)| alter.set(name, value));
        let altered = admin.alter_configs([&alter], options).await?;
        altered.into_iter().collect::<Result<Vec<_>, _>>().map_err(refused("change the topic's settings"))?;
    }
    Ok(steps)
}

/// What Kafka has of each partition. Waits for the brokers' answer on its thread.
///
/// # Errors
/// Kafka cannot be reached, or there is no such topic.
pub fn offsets(settings: &KafkaSettings) -> Result<Vec<PartitionRange>, TopicError> {
    let reader = reach(&client(settings)?, &settings.topic)?;
    partitions(&reader, &settings.topic)?
        .into_iter()
        .map(|partition| {
            let (low, high) = reader.fetch_watermarks(&settings.topic, partition, TIME)?;
            Ok(PartitionRange { partition, low, high })
        })
        .collect()
}

/// The partitions of a topic.
pub(crate) fn partitions<C: ConsumerContext>(reader: &BaseConsumer<C>, topic: &str) -> Result<Vec<i32>, TopicError> {
    let metadata = reader.fetch_metadata(Some(topic), TIME)?;
    let found: Vec<i32> =
        metadata.topics().iter().flat_map(MetadataTopic::partitions).map(rdkafka::metadata::MetadataPartition::id).collect();
    if found.is_empty() {
        let code = RDKafkaErrorCode::UnknownTopicOrPartition;
        return Err(refused("show the topic")(((), code)));
    }
    Ok(found)
}
