//! What the usage objects of all dialects have in common.

use super::{Reading, UsageFault};
use crate::json::{Decimal, Kind, Scan, Span};

/// A usage object in a text: where it lies, where its `cost` lies, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct UsageObject {
    pub span: Span,
    /// The value of `cost`.
    pub cost: Option<Span>,
    pub is_empty: bool,
    pub reading: Result<Reading, UsageFault>,
}

/// A count: `None` = not told; a value that is no count is a fault inside the result.
///
/// # Errors
/// Only if the text is no JSON.
pub(crate) fn count(scan: &mut Scan<'_>, label: &'static str) -> Result<Result<Option<u64>, UsageFault>, crate::json::Error> {
    if scan.peek()? == Kind::Null {
        scan.skip()?;
        return Ok(Ok(None));
    }
    if scan.peek()? != Kind::Number {
        scan.skip()?;
        return Ok(Err(UsageFault::NotANumber(label)));
    }
    let text = scan.number()?;
    if let Some(value) = plain(text) {
        return Ok(if value <= Reading::MAX_COUNT { Ok(Some(value)) } else { Err(UsageFault::Absurd(label)) });
    }
    let decimal = match Decimal::parse(text) {
        Ok(decimal) if decimal.is_negative() => return Ok(Err(UsageFault::Negative(label))),
        Ok(decimal) => decimal,
        Err(_) => return Ok(Err(UsageFault::Absurd(label))),
    };
    Ok(match decimal.to_whole() {
        Ok(value) => match u64::try_from(value) {
            Ok(value) if value <= Reading::MAX_COUNT => Ok(Some(value)),
            _ => Err(UsageFault::Absurd(label)),
        },
        Err(crate::json::DecimalError::TooLarge) => Err(UsageFault::Absurd(label)),
        Err(_) => Err(UsageFault::NotANumber(label)),
    })
}

/// A number of digits alone, as nearly all counts are; so many fit into 64 bits.
fn plain(text: &str) -> Option<u64> {
    const MOST_DIGITS: usize = 19;
    let digit = |value: u64, byte: u8| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0'));
    if text.len() > MOST_DIGITS { None } else { text.bytes().try_fold(0, digit) }
}

/// What the provider says it cost: a number, a string that holds one, or Perplexity's object with `total_cost`.
pub(crate) fn cost_text(scan: &mut Scan<'_>) -> Result<Option<Box<str>>, crate::json::Error> {
    Ok(match scan.peek()? {
        Kind::Number => Some(scan.number()?.into()),
        Kind::String => {
            let text = scan.string()?.decode();
            text.filter(|text| Decimal::parse(text).is_ok()).map(|text| text.into())
        }
        Kind::Object => {
            let mut total = None;
            let mut inside = scan.object()?;
            while let Some(key) = scan.key(&mut inside)? {
                if key.is("total_cost") && scan.peek()? == Kind::Number {
                    total = Some(scan.number()?.into());
                } else {
                    scan.skip()?;
                }
            }
            total
        }
        _ => {
            scan.skip()?;
            None
        }
    })
}
