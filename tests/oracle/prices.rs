//! The oracle's own price list and arithmetic.
//!
//! Each rate stands here twice, by hand: as the decimal the product is given, and as the integer a bill is made of. So a fault in how the
//! product reads a decimal shows as a wrong amount, and no rule is shared with its code.

use super::provider::Usage;

/// Tokens that every model of the list reads and writes together, at most.
pub const CONTEXT_WINDOW: u64 = 100_000;
/// Tokens of one answer, at most, where the caller names no limit.
pub const MAX_OUTPUT: u64 = 4096;

/// A price of one class of units.
#[derive(Debug)]
pub struct Rate {
    /// The product's name of the class.
    pub meter: &'static str,
    /// What the product's price book says: USD, per million units or for each one.
    pub decimal: &'static str,
    /// The decimal is for one unit.
    pub is_each: bool,
    /// pico-USD per million units.
    pub picousd: i128,
}

/// One model at one provider, with its prices.
#[derive(Debug)]
pub struct Endpoint {
    pub name: &'static str,
    /// What callers ask for.
    pub model: &'static str,
    pub provider: &'static str,
    /// What the provider is asked for.
    pub provider_model: &'static str,
    pub rates: &'static [Rate],
}

const fn per_million(meter: &'static str, decimal: &'static str, picousd: i128) -> Rate {
    Rate { meter, decimal, is_each: false, picousd }
}

/// Prices without a remainder.
const ROUND: &[Rate] = &[per_million("input", "0.15", 150_000_000_000), per_million("output", "0.6", 600_000_000_000)];

/// Every class that the provider states has its own price, none is a whole number of pico-USD per token, and there is a fee.
const UNEVEN: &[Rate] = &[
    per_million("input", "2.500000000001", 2_500_000_000_001),
    per_million("cache_read", "0.123456789", 123_456_789_000),
    per_million("output", "10", 10_000_000_000_000),
    per_million("reasoning", "12.000000000003", 12_000_000_000_003),
    Rate { meter: "request", decimal: "0.000123456789", is_each: true, picousd: 123_456_789_000_000 },
];

/// So cheap that halves of a pico-USD occur, which tell rounding to even from rounding up.
const TINY: &[Rate] = &[per_million("input", "0.0000005", 500_000), per_million("output", "0.000002500001", 2_500_001)];

const fn endpoint(name: &'static str, model: &'static str, provider_model: &'static str, rates: &'static [Rate]) -> Endpoint {
    Endpoint { name, model, provider: "scripted", provider_model, rates }
}

/// One whose provider answers as it should not.
const fn breaking(name: &'static str, model: &'static str, provider_model: &'static str, rates: &'static [Rate]) -> Endpoint {
    Endpoint { provider: "breaking", ..endpoint(name, model, provider_model, rates) }
}

/// All endpoints. `kill/failover` has two: the first of them, by the route policy, always fails.
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint("plain", "kill/plain", "sandbox/usage-1200-30", ROUND),
    endpoint("cached", "kill/cached", "sandbox/usage-1000-50-400-20", UNEVEN),
    endpoint("burst", "kill/burst", "sandbox/burst-20", TINY),
    endpoint("stream", "kill/stream", "sandbox/stream-20x5ms", ROUND),
    endpoint("delay", "kill/delay", "sandbox/delay-40ms", TINY),
    endpoint("cache", "kill/cache", "sandbox/cache", UNEVEN),
    endpoint("error", "kill/error", "sandbox/error-500", ROUND),
    endpoint("second", "kill/failover", "sandbox/usage-900-10", ROUND),
    Endpoint { provider: "failing", ..endpoint("first", "kill/failover", "sandbox/error-503", UNEVEN) },
    breaking("closed", "kill/closed", "sandbox/close-midway-3", ROUND),
    breaking("reset", "kill/reset", "sandbox/reset-midway-3", ROUND),
    breaking("headless", "kill/headless", "sandbox/reset-after-headers", UNEVEN),
    breaking("truncated", "kill/truncated", "sandbox/truncated-json", UNEVEN),
    breaking("short", "kill/short", "sandbox/short-body", ROUND),
    breaking("malformed", "kill/malformed", "sandbox/malformed-frame", ROUND),
    breaking("huge", "kill/huge", "sandbox/huge-frame-5", UNEVEN),
    breaking("error-inside", "kill/error-inside", "sandbox/error-in-200", ROUND),
    breaking("no-usage", "kill/no-usage", "sandbox/no-usage", ROUND),
    breaking("null-usage", "kill/null-usage", "sandbox/usage-null", UNEVEN),
    breaking("usage-each", "kill/usage-each", "sandbox/usage-in-each-chunk", UNEVEN),
    breaking("usage-early", "kill/usage-early", "sandbox/usage-with-finish", ROUND),
    breaking("usage-twice", "kill/usage-twice", "sandbox/usage-twice", ROUND),
    breaking("usage-high", "kill/usage-high", "sandbox/usage-90000-5000", UNEVEN),
    breaking("no-end", "kill/no-end", "sandbox/no-done", ROUND),
    breaking("empty", "kill/empty", "sandbox/empty-answer", UNEVEN),
];

impl Endpoint {
    /// The endpoint of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ENDPOINTS.iter().find(|endpoint| endpoint.name == name)
    }

    /// What the provider charges for a usage.
    pub fn cost(&self, usage: &Usage) -> i128 {
        let plain = [("input", usage.prompt - usage.cached), ("output", usage.completion - usage.reasoning), ("request", 1)];
        let plain: i128 = plain.into_iter().map(|(meter, quantity)| rounded(quantity, self.rate(meter).unwrap_or(0))).sum();
        let cached = rounded(usage.cached, self.rate("cache_read").or(self.rate("input")).unwrap_or(0));
        let reasoning = rounded(usage.reasoning, self.rate("reasoning").or(self.rate("output")).unwrap_or(0));
        plain + cached + reasoning
    }

    /// The most that a call may cost: a token is at least a byte, and which class it will fall into is not known before.
    pub fn reservation(&self, body_bytes: u64, answers: u64, max_output: Option<u64>) -> i128 {
        let dearest = |meters: [&str; 2]| meters.into_iter().filter_map(|meter| self.rate(meter)).max().unwrap_or(0);
        rounded(body_bytes.min(CONTEXT_WINDOW), dearest(["input", "cache_read"]))
            + rounded(answers * max_output.unwrap_or(MAX_OUTPUT), dearest(["output", "reasoning"]))
            + rounded(1, self.rate("request").unwrap_or(0))
    }

    fn rate(&self, meter: &str) -> Option<i128> {
        self.rates.iter().find(|rate| rate.meter == meter).map(|rate| rate.picousd)
    }
}

/// Units at a rate per million, rounded once, a half to the even neighbour.
fn rounded(quantity: u64, rate: i128) -> i128 {
    const MILLION: i128 = 1_000_000;
    let exact = i128::from(quantity) * rate;
    let (whole, rest) = (exact / MILLION, exact % MILLION);
    match (2 * rest).cmp(&MILLION) {
        std::cmp::Ordering::Less => whole,
        std::cmp::Ordering::Equal => whole + whole % 2,
        std::cmp::Ordering::Greater => whole + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (quantity, rate, expected) in [(1, 500_000, 0), (3, 500_000, 2), (5, 500_000, 2), (1, 500_001, 1), (7, 0, 0), (2, 499_999, 1)] {
            assert_eq!(rounded(quantity, rate), expected, "{quantity} at {rate}");
        }
    }

    #[test]
    fn bills_are_what_was_worked_out_on_paper() {
        let usage = Usage { prompt: 1000, completion: 50, cached: 400, reasoning: 20 };
        // 600 x 2,500,000.000001 + 400 x 123,456.789 + 30 x 10,000,000 + 20 x 12,000,000.000003 + 123,456,789, each line rounded.
        let lines = 1_500_000_000 + 49_382_716 + 300_000_000 + 240_000_000 + 123_456_789;
        assert_eq!(Endpoint::find("cached").unwrap().cost(&usage), lines);
        // Without a price of their own, cached and reasoning tokens cost what the plain ones cost.
        assert_eq!(Endpoint::find("plain").unwrap().cost(&usage), 1000 * 150_000 + 50 * 600_000);
    }

    #[test]
    fn reservations_take_the_dearest_class_of_each_side() {
        let cached = Endpoint::find("cached").unwrap();
        assert_eq!(cached.reservation(2000, 2, Some(64)), 5_000_000_000 + 1_536_000_000 + 123_456_789);
        let plain = Endpoint::find("plain").unwrap();
        assert_eq!(plain.reservation(200_000, 1, None), 100_000 * 150_000 + 4096 * 600_000, "no more input than the window holds");
    }

    #[test]
    fn both_forms_of_a_rate_are_the_same_number() {
        for rate in ENDPOINTS.iter().flat_map(|endpoint| endpoint.rates) {
            let (whole, fraction) = rate.decimal.split_once('.').unwrap_or((rate.decimal, ""));
            let picousd: i128 = format!("{whole}{fraction:0<12}").parse().unwrap();
            assert_eq!(if rate.is_each { picousd * 1_000_000 } else { picousd }, rate.picousd, "{rate:?}");
        }
    }
}
