use proptest::prelude::*;

use super::*;

const CHAT: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    ": a comment\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Zw\u{f6}lf \\n\"}}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"type\":\"function\",",
    "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\n",
    "data: [DONE]\n\n",
);
const MESSAGES: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",",
    "\"model\":\"c-1\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Zw\u{f6}lf\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},",
    "\"usage\":{\"output_tokens\":5}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

/// The provider's dialect, its stream, the caller's dialect, what only the end says.
const ROWS: [(Dialect, &str, Dialect, &[&str]); 2] = [
    (Dialect::OpenAi, CHAT, Dialect::Anthropic, &["tool_use\"", "\"cost\":0.000002", "event: message_stop"]),
    (Dialect::Anthropic, MESSAGES, Dialect::OpenAi, &["\"finish_reason\":\"stop\"", "\"cost\":0.000002", "data: [DONE]"]),
];

fn passage(provider: Dialect, caller: Dialect) -> Passage {
    let telling = Telling { dialect: caller, id: "gen-1".into(), model: "a/m".into(), created_s: 7, show_usage: true, openrouter: false };
    Passage::translated(provider, telling, StreamOptions::default())
}

/// What is shown before the release, and all of it.
fn shown(provider: Dialect, caller: Dialect, stream: &str, cuts: &[usize]) -> (String, String) {
    let mut passage = passage(provider, caller);
    let (bytes, mut out, mut at) = (Bytes::copy_from_slice(stream.as_bytes()), Vec::new(), 0);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    for cut in cuts {
        passage.push(&bytes.slice(at..cut), &mut out).expect("in order");
        at = cut;
    }
    let before = String::from_utf8(out.concat()).expect("UTF-8");
    assert_eq!(passage.finish(&mut out), Ending::Complete);
    let reading = passage.provider().usage().expect("usage");
    assert_eq!((reading.total_input(), reading.total_output()), (10, 5));
    passage.release(Some(2_000_000), &mut out);
    (before, String::from_utf8(out.concat()).expect("UTF-8"))
}

#[test]
fn what_ends_an_answer_is_shown_at_the_release_and_not_before() {
    for (provider, stream, caller, ends) in ROWS {
        let (before, all) = shown(provider, caller, stream, &[]);
        assert!(before.contains("Zw\u{f6}lf") && all.starts_with(&before), "{before}");
        for end in ends {
            let at = all.rfind(end).unwrap_or_else(|| panic!("{end} in {all}"));
            assert!(at >= before.len() || end.starts_with("tool_use"), "{end} before the release: {before}");
        }
    }
}

#[test]
fn a_fragment_that_belongs_nowhere_breaks_the_stream_and_what_came_before_it_stands() {
    let stray = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":9,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n";
    let at = MESSAGES.find("event: message_delta").expect("an end");
    let stream = format!("{}{stray}{}", &MESSAGES[..at], &MESSAGES[at..]);
    let (mut passage, mut out) = (passage(Dialect::Anthropic, Dialect::OpenAi), Vec::new());
    let fault = passage.push(&stream.into(), &mut out);
    assert!(matches!(fault, Err(StreamFault::Disorder(_))), "{fault:?}");
    assert!(String::from_utf8(out.concat()).expect("UTF-8").contains("Zw\u{f6}lf"));
    assert_eq!(passage.ending(), Ending::Truncated);
    assert_eq!(passage.provider().usage().map(Reading::total_output), Some(5), "the bill knows what was told");
    out.clear();
    passage.release(Some(1), &mut out);
    let end = String::from_utf8(out.concat()).expect("UTF-8");
    assert!(end.contains("out of order") || end.contains("broke"), "{end}");
    assert!(!end.contains("\"finish_reason\":\"stop\""), "{end}");
}

#[test]
fn a_disorder_in_what_is_held_is_known_before_anything_of_the_end_is_shown() {
    let stray = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":9,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"c2ln\"}}\n\n";
    // A signature is no output, so it does not release what is held.
    let behind = MESSAGES.find("event: message_stop").expect("an end");
    let stream = format!("{}{stray}{}", &MESSAGES[..behind], &MESSAGES[behind..]);
    for (text, is_fine) in [(MESSAGES, true), (stream.as_str(), false)] {
        let (mut passage, mut out) = (passage(Dialect::Anthropic, Dialect::OpenAi), Vec::new());
        assert_eq!(passage.push(&Bytes::copy_from_slice(text.as_bytes()), &mut out), Ok(Step::Done), "it is held");
        let shown = out.len();
        assert_eq!(passage.conclude().is_ok(), is_fine, "{:?}", passage.conclude());
        assert_eq!((out.len(), passage.conclude().is_ok()), (shown, is_fine), "asked again it says the same");
        assert_eq!(passage.ending(), if is_fine { Ending::Complete } else { Ending::Truncated });
        assert_eq!(passage.provider().usage().map(Reading::total_output), Some(5));
        out.clear();
        passage.release(Some(1), &mut out);
        let end = String::from_utf8(out.concat()).expect("UTF-8");
        assert_eq!(end.contains("\"finish_reason\":\"stop\""), is_fine, "{end}");
        assert_eq!(end.contains("broke"), !is_fine, "{end}");
    }
}

proptest! {
    #[test]
    fn where_a_stream_is_cut_does_not_matter(cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        for (provider, stream, caller, _) in ROWS {
            prop_assert_eq!(shown(provider, caller, stream, &cuts).1, shown(provider, caller, stream, &[]).1);
        }
    }
}
