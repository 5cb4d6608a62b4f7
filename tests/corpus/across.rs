//! Judging answers that were translated: what the caller reads in its dialect against the independent reading of what was served in the other.

use serde_json::{Value, json};

use crate::ask::Way;
use crate::bill::{self, Classes};
use crate::case::Case;
use crate::dialect::Dialect;
use crate::finish;
use crate::judge::{Court, equal, expected_calls, expected_text, shown, without_ids};
use crate::reader::{self, Reading};

impl Court<'_> {
    pub fn translated(&mut self) {
        let (status, body, caller) = (self.seen.answer.head.status, &self.seen.answer.body, self.pair().caller);
        if status != 200 {
            return self.check("order", Err(format!("{status} {}", shown(body))));
        }
        let is_sse = self.case.is_sse;
        let Some(read) = Reading::of(caller, is_sse, body) else {
            return self.check("order", Err(format!("not readable: {}", shown(body))));
        };
        let order = if is_sse { reader::faults(caller, body) } else { reader::faults_of_whole(caller, body) };
        self.check("order", order);
        let own = reader::own_id(caller, is_sse, body);
        self.check("id", equal(&own.as_deref(), &Some(self.seen.generation.as_str())));
        let served = Reading::of(self.case.dialect, is_sse, &self.case.served).unwrap_or_default();
        if served.has_media {
            self.beyond("text", "spoken or drawn output: Anthropic's answers have none");
        }
        if served.has_media || served.own_blocks > 0 {
            let comment = memchr::memmem::find(body, b"\n: x-waybill-warning ").is_some();
            let is_named = self.seen.answer.head.text("x-waybill-warning").is_some() || comment;
            self.check("named", if is_named { Ok(()) } else { Err(format!("{} blocks, media {}", served.own_blocks, served.has_media)) });
            if served.own_blocks > 0 {
                self.beyond("named", "calls and results of the provider's own tools");
            }
        }
        for (check, outcome) in said(self.case, caller, &read) {
            self.check(check, outcome);
        }
        let classes = self.classes();
        self.usage_across(&read, classes);
        self.bill(classes);
    }

    /// Counts as the meter understands them, in the caller's members.
    fn usage_across(&mut self, read: &Reading, classes: Option<Classes>) {
        if self.seen.ask.way == Way::Unasked {
            return self.check("usage", equal(&read.usage, &None));
        }
        let counts = |usage: &reader::Usage| {
            (usage.input, usage.output, usage.cache_read.unwrap_or(0), usage.cache_write.unwrap_or(0), usage.reasoning.unwrap_or(0))
        };
        let expected = classes.map(|classes| {
            let reasoning = if self.pair().caller == Dialect::OpenAi { classes.reasoning } else { 0 };
            (classes.total_input(), classes.total_output(), classes.cache_read, classes.cache_write + classes.cache_write_1h, reasoning)
        });
        match (expected, read.usage.as_ref().map(counts)) {
            // Anthropic's clients read a usage in any case: without a count it is one of zeros.
            (None, Some((0, 0, 0, 0, 0)) | None) => self.check("usage", Ok(())),
            (expected, seen) => self.check("usage", equal(&seen, &expected)),
        }
        if self.seen.ask.way == Way::Shown
            && let Some(classes) = classes
        {
            let cost = read.usage_object.as_ref().and_then(|usage| usage.get("cost")).map(Value::to_string);
            let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
            let expected = bill::usd(classes.amount());
            let is_right = cost.as_deref().is_some_and(|cost| (number(cost) - number(&expected)).abs() < 1e-12);
            self.check("cost", if is_right { Ok(()) } else { Err(format!("{cost:?} instead of {expected}")) });
        }
    }
}

/// Text, thoughts, calls and finish of an answer as a caller of the other dialect is to read them.
pub fn said(case: &Case, caller: Dialect, read: &Reading) -> [(&'static str, Result<(), String>); 4] {
    let expect = &case.expect;
    let served = Reading::of(case.dialect, case.is_sse, &case.served).unwrap_or_default();
    let refusal = expected_text(expect, "refusal");
    let words = format!("{}{refusal}", expected_text(expect, "text"));
    let text = equal(&format!("{}{}", read.text, read.refusal), &words);
    // Told twice, it is one thought; told only in details, they are it.
    let thought = Some(expected_text(expect, "reasoning")).filter(|thought| !thought.is_empty());
    let thought = thought.unwrap_or(&served.reasoning_details);
    let mut reasoning = equal(&read.reasoning.as_str(), &thought);
    if reasoning.is_err() && !served.reasoning_details.is_empty() && read.reasoning == served.reasoning_details {
        reasoning = Ok(());
    }
    if caller == Dialect::OpenAi && !read.reasoning_details.is_empty() {
        reasoning = reasoning.and(equal(&read.reasoning_details, &read.reasoning));
    }
    let expected = expected_calls(expect);
    let calls = equal(&without_ids(read, &expected), &expected);
    let word = expect["finish"].as_str();
    let words = finish::across(case.dialect, word, expected != json!([]), !refusal.is_empty());
    let is_right = read.finish.as_deref().is_some_and(|seen| words.contains(&seen));
    let finish = if is_right { Ok(()) } else { Err(format!("{:?} for {word:?}, which is one of {words:?}", read.finish)) };
    let finish = finish.and(read.native_finish.as_ref().map_or(Ok(()), |native| equal(&Some(native.as_str()), &word)));
    [("text", text), ("reasoning", reasoning), ("tool calls", calls), ("finish", finish)]
}
