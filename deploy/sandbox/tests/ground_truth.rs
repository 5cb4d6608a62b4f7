//! What a provider records is what happened, and it is recorded before the client can see it.

mod client;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Break, Http, send};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use waybill_sandbox::{
    Keep, Marks, Opening, Options, Outcome, Provider, Record, Recording, Recordings, Reply, Request, Sandbox, Script, Step, Usage,
    read_records,
};

const CHAT: &str = "/v1/chat/completions";
const USAGE: Usage = Usage { prompt: 5, completion: 7, cached: 1, reasoning: 2, cache_write_5m: 0, cache_write_1h: 0 };

fn ask(model: &str, stream: bool) -> String {
    json!({"model": model, "stream": stream, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "12345678"}]}).to_string()
}

fn remembering() -> Options {
    Options { records: Keep::Memory, ..Options::default() }
}

fn outcome(record: &Record) -> (Option<Outcome>, Option<Usage>, bool) {
    (record.outcome, record.usage_sent, record.done_sent)
}

#[tokio::test]
async fn an_answer_seen_to_its_end_is_recorded_byte_for_byte() {
    let sandbox = Sandbox::start(remembering()).unwrap();
    let (attempt, generation) = ("att-01234567890123456789abcdef", "gen-zyxwvutsrqponmkjhgfedcba98");
    for (arrival, (stream, http)) in [(false, Http::One), (true, Http::One), (false, Http::Two), (true, Http::Two)].into_iter().enumerate()
    {
        let body = ask("sandbox/echo", stream);
        let headers = [("x-attempt", attempt), ("traceparent", generation), ("x-odd", "att-short")];
        let received = send(http, sandbox.addr(), Method::POST, &format!("{CHAT}?x=1"), &headers, body.clone()).await;
        sandbox.quiet(arrival as u64 + 1).await;
        let record = sandbox.records().pop().unwrap();
        assert_eq!(
            (record.arrival, record.method.as_str(), record.path.as_str()),
            (arrival as u64 + 1, "POST", "/v1/chat/completions?x=1")
        );
        assert_eq!((record.body.as_ref(), record.model.as_deref()), (body.as_bytes(), Some("sandbox/echo")));
        assert_eq!((record.attempt_ids, record.generation_ids), (vec![attempt.to_owned()], vec![generation.to_owned()]));
        assert!(record.headers.contains(&("x-odd".to_owned(), "att-short".to_owned())));
        assert_eq!(record.body_bytes, received.body.len() as u64);
        let expected = Usage { prompt: 2, completion: 5, ..Usage::default() }; // "sandbox: 12345678" has 17 bytes.
        assert_eq!((record.status, record.usage, record.usage_sent), (Some(200), Some(expected), Some(expected)));
        assert_eq!((record.outcome, record.done_sent), (Some(Outcome::Ended), stream));
        assert!(record.arrived_us <= record.answered_us.unwrap() && record.answered_us <= record.ended_us);
    }
}

#[tokio::test]
async fn a_broken_answer_is_recorded_as_it_broke() {
    let sandbox = Sandbox::start(Options { stall: Duration::ZERO, ..remembering() }).unwrap();
    let rows = [
        ("sandbox/reset-midway-3", Some(200), Outcome::Reset),
        ("sandbox/reset-after-headers", Some(200), Outcome::Reset),
        ("sandbox/reset-before-byte", None, Outcome::Reset),
        ("sandbox/stall-before-byte", None, Outcome::Closed),
        ("sandbox/close-midway-3", Some(200), Outcome::Closed),
    ];
    for (arrival, (model, status, expected)) in rows.into_iter().enumerate() {
        let received = send(Http::One, sandbox.addr(), Method::POST, CHAT, &[], ask(model, true)).await;
        sandbox.quiet(arrival as u64 + 1).await;
        let record = sandbox.records().pop().unwrap();
        assert_eq!((record.status, outcome(&record)), (status, (Some(expected), None, false)), "{model}");
        assert_eq!(record.body_bytes, received.body.len() as u64, "{model}");
        assert_eq!(record.said_bytes, said(&received.body), "{model}");
    }
}

#[tokio::test]
async fn what_stands_behind_a_broken_frame_is_not_recorded_as_said() {
    let sandbox = Sandbox::start(remembering()).unwrap();
    for (arrival, model) in ["sandbox/malformed-frame", "sandbox/huge-frame-1", "sandbox/truncated-json"].into_iter().enumerate() {
        let received = send(Http::One, sandbox.addr(), Method::POST, CHAT, &[], ask(model, true)).await;
        sandbox.quiet(arrival as u64 + 1).await;
        let pieces: Vec<&[u8]> = received.body.split(|byte| *byte == b'\n').collect();
        let is_broken = |data: &[u8]| serde_json::from_slice::<serde_json::Value>(data).map_or(true, |chunk| chunk["choices"].is_null());
        let end = pieces.iter().position(|line| line.strip_prefix(b"data: ").is_some_and(is_broken)).unwrap();
        assert_eq!(sandbox.records().pop().unwrap().said_bytes, said(&pieces[..end].join(&b'\n')), "{model}");
    }
}

/// Bytes of all content in a stream's chunks.
fn said(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap();
    let chunks = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line.strip_prefix("data: ")?).ok());
    chunks.filter_map(|chunk| Some(chunk.pointer("/choices/0/delta/content")?.as_str()?.len() as u64)).sum()
}

/// Asks, reads until the answer has said `until`, and hangs up.
async fn hang_up(http: Http, addr: SocketAddr, model: &str, until: &str) {
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let request = http::Request::post(format!("http://{addr}{CHAT}"))
        .header("host", "sandbox")
        .body(Full::new(Bytes::from(ask(model, true))))
        .unwrap();
    let mut response = match http {
        Http::One => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
        Http::Two => {
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
    };
    let mut text = String::new();
    while !text.contains(until) {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        text += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_is_recorded() {
    let sandbox = Sandbox::start(remembering()).unwrap();
    let rows = [
        (Http::One, "sandbox/stall-midway-3", "sandbox 3"),
        (Http::Two, "sandbox/stall-midway-3", "sandbox 3"),
        (Http::One, "sandbox/stream-1000x20ms", "sandbox 2"),
        (Http::Two, "sandbox/stream-1000x20ms", "sandbox 2"),
    ];
    for (arrival, (http, model, until)) in rows.into_iter().enumerate() {
        hang_up(http, sandbox.addr(), model, until).await;
        sandbox.quiet(arrival as u64 + 1).await;
        let record = sandbox.records().pop().unwrap();
        assert_eq!(outcome(&record), (Some(Outcome::HungUp), None, false), "{http:?} {model}");
        assert!(record.body_bytes > 0 && record.usage.is_some());
    }
    // Before any byte of the answer.
    let mut stream = TcpStream::connect(sandbox.addr()).await.unwrap();
    let body = ask("sandbox/stall-before-byte", true);
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: sandbox\r\ncontent-length: {}\r\n\r\n", body.len());
    tokio::io::AsyncWriteExt::write_all(&mut stream, format!("{head}{body}").as_bytes()).await.unwrap();
    while sandbox.arrivals() < 5 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    sandbox.quiet(5).await;
    let record = sandbox.records().pop().unwrap();
    assert_eq!((record.status, outcome(&record)), (None, (Some(Outcome::HungUp), None, false)));
}

#[tokio::test]
async fn usage_is_in_the_file_before_the_client_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records");
    let script = |_: &Request| {
        let usage = Step::Send("data: {\"usage\":1}\n\n".into(), Marks::usage(USAGE));
        Reply::stream([Step::send("data: {}\n\n"), Step::Flush, usage, Step::Stall], Some(USAGE))
    };
    let provider = Provider::start(Options { records: Keep::File(file.clone()), ..Options::default() }, script).unwrap();
    hang_up(Http::One, provider.addr(), "any", "usage").await;
    let record = read_records(&file).unwrap().pop().unwrap();
    assert_eq!((record.usage, record.usage_sent, record.done_sent), (Some(USAGE), Some(USAGE), false));
    provider.quiet(1).await;
    assert_eq!(read_records(&file).unwrap(), provider.records());
    assert_eq!(outcome(&provider.records()[0]).0, Some(Outcome::HungUp));
    // A provider that starts again continues the file.
    drop(provider);
    let again = Provider::start(Options { records: Keep::File(file.clone()), ..Options::default() }, Script::by_model()).unwrap();
    let received = send(Http::One, again.addr(), Method::POST, CHAT, &[], ask("any", false)).await;
    assert_eq!(received.status, Some(StatusCode::NOT_IMPLEMENTED));
    again.quiet(2).await;
    assert_eq!(read_records(&file).unwrap().iter().map(|record| record.arrival).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_script_answers_by_model_or_by_header() {
    let text = |text: &'static str| move |_: &Request| Reply::json(StatusCode::OK, text);
    let by_model = Script::by_model().on("a", text("A")).on("broken", |_| Reply::never(Opening::Close));
    let by_header = Script::by_header("x-case").on("a", text("B")).otherwise(|request| Reply::json(StatusCode::OK, request.body.clone()));
    let (one, two) = (Provider::start(remembering(), by_model).unwrap(), Provider::start(remembering(), by_header).unwrap());
    let get = |addr, headers: &'static [(&str, &str)], body: &'static str| async move {
        send(Http::One, addr, Method::POST, "/any", headers, body).await
    };
    assert_eq!(get(one.addr(), &[], "{\"model\":\"a\"}").await.text(), "A");
    assert_eq!(get(one.addr(), &[], "{\"model\":\"b\"}").await.status, Some(StatusCode::NOT_IMPLEMENTED));
    assert_eq!(get(one.addr(), &[], "{\"model\":\"broken\"}").await.broken, Some(Break::Closed));
    assert_eq!(get(two.addr(), &[("x-case", "a")], "").await.text(), "B");
    assert_eq!(get(two.addr(), &[("x-case", "c")], "said back").await.text(), "said back");
}

async fn play(provider: &Provider, id: &str) -> client::Received {
    let path = format!("/r/{id}/v1/chat/completions");
    send(Http::One, provider.addr(), Method::POST, &path, &[], "{}").await
}

#[tokio::test]
async fn a_recording_is_played_byte_for_byte_however_it_is_cut() {
    let body: Bytes = (0..400).map(|n| format!(": keep\n\ndata: {{\"n\":{n},\"text\":\"ä€\"}}\r\n\r\n")).collect::<String>().into();
    let headers = [
        ("Content-Type", "text/event-stream"),
        ("content-length", "7"),
        ("transfer-encoding", "chunked"),
        ("x-ratelimit", "9"),
        ("content-encoding", "br"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let error = Recording { status: StatusCode::PAYMENT_REQUIRED, headers: vec![], body: "{\"error\":1}".into(), is_sse: false };
    for seed in [None, Some(1), Some(2)] {
        let stream = Recording { status: StatusCode::OK, headers: headers.clone(), body: body.clone(), is_sse: true };
        let recordings: Recordings = [("s".to_owned(), stream), ("e".to_owned(), error.clone())].into_iter().collect();
        let provider = Provider::start(Options { cut_seed: seed, ..Options::default() }, recordings).unwrap();
        let played = play(&provider, "s").await;
        assert_eq!((played.status, played.broken, played.body == body), (Some(StatusCode::OK), None, true), "{seed:?}");
        assert_eq!(
            (played.header("x-ratelimit"), played.header("content-encoding"), played.header("content-type")),
            ("9", "", "text/event-stream")
        );
        assert_eq!(played.frames > 5, seed.is_some(), "{} frames", played.frames);
        let failed = play(&provider, "e").await;
        assert_eq!((failed.status, failed.text().as_str()), (Some(StatusCode::PAYMENT_REQUIRED), "{\"error\":1}"));
        assert_eq!(play(&provider, "nothing").await.status, Some(StatusCode::NOT_FOUND));
    }
}

#[tokio::test]
async fn a_token_is_required_where_one_is_set() {
    let sandbox = Sandbox::start(Options { token: Some("secret".to_owned()), ..remembering() }).unwrap();
    for (header, expected) in [("", 401), ("Bearer wrong", 401), ("bearer secret", 401), ("Bearer secret", 200)] {
        let received = send(Http::One, sandbox.addr(), Method::GET, "/v1/models", &[("authorization", header)], "").await;
        assert_eq!(received.status.unwrap().as_u16(), expected, "{header:?}");
        if expected == 401 {
            assert_eq!(received.json()["error"]["code"], "invalid_api_key");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let sandbox = Sandbox::start(Options { max_body: 100, ..remembering() }).unwrap();
    let rows = [
        (Method::POST, CHAT, "{", 400, "invalid_json"),
        (Method::POST, CHAT, r#"{"model":null,"messages":[]}"#, 400, "invalid_json"),
        (Method::POST, CHAT, r#"{"model":"gpt-4o","messages":[]}"#, 404, "model_not_found"),
        (Method::POST, CHAT, r#"{"model":"sandbox/echo","messages":[]}"#, 400, "invalid_value"),
        (
            Method::POST,
            CHAT,
            concat!("0123456789012345678901234567890123456789", "0123456789012345678901234567890123456789", "012345678901234567890"),
            413,
            "request_too_large",
        ),
        (Method::GET, CHAT, "", 405, "method_not_allowed"),
        (Method::POST, "/v1/embeddings", "{}", 404, "unknown_url"),
        (Method::GET, "/v1/models/sandbox/nothing", "", 404, "model_not_found"),
    ];
    for (method, path, body, status, code) in rows {
        let received = send(Http::One, sandbox.addr(), method, path, &[], body).await;
        assert_eq!((received.status.unwrap().as_u16(), &received.json()["error"]["code"]), (status, &json!(code)), "{path} {body}");
    }
}

#[tokio::test]
async fn a_provider_that_is_stopped_lets_answers_end() {
    let sandbox = Sandbox::start(remembering()).unwrap();
    let addr = sandbox.addr();
    let answer = tokio::spawn(send(Http::One, addr, Method::POST, CHAT, &[], ask("sandbox/stream-10x20ms", true)));
    while sandbox.arrivals() == 0 {
        tokio::task::yield_now().await;
    }
    let records = sandbox.stop().await;
    assert_eq!(outcome(&records[0]).0, Some(Outcome::Ended));
    let said = answer.await.unwrap();
    assert!(said.broken.is_none() && said.said().done);
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn an_answer_longer_than_the_drain_is_cut() {
    let sandbox = Sandbox::start(Options { drain: Duration::from_millis(30), ..remembering() }).unwrap();
    let answer = tokio::spawn(send(Http::One, sandbox.addr(), Method::POST, CHAT, &[], ask("sandbox/stream-1000x20ms", true)));
    while sandbox.arrivals() == 0 {
        tokio::task::yield_now().await;
    }
    let records = sandbox.stop().await;
    assert_eq!(outcome(&records[0]).0, Some(Outcome::HungUp));
    assert!(answer.await.unwrap().broken.is_some());
}

#[test]
fn a_provider_on_its_own_thread_needs_no_runtime_of_the_caller() {
    let sandbox = Sandbox::spawn_thread(Options::default()).unwrap();
    let mut stream = std::net::TcpStream::connect(sandbox.addr()).unwrap();
    stream.write_all(b"GET /v1/models HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("sandbox/echo"));
}

/// A process that is killed when the test ends, however it ends.
struct Process(Child);

impl Process {
    fn start(folder: &Path, flags: &[&str]) -> (Self, SocketAddr) {
        let ready = folder.join("ready");
        let _ = std::fs::remove_file(&ready);
        let mut command = Command::new(env!("CARGO_BIN_EXE_waybill-sandbox"));
        command.args(flags).arg("--ready-file").arg(&ready).stdout(Stdio::null());
        let process = Self(command.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !ready.exists() {
            assert!(Instant::now() < deadline, "not ready");
            std::thread::yield_now();
        }
        let said: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        (process, said["addr"].as_str().unwrap().parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_records_of_a_process_outlive_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records");
    let flags = ["--records", file.to_str().unwrap(), "--token", "t", "--seed", "3"];
    for run in 1..=2 {
        let (process, addr) = Process::start(folder.path(), &flags);
        let received = send(Http::One, addr, Method::POST, CHAT, &[("authorization", "Bearer t")], ask("sandbox/usage-9-8", true)).await;
        assert!(received.said().done);
        drop(process);
        let records = read_records(&file).unwrap();
        let usage = Usage { prompt: 9, completion: 8, ..Usage::default() };
        assert_eq!((records.len(), outcome(records.last().unwrap())), (run, (Some(Outcome::Ended), Some(usage), true)));
    }
}

#[tokio::test]
async fn the_fast_responder_is_a_process_too() {
    let folder = tempfile::tempdir().unwrap();
    let (_process, addr) = Process::start(folder.path(), &["--fast"]);
    let received = send(Http::One, addr, Method::POST, CHAT, &[], ask("bench-1k", false)).await;
    assert_eq!(received.body.len(), 1_024);
}
