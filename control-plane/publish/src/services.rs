//! The services of the sync listener: who may call what, and what becomes a gRPC status.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};
use waybill_peer::{
    Peer, Role,
    details::{because, retry_after},
};
use waybill_proto::{
    sync::v1::{
        ConnectRequest, ConnectResponse, FleetRequest, FleetResponse, peer_service_server::PeerService, sync_service_server::SyncService,
    },
    usage::v1::{
        GenerationRequest, GenerationResponse, IngestRequest, IngestResponse, SpentRequest, SpentResponse,
        usage_service_server::UsageService,
    },
};

use crate::{
    Refusal,
    listen::Served,
    serving::{self, Terms},
    usage::Unanswered,
};

/// Messages that wait for the connection to take them.
const WAITING: usize = 4;

/// Who is refused since many are being brought up to date comes back after this, and some of its own choice.
const COME_BACK: Duration = Duration::from_secs(2);

/// How long a proxy that does not read is waited for with the reason of the end.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What a question about the ledger may take, beyond what it asks to be waited for.
const CALL: Duration = Duration::from_secs(30);

/// All three services.
#[derive(Clone)]
pub struct Services {
    served: Arc<Served>,
    handshakes: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

/// What is said to a proxy, or why nothing more is.
type Said = Result<Box<ConnectResponse>, Status>;

impl Services {
    pub fn new(served: Served, stopping: watch::Receiver<bool>) -> Self {
        let handshakes = Arc::new(Semaphore::new(served.limits.handshakes));
        Self { served: Arc::new(served), handshakes, stopping }
    }

    fn terms(&self, peer: Peer) -> Result<Terms, Status> {
        let figures = self.served.publisher.figures();
        let admission = Arc::clone(&self.handshakes).try_acquire_owned().map_err(|_| {
            figures.handshakes_refused.fetch_add(1, Ordering::Relaxed);
            retry_after(Code::ResourceExhausted, "many proxies are being brought up to date: come back later", COME_BACK)
        })?;
        let number = self.served.publisher.shared().sessions.load(Ordering::Relaxed);
        let age = spread(self.served.limits.age, number);
        Ok(Terms {
            peer: Some(peer),
            admission: Some(admission),
            age: Some(age),
            peppers: self.served.peppers.clone(),
            stopping: Some(self.stopping.clone()),
        })
    }
}

/// A fifth more or less, spread evenly over what comes one after the other (the golden ratio's fraction).
fn spread(age: Duration, number: u64) -> Duration {
    let place = u32::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or(0);
    let fifths = age * 4 / 5;
    fifths + (age * 2 / 5).mul_f64(f64::from(place) / f64::from(u32::MAX))
}

/// The peer, if it has the role.
fn require<T>(request: &Request<T>, role: Role) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().ok_or_else(|| Status::internal("a connection without a peer"))?;
    if peer.has(role) {
        Ok(peer.clone())
    } else {
        Err(Status::permission_denied(format!("{peer} may not call this: it is for the role {role}")))
    }
}

fn said(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::Schema { .. } => Status::failed_precondition(message),
        Refusal::Protocol(_) => Status::invalid_argument(message),
        Refusal::Name { .. } => Status::permission_denied(message),
        Refusal::Pepper { .. } => because(Code::FailedPrecondition, &message, "PEPPER"),
        Refusal::FellBehind { .. } => Status::aborted(message),
        Refusal::Diverged { .. } => Status::internal(message),
        Refusal::Silent | Refusal::Aged | Refusal::Stopping | Refusal::Closed => Status::unavailable(message),
    }
}

#[tonic::async_trait]
impl SyncService for Services {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ConnectResponse, Status>> + Send>>;

    async fn connect(&self, request: Request<Streaming<ConnectRequest>>) -> Result<Response<Self::ConnectStream>, Status> {
        let terms = self.terms(require(&request, Role::Proxy)?)?;
        let publisher = self.served.publisher.clone();
        // A stream that breaks has ended; the log says so when it does.
        let requests = request.into_inner().map_while(Result::ok);
        let (responses, stream) = mpsc::channel::<Said>(WAITING);
        tokio::spawn(async move {
            let refusal = serving::serve(publisher.shared(), terms, requests, &responses, |response| Ok(Box::new(response))).await;
            if matches!(refusal, Refusal::Schema { .. } | Refusal::Protocol(_) | Refusal::Name { .. } | Refusal::Pepper { .. }) {
                publisher.figures().proxies_refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(reason = %refusal, "a proxy was refused");
            }
            // Nobody hears it if the stream is gone, or if nobody reads it.
            drop(tokio::time::timeout(LAST_WORD, responses.send(Err(said(&refusal)))).await);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream).map(|said| said.map(|response| *response)))))
    }
}

#[tonic::async_trait]
impl PeerService for Services {
    async fn fleet(&self, request: Request<FleetRequest>) -> Result<Response<FleetResponse>, Status> {
        require(&request, Role::Control)?;
        let Served { publisher, replica, build, .. } = &*self.served;
        let (replica, build) = (replica.clone(), build.clone());
        Ok(Response::new(FleetResponse { replica, build, revision: publisher.world().revision(), proxies: publisher.proxies() }))
    }
}

#[tonic::async_trait]
impl UsageService for Services {
    async fn ingest(&self, request: Request<IngestRequest>) -> Result<Response<IngestResponse>, Status> {
        require(&request, Role::Proxy)?;
        within(CALL, self.ledger()?.ingest(request.into_inner())).await
    }

    async fn generation(&self, request: Request<GenerationRequest>) -> Result<Response<GenerationResponse>, Status> {
        require(&request, Role::Proxy)?;
        let request = request.into_inner();
        let wait = Duration::from_millis(request.wait_ms).min(CALL);
        within(CALL + wait, self.ledger()?.generation(request)).await
    }

    async fn spent(&self, request: Request<SpentRequest>) -> Result<Response<SpentResponse>, Status> {
        require(&request, Role::Proxy)?;
        within(CALL, self.ledger()?.spent(request.into_inner())).await
    }
}

impl Services {
    fn ledger(&self) -> Result<&dyn crate::Usage, Status> {
        self.served.usage.as_deref().ok_or_else(|| Status::unavailable("this replica has no ledger"))
    }
}

async fn within<T>(limit: Duration, answer: crate::usage::Answer<'_, T>) -> Result<Response<T>, Status> {
    let timely = tokio::time::timeout(limit, answer).await;
    let answer = timely.unwrap_or_else(|_| Err(Unanswered::Away(format!("no answer within {} s", limit.as_secs()))));
    answer.map(Response::new).map_err(|unanswered| {
        let message = unanswered.to_string();
        match unanswered {
            Unanswered::Away(_) => Status::unavailable(message),
            Unanswered::Malformed(_) => Status::invalid_argument(message),
            Unanswered::Failed(_) => Status::internal(message),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_over_a_fifth_more_or_less() {
        let age = Duration::from_secs(1_800);
        let ages: Vec<u64> = (0..1_000).map(|number| spread(age, number).as_secs()).collect();
        assert!(ages.iter().all(|age| (1_440..=2_160).contains(age)));
        for (from, to) in [(1_440, 1_620), (1_620, 1_800), (1_800, 1_980), (1_980, 2_161)] {
            let share = ages.iter().filter(|age| (from..to).contains(*age)).count();
            assert!((200..300).contains(&share), "{share} of 1000 between {from} and {to}");
        }
    }
}
