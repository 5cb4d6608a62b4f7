//! Exact decimals: prices and costs never pass through a float.

use std::fmt::Write;

/// Pico-USD in one US dollar, as a power of ten.
const SCALE: i32 = 12;

/// A JSON number as digits and a power of ten, nothing rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: u128,
    /// The value is digits x 10^exponent.
    exponent: i32,
}

/// Why a number has no exact integer form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// Not a decimal number at all (`NaN`, `Infinity`, empty, …).
    NotANumber,
    /// Finer than the unit.
    TooPrecise,
    /// Beyond the range.
    TooLarge,
}

impl Decimal {
    /// Reads `[-]digits[.digits][e[+-]digits]`.
    pub(crate) fn parse(text: &str) -> Result<Self, DecimalError> {
        let (mantissa, power) = match text.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, read_power(power)?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        if whole.is_empty() || fraction.is_empty() {
            return Err(DecimalError::NotANumber);
        }
        let fraction = fraction.trim_end_matches('0');
        let mut digits: u128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            let digit = char::from(byte).to_digit(10).ok_or(DecimalError::NotANumber)?;
            digits = digits.checked_mul(10).and_then(|digits| digits.checked_add(digit.into())).ok_or(DecimalError::TooLarge)?;
        }
        let places = i32::try_from(fraction.len()).map_err(|_| DecimalError::TooPrecise)?;
        Ok(Self { negative, digits, exponent: power - places })
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.negative && self.digits != 0
    }

    /// The value as a whole number of 10^-12, if it is one.
    pub(crate) fn to_pico(self) -> Result<i64, DecimalError> {
        self.scaled(SCALE)
    }

    /// The value as a whole number, if it is one: `12`, `12.0` and `1.2e1` are.
    pub(crate) fn to_whole(self) -> Result<i64, DecimalError> {
        self.scaled(0)
    }

    fn scaled(self, places: i32) -> Result<i64, DecimalError> {
        let mut digits = self.digits;
        let mut exponent = self.exponent.saturating_add(places);
        if digits == 0 {
            return Ok(0);
        }
        while exponent < 0 {
            if !digits.is_multiple_of(10) {
                return Err(DecimalError::TooPrecise);
            }
            digits /= 10;
            exponent += 1;
        }
        while exponent > 0 {
            digits = digits.checked_mul(10).ok_or(DecimalError::TooLarge)?;
            exponent -= 1;
        }
        let value = i64::try_from(digits).map_err(|_| DecimalError::TooLarge)?;
        Ok(if self.negative { -value } else { value })
    }
}

fn read_power(text: &str) -> Result<i32, DecimalError> {
    if !text.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit()) || text.len() > 6 {
        return Err(DecimalError::NotANumber);
    }
    let power: i32 = text.parse().map_err(|_| DecimalError::NotANumber)?;
    // No amount needs more; a huge power must not turn into a long loop.
    if power.abs() > 400 { Err(DecimalError::TooLarge) } else { Ok(power) }
}

/// An amount in pico-USD as US dollars: plain decimal, no exponent, no trailing zeros.
pub(crate) fn print_picousd(amount: i64) -> String {
    const DOLLAR: u64 = 1_000_000_000_000;
    let pico = amount.unsigned_abs();
    let mut text = String::with_capacity(24);
    if amount < 0 {
        text.push('-');
    }
    // Writing to a string cannot fail.
    let _ = write!(text, "{}", pico / DOLLAR);
    let (mut rest, mut place) = (pico % DOLLAR, DOLLAR / 10);
    if rest > 0 {
        text.push('.');
    }
    while rest > 0 {
        text.extend(char::from_digit(u32::try_from(rest / place).unwrap_or(0), 10));
        rest %= place;
        place /= 10;
    }
    text
}
