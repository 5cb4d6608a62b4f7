//! The usage object of every provider that speaks this dialect, as disjoint classes.
//!
//! Providers differ in what `prompt_tokens` and `completion_tokens` include. Where the details leave it open, the
//! sum decides: what `total_tokens` has beyond the two is what they do not include.

use crate::json::{Kind, Scan, Span, print_picousd};
use crate::usage::{Reading, UsageFault, UsageObject, cost_text, count};

/// The counts as the provider gave them; `None` = not mentioned or `null`.
#[derive(Debug, Default)]
struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    audio_input: Option<u64>,
    reasoning: Option<u64>,
    audio_output: Option<u64>,
    image_output: Option<u64>,
    citation: Option<u64>,
    searches: Option<u64>,
    /// Reasoning stands beside the details, where Perplexity puts what it bills apart.
    reasoning_apart: bool,
}

/// Reads the object that the scan stands before; it is consumed whole, whatever it says.
///
/// # Errors
/// Only if the text is no JSON; a usage object that is not believed is a fault inside the result.
pub(crate) fn read(scan: &mut Scan<'_>) -> Result<UsageObject, crate::json::Error> {
    scan.peek()?;
    let start = scan.at();
    let mut object = UsageObject { span: Span::default(), cost: None, is_empty: true, reading: Ok(Reading::default()) };
    if scan.peek()? != Kind::Object {
        object.span = scan.skip()?;
        object.reading = Err(UsageFault::NotAnObject);
        return Ok(object);
    }
    let mut counts = Counts::default();
    let mut fault = None;
    let mut reported_cost = None;
    let mut inside = scan.object()?;
    while let Some(key) = scan.key(&mut inside)? {
        object.is_empty = false;
        let name = key.meaning();
        match &*name {
            b"cost" => {
                scan.peek()?;
                let at = scan.at();
                reported_cost = cost_text(scan)?.or(reported_cost);
                object.cost = Some(Span::new(at, scan.at()));
            }
            b"cost_in_usd_ticks" => {
                let ticks = count(scan, "cost_in_usd_ticks")?.ok().flatten();
                // One tick is 10^-10 USD.
                let pico = ticks.and_then(|ticks| i64::try_from(ticks).ok()?.checked_mul(100));
                reported_cost = reported_cost.or(pico.map(|pico| print_picousd(pico).into()));
            }
            name => member(name, scan, &mut counts, &mut fault)?,
        }
    }
    object.span = Span::new(start, scan.at());
    object.reading = match fault {
        Some(fault) => Err(fault),
        None => counts.disjoint().map(|reading| Reading { reported_cost, ..reading }),
    };
    Ok(object)
}

fn member(name: &[u8], scan: &mut Scan<'_>, counts: &mut Counts, fault: &mut Option<UsageFault>) -> Result<(), crate::json::Error> {
    let (slot, label) = match name {
        b"prompt_tokens" => (&mut counts.prompt, "prompt_tokens"),
        b"completion_tokens" => (&mut counts.completion, "completion_tokens"),
        b"total_tokens" => (&mut counts.total, "total_tokens"),
        b"cached_tokens" | b"num_cached_tokens" | b"prompt_cache_hit_tokens" | b"cache_read_input_tokens" => {
            (&mut counts.cached, "cached_tokens")
        }
        b"cache_creation_input_tokens" => (&mut counts.cache_write, "cache_creation_input_tokens"),
        b"citation_tokens" => (&mut counts.citation, "citation_tokens"),
        b"num_search_queries" => (&mut counts.searches, "num_search_queries"),
        b"reasoning_tokens" => {
            counts.reasoning_apart = true;
            (&mut counts.reasoning, "reasoning_tokens")
        }
        b"prompt_tokens_details"
        | b"prompt_token_details"
        | b"completion_tokens_details"
        | b"completion_token_details"
        | b"cache_creation"
        | b"server_tool_use_details"
            if scan.peek()? == Kind::Object =>
        {
            return details(name, scan, counts, fault);
        }
        _ => {
            scan.skip()?;
            return Ok(());
        }
    };
    store(slot, label, scan, fault)
}

fn details(outer: &[u8], scan: &mut Scan<'_>, counts: &mut Counts, fault: &mut Option<UsageFault>) -> Result<(), crate::json::Error> {
    let is_prompt = outer.starts_with(b"prompt");
    let is_completion = outer.starts_with(b"completion");
    let mut inside = scan.object()?;
    while let Some(key) = scan.key(&mut inside)? {
        let name = key.meaning();
        let (slot, label) = match &*name {
            b"cached_tokens" if is_prompt => (&mut counts.cached, "prompt_tokens_details.cached_tokens"),
            b"cache_write_tokens" | b"cache_creation_tokens" if is_prompt => {
                (&mut counts.cache_write, "prompt_tokens_details.cache_write_tokens")
            }
            b"audio_tokens" if is_prompt => (&mut counts.audio_input, "prompt_tokens_details.audio_tokens"),
            b"reasoning_tokens" if is_completion => {
                counts.reasoning_apart = false;
                (&mut counts.reasoning, "completion_tokens_details.reasoning_tokens")
            }
            b"audio_tokens" if is_completion => (&mut counts.audio_output, "completion_tokens_details.audio_tokens"),
            b"image_tokens" if is_completion => (&mut counts.image_output, "completion_tokens_details.image_tokens"),
            b"ephemeral_5m_input_tokens" => (&mut counts.cache_write_5m, "cache_creation.ephemeral_5m_input_tokens"),
            b"ephemeral_1h_input_tokens" => (&mut counts.cache_write_1h, "cache_creation.ephemeral_1h_input_tokens"),
            b"web_search_requests" => (&mut counts.searches, "server_tool_use_details.web_search_requests"),
            _ => {
                scan.skip()?;
                continue;
            }
        };
        store(slot, label, scan, fault)?;
    }
    Ok(())
}

/// One name may stand in two places; the larger is kept, so that a 0 beside a real count changes nothing.
fn store(
    slot: &mut Option<u64>,
    label: &'static str,
    scan: &mut Scan<'_>,
    fault: &mut Option<UsageFault>,
) -> Result<(), crate::json::Error> {
    match count(scan, label)? {
        Ok(value) => *slot = (*slot).max(value),
        Err(found) => *fault = fault.take().or(Some(found)),
    }
    Ok(())
}

impl Counts {
    /// Splits the counts so that nothing is in two classes.
    fn disjoint(&self) -> Result<Reading, UsageFault> {
        if self.prompt.is_none() && self.completion.is_none() {
            return Err(UsageFault::Empty);
        }
        let zero = |count: Option<u64>| count.unwrap_or(0);
        let (prompt, completion) = (zero(self.prompt), zero(self.completion));
        let (write_5m, write_1h) = self.cache_writes();
        let cached = zero(self.cached);
        let cache = cached + write_5m + write_1h;
        let mut reasoning = zero(self.reasoning);
        let audio = zero(self.audio_input);
        let beyond = zero(self.total).saturating_sub(prompt + completion);

        let reasoning_beside = reasoning > 0
            && (self.reasoning_apart && self.citation.or(self.searches).is_some()
                || beyond > 0 && (beyond == reasoning || beyond == reasoning + cache)
                || self.total.is_none() && reasoning > completion);
        let cache_beside = cache > prompt || beyond > 0 && cache > 0 && (beyond == cache || beyond == reasoning + cache);
        let audio_beside = audio > 0 && (beyond == audio || audio > prompt);
        let explained = reasoning_beside || cache_beside || audio_beside;
        if beyond > 0 && reasoning == 0 && !explained {
            // Gemini tells its thoughts in nothing but the total.
            reasoning = beyond;
        }
        let hidden = reasoning > 0 && self.reasoning.is_none_or(|told| told == 0);

        let mut output = completion;
        let reasoning = if reasoning_beside || hidden { reasoning } else { take(&mut output, reasoning) };
        let audio_output = take(&mut output, zero(self.audio_output));
        let image_output = take(&mut output, zero(self.image_output));

        let mut input = prompt;
        let (cache_read, cache_write_5m, cache_write_1h) = if cache_beside {
            (cached, write_5m, write_1h)
        } else {
            (take(&mut input, cached), take(&mut input, write_5m), take(&mut input, write_1h))
        };
        let audio_input = if audio_beside { audio } else { take(&mut input, audio) };

        Ok(Reading {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            audio_input,
            output,
            reasoning,
            audio_output,
            image_output,
            citation: zero(self.citation),
            searches: zero(self.searches),
            reported_cost: None,
        })
    }

    /// Writes of five minutes and of one hour; what is not told apart counts as five minutes.
    fn cache_writes(&self) -> (u64, u64) {
        let hour = self.cache_write_1h.unwrap_or(0);
        let told = self.cache_write_5m.unwrap_or(0) + hour;
        let all = self.cache_write.unwrap_or(0).max(told);
        (all - hour, hour)
    }
}

/// Moves up to `wanted` out of `whole`: a part cannot be larger than what it is a part of.
fn take(whole: &mut u64, wanted: u64) -> u64 {
    let taken = wanted.min(*whole);
    *whole -= taken;
    taken
}
