//! How long the express lane's reading takes: `cargo run --release -p waybill-dialect --example scan`.
//!
//! Prints microseconds per call (best of 30 rounds) for request bodies of several sizes and textures, beside the
//! cheapest typed reading that serde_json offers, and nanoseconds per frame for a burst of 200 stream chunks.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use waybill_dialect::openai::{read_request, rewrite};
use waybill_dialect::{Dialect, Limits, Stream, StreamOptions, Target, anthropic};

/// What a typed reader would have to look at, the rest kept as text.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow)]
    model: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    messages: &'a RawValue,
    #[serde(default)]
    stream: bool,
}

fn best_micros(mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..30 {
        let start = Instant::now();
        for _ in 0..20 {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / 20.0);
    }
    best
}

/// A conversation of about `size` bytes made of `paragraph`.
fn request(size: usize, paragraph: &str) -> Bytes {
    let mut messages = Vec::new();
    let mut bytes = 0;
    while bytes < size {
        let content = paragraph.repeat((4000 / paragraph.len()).max(1)).chars().take(size - bytes).collect::<String>();
        bytes += content.len() + 40;
        messages.push(serde_json::json!({"role": if messages.len() % 2 == 0 { "user" } else { "assistant" }, "content": content}));
    }
    let tools: Vec<_> = (0..5)
        .map(|at| {
            serde_json::json!({"type": "function", "function": {"name": format!("tool_{at}"), "parameters":
                {"type": "object", "properties": {"path": {"type": "string"}, "depth": {"type": "integer"}}}}})
        })
        .collect();
    let body = serde_json::json!({"messages": messages, "model": "maker/model", "stream": true, "temperature": 0.5, "tools": tools});
    body.to_string().into()
}

fn main() {
    let prose = "The ship left the harbour at dawn, and nobody on the quay could say where it was bound. ";
    let code = "fn main() {\n    let name = \"waybill\";\n    println!(\"{}\\n\", name);\n}\n";
    let chinese = "清晨，船离开了港口，码头上没有人知道它要去哪里。";
    println!("{:<22}{:>10}{:>12}{:>12}{:>14}", "request", "bytes", "read us", "+rewrite us", "serde raw us");
    for (name, paragraph) in [("prose", prose), ("code", code), ("chinese", chinese)] {
        for size in [1_000, 40_000, 160_000, 640_000] {
            let body = request(size, paragraph);
            let limits = Limits::default();
            let read = best_micros(|| {
                black_box(read_request(black_box(&body), &limits).is_ok());
            });
            let target = Target { provider_model: "model-2026", ..Target::default() };
            let both = best_micros(|| {
                if let Ok(call) = read_request(black_box(&body), &limits) {
                    black_box(rewrite(&body, &call, &target));
                }
            });
            let typed = best_micros(|| {
                let typed: Result<Typed<'_>, _> = serde_json::from_slice(black_box(&body));
                black_box(typed.is_ok_and(|typed| typed.stream && !typed.model.is_empty() && !typed.messages.get().is_empty()));
            });
            println!("{name:<22}{:>10}{read:>12.2}{both:>12.2}{typed:>14.2}", body.len());
            // The same messages: what differs is what is read of them.
            let mut messages = body.to_vec();
            messages.splice(1..1, *b"\"max_tokens\":100,");
            let messages = Bytes::from(messages);
            let anthropic = best_micros(|| {
                black_box(anthropic::read_request(black_box(&messages), &limits).is_ok());
            });
            println!("{:<22}{:>10}{anthropic:>12.2}", "  as Anthropic's", messages.len());
        }
    }
    let frame = |text: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"model-2026\",\
             \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null}}\n\n"
        )
    };
    burst(Dialect::OpenAi, frame);
    burst(Dialect::Anthropic, |text| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
        )
    });
}

/// Nanoseconds per frame of a burst of 200.
fn burst(dialect: Dialect, frame: impl Fn(&str) -> String) {
    let burst: String = (0..200).map(|at| frame(&format!(" word{at}"))).collect();
    let burst = Bytes::from(burst);
    for (name, size) in [("one read", burst.len()), ("16 KiB reads", 16 << 10), ("one frame a read", frame(" word100").len())] {
        let mut out = Vec::new();
        let micros = best_micros(|| {
            let mut stream = Stream::new(dialect, StreamOptions::default());
            let mut at = 0;
            while at < burst.len() {
                let end = (at + size).min(burst.len());
                black_box(stream.push(&burst.slice(at..end), &mut out).is_ok());
                at = end;
            }
            out.clear();
        });
        println!("burst of 200 {dialect} frames, {name:<18}{:>8.0} ns per frame", micros * 1000.0 / 200.0);
    }
}
