//! What an answer says of its usage and its cost, read from its text.

use crate::SseReader;
use serde_json::Value;

use super::provider::Usage;

/// What was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub usage: Option<Usage>,
    /// pico-USD.
    pub cost: Option<i128>,
}

/// What an error that a caller was told says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The status, or what the status would have been.
    pub code: u16,
    /// The stable type.
    pub kind: String,
    /// The reason within the type, where there is one.
    pub reason: String,
    pub message: String,
}

/// The error that an answer is or that a stream ends with; nothing if there is none, or it does not say what it must.
pub fn error(body: &[u8], is_streamed: bool) -> Option<Told> {
    let text = std::str::from_utf8(body).ok()?;
    if !is_streamed {
        return told(&serde_json::from_str(text).ok()?);
    }
    let mut data = events(body)?;
    let last: Value = serde_json::from_str(&data.pop()?).ok()?;
    // What came before it is as it would be without it.
    let is_last = data.iter().all(|text| frame(text).is_some()) && last["choices"][0]["finish_reason"] == "error";
    told(&last).filter(|_| is_last)
}

fn told(value: &Value) -> Option<Told> {
    let error = &value["error"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let code = u16::try_from(error["code"].as_u64()?).ok()?;
    let told = Told {
        code,
        kind: text(&error["metadata"]["error_type"]),
        reason: text(&error["metadata"]["reason"]),
        message: text(&error["message"]),
    };
    ((400..600).contains(&code) && !told.kind.is_empty() && !told.message.is_empty()).then_some(told)
}

/// The data of all events of a stream that has its end, without that.
fn events(body: &[u8]) -> Option<Vec<String>> {
    let mut reader = SseReader::default();
    reader.feed(body);
    let mut data: Vec<String> = std::iter::from_fn(|| reader.next_event()).map(|event| event.data).collect();
    (data.pop()? == "[DONE]" && !reader.is_open()).then_some(data)
}

/// Reads a whole answer; nothing if it does not end as it must, or is an error.
pub fn read(body: &[u8], is_streamed: bool) -> Option<Shown> {
    let text = std::str::from_utf8(body).ok()?;
    if !is_streamed {
        return frame(text);
    }
    let data = events(body)?;
    let frames: Option<Vec<Shown>> = data.iter().map(|text| frame(text)).collect();
    // Counts are cumulative, so the last frame that shows usage stands for the whole answer.
    Some(frames?.into_iter().rfind(|shown| shown.usage.is_some()).unwrap_or_default())
}

fn frame(text: &str) -> Option<Shown> {
    let value: Value = serde_json::from_str(text).ok()?;
    if value.get("error").is_some_and(|error| !error.is_null()) || !value["choices"].is_array() {
        return None;
    }
    let usage = &value["usage"];
    if !usage.is_object() {
        return Some(Shown::default());
    }
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let read = Usage {
        prompt: number(&usage["prompt_tokens"]),
        completion: number(&usage["completion_tokens"]),
        cached: number(&usage["prompt_tokens_details"]["cached_tokens"]),
        reasoning: number(&usage["completion_tokens_details"]["reasoning_tokens"]),
    };
    Some(Shown { usage: Some(read), cost: cost(text) })
}

/// The number behind `"cost":`, from its digits: a float would round it. The provider of this suite states no cost, so there is one at most.
fn cost(text: &str) -> Option<i128> {
    let behind = text.split_once("\"cost\":")?.1.trim_start();
    let end = behind.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(behind.len());
    let (whole, fraction) = behind[..end].split_once('.').unwrap_or((&behind[..end], ""));
    if whole.is_empty() || fraction.len() > 12 || behind[end..].starts_with(['e', 'E']) {
        return None;
    }
    format!("{whole}{fraction:0<12}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: &str = r#""usage":{"prompt_tokens":7,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2},"cost":0.00000123}"#;

    #[test]
    fn usage_and_cost_are_read_from_both_forms() {
        let usage = Usage { prompt: 7, completion: 5, cached: 3, reasoning: 2 };
        let expected = Some(Shown { usage: Some(usage), cost: Some(1_230_000) });
        assert_eq!(read(format!("{{\"choices\":[],{USAGE}}}").as_bytes(), false), expected);
        let stream =
            format!("data: {{\"choices\":[{{}}],\"usage\":null}}\n\n: note\n\ndata: {{\"choices\":[],{USAGE}}}\n\ndata: [DONE]\n\n");
        assert_eq!(read(stream.as_bytes(), true), expected);
        for end in 0..stream.len() {
            assert_eq!(read(&stream.as_bytes()[..end], true), None, "cut at {end}");
        }
    }

    #[test]
    fn an_answer_that_is_an_error_is_none() {
        for (text, is_streamed) in
            [("{\"error\":{\"message\":\"m\"}}", false), ("data: {\"choices\":[],\"error\":{}}\n\ndata: [DONE]\n\n", true)]
        {
            assert_eq!(read(text.as_bytes(), is_streamed), None, "{text}");
        }
    }

    #[test]
    fn an_error_says_what_it_must_or_is_none() {
        let object = r#""error":{"code":502,"message":"m","metadata":{"error_type":"server","reason":"r"}}"#;
        let (words, last) = (r#"{"choices":[{}]}"#, format!(r#"{{"choices":[{{"finish_reason":"error"}}],{object}}}"#));
        let expected = Told { code: 502, kind: "server".to_owned(), reason: "r".to_owned(), message: "m".to_owned() };
        assert_eq!(error(format!("{{{object}}}").as_bytes(), false), Some(expected.clone()));
        let stream = |frames: &[&str]| frames.iter().map(|frame| format!("data: {frame}\n\n")).collect::<String>();
        assert_eq!(error(stream(&[words, &last, "[DONE]"]).as_bytes(), true), Some(expected));
        for wrong in
            [&[words, &last][..], &[&last, words, "[DONE]"], &[&last, &last, "[DONE]"], &[words, "[DONE]"], &["{", &last, "[DONE]"]]
        {
            assert_eq!(error(stream(wrong).as_bytes(), true), None, "{wrong:?}");
        }
        for wrong in ["{}", r#"{"error":{"code":502,"message":"m"}}"#, &format!("{{{}}}", object.replace("502", "200"))] {
            assert_eq!(error(wrong.as_bytes(), false), None, "{wrong}");
        }
    }

    #[test]
    fn costs_are_read_from_their_digits() {
        for (text, expected) in [
            ("{\"cost\":0}", Some(0)),
            ("{\"cost\": 1.5,", Some(1_500_000_000_000)),
            ("{\"cost\":0.000000000001}", Some(1)),
            ("{\"cost\":0.0000000000001}", None),
            ("{\"cost\":1e-5}", None),
            ("{\"cost\":null}", None),
            ("{}", None),
        ] {
            assert_eq!(cost(text), expected, "{text}");
        }
    }
}
