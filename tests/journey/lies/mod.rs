//! Providers that lie: every lie in either dialect, to callers of either dialect, ends in one clear answer and one bill.

mod table;
mod voice;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};
use waybill_proto::usage::v1::{Event, Kind};
use waybill_proxy::Limits;
use waybill_sandbox::{Options, Provider, Reply, Script, Step};
use waybill_tests::Client;

use crate::fixture::{Fixture, INPUT, OUTPUT, PATIENCE};
use table::{Bill, Lie, lies, without_end};
use voice::Voice;

/// How the body of a lie ends.
#[derive(Clone, Debug)]
enum Ends {
    /// With its length told before.
    Whole,
    /// With the last of its chunks.
    Chunked,
    /// So many bytes before its length.
    Early(usize),
    /// Never: this is repeated.
    Never(Bytes),
}

#[derive(Clone, Debug)]
struct Said {
    content_type: &'static str,
    body: Bytes,
    ends: Ends,
}

impl Said {
    fn reply(self) -> Reply {
        let Self { content_type, body, ends } = self;
        let length = body.len();
        let stream = |steps: Vec<Step>| Reply::stream(steps, None).header(header::CONTENT_TYPE, content_type);
        match ends {
            Ends::Whole => Reply::whole(StatusCode::OK, content_type, body, None),
            Ends::Chunked => stream(vec![Step::send(body)]),
            Ends::Early(missing) => {
                stream(vec![Step::send(body), Step::Close]).header(header::CONTENT_LENGTH, &(length + missing).to_string())
            }
            Ends::Never(piece) => {
                // Each piece waits for the one before it to be written, so that no memory is the limit.
                let steps = std::iter::repeat_with(move || [Step::send(piece.clone()), Step::Flush]).flatten();
                Reply::stream(std::iter::once(Step::send(body)).chain(steps), None).header(header::CONTENT_TYPE, content_type)
            }
        }
    }
}

/// What a caller was told in the end.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Error(u16, String),
    InBand(String),
    Whole(String),
    /// The end of no answer.
    Nonsense(String),
}

fn ask(voice: Voice, stream: bool, provider: &str) -> Value {
    let mut body = json!({
        "model": "sandbox/chat", "messages": [{ "role": "user", "content": "Say something." }], "max_tokens": 500, "stream": stream,
        "provider": { "only": [provider] },
    });
    if voice == Voice::OpenAi && stream {
        body["stream_options"] = json!({ "include_usage": true });
    }
    body
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Reads an answer as a strict client of the caller's dialect does.
fn heard(caller: Voice, stream: bool, answer: &waybill_tests::Answer) -> Heard {
    let kind = answer.head.text("content-type").unwrap_or_default();
    let shown = String::from_utf8_lossy(&answer.body).chars().take(600).collect::<String>();
    let nonsense = || Heard::Nonsense(format!("{} {kind}: {shown}", answer.head.status));
    if answer.head.status != 200 {
        let Ok(seen) = answer.json() else { return nonsense() };
        return Heard::Error(answer.head.status, error_type(caller, &seen));
    }
    if !kind.starts_with(if stream { "text/event-stream" } else { "application/json" }) {
        return nonsense();
    }
    let body = String::from_utf8_lossy(&answer.body);
    if !stream {
        let Ok(seen) = serde_json::from_str::<Value>(&body) else { return nonsense() };
        return match caller {
            Voice::OpenAi => Heard::Whole(text(&seen["choices"][0]["message"]["content"])),
            Voice::Anthropic => Heard::Whole(
                seen["content"].as_array().map_or_else(String::new, |blocks| blocks.iter().map(|block| text(&block["text"])).collect()),
            ),
        };
    }
    let mut said = String::new();
    let mut frames = Vec::new();
    for frame in body.split("\n\n").filter(|frame| !frame.is_empty()) {
        if let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data: ")) {
            frames.push(data);
        }
    }
    let (end, errors) = match caller {
        Voice::OpenAi => (Some("[DONE]"), 2),
        Voice::Anthropic => (None, 1),
    };
    let ends = frames.iter().filter(|frame| Some(**frame) == end || frame.contains("\"message_stop\"")).count();
    for frame in &frames {
        let Ok(seen) = serde_json::from_str::<Value>(frame) else { continue };
        said.push_str(&text(if caller == Voice::OpenAi { &seen["choices"][0]["delta"]["content"] } else { &seen["delta"]["text"] }));
    }
    let error = frames.len().checked_sub(errors).and_then(|at| serde_json::from_str::<Value>(frames[at]).ok());
    let error = error.filter(|seen| seen["error"].is_object());
    let last_is_end = frames.last().is_some_and(|last| Some(*last) == end || last.contains("\"message_stop\""));
    match (error, caller) {
        (Some(seen), Voice::OpenAi) if last_is_end && ends == 1 => Heard::InBand(error_type(caller, &seen)),
        (Some(seen), Voice::Anthropic) if ends == 0 => Heard::InBand(error_type(caller, &seen)),
        (None, _) if last_is_end && ends == 1 => Heard::Whole(said),
        _ => nonsense(),
    }
}

fn error_type(caller: Voice, seen: &Value) -> String {
    text(if caller == Voice::OpenAi { &seen["error"]["metadata"]["error_type"] } else { &seen["error"]["error_type"] })
}

/// The scripted provider, what it says next, and how long the request was that it saw last.
struct Liar {
    provider: Provider,
    says: Arc<Mutex<Option<Said>>>,
    seen: Arc<AtomicUsize>,
}

impl Liar {
    fn start() -> Self {
        let says: Arc<Mutex<Option<Said>>> = Arc::default();
        let seen: Arc<AtomicUsize> = Arc::default();
        let (next, length) = (Arc::clone(&says), Arc::clone(&seen));
        let script = Script::by_model().otherwise(move |request| {
            length.store(request.body.len(), Ordering::SeqCst);
            let said = next.lock().expect("no panic").clone();
            said.map_or_else(|| Reply::json(StatusCode::NOT_IMPLEMENTED, "{}"), Said::reply)
        });
        let provider = Provider::spawn_thread(Options::default(), script).expect("a provider");
        Self { provider, says, seen }
    }
}

/// What one telling of a lie must leave behind.
struct Expected {
    case: String,
    kind: Kind,
    outcome: &'static str,
    amount: i64,
}

/// Tells the lies to callers of both dialects; each time the next request must be answered, and each attempt must have its one end.
fn tell(voice: Voice, limits: &str, lies: &[Lie]) {
    let mut bounds = Limits::default();
    limits.split(' ').for_each(|limit| bounds.set(limit).expect("a limit"));
    let liar = Liar::start();
    let fixture = Fixture::speaking(bounds, Some((&liar.provider.base_url().to_string(), voice.name())));
    let (mut wrong, mut expected) = (Vec::new(), Vec::new());
    for lie in lies {
        for caller in [Voice::OpenAi, Voice::Anthropic] {
            let case = format!("{} to {}: {}, stream {}", voice.name(), caller.name(), lie.name, lie.stream);
            *liar.says.lock().expect("no panic") = Some(lie.said.clone());
            let mut client = Client::connect(fixture.address(), PATIENCE).expect("a connection");
            let body = ask(caller, lie.stream, "beside");
            let send = |client: &mut Client, body: &Value| {
                let request = if caller == Voice::OpenAi { fixture.chat(body) } else { fixture.messages(body) };
                client.send(&request)
            };
            let (sees, (kind, outcome, bill)) = if caller == voice { &lie.express } else { &lie.translated };
            match send(&mut client, &body) {
                Ok(answer) => {
                    let heard = heard(caller, lie.stream, &answer);
                    if !sees.matches(&heard) {
                        wrong.push(format!("{case}: {heard:?} for {sees:?}"));
                    }
                }
                Err(error) => wrong.push(format!("{case}: {error:#}")),
            }
            let bytes = i64::try_from(liar.seen.load(Ordering::SeqCst).max(body.to_string().len())).expect("small");
            let bytes = if caller == voice { i64::try_from(body.to_string().len()).expect("small") } else { bytes };
            let amount = match *bill {
                Bill::Nothing => 0,
                Bill::Counted(input, output) => input * INPUT + output * OUTPUT,
                // A quarter of the bytes, rounded up.
                Bill::Estimated(written) => (bytes + 3) / 4 * INPUT + (written + 3) / 4 * OUTPUT,
                // Every byte a token, all of the output that was asked for, at the dearest tier: twice the price.
                Bill::Begun(input, written) => input * INPUT + (written + 3) / 4 * OUTPUT,
                Bill::Within => -1,
                Bill::Reserved => 2 * (bytes * INPUT + 500 * OUTPUT),
            };
            expected.push(Expected { case: case.clone(), kind: *kind, outcome, amount });
            let next = send(&mut client, &ask(caller, false, "here"));
            let next = next.or_else(|_| send(&mut fixture.client(), &ask(caller, false, "here")));
            if !next.is_ok_and(|answer| answer.head.status == 200) {
                wrong.push(format!("{case}: the next request fails"));
            }
        }
    }
    let (ends, _) = fixture.ends();
    let (here, beside): (Vec<_>, Vec<_>) =
        ends.iter().partition(|end| end.event.attempt.as_ref().is_some_and(|attempt| attempt.provider == "here"));
    for (end, Expected { case, kind, outcome, amount }) in beside.iter().zip(&expected) {
        let Event { outcome: seen, amount_picousd, attempt, .. } = &end.event;
        let reserved = attempt.as_ref().map_or(0, |attempt| attempt.reservation_picousd);
        let is_right = if *amount < 0 { *amount_picousd > 0 && *amount_picousd <= reserved } else { amount_picousd == amount };
        if (end.kind, seen.as_str()) != (*kind, *outcome) || !is_right {
            wrong.push(format!("{case}: {:?} {seen} {amount_picousd} for {kind:?} {outcome} {amount}", end.kind));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * lies.len(), wrong.join("\n"));
    assert_eq!((here.len(), beside.len()), (expected.len(), expected.len()), "one end for each attempt");
}

const LIMITS: &str = "answer_bytes=262144 frame_bytes=65536";

#[test]
fn every_lie_in_openais_dialect_has_one_clear_answer_and_one_bill() {
    tell(Voice::OpenAi, LIMITS, &lies(Voice::OpenAi));
}

#[test]
fn every_lie_in_anthropics_dialect_has_one_clear_answer_and_one_bill() {
    tell(Voice::Anthropic, LIMITS, &lies(Voice::Anthropic));
}

#[test]
fn an_answer_without_end_is_cut_and_billed_by_what_came() {
    for voice in [Voice::OpenAi, Voice::Anthropic] {
        tell(voice, "total_time=500ms", &without_end(voice));
    }
}
