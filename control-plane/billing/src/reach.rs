//! Reaching the brokers before anything is asked of them. A client that is not let in tries again in silence until its time is over, and then says
//! that its time is over: what the brokers have against it is heard on the side.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::topics::TopicError;

/// Longest wait for an answer of the brokers.
pub const TIME: Duration = Duration::from_secs(20);

/// How long is asked, and then listened.
const SLICE: Duration = Duration::from_millis(250);

/// Longest wait for the next complaint.
const NAP: Duration = Duration::from_millis(20);

/// What was heard.
#[derive(Debug, Default)]
struct Heard {
    /// The first complaint that names something an operator can mend, else the last one: its kind and what the client says of it.
    complaint: Option<(String, String)>,
    /// All brokers were tried.
    all_tried: bool,
}

/// Listens to a client.
#[derive(Clone, Debug, Default)]
pub struct Ear(Arc<Mutex<Heard>>);

impl ClientContext for Ear {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if code == RDKafkaErrorCode::AllBrokersDown {
            heard.all_tried = true;
        } else if !heard.complaint.as_ref().is_some_and(|(known, _)| refuses(known)) {
            heard.complaint = Some((waybill_kafka::kind(&format!("{code:?}"), reason).to_owned(), reason.to_owned()));
        }
    }
}

impl ConsumerContext for Ear {}

impl Ear {
    /// What stands in the way for good, once every broker was tried.
    fn refusal(&self) -> Option<TopicError> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, reason) = heard.complaint.as_ref()?;
        (heard.all_tried && refuses(kind)).then(|| unreachable(kind, reason))
    }

    /// What was heard, when the time is over.
    fn last(&self, error: KafkaError) -> TopicError {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.complaint.as_ref().map_or_else(|| error.into(), |(kind, reason)| unreachable(kind, reason))
    }
}

/// Trying again gives the same.
fn refuses(kind: &str) -> bool {
    matches!(kind, "SSL" | "Authentication" | "SaslAuthenticationFailed" | "UnsupportedSASLMechanism" | "IllegalSASLState")
}

fn unreachable(kind: &str, reason: &str) -> TopicError {
    TopicError::Unreachable { reason: reason.to_owned(), advice: waybill_kafka::advice(kind) }
}

/// A consumer that a broker has answered. Waits on its thread.
///
/// # Errors
/// No broker lets it in, or none answers in [`TIME`]: with what they say.
pub fn reach(config: &ClientConfig, topic: &str) -> Result<BaseConsumer<Ear>, TopicError> {
    let reader = BaseConsumer::from_config_and_context(config, Ear::default())?;
    let (began, ear) = (Instant::now(), Arc::clone(reader.context()));
    loop {
        let Err(error) = reader.fetch_metadata(Some(topic), SLICE) else { return Ok(reader) };
        // Complaints are handed over by the polling, one by one, among lines of the client's log.
        let listening = Instant::now();
        while listening.elapsed() < SLICE {
            drop(reader.poll(NAP));
        }
        if let Some(refusal) = ear.refusal() {
            return Err(refusal);
        }
        if began.elapsed() >= TIME {
            return Err(ear.last(error));
        }
    }
}
