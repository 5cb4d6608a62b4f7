//! The benchmark's upstream answers correctly; how fast it is, the benchmark itself checks.

mod client;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::{Http, Received, send};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waybill_sandbox::fast::{self, Responder};

const CHAT: &str = "/v1/chat/completions";

fn start() -> Responder {
    Responder::start(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap()
}

fn body(model: &str, padding: usize) -> String {
    json!({"messages": [{"role": "user", "content": "x".repeat(padding)}], "model": model}).to_string()
}

async fn ask(addr: SocketAddr, model: &str, padding: usize) -> Received {
    send(Http::One, addr, Method::POST, CHAT, &[], body(model, padding)).await
}

#[tokio::test]
async fn whole_answers_have_their_size_and_their_usage() {
    let responder = start();
    for (model, padding, size) in [("bench-1k", 900, 1_024), ("bench-10k", 9_000, 10_240), ("bench-160k", 160_000, 4_096)] {
        let received = ask(responder.addr(), model, padding).await;
        assert_eq!((received.body.len(), received.header("content-type")), (size, "application/json"));
        let said = received.said();
        let usage = fast::usage(model).unwrap();
        assert_eq!(said.stated(), [(usage.prompt, usage.completion, usage.cached, usage.reasoning)]);
        assert!(said.model == model && said.text.contains("sandbox") && said.finish.is_some());
    }
    assert_eq!(responder.answered(), 3);
    let counted = send(Http::One, responder.addr(), Method::GET, "/answered", &[], "").await.json();
    assert_eq!(counted, json!({"answered": 3}));
}

#[tokio::test]
async fn messages_are_answered_with_the_same_sizes_chunks_and_usage() {
    let responder = start();
    let ask = |model: &'static str, path: &'static str| {
        let addr = responder.addr();
        async move { send(Http::One, addr, Method::POST, path, &[], body(model, 10)).await }
    };
    for (model, size) in [("bench-1k", 1_024), ("bench-10k", 10_240), ("bench-160k", 4_096)] {
        let received = ask(model, "/v1/messages").await;
        assert_eq!((received.body.len(), received.header("content-type")), (size, "application/json"));
        let (told, usage) = (received.told(), fast::usage(model).unwrap());
        assert_eq!(told.usage(), (usage.prompt - usage.cached, usage.completion, usage.cached, 0, 0));
        assert!(told.model == model && told.text().contains("sandbox") && told.stop_reason.is_some());
    }
    for (model, chunks, is_paced) in [("bench-burst-200", 200, false), ("bench-burst-0", 0, false), ("bench-paced-20x5ms", 20, true)] {
        let asked_at = Instant::now();
        let received = ask(model, "/v1/messages?beta=true").await;
        assert!(!is_paced || asked_at.elapsed() >= Duration::from_millis(100), "{model}");
        let (told, usage) = (received.told(), fast::usage(model).unwrap());
        assert_eq!(told.text(), (1..=chunks).map(|number| format!(" t{number:06}")).collect::<String>());
        assert_eq!((told.usage(), told.done, told.finishes), ((usage.prompt, usage.completion, 0, 0, 0), true, 1));
        let text = received.text();
        let events = text.split("\n\n").filter_map(|event| serde_json::from_str::<Value>(event.split_once("data: ")?.1).ok());
        let stamps: Vec<u64> = events.filter_map(|event| event["sent_us"].as_u64()).collect();
        assert_eq!(stamps.len(), if is_paced { chunks } else { 0 });
        assert!(stamps.is_sorted());
    }
    let unknown = ask("bench-nothing", "/v1/messages").await;
    assert_eq!((unknown.status.unwrap().as_u16(), &unknown.json()["error"]["type"]), (404, &json!("not_found_error")));
    // The same names in the other dialect have answers of their own.
    assert!(ask("bench-1k", CHAT).await.said().finish.is_some());
}

#[tokio::test]
async fn streams_have_every_chunk_once_and_in_order() {
    let responder = start();
    for (model, chunks, least) in [("bench-burst-200", 200, 0), ("bench-burst-0", 0, 0), ("bench-paced-20x5ms", 20, 100)] {
        let asked_at = Instant::now();
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        let received = ask(responder.addr(), model, 10).await;
        assert!(asked_at.elapsed() >= Duration::from_millis(least), "{model}");
        let said = received.said();
        assert_eq!(said.text, (1..=chunks).map(|number| format!(" t{number:06}")).collect::<String>());
        let usage = fast::usage(model).unwrap();
        assert_eq!((said.stated(), said.done), (vec![(usage.prompt, usage.completion, 0, 0)], true));
        let text = received.text();
        let events = text.split("\n\n").filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok());
        let stamps: Vec<u64> = events.filter_map(|event| event["sent_us"].as_u64()).collect();
        assert_eq!(stamps.len(), if least > 0 { chunks } else { 0 });
        assert!(stamps.is_sorted() && stamps.first().is_none_or(|first| *first > before));
    }
}

#[tokio::test]
async fn requests_are_read_however_they_arrive() {
    let responder = start();
    let mut stream = TcpStream::connect(responder.addr()).await.unwrap();
    let (one, two) = (body("bench-1k", 5), body("bench-nothing", 5));
    let request = |body: &str| format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nCONTENT-LENGTH: {}\r\n\r\n{body}", body.len());
    // Two at once, then one byte by byte, all on one connection.
    stream.write_all(format!("{}{}", request(&one), request(&two)).as_bytes()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in request(&one).bytes() {
        stream.write_all(&[byte]).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let answers: Vec<&str> = text.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(answers.iter().map(|answer| &answer[..3]).collect::<Vec<_>>(), ["200", "404", "200"]);
    for answer in answers {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        serde_json::from_str::<Value>(body).unwrap();
    }
}

#[tokio::test]
async fn a_request_without_a_length_is_turned_away() {
    let responder = start();
    let mut stream = TcpStream::connect(responder.addr()).await.unwrap();
    // The head alone: what is left unread would turn the close into a reset.
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 411"), "{text}");
    assert_eq!(responder.answered(), 0);
}

#[tokio::test]
async fn an_idle_stream_speaks_once_and_stays_silent() {
    let responder = start();
    let mut stream = TcpStream::connect(responder.addr()).await.unwrap();
    let body = body("bench-idle", 5);
    stream.write_all(format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("t000001") {
        assert!(stream.read_buf(&mut text).await.unwrap() > 0);
    }
    let more = tokio::time::timeout(Duration::from_millis(50), stream.read_buf(&mut text)).await;
    assert!(more.is_err(), "it spoke again: {more:?}");
    assert_eq!(responder.answered(), 0);
}
