//! What only the control plane knows of the ledger, asked over the connection that serves the stream.

use std::{future::Future, time::Duration};

use prost::Message;
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};
use waybill_proto::usage::v1::{
    Event, GenerationRequest, IngestRequest, IngestResponse, KeyScope, SpentRequest, SpentResponse, Spooled,
    usage_service_client::UsageServiceClient,
};

use crate::{Remote, sync::Unreached};

/// Most bytes of records in one call.
const RECORDS_BYTES: usize = 4 * 1024 * 1024;

/// What taking records into the ledger may take.
const INGEST: Duration = Duration::from_secs(30);

/// What a question may take, beyond what the ledger is to be waited for.
const ASK: Duration = Duration::from_secs(3);

/// Most bytes of an answer: the events of one request.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Asks the control plane. Clones are the same.
#[derive(Clone, Debug)]
pub struct UsageClient {
    remote: Remote,
}

/// There is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// No replica can be reached, or the ledger is away. The same may succeed later.
    #[error("the control plane does not answer: {0}")]
    Away(String),
    /// It refuses: trying again does not help.
    #[error("the control plane refuses: {0}")]
    Refused(String),
}

impl UsageClient {
    pub(crate) const fn new(remote: Remote) -> Self {
        Self { remote }
    }

    /// Takes records into the ledger, in as many calls as are needed. Records that it has are no fault, so all of it may be tried again.
    ///
    /// # Errors
    /// See [`Unanswered`]. Some of the records may be in the ledger.
    pub async fn ingest(&self, records: Vec<Spooled>) -> Result<IngestResponse, Unanswered> {
        let mut sum = IngestResponse::default();
        for records in parts(records) {
            let request = IngestRequest { records };
            let call = |mut client: UsageServiceClient<Channel>| {
                let request = request.clone();
                async move { client.ingest(request).await }
            };
            let answer = self.ask(INGEST, &call).await?;
            sum.booked += answer.booked;
            sum.known += answer.known;
            sum.quarantined += answer.quarantined;
        }
        Ok(sum)
    }

    /// The events of a generation (`gen-…` or a provider's answer id), within the scope of a key; none = there is none. The ledger may be
    /// waited for.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn generation(&self, scope: KeyScope, id: &str, wait: Duration) -> Result<Vec<Event>, Unanswered> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let request = GenerationRequest { scope: Some(scope), id: id.to_owned(), wait_ms };
        let call = |mut client: UsageServiceClient<Channel>| {
            let request = request.clone();
            async move { client.generation(request).await }
        };
        Ok(self.ask(ASK + wait, &call).await?.events)
    }

    /// What a key has spent.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn spent(&self, scope: KeyScope) -> Result<SpentResponse, Unanswered> {
        let request = SpentRequest { scope: Some(scope) };
        let call = |mut client: UsageServiceClient<Channel>| {
            let request = request.clone();
            async move { client.spent(request).await }
        };
        self.ask(ASK, &call).await
    }

    /// Asks once, and once more on a new connection if the one at hand does not serve any more: all questions may be asked twice.
    async fn ask<T, F>(&self, limit: Duration, call: &(dyn Fn(UsageServiceClient<Channel>) -> F + Send + Sync)) -> Result<T, Unanswered>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        let mut unanswered = Unanswered::Away(String::new());
        for _ in 0..2 {
            let asked = async {
                let channel = self.remote.channel().await.map_err(|unreached: Unreached| Unanswered::Away(unreached.reason))?;
                let client = UsageServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES);
                call(client).await.map(tonic::Response::into_inner).map_err(|status| judged(&status))
            };
            let late = || Err(Unanswered::Away(format!("no answer within {} s", limit.as_secs())));
            match timeout(limit, asked).await.unwrap_or_else(|_| late()) {
                Err(away @ Unanswered::Away(_)) => {
                    self.remote.keep(None);
                    unanswered = away;
                }
                other => return other,
            }
        }
        Err(unanswered)
    }
}

fn judged(status: &Status) -> Unanswered {
    let message = status.message().to_owned();
    match status.code() {
        Code::InvalidArgument | Code::PermissionDenied | Code::FailedPrecondition | Code::Unimplemented | Code::Internal => {
            Unanswered::Refused(message)
        }
        _ => Unanswered::Away(message),
    }
}

/// Records in parts of at most [`RECORDS_BYTES`], in order.
fn parts(records: Vec<Spooled>) -> Vec<Vec<Spooled>> {
    let (mut parts, mut bytes) = (Vec::new(), usize::MAX);
    for record in records {
        // The field's tag and length stand before each.
        let length = record.encoded_len() + 8;
        bytes = bytes.saturating_add(length);
        if bytes > RECORDS_BYTES {
            parts.push(Vec::new());
            bytes = length;
        }
        if let Some(part) = parts.last_mut() {
            part.push(record);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_in_parts_that_are_taken_in_one_call_each() {
        let record = |bytes: usize| Spooled { sequence: bytes as u64, payload: vec![0; bytes].into(), ..Spooled::default() };
        let mebi = 1024 * 1024;
        // Sizes of payloads, and how they are divided.
        type Row<'a> = (&'a [usize], &'a [usize]);
        let rows: [Row<'_>; 5] = [
            (&[], &[]),
            (&[1, 2, 3], &[3]),
            (&[3 * mebi, mebi / 2, mebi], &[2, 1]),
            (&[5 * mebi, 1], &[1, 1]),
            (&[mebi, mebi, mebi, mebi, mebi], &[3, 2]),
        ];
        for (sizes, expected) in rows {
            let parts = parts(sizes.iter().map(|size| record(*size)).collect());
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{sizes:?}");
            assert_eq!(parts.concat().iter().map(|record| record.payload.len()).collect::<Vec<_>>(), sizes);
        }
    }
}
