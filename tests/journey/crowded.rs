//! What callers and bills see of a spool that fills up: detail goes first, then requests are refused, and never money.

use serde_json::json;
use waybill_proxy::SpoolFull;
use waybill_tests::Request;

use crate::fixture::{Fixture, INPUT, OUTPUT};

/// Room for a dozen attempts. It is one segment, so the spool counts as full from the start: it sheds, and refuses what the segment cannot hold.
const SEGMENT_BYTES: u32 = 32 << 10;

/// More requests than fit.
const REQUESTS: usize = 60;

fn request(fixture: &Fixture) -> Request {
    fixture
        .chat(&json!({
            "model": "sandbox/usage-1200-30",
            "messages": [{ "role": "user", "content": "hello there" }],
            "provider": { "only": ["here"] },
        }))
        .field("http-referer", "https://example.com")
        .field("x-title", "title")
}

#[test]
fn a_full_spool_refuses_by_name_and_what_was_served_is_billed_without_detail() {
    let fixture = Fixture::cramped(SEGMENT_BYTES, SpoolFull::Block);
    let answers: Vec<_> = (0..REQUESTS).map(|_| fixture.send(&request(&fixture))).collect();
    let served = answers.iter().take_while(|answer| answer.head.status == 200).count();
    assert!((5..REQUESTS).contains(&served), "{served} were served");
    for refused in &answers[served..] {
        assert_eq!(refused.head.status, 503);
        let error = refused.json().expect("an error");
        assert_eq!(error["error"]["metadata"]["reason"], "spool_full", "{error}");
    }
    let (ends, records) = fixture.ends();
    assert_eq!((ends.len(), records.len()), (served, served), "what is not recorded is not sent");
    for end in &ends {
        let attempt = end.event.attempt.as_ref().expect("identity stays");
        assert!(attempt.shed && attempt.decision.is_none(), "{attempt:?}");
        assert_eq!((attempt.http_referer.as_str(), attempt.app_title.as_str(), end.event.duration_us), ("", "", 0));
        assert_eq!((attempt.api_key.as_str(), attempt.provider.is_empty(), attempt.price_version.is_empty()), ("first", false, false));
        let (input, output) = (end.event.input_tokens.cast_signed(), end.event.output_tokens.cast_signed());
        assert_eq!(end.event.amount_picousd, input * INPUT + output * OUTPUT, "money stays");
    }
}

#[test]
fn by_an_explicit_setting_requests_pass_a_full_spool_unbilled_and_are_counted() {
    let fixture = Fixture::cramped(SEGMENT_BYTES, SpoolFull::AllowUnbilled);
    for _ in 0..REQUESTS {
        assert_eq!(fixture.send(&request(&fixture)).head.status, 200);
    }
    let proxy = fixture.proxy.as_ref().expect("it runs");
    let (unbilled, ended) = proxy.counters().iter().fold((0, 0), |(u, e), worker| (u + worker.unbilled.get(), e + worker.ended()));
    assert!(unbilled > 0);
    assert_eq!(unbilled + ended, REQUESTS as u64);
    let (ends, records) = fixture.ends();
    assert_eq!((ends.len() as u64, records.len()), (ended, REQUESTS));
}
