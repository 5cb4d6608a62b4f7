//! Prices: tariff × quantities → lines, in integers.
//!
//! A price is a function of (meter, service tier, context band). Each line is rounded half to even once.

use crate::{
    meter::{Meter, Quantities},
    money::{Picousd, divide_half_even},
};

/// One rate of a tariff.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Rate {
    /// What it prices.
    pub meter: Meter,
    /// Service tier; empty = standard.
    pub tier: Box<str>,
    /// In force when the whole input is above this many tokens.
    pub above_input_tokens: u64,
    /// pico-USD per million units.
    pub picousd_per_million: i64,
}

/// Content address of a tariff: the first 16 hex digits of the BLAKE3 hash of its canonical text.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PriceVersion(Box<str>);

impl PriceVersion {
    /// The version as text, for events and people.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The prices of one item during one period: sorted rates under a content address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tariff {
    version: PriceVersion,
    rates: Box<[Rate]>,
}

/// A priced quantity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// What was used.
    pub meter: Meter,
    /// The tier of the rate that was applied.
    pub tier: Box<str>,
    /// The band of the rate that was applied.
    pub above_input_tokens: u64,
    /// Units used.
    pub quantity: u64,
    /// pico-USD per million units.
    pub rate_picousd: i64,
    /// The amount, rounded half to even once.
    pub amount: Picousd,
}

/// Lines with their sum.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bill {
    /// One line per meter used, in the order of [`Meter::ALL`].
    pub lines: Vec<Line>,
    /// Sum of the lines; it saturates at the end of the range instead of wrapping.
    pub total: Picousd,
}

impl Tariff {
    /// Makes a tariff; the order of the rates does not matter, the last of two rates for the same place wins.
    #[must_use]
    pub fn new(rates: impl IntoIterator<Item = Rate>) -> Self {
        let mut rates: Vec<Rate> = rates.into_iter().collect();
        rates.reverse();
        rates.sort_by(|a, b| (a.meter, &a.tier, a.above_input_tokens).cmp(&(b.meter, &b.tier, b.above_input_tokens)));
        rates.dedup_by(|a, b| (a.meter, &a.tier, a.above_input_tokens) == (b.meter, &b.tier, b.above_input_tokens));
        let mut hash = blake3::Hasher::new();
        for rate in &rates {
            hash.update(canonical(rate).as_bytes());
        }
        let version = PriceVersion(hash.finalize().to_hex().as_str()[..16].into());
        Self { version, rates: rates.into() }
    }

    /// The content address.
    #[must_use]
    pub const fn version(&self) -> &PriceVersion {
        &self.version
    }

    /// The rates, sorted.
    #[must_use]
    pub fn rates(&self) -> &[Rate] {
        &self.rates
    }

    /// The canonical text: one `meter tier band rate` per line (`-` for the standard tier). What the version is the hash of.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.rates.iter().map(canonical).collect()
    }

    /// Reads the canonical text back; `None` if it is not one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let rates: Option<Vec<Rate>> = text
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                let meter = words.next()?.parse().ok()?;
                let tier = words.next()?;
                let above_input_tokens = words.next()?.parse().ok()?;
                let picousd_per_million = words.next()?.parse().ok()?;
                words.next().is_none().then(|| Rate {
                    meter,
                    tier: if tier == "-" { "".into() } else { tier.into() },
                    above_input_tokens,
                    picousd_per_million,
                })
            })
            .collect();
        rates.map(Self::new)
    }

    /// The rate of a meter for a tier and a whole input of so many tokens: own tier before standard, then the fallback meter; `None` = free.
    #[must_use]
    pub fn rate(&self, meter: Meter, tier: &str, input_tokens: u64) -> Option<&Rate> {
        let mut meter = Some(meter);
        while let Some(wanted) = meter {
            let found = self.band(wanted, tier, input_tokens).or_else(|| self.band(wanted, "", input_tokens));
            if found.is_some() {
                return found;
            }
            meter = wanted.fallback();
        }
        None
    }

    fn band(&self, meter: Meter, tier: &str, input_tokens: u64) -> Option<&Rate> {
        let in_force = |rate: &&Rate| {
            rate.meter == meter && &*rate.tier == tier && (rate.above_input_tokens == 0 || input_tokens > rate.above_input_tokens)
        };
        self.rates.iter().rev().find(in_force)
    }

    /// Prices quantities: the band is chosen by the whole input.
    #[must_use]
    pub fn price(&self, quantities: &Quantities, tier: &str) -> Bill {
        let input = quantities.input_total();
        bill(quantities.iter().map(|(meter, quantity)| {
            self.rate(meter, tier, input).map_or_else(
                || free(meter, quantity),
                |rate| line(meter, &rate.tier, rate.above_input_tokens, quantity, rate.picousd_per_million),
            )
        }))
    }

    /// The most that an input and an output of so many tokens can cost: the dearest input meter, the dearest output meter, in the dearest
    /// tier and band that can be reached, plus the request fee.
    #[must_use]
    pub fn bound(&self, input_tokens: u64, output_tokens: u64) -> Bill {
        let dearest = |wanted: fn(Meter) -> bool| {
            let reachable = |rate: &&Rate| wanted(rate.meter) && (rate.above_input_tokens == 0 || input_tokens > rate.above_input_tokens);
            self.rates.iter().filter(reachable).max_by_key(|rate| rate.picousd_per_million)
        };
        let part = |rate: Option<&Rate>, quantity: u64| {
            rate.map(|rate| line(rate.meter, &rate.tier, rate.above_input_tokens, quantity, rate.picousd_per_million))
        };
        let parts = [
            part(dearest(Meter::is_input), input_tokens),
            part(dearest(Meter::is_output), output_tokens),
            part(dearest(|meter| meter == Meter::Request), 1),
        ];
        bill(parts.into_iter().flatten())
    }

    /// Prompt plus completion price per million tokens in the standard tier and first band, pico-USD: what price choice compares.
    #[must_use]
    pub fn headline(&self) -> (i64, i64) {
        let rate = |meter| self.rate(meter, "", 0).map_or(0, |rate| rate.picousd_per_million);
        (rate(Meter::Input), rate(Meter::Output))
    }
}

/// One line: quantity × rate ÷ 1,000,000, rounded half to even.
#[must_use]
pub fn line(meter: Meter, tier: &str, above_input_tokens: u64, quantity: u64, rate_picousd: i64) -> Line {
    let exact = divide_half_even(i128::from(quantity) * i128::from(rate_picousd), 1_000_000);
    let amount = i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX });
    Line { meter, tier: tier.into(), above_input_tokens, quantity, rate_picousd, amount: Picousd(amount) }
}

fn free(meter: Meter, quantity: u64) -> Line {
    line(meter, "", 0, quantity, 0)
}

fn bill(lines: impl Iterator<Item = Line>) -> Bill {
    let lines: Vec<Line> = lines.collect();
    let total = lines.iter().fold(Picousd(0), |sum, line| sum.saturating_add(line.amount));
    Bill { lines, total }
}

fn canonical(rate: &Rate) -> String {
    let tier = if rate.tier.is_empty() { "-" } else { &rate.tier };
    format!("{} {tier} {} {}\n", rate.meter, rate.above_input_tokens, rate.picousd_per_million)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(meter: Meter, tier: &str, above_input_tokens: u64, usd_per_million: &str) -> Rate {
        let price: Picousd = usd_per_million.parse().expect("a decimal");
        Rate { meter, tier: tier.into(), above_input_tokens, picousd_per_million: price.0 }
    }

    fn tariff() -> Tariff {
        Tariff::new([
            rate(Meter::Input, "", 0, "2.50"),
            rate(Meter::Input, "", 200_000, "5"),
            rate(Meter::Input, "flex", 0, "1.25"),
            rate(Meter::CacheRead, "", 0, "0.25"),
            rate(Meter::Output, "", 0, "10"),
            rate(Meter::Output, "", 200_000, "15"),
            rate(Meter::Request, "", 0, "10000"),
        ])
    }

    #[test]
    fn quantities_are_priced_by_meter_tier_and_band() {
        let rows = [
            (Quantities::default(), "", 0_i64),
            (Quantities::default().with(Meter::Input, 1000), "", 2_500_000_000),
            (Quantities::default().with(Meter::Input, 200_000).with(Meter::Output, 1), "", 500_000_000_000 + 10_000_000),
            (Quantities::default().with(Meter::Input, 200_001).with(Meter::Output, 1), "", 1_000_005_000_000 + 15_000_000),
            (Quantities::default().with(Meter::Input, 100).with(Meter::CacheRead, 900), "", 250_000_000 + 225_000_000),
            (Quantities::default().with(Meter::Reasoning, 7), "", 70_000_000),
            (Quantities::default().with(Meter::Input, 1000).with(Meter::Output, 1), "flex", 1_250_000_000 + 10_000_000),
            (Quantities::default().with(Meter::Request, 1).with(Meter::Search, 3), "", 10_000_000_000),
        ];
        for (quantities, tier, expected) in rows {
            assert_eq!(tariff().price(&quantities, tier).total.0, expected, "{quantities:?} {tier}");
        }
    }

    #[test]
    fn a_rate_below_one_pico_per_token_keeps_its_fraction_until_the_line_is_rounded() {
        assert_eq!(line(Meter::CacheRead, "", 0, 3, 500_000).amount.0, 2, "1.5 goes to the even 2");
        assert_eq!(line(Meter::CacheRead, "", 0, 1, 500_000).amount.0, 0, "0.5 goes to the even 0");
    }

    #[test]
    fn the_version_is_of_the_content_and_the_text_reads_back() {
        let tariff = tariff();
        let mut turned: Vec<Rate> = tariff.rates().to_vec();
        turned.reverse();
        assert_eq!(Tariff::new(turned).version(), tariff.version());
        assert_eq!(Tariff::from_text(&tariff.to_text()), Some(tariff.clone()));
        assert_ne!(Tariff::new([rate(Meter::Input, "", 0, "2.51")]).version(), Tariff::new([rate(Meter::Input, "", 0, "2.50")]).version());
        assert_eq!(Tariff::from_text("input - 0"), None);
    }

    proptest! {
        #[test]
        fn no_division_of_the_bounded_tokens_costs_more_than_the_bound(input in 0_u64..400_000, output in 0_u64..100_000, cached in 0_u64..400_000, reasoning in 0_u64..100_000, flex: bool) {
            let (cached, reasoning) = (cached.min(input), reasoning.min(output));
            let used = Quantities::default().with(Meter::Input, input - cached).with(Meter::CacheRead, cached)
                .with(Meter::Output, output - reasoning).with(Meter::Reasoning, reasoning).with(Meter::Request, 1);
            let amount = tariff().price(&used, if flex { "flex" } else { "" }).total.0;
            // Each of the four token lines may round up by half a pico.
            prop_assert!(amount <= tariff().bound(input, output).total.0 + 2);
        }
    }
}
