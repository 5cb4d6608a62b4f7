//! The usage object of a translated answer.

use crate::json::{Writer, print_picousd};
use crate::usage::Reading;

/// Writes the counts of `reading` as this dialect sums them up, and what the answer costs in USD.
pub(super) fn usage(reading: &Reading, cost_picousd: Option<i64>, json: &mut Writer) {
    json.object(|json| {
        json.key("prompt_tokens").number(reading.total_input());
        json.key("completion_tokens").number(reading.total_output());
        json.key("total_tokens").number(reading.total_input() + reading.total_output());
        json.key("prompt_tokens_details").object(|json| {
            json.key("cached_tokens").number(reading.cache_read);
            json.key("cache_write_tokens").number(reading.cache_write_5m + reading.cache_write_1h);
            json.key("audio_tokens").number(reading.audio_input);
        });
        json.key("completion_tokens_details").object(|json| {
            json.key("reasoning_tokens").number(reading.reasoning);
            json.key("audio_tokens").number(reading.audio_output);
            if reading.image_output > 0 {
                json.key("image_tokens").number(reading.image_output);
            }
        });
        if reading.searches > 0 {
            json.key("server_tool_use_details").object(|json| json.key("web_search_requests").number(reading.searches));
        }
        if let Some(cost) = cost_picousd {
            json.key("cost").raw(print_picousd(cost).as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Scan, ScanLimits};

    #[test]
    fn our_own_reader_finds_the_same_classes() {
        let reading = Reading { input: 10, cache_read: 20, cache_write_5m: 30, output: 5, reasoning: 7, searches: 2, ..Reading::default() };
        let mut json = Writer::default();
        usage(&reading, Some(1_230_000_000), &mut json);
        let text = json.into_bytes();
        let object = super::super::usage::read(&mut Scan::new(&text, ScanLimits::ANSWER)).expect("JSON");
        let expected = Reading { reported_cost: Some("0.00123".into()), ..reading };
        assert_eq!(object.reading, Ok(expected), "{text:?}");
    }
}
