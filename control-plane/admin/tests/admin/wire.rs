//! Over gRPC: who is let in, what is offered, what an error looks like.

use std::sync::Arc;

use prost::Message;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};
use waybill_admin::{OperatorToken, ServeError, serve};
use waybill_billing::Progress;
use waybill_proto::{
    admin::v1::{
        ApplyChangeSetRequest, EventsRequest, ExplainRequest, GapsRequest, GetRequest, QuarantineRequest, RecomputeRequest, StatusRequest,
        VerifyRequest, WriteOffRequest, config_service_client::ConfigServiceClient, ledger_service_client::LedgerServiceClient,
    },
    sync::v1::LogReport,
    usage::v1::Spooled,
};

use crate::sample::{BEGIN_US, Sample, org, workspace};

struct Served {
    sample: Sample,
    channel: Channel,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

async fn served() -> Served {
    let sample = Sample::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let admin = Arc::clone(&sample.admin);
    let server = tokio::spawn(serve(listener, admin, OperatorToken::new(" wbo_right\n"), async { stopped.await.unwrap_or_default() }));
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address").connect().await.expect("connected");
    Served { sample, channel, stop, server }
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", token.parse().expect("a value"));
    }
    request
}

const RIGHT: &str = "Bearer wbo_right";

#[tokio::test]
async fn only_the_operator_token_lets_in() {
    let served = served().await;
    let mut config = ConfigServiceClient::new(served.channel.clone());
    let mut ledger = LedgerServiceClient::new(served.channel.clone());
    for token in ["", "wbo_right", "Bearer ", "Bearer wbo_wrong", "Basic wbo_right", "Bearer wbo_rightx"] {
        let refused = config.status(with(token, StatusRequest {})).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated, "{token}");
        let refused = ledger.verify(with(token, VerifyRequest {})).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated, "{token}");
    }
    let status = config.status(with(RIGHT, StatusRequest {})).await.expect("let in").into_inner();
    assert_eq!((status.revision, status.build.as_str()), (0, "test"));
    // A shutdown waits for calls, not for connections.
    served.stop.send(()).expect("running");
    served.server.await.expect("joined").expect("ended well");
}

#[tokio::test]
async fn resources_go_in_and_come_out_and_the_log_says_who() {
    let served = served().await;
    let mut config = ConfigServiceClient::new(served.channel.clone());
    let upserts = vec![org("acme", "Acme"), workspace("w", "acme")];
    let mut request = with(RIGHT, ApplyChangeSetRequest { upserts, ..ApplyChangeSetRequest::default() });
    request.metadata_mut().insert("waybill-operator", "ada".parse().expect("a value"));
    assert_eq!(config.apply_change_set(request).await.expect("applied").into_inner().revision, 1);
    let got = config.get(with(RIGHT, GetRequest { kind: "Org".to_owned(), name: "acme".to_owned() })).await.expect("found").into_inner();
    assert_eq!(got.revision, 1);
    assert_eq!(served.sample.log().await[0].operator, "operator (ada)");
    let mut ledger = LedgerServiceClient::new(served.channel.clone());
    let events = ledger.events(with(RIGHT, EventsRequest::default())).await.expect("a stream").into_inner();
    assert_eq!(events.collect::<Result<Vec<_>, Status>>().await.expect("rows").len(), 0);
    let recomputed = ledger.recompute(with(RIGHT, RecomputeRequest {})).await.expect("recomputed").into_inner();
    assert!(recomputed.differences.is_empty());
    let unknown = ledger.explain(with(RIGHT, ExplainRequest { id: "chatcmpl-1".to_owned() })).await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn what_is_missing_of_a_log_is_shown_and_written_off_by_name() {
    let served = served().await;
    let begin_ms = BEGIN_US / 1_000;
    let report = |incarnation, last_sequence| LogReport { incarnation, last_sequence, closed: false };
    let ledger = &served.sample.ledger;
    ledger.note_logs("p-1", 5, &[report(7, 3), report(8, 0)], begin_ms - 3_600_000).await.expect("noted");
    let unreadable = Spooled { payload: b"noise".to_vec().into(), sequence: 2, incarnation: 7, ..Spooled::default() };
    assert_eq!(ledger.commit(&[unreadable], Progress::None).await.expect("committed").quarantined, 1);
    let mut client = LedgerServiceClient::new(served.channel.clone());
    let rows = client.quarantine(with(RIGHT, QuarantineRequest::default())).await.expect("listed").into_inner().rows;
    assert_eq!((rows.len(), rows[0].sequence, rows[0].payload_bytes, rows[0].attempt_id.as_str()), (1, 2, 5, ""));
    let gaps = client.gaps(with(RIGHT, GapsRequest {})).await.expect("listed").into_inner().gaps;
    let shown: Vec<_> = gaps.iter().map(|gap| (gap.incarnation, gap.proxy.as_str(), gap.state.as_str(), gap.missing.join(" "))).collect();
    assert_eq!(shown, [(7, "p-1", "missing", "1 3".to_owned()), (8, "p-1", "open", String::new())]);
    assert!((3_600..3_700).contains(&gaps[0].age_seconds), "{}", gaps[0].age_seconds);
    let mut config = ConfigServiceClient::new(served.channel.clone());
    let oldest = async |config: &mut ConfigServiceClient<_>| {
        let status = config.status(with(RIGHT, StatusRequest {})).await.expect("status").into_inner();
        status.ledger.expect("a ledger").gap_oldest_seconds
    };
    assert!(oldest(&mut config).await >= 3_600);
    let word = |incarnation, operator: &str| WriteOffRequest { incarnation, operator: operator.to_owned(), reason: "the disk".to_owned() };
    for (request, code) in [(word(7, " "), Code::InvalidArgument), (word(9, "ann"), Code::NotFound)] {
        assert_eq!(client.write_off(with(RIGHT, request)).await.expect_err("refused").code(), code);
    }
    for log in [7, 8] {
        let gap = client.write_off(with(RIGHT, word(log, "ann"))).await.expect("written off").into_inner().gap;
        assert_eq!(gap.map(|gap| gap.incarnation), Some(log));
    }
    assert_eq!(client.gaps(with(RIGHT, GapsRequest {})).await.expect("listed").into_inner().gaps, []);
    assert_eq!(oldest(&mut config).await, 0);
}

#[tokio::test]
async fn faults_come_as_details_of_an_error_or_in_the_answer() {
    let served = served().await;
    let mut config = ConfigServiceClient::new(served.channel.clone());
    let upserts: Vec<_> = (0..50).map(|number| workspace(&format!("w{number}"), "nobody")).collect();
    let request = ApplyChangeSetRequest { upserts, ..ApplyChangeSetRequest::default() };
    let refused = config.apply_change_set(with(RIGHT, request.clone())).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("50 faults; the first: Workspace `w0`: spec.org: "), "{}", refused.message());
    let details = prost_types_status(&refused);
    assert!(
        details.iter().any(|url| url.ends_with("google.rpc.BadRequest")) && details.iter().any(|url| url.ends_with("google.rpc.ErrorInfo"))
    );
    let request = ApplyChangeSetRequest { faults_in_answer: true, ..request };
    let answer = config.apply_change_set(with(RIGHT, request)).await.expect("answered").into_inner();
    assert_eq!((answer.violations.len(), answer.revision, served.sample.log().await.len()), (50, 0, 0));
    assert_eq!((answer.violations[7].name.as_str(), answer.violations[7].code.as_str()), ("w7", "reference_dangling"));
}

/// The type URLs of the details, read with a message of this test's own.
fn prost_types_status(status: &Status) -> Vec<String> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Read {
        #[prost(message, repeated, tag = "3")]
        details: Vec<prost_types::Any>,
    }
    Read::decode(status.details()).expect("google.rpc.Status").details.into_iter().map(|detail| detail.type_url).collect()
}

#[tokio::test]
async fn health_is_open_and_reflection_lists_the_services() {
    let served = served().await;
    let mut health = HealthClient::new(served.channel.clone());
    for service in ["", "waybill.admin.v1.ConfigService", "waybill.admin.v1.LedgerService"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.expect("healthy").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let ask = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request })
    };
    let mut reflection = ServerReflectionClient::new(served.channel.clone());
    assert_eq!(reflection.server_reflection_info(ask()).await.expect_err("refused").code(), Code::Unauthenticated);
    let mut answers = reflection.server_reflection_info(with(RIGHT, ask())).await.expect("let in").into_inner();
    let answer = answers.message().await.expect("an answer").expect("one").message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for wanted in ["waybill.admin.v1.ConfigService", "waybill.admin.v1.LedgerService"] {
        assert!(names.iter().any(|name| name == wanted), "{names:?}");
    }
}
