//! The order among the endpoints that can take the request.
//!
//! They fall into groups, each wholly before the next: healthy before ejected by the fleet before failing here, the first model before the second, the first name of
//! `order` before the second and before the rest, free before priced before unpriced. Within a group the order is drawn without
//! replacement, with the weight 1 ÷ (prompt + completion price)², uniformly where there is no price to compare; or, sorted by price, it is
//! by price and then by name.
//!
//! Chances are integers: a weight is (cheapest price of the group ÷ own price)² in 40 binary places, at least 1, and a draw takes the high
//! half of (64 random bits × sum of weights). The random bits are splitmix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number
//! generators*, 2014) from the seed.

use crate::loss::Loss;

/// What an endpoint costs, for comparison.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Price {
    /// Nothing.
    Free,
    /// Prompt plus completion price, pico-USD per million tokens; never 0.
    Priced(u64),
    /// Unknown.
    Unknown,
}

impl Price {
    /// The price of a tariff's headline; a sum beyond 64 bits stays at their end.
    pub fn of(headline: Option<(i64, i64)>) -> Self {
        match headline {
            None => Self::Unknown,
            Some((prompt, completion)) => match prompt.max(0).unsigned_abs().saturating_add(completion.max(0).unsigned_abs()) {
                0 => Self::Free,
                sum => Self::Priced(sum),
            },
        }
    }

    const fn class(self) -> u8 {
        match self {
            Self::Free => 0,
            Self::Priced(_) => 1,
            Self::Unknown => 2,
        }
    }
}

/// An endpoint that passed, with what its place depends on.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// Position among the candidates; they are by model and name, so this settles ties.
    pub candidate: usize,
    /// What it stands behind the others for.
    pub behind: Option<Loss>,
    /// Position of its model in the wish.
    pub model: usize,
    /// Position in `order`.
    pub place: usize,
    /// What it costs.
    pub price: Price,
    /// Chance to be the first of its group, in millionths; 0 = not drawn.
    pub share_ppm: u32,
    weight: u64,
}

impl Contender {
    /// A contender before any draw.
    pub const fn new(candidate: usize, model: usize, place: usize, price: Price) -> Self {
        Self { candidate, behind: None, model, place, price, share_ppm: 0, weight: 0 }
    }

    /// What failed here is known for certain, so it stands behind what only others have seen fail.
    const fn health(&self) -> u8 {
        match self.behind {
            None => 0,
            Some(Loss::Ejected(_)) => 1,
            Some(_) => 2,
        }
    }

    fn group(&self) -> (u8, usize, usize, u8) {
        (self.health(), self.model, self.place, self.price.class())
    }
}

/// Binary places of a weight.
const PLACES: u32 = 40;

/// Puts the contenders in order. Only the first `most` places are drawn; who stands behind them stays in the order of groups.
pub fn arrange(contenders: &mut [Contender], by_price: bool, seed: u64, most: usize) {
    if by_price {
        contenders.sort_unstable_by_key(|contender| (contender.group(), contender.price, contender.candidate));
        return;
    }
    contenders.sort_unstable_by_key(|contender| (contender.group(), contender.candidate));
    let mut random = SplitMix64(seed);
    let mut left = most;
    for group in contenders.chunk_by_mut(|a, b| a.group() == b.group()) {
        weigh(group);
        let drawn = left.min(group.len());
        for first in 0..drawn {
            if let Some(rest) = group.get_mut(first..) {
                draw_first(rest, &mut random);
            }
        }
        left -= drawn;
    }
}

fn weigh(group: &mut [Contender]) {
    let price = |contender: &Contender| if let Price::Priced(price) = contender.price { price } else { 1 };
    let cheapest = u128::from(group.iter().map(price).min().unwrap_or(1));
    for contender in group.iter_mut() {
        let ratio = (cheapest << PLACES) / u128::from(price(contender)).max(1);
        contender.weight = u64::try_from((ratio * ratio) >> PLACES).unwrap_or(u64::MAX).max(1);
    }
    let total = total(group);
    for contender in group {
        let share = u128::from(contender.weight) * 1_000_000 / total.max(1);
        contender.share_ppm = u32::try_from(share).unwrap_or(1_000_000);
    }
}

/// Draws one and moves it to the front; the others keep their order.
fn draw_first(rest: &mut [Contender], random: &mut SplitMix64) {
    if rest.len() < 2 {
        return;
    }
    // A weight has at most 41 bits, so the product of the sum of a group of any real size with 64 bits fits.
    let mut point = (u128::from(random.draw()) * total(rest)) >> 64;
    let drawn = rest.iter().position(|contender| {
        let weight = u128::from(contender.weight);
        let hit = point < weight;
        point = point.saturating_sub(weight);
        hit
    });
    if let Some(head) = drawn.and_then(|drawn| rest.get_mut(..=drawn)) {
        head.rotate_right(1);
    }
}

fn total(group: &[Contender]) -> u128 {
    group.iter().map(|contender| u128::from(contender.weight)).sum()
}

/// A stream of random bits from a seed; the same on every machine.
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(prices: &[u64]) -> Vec<Contender> {
        let price = |price: u64| if price == 0 { Price::Free } else { Price::Priced(price) };
        prices.iter().enumerate().map(|(candidate, of)| Contender::new(candidate, 0, 0, price(*of))).collect()
    }

    #[test]
    fn the_random_bits_are_the_published_ones() {
        // First outputs of the reference implementation for the seed 1234567.
        let mut random = SplitMix64(1_234_567);
        assert_eq!([random.draw(), random.draw()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn shares_are_the_inverse_squares_of_the_prices() {
        let rows: [(&[u64], &[u32]); 5] = [
            (&[1_000, 3_000], &[900_000, 100_000]),
            (&[2, 2, 2, 2], &[250_000; 4]),
            (&[u64::MAX, u64::MAX], &[500_000; 2]),
            (&[1, u64::MAX], &[999_999, 0]),
            (&[0, 0, 5], &[500_000, 500_000, 1_000_000]),
        ];
        for (prices, expected) in rows {
            let mut contenders = group(prices);
            arrange(&mut contenders, false, 7, usize::MAX);
            contenders.sort_by_key(|contender| contender.candidate);
            let shares: Vec<u32> = contenders.iter().map(|contender| contender.share_ppm).collect();
            for (share, expected) in shares.iter().zip(expected) {
                assert!(share.abs_diff(*expected) <= 1, "{prices:?}: {shares:?}");
            }
        }
    }

    #[test]
    fn every_contender_stays_exactly_once() {
        for seed in 0..200 {
            let mut contenders = group(&[5, 1, 9, 0, 0, 1_000_000_000_000]);
            arrange(&mut contenders, seed % 2 == 0, seed, 3);
            let mut seen: Vec<usize> = contenders.iter().map(|contender| contender.candidate).collect();
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        }
    }
}
