//! Money: integers of pico-USD, decimals only at the edges.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;

/// One USD in pico-USD.
pub const PICO_PER_USD: i64 = 1_000_000_000_000;

/// An amount in pico-USD (10⁻¹² USD). Signed; one amount is at most about 9.2 million USD.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Picousd(pub i64);

/// Why a decimal is not an amount.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not a plain decimal.
    #[error("`{0}` is not a decimal number: write digits with at most one point, for example 2.50")]
    NotDecimal(String),
    /// More than 12 decimal places.
    #[error("`{0}` has more than 12 decimal places")]
    TooPrecise(String),
    /// Above what 64 bits of pico-USD hold.
    #[error("`{0}` is too large: at most 9223372 USD")]
    TooLarge(String),
}

impl Picousd {
    /// Sums without wrapping: at the end of the range the sum stays there.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl FromStr for Picousd {
    type Err = Error;

    /// Reads a decimal of USD with at most 12 places, exactly.
    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
        let decimal = if plain { Decimal::from_str_exact(text).ok() } else { None };
        let decimal = decimal.ok_or_else(|| Error::NotDecimal(text.to_owned()))?.normalize();
        if decimal.scale() > 12 {
            return Err(Error::TooPrecise(text.to_owned()));
        }
        let scaled = decimal.mantissa().checked_mul(10_i128.pow(12 - decimal.scale()));
        scaled.and_then(|pico| i64::try_from(pico).ok()).map(Self).ok_or_else(|| Error::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for Picousd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&print_usd(self.0.into()))
    }
}

/// Prints a sum of pico-USD as a decimal of USD, without exponent and without zeros at its end: `0.00042`, `0`, `-1.5`.
#[must_use]
pub fn print_usd(picousd: i128) -> String {
    let per_usd = u128::from(PICO_PER_USD.unsigned_abs());
    let (whole, fraction) = (picousd.unsigned_abs() / per_usd, picousd.unsigned_abs() % per_usd);
    let sign = if picousd < 0 { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{fraction:012}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

/// `numerator / denominator`, rounded half to even. The denominator is positive.
#[must_use]
pub(crate) fn divide_half_even(numerator: i128, denominator: i128) -> i128 {
    let quotient = numerator.div_euclid(denominator);
    let twice = numerator.rem_euclid(denominator) * 2;
    let up = twice > denominator || (twice == denominator && quotient % 2 != 0);
    quotient + i128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_and_printed_plainly() {
        let rows: [(&str, Result<i64, &str>, &str); 12] = [
            ("0", Ok(0), "0"),
            ("2.50", Ok(2_500_000_000_000), "2.5"),
            ("0.000000000001", Ok(1), "0.000000000001"),
            ("0.0000000000010", Ok(1), "0.000000000001"),
            ("-1.5", Ok(-1_500_000_000_000), "-1.5"),
            ("9223372", Ok(9_223_372_000_000_000_000), "9223372"),
            ("0.0000000000001", Err("12 decimal places"), ""),
            ("9223373", Err("too large"), ""),
            ("1e-6", Err("not a decimal"), ""),
            ("NaN", Err("not a decimal"), ""),
            ("", Err("not a decimal"), ""),
            ("1_000", Err("not a decimal"), ""),
        ];
        for (text, expected, printed) in rows {
            match (text.parse::<Picousd>(), expected) {
                (Ok(amount), Ok(pico)) => {
                    assert_eq!(amount.0, pico, "{text}");
                    assert_eq!(amount.to_string(), printed, "{text}");
                }
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{text}: {error}")
                }
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (numerator, denominator, expected) in
            [(5, 10, 0), (15, 10, 2), (25, 10, 2), (26, 10, 3), (24, 10, 2), (-5, 10, 0), (-15, 10, -2), (7, 1, 7)]
        {
            assert_eq!(divide_half_even(numerator, denominator), expected, "{numerator}/{denominator}");
        }
    }
}
