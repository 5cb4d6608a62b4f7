//! What a Kafka client complains of: said in the operator's words, and not a hundred times a second.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The same complaint is said again after this time.
const SILENCE: Duration = Duration::from_secs(30);

/// Kinds that are remembered; there are fewer.
const KINDS: usize = 256;

/// Which complaints were said when.
#[derive(Debug, Default)]
pub struct Complaints(BTreeMap<String, (Instant, u64)>);

impl Complaints {
    /// Whether a complaint of this kind is to be said now; gives how many of the kind were not said since the last time.
    pub fn say(&mut self, kind: &str, now: Instant) -> Option<u64> {
        match self.0.get_mut(kind) {
            Some((said, unsaid)) if now.saturating_duration_since(*said) < SILENCE => {
                *unsaid += 1;
                None
            }
            Some(known) => {
                let (_, unsaid) = std::mem::replace(known, (now, 0));
                Some(unsaid)
            }
            None => {
                if self.0.len() >= KINDS {
                    self.0.clear();
                }
                self.0.insert(kind.to_owned(), (now, 0));
                Some(0)
            }
        }
    }
}

/// What a complaint is about: its code, but for certificates that a broker refuses behind the handshake (TLS 1.3 has it so, RFC 8446 §4.4.2). The
/// client reads that as a connection that broke, with the alert in its reason.
#[must_use]
pub fn kind<'a>(code: &'a str, reason: &str) -> &'a str {
    if code == "BrokerTransportFailure" && reason.contains("SSL routines") { "SSL" } else { code }
}

/// What a complaint means and what to do. The kinds are named as the client's error codes are.
#[must_use]
pub fn advice(kind: &str) -> &'static str {
    match kind {
        "Authentication" | "SaslAuthenticationFailed" | "IllegalSASLState" | "UnsupportedSASLMechanism" => {
            "the brokers refuse the login; check kafka.saslUser, kafka.saslPasswordFile and kafka.saslMechanism"
        }
        "SSL" => {
            "TLS with a broker fails; check that kafka.caFile holds the authority of the brokers' certificates, that those name their hosts and have not \
             expired, and that the brokers know the authority of kafka.certFile, which has not expired either"
        }
        "AllBrokersDown" => "no broker can be reached; check kafka.brokers, kafka.security and the network",
        "BrokerTransportFailure" | "OperationTimedOut" | "RequestTimedOut" | "NetworkException" => {
            "a broker does not answer; it is tried again and again"
        }
        "configuration" => "the client cannot use its settings; check the files of kafka.caFile, kafka.certFile and kafka.keyFile",
        "Resolve" => "the name of a broker cannot be resolved; check kafka.brokers",
        "UnknownTopic" | "UnknownTopicOrPartition" | "UnknownPartition" => "the topic does not exist; make it with `waybill kafka init`",
        "TopicAuthorizationFailed" | "GroupAuthorizationFailed" | "ClusterAuthorizationFailed" | "TransactionalIdAuthorizationFailed" => {
            "the user has no right to do this; grant it in Kafka"
        }
        "NotEnoughReplicas" | "NotEnoughReplicasAfterAppend" => "fewer replicas are in step than the topic asks for; it is tried again",
        "Fatal" | "OutOfOrderSequenceNumber" | "InvalidProducerEpoch" => "the client is of no use any more; a new one takes its place",
        _ => "the Kafka client failed; it is tried again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_said_once_in_a_while_with_how_often_it_came() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let said: Vec<_> = [("a", 0), ("a", 1), ("b", 1), ("a", 29), ("a", 30), ("a", 59), ("a", 60)]
            .into_iter()
            .map(|(kind, seconds)| complaints.say(kind, at(seconds)))
            .collect();
        assert_eq!(said, [Some(0), None, Some(0), None, Some(2), None, Some(1)]);
    }

    #[test]
    fn a_certificate_that_is_refused_is_no_broken_connection() {
        let alert = "ssl://127.0.0.1:9093/bootstrap: Receive failed: error:0A000416:SSL routines::sslv3 alert certificate unknown: SSL alert number 46";
        for (code, reason, expected) in [
            ("BrokerTransportFailure", alert, "SSL"),
            ("BrokerTransportFailure", "Connect to ipv4#127.0.0.1:9092 failed: Connection refused", "BrokerTransportFailure"),
            ("Authentication", alert, "Authentication"),
        ] {
            assert_eq!(kind(code, reason), expected, "{reason}");
        }
    }

    #[test]
    fn what_an_operator_can_mend_is_named() {
        for (kind, word) in [
            ("Authentication", "saslPasswordFile"),
            ("AllBrokersDown", "kafka.brokers"),
            ("UnknownTopicOrPartition", "kafka init"),
            ("SSL", "kafka.caFile"),
            ("configuration", "kafka.keyFile"),
        ] {
            assert!(advice(kind).contains(word), "{kind}");
        }
    }
}
