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

/// Reads a whole answer; nothing if it does not end as it must, or is an error.
pub fn read(body: &[u8], is_streamed: bool) -> Option<Shown> {
    let text = std::str::from_utf8(body).ok()?;
    if !is_streamed {
        return frame(text);
    }
    let mut reader = SseReader::default();
    reader.feed(body);
    let mut data: Vec<String> = std::iter::from_fn(|| reader.next_event()).map(|event| event.data).collect();
    if data.pop()? != "[DONE]" || reader.is_open() {
        return None;
    }
    let frames: Option<Vec<Shown>> = data.iter().map(|text| frame(text)).collect();
    // At most one frame of a stream shows usage.
    Some(frames?.into_iter().find(|shown| shown.usage.is_some()).unwrap_or_default())
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
