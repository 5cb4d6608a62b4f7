//! Rules of price books.

use std::collections::HashSet;

use pbjson_types::Timestamp;
use waybill_proto::model::v1::{PriceBook, PriceEntry, Rate};

use super::{
    nearest::{nearest, or_nothing},
    violation::{Code, Faults},
};
use crate::{
    meter::Meter,
    money::{Error, Picousd},
};

/// Dearest unit: a rate is kept in pico-USD per million units in 64 bits.
const UNITS_PER_MILLION: i64 = 1_000_000;

pub(super) fn check(book: &PriceBook, faults: &mut Faults<'_>) {
    if book.currency != "USD" {
        faults.add("spec.currency", Code::CurrencyUnknown, format!("`{}` is not a currency that is billed in: use USD", book.currency));
    }
    if !book.as_of.is_empty() && !is_day(&book.as_of) {
        faults.add("spec.asOf", Code::DateMalformed, format!("`{}` is not a day: write it as 2026-08-21", book.as_of));
    }
    let mut starts = HashSet::with_capacity(book.entries.len());
    for (position, entry) in book.entries.iter().enumerate() {
        let path = format!("spec.entries[{position}]");
        let start = entry.effective_from.as_ref().map(|time| (time.seconds, time.nanos));
        if !starts.insert((entry.item.as_str(), start)) {
            let message = format!("an earlier entry of `{}` comes into force at the same instant", entry.item);
            faults.add(format!("{path}.item"), Code::EntryDuplicate, message);
        }
        check_entry(entry, &path, faults);
    }
}

fn check_entry(entry: &PriceEntry, path: &str, faults: &mut Faults<'_>) {
    if entry.item.is_empty() {
        faults.add(format!("{path}.item"), Code::FieldMissing, "say which item is priced");
    }
    if let Some(fault) = entry.effective_from.as_ref().and_then(time_fault) {
        faults.add(format!("{path}.effectiveFrom"), Code::TimeMalformed, fault);
    }
    if entry.rates.is_empty() {
        faults.add(format!("{path}.rates"), Code::EntryEmpty, "an entry without rates would make the item free: write rates of 0 if it is");
    }
    let mut places = HashSet::with_capacity(entry.rates.len());
    for (position, rate) in entry.rates.iter().enumerate() {
        let path = format!("{path}.rates[{position}]");
        if !places.insert((rate.meter.as_str(), rate.tier.as_str(), rate.above_input_tokens)) {
            faults.add(format!("{path}.meter"), Code::RateDuplicate, "an earlier rate has the same meter, tier and band");
        }
        check_rate(rate, &path, faults);
    }
}

fn check_rate(rate: &Rate, path: &str, faults: &mut Faults<'_>) {
    if let Err(unknown) = rate.meter.parse::<Meter>() {
        let guess = or_nothing(nearest(&rate.meter, Meter::ALL.iter().map(|meter| meter.name())));
        faults.add(format!("{path}.meter"), Code::MeterUnknown, format!("{unknown}{guess}"));
    }
    let is_word = rate.tier.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte));
    if !is_word || rate.tier == "-" || rate.tier.len() > super::limits::LABEL_BYTES {
        let message = "a tier is a word of lower case letters, digits and _ - . (empty = standard)";
        faults.add(format!("{path}.tier"), Code::TierMalformed, message);
    }
    match (rate.usd_per_million.is_empty(), rate.usd_each.is_empty()) {
        (true, true) => faults.add(path, Code::RatePrices, "write one of usdPerMillion and usdEach"),
        (false, false) => faults.add(path, Code::RatePrices, "write only one of usdPerMillion and usdEach"),
        (false, true) => check_price(&rate.usd_per_million, 1, &format!("{path}.usdPerMillion"), faults),
        (true, false) => check_price(&rate.usd_each, UNITS_PER_MILLION, &format!("{path}.usdEach"), faults),
    }
}

/// Checks a decimal of USD that is to be kept `times` as large.
pub(super) fn check_price(text: &str, times: i64, path: &str, faults: &mut Faults<'_>) {
    match text.parse::<Picousd>() {
        Ok(amount) if amount.0 < 0 => faults.add(path, Code::PriceNegative, format!("`{text}` is below zero")),
        Ok(amount) if amount.0.checked_mul(times).is_none() => {
            faults.add(path, Code::PriceMalformed, format!("`{text}` is too large: at most {} USD", Picousd(i64::MAX / times)));
        }
        Ok(_) => {}
        Err(error @ (Error::NotDecimal(_) | Error::TooPrecise(_) | Error::TooLarge(_))) => {
            faults.add(path, Code::PriceMalformed, error.to_string());
        }
    }
}

/// The range of RFC 3339: the years 1 to 9999.
pub(super) fn time_fault(time: &Timestamp) -> Option<&'static str> {
    let exists = (-62_135_596_800..=253_402_300_799).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    (!exists).then_some("no such instant: the years 1 to 9999, nanoseconds below 1,000,000,000")
}

fn is_day(text: &str) -> bool {
    let parts: Option<Vec<u32>> =
        text.split('-').map(|part| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?).collect();
    let Some([year, month, day]) = parts.as_deref() else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return false,
    };
    text.len() == 10 && text.as_bytes().get(4) == Some(&b'-') && text.as_bytes().get(7) == Some(&b'-') && (1..=days).contains(day)
}

#[cfg(test)]
mod tests {
    use super::is_day;

    #[test]
    fn days_are_days_of_the_calendar() {
        for (text, expected) in [
            ("2026-08-21", true),
            ("2024-02-29", true),
            ("2000-02-29", true),
            ("2026-02-29", false),
            ("1900-02-29", false),
            ("2026-13-01", false),
            ("2026-04-31", false),
            ("2026-4-3", false),
            ("26-008-021", false),
            ("2026-08-00", false),
            ("+026-08-21", false),
            ("today", false),
            ("2026-08-21-01", false),
        ] {
            assert_eq!(is_day(text), expected, "{text}");
        }
    }
}
