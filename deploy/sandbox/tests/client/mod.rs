//! A plain client and a reader of answers that shares no code with what it reads.
#![allow(dead_code)] // Each test file uses its own part.

pub mod messages;

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

/// How an answer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    Reset,
    Closed,
}

/// An answer as received, as far as it came.
#[derive(Debug, Default)]
pub struct Received {
    pub status: Option<StatusCode>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Body frames, as the HTTP library gave them.
    pub frames: usize,
    pub broken: Option<Break>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// Sends one request on a connection of its own and reads what comes.
pub async fn send(http: Http, addr: SocketAddr, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Received {
    // HTTP/1.1 names the path alone, HTTP/2 has no other place for the host.
    let uri = match http {
        Http::One => path.to_owned(),
        Http::Two => format!("http://{addr}{path}"),
    };
    let mut request = Request::builder().method(method).uri(uri).header("host", addr.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let response = match http {
        Http::One => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        }
        Http::Two => {
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        }
    };
    let mut received = Received::default();
    let mut response = match response {
        Ok(response) => response,
        Err(error) => return Received { broken: Some(how(&error)), ..received },
    };
    received.status = Some(response.status());
    received.headers = std::mem::take(response.headers_mut());
    while let Some(frame) = response.body_mut().frame().await {
        match frame {
            Ok(frame) => {
                received.frames += 1;
                received.body.extend_from_slice(&frame.into_data().unwrap_or_default());
            }
            Err(error) => {
                received.broken = Some(how(&error));
                break;
            }
        }
    }
    received
}

fn how(error: &hyper::Error) -> Break {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
            return Break::Reset;
        }
        source = error.source();
    }
    Break::Closed
}

/// An answer as it was meant: the same form for whole ones and streams.
#[derive(Debug, Default)]
pub struct Said {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    /// Name and arguments.
    pub calls: Vec<(String, String)>,
    pub call_ids: Vec<String>,
    pub finish: Option<String>,
    /// Every statement of usage, in order; null counts as one.
    pub usages: Vec<Value>,
    pub error: Option<Value>,
    pub done: bool,
    /// JSON objects read, and events that were not JSON.
    pub objects: usize,
    pub unreadable: usize,
    /// Pieces of text, reasoning and arguments.
    pub pieces: usize,
    pub model: String,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Reads the body as an event stream if it is one, else as one object.
    pub fn said(&self) -> Said {
        let mut said = Said::default();
        let text = self.text();
        if !text.trim_start().starts_with("data:") {
            said.object(&text);
            return said;
        }
        for event in text.split("\n\n").filter(|event| !event.is_empty()) {
            let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("not an event: {event:?}"));
            assert!(!said.done, "after the end: {data}");
            if data == "[DONE]" {
                said.done = true;
            } else {
                said.object(data);
            }
        }
        said
    }
}

impl Said {
    fn object(&mut self, text: &str) {
        let Ok(object) = serde_json::from_str::<Value>(text) else {
            self.unreadable += 1;
            return;
        };
        self.objects += 1;
        if let Some(error) = object.get("error") {
            self.error = Some(error.clone());
            return;
        }
        assert_eq!(object["system_fingerprint"], "sandbox", "does not say it is the sandbox: {object}");
        assert!(object["id"].as_str().unwrap().starts_with("chatcmpl-sandbox-"));
        self.model = object["model"].as_str().unwrap().to_owned();
        if let Some(usage) = object.get("usage") {
            self.usages.push(usage.clone());
        }
        for choice in object["choices"].as_array().unwrap() {
            self.choice(choice);
        }
    }

    fn choice(&mut self, choice: &Value) {
        let said = choice.get("message").or(choice.get("delta")).unwrap();
        for (field, into) in [("content", &mut self.text), ("reasoning_content", &mut self.reasoning), ("refusal", &mut self.refusal)] {
            if let Some(piece) = said[field].as_str() {
                into.push_str(piece);
                self.pieces += usize::from(!piece.is_empty());
            }
        }
        for call in said["tool_calls"].as_array().into_iter().flatten() {
            if let Some(name) = call["function"]["name"].as_str() {
                assert_eq!(call["type"], "function");
                self.call_ids.push(call["id"].as_str().unwrap().to_owned());
                self.calls.push((name.to_owned(), String::new()));
            }
            if let Some(index) = call["index"].as_u64() {
                assert_eq!(index as usize, self.calls.len() - 1, "pieces of a call out of order");
            }
            self.calls.last_mut().unwrap().1.push_str(call["function"]["arguments"].as_str().unwrap());
        }
        if let Some(finish) = choice["finish_reason"].as_str() {
            assert_eq!(self.finish.replace(finish.to_owned()), None, "finished twice");
        }
    }

    /// The statements of usage that are not null, as (prompt, completion, cached, reasoning).
    pub fn stated(&self) -> Vec<(u64, u64, u64, u64)> {
        let stated = self.usages.iter().filter(|usage| !usage.is_null());
        let numbers = stated.map(|usage| {
            let number = |pointer| usage.pointer(pointer).and_then(Value::as_u64).unwrap();
            assert_eq!(number("/prompt_tokens") + number("/completion_tokens"), number("/total_tokens"));
            (
                number("/prompt_tokens"),
                number("/completion_tokens"),
                number("/prompt_tokens_details/cached_tokens"),
                number("/completion_tokens_details/reasoning_tokens"),
            )
        });
        numbers.collect()
    }
}
