//! What may differ between the bytes a provider sent and the bytes a caller saw: the cost, a frame of nothing but usage, and on `/api/v1` the
//! members that OpenRouter's strict clients refuse as null in a chunk and want as null in a whole answer.

use serde_json::Value;

/// Whether `shown` is `served` with exactly one change: `"cost": <cost>` in its usage object, added or in place of an old one.
pub fn is_with_cost(served: &[u8], shown: &[u8], cost: &str) -> bool {
    is_added(served, shown, cost) || replacements(served, cost).any(|expected| expected == shown)
}

fn is_added(served: &[u8], shown: &[u8], cost: &str) -> bool {
    let Some(longer) = shown.len().checked_sub(served.len()).filter(|longer| *longer > 0) else { return false };
    let same = served.iter().zip(shown).take_while(|(a, b)| a == b).count();
    let (added, rest) = shown[same..].split_at(longer.min(shown.len() - same));
    let place = served[..same].iter().rev().find(|byte| !byte.is_ascii_whitespace());
    let comma = if place == Some(&b'{') { "" } else { "," };
    rest == &served[same..] && added == format!("{comma}\"cost\":{cost}").as_bytes()
}

/// `served` with each value of a member `cost` exchanged, one at a time, from the end.
fn replacements<'a>(served: &'a [u8], cost: &'a str) -> impl Iterator<Item = Vec<u8>> + 'a {
    const KEY: &[u8] = b"\"cost\"";
    let places: Vec<usize> = memchr::memmem::rfind_iter(served, KEY).collect();
    places.into_iter().filter_map(move |at| {
        let mut start = at + KEY.len();
        start += served[start..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let rest = served.get(start..)?.strip_prefix(b":")?;
        start += 1 + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let mut values = serde_json::Deserializer::from_slice(served.get(start..)?).into_iter::<Value>();
        values.next()?.ok()?;
        let end = start + values.byte_offset();
        Some([&served[..start], cost.as_bytes(), &served[end..]].concat())
    })
}

/// Members that are left out of a chunk when they are null.
const NO_NULLS: [&str; 2] = ["usage", "system_fingerprint"];

/// The stream with the null members of its chunks left out.
pub fn without_nulls(stream: &[u8]) -> Vec<u8> {
    let strict = |frame: &[u8]| {
        let is_null = |name: &&&str| payload(frame).is_some_and(|value| value.get(**name).is_some_and(Value::is_null));
        NO_NULLS.iter().filter(is_null).fold(frame.to_vec(), |frame, name| without_null(&frame, name))
    };
    frames(stream).into_iter().flat_map(strict).collect()
}

/// The frame without the member: of the places where its text stands, the one that leaves everything else as it was.
fn without_null(frame: &[u8], name: &str) -> Vec<u8> {
    let Some(mut wanted) = payload(frame) else { return frame.to_vec() };
    wanted.as_object_mut().map(|members| members.remove(name));
    let key = format!("\"{name}\"");
    let blank = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let cut = |at: usize| {
        let mut end = at + key.len();
        for mark in [&b":"[..], b"null"] {
            end += blank(&frame[end..]);
            end += frame[end..].starts_with(mark).then_some(mark.len())?;
        }
        let before = at - frame[..at].iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
        let after = end + blank(&frame[end..]);
        let (start, end) = match (frame[..before].last(), frame.get(after)) {
            (_, Some(b',')) => (at, after + 1 + blank(&frame[after + 1..])),
            (Some(b','), _) => (before - 1, end),
            _ => (at, end),
        };
        let rest = [&frame[..start], &frame[end..]].concat();
        (payload(&rest).as_ref() == Some(&wanted)).then_some(rest)
    };
    memchr::memmem::find_iter(frame, key.as_bytes()).find_map(cut).unwrap_or_else(|| frame.to_vec())
}

/// The whole answer as shown, without the null fingerprint that was added because the provider sent none.
pub fn without_added_fingerprint(served: &[u8], shown: &[u8]) -> Vec<u8> {
    const ADDED: &[u8] = b",\"system_fingerprint\":null";
    let lacks = serde_json::from_slice::<Value>(served).is_ok_and(|value| value.get("system_fingerprint").is_none());
    let places: Vec<usize> = memchr::memmem::find_iter(shown, ADDED).collect();
    match (lacks, &places[..]) {
        (true, [at]) => [&shown[..*at], &shown[at + ADDED.len()..]].concat(),
        _ => shown.to_vec(),
    }
}

/// The frames of a stream, each with the blank line that ends it.
pub fn frames(stream: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = stream;
    while let Some(at) = frame_end(rest) {
        let (frame, after) = rest.split_at(at);
        frames.push(frame);
        rest = after;
    }
    if !rest.is_empty() {
        frames.push(rest);
    }
    frames
}

fn frame_end(bytes: &[u8]) -> Option<usize> {
    let ends = [&b"\n\n"[..], b"\r\n\r\n"].into_iter();
    ends.filter_map(|end| memchr::memmem::find(bytes, end).map(|at| at + end.len())).min()
}

/// The payload of a frame, if it is JSON.
pub fn payload(frame: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(frame).ok()?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("data:"));
    serde_json::from_str(&lines.collect::<Vec<_>>().join("\n")).ok()
}

/// The stream without the frame that holds usage and no choice: what a caller sees who did not ask for it.
pub fn without_usage_frame(stream: &[u8]) -> Vec<u8> {
    let is_usage = |frame: &&[u8]| {
        payload(frame).is_some_and(|value| {
            let no_choice = value.get("choices").is_none_or(|choices| choices.as_array().is_some_and(Vec::is_empty));
            no_choice && value.get("usage").is_some_and(Value::is_object) && value.get("error").is_none_or(Value::is_null)
        })
    };
    frames(stream).into_iter().filter(|frame| !is_usage(frame)).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_and_no_other_is_seen() {
        let rows: [(&str, &str, bool); 9] = [
            (r#"{"usage":{"a":1}}"#, r#"{"usage":{"a":1,"cost":0.5}}"#, true),
            (r#"{"usage":{}}"#, r#"{"usage":{"cost":0.5}}"#, true),
            (r#"{"usage":{"cost":0.25,"a":1}}"#, r#"{"usage":{"cost":0.5,"a":1}}"#, true),
            (r#"{"usage":{"cost": {"x":"}"}}}"#, r#"{"usage":{"cost": 0.5}}"#, true),
            (r#"{"usage":{"a":1}}"#, r#"{"usage":{"a":1}}"#, false),
            (r#"{"usage":{"a":1}}"#, r#"{"usage":{"a":1,"cost":0.6}}"#, false),
            (r#"{"usage":{"a":1}}"#, r#"{"usage":{"a":2,"cost":0.5}}"#, false),
            (r#"{"usage":{"a":1} }"#, r#"{"usage":{"a":1,"cost":0.5}}"#, false),
            (r#"{"usage":{"cost":0.25,"a":1}}"#, r#"{"usage":{"a":1,"cost":0.5}}"#, false),
        ];
        for (served, shown, expected) in rows {
            assert_eq!(is_with_cost(served.as_bytes(), shown.as_bytes(), "0.5"), expected, "{served} {shown}");
        }
    }

    #[test]
    fn nulls_that_strict_clients_refuse_are_left_out_and_nothing_else() {
        let rows = [
            (r#"data: {"a":1,"usage":null}"#, r#"data: {"a":1}"#),
            (r#"data: {"usage": null, "a":{"usage":null}}"#, r#"data: {"a":{"usage":null}}"#),
            (r#"data: {"a":{"usage":null},"usage":null,"system_fingerprint":null,"b":2}"#, r#"data: {"a":{"usage":null},"b":2}"#),
            (r#"data: {"usage":{"a":1}}"#, r#"data: {"usage":{"a":1}}"#),
            ("data: [DONE]", "data: [DONE]"),
        ];
        for (served, expected) in rows {
            assert_eq!(String::from_utf8_lossy(&without_nulls(format!("{served}\n\n").as_bytes())), format!("{expected}\n\n"));
        }
        let added = br#"{"usage":{},"system_fingerprint":null}"#;
        assert_eq!(without_added_fingerprint(br#"{"usage":{}}"#, added), br#"{"usage":{}}"#);
        assert_eq!(without_added_fingerprint(added, added), added);
    }

    #[test]
    fn a_frame_of_usage_alone_is_left_out_whatever_the_line_ends() {
        let stream = ": a\n\ndata: {\"choices\":[{}],\"usage\":{}}\r\n\r\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";
        let shown = ": a\n\ndata: {\"choices\":[{}],\"usage\":{}}\r\n\r\ndata: [DONE]\n\n";
        assert_eq!(without_usage_frame(stream.as_bytes()), shown.as_bytes());
        assert_eq!(frames(stream.as_bytes()).concat(), stream.as_bytes());
    }
}
