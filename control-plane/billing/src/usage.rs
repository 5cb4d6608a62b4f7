//! What a key has spent: days of UTC and the windows that are made of them. Pure.

use time::Date;
use waybill_proto::usage::v1::{Event, Kind};

const DAY_US: i64 = 86_400_000_000;
const JULIAN_DAY_OF_1970: i32 = 2_440_588;

/// The key that a caller used, with the owners it had at that time.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Scope {
    /// Name of the Org.
    pub org: String,
    /// Name of the Workspace.
    pub workspace: String,
    /// Name of the ApiKey.
    pub api_key: String,
}

/// What a key has spent, pico-USD: settled, partial and adjusted attempts by the time they began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeyUsage {
    /// Ever.
    pub total: i128,
    /// In the current day of UTC.
    pub daily: i128,
    /// Since Monday, 00:00 UTC.
    pub weekly: i128,
    /// Since the first of the month, 00:00 UTC.
    pub monthly: i128,
}

/// The day of UTC, counted from 1970-01-01.
#[must_use]
pub const fn day(unix_us: i64) -> i64 {
    unix_us.div_euclid(DAY_US)
}

/// Folds the amounts of days into the windows that are current at this time. A day that has not begun yet by our clock counts as today:
/// the clock that dated it was ahead, and the money is spent.
#[must_use]
pub fn windows(days: impl IntoIterator<Item = (i64, i128)>, now_unix_us: i64) -> KeyUsage {
    let today = day(now_unix_us);
    let (monday, first) = (monday(today), first_of_month(today));
    let mut usage = KeyUsage::default();
    for (day, amount) in days {
        usage.total += amount;
        usage.daily += if day >= today { amount } else { 0 };
        usage.weekly += if day >= monday { amount } else { 0 };
        usage.monthly += if day >= first { amount } else { 0 };
    }
    usage
}

/// What an event adds to its key's spend: (key, day, pico-USD).
#[must_use]
pub fn spent(event: &Event) -> Option<(Scope, i64, i64)> {
    let attempt = event.attempt.as_ref()?;
    let books = matches!(event.kind(), Kind::Settled | Kind::Partial | Kind::Adjusted) && event.amount_picousd != 0;
    books.then(|| {
        let scope = Scope { org: attempt.org.clone(), workspace: attempt.workspace.clone(), api_key: attempt.api_key.clone() };
        (scope, day(attempt.start_unix_us), event.amount_picousd)
    })
}

/// 1970-01-01 was a Thursday.
const fn monday(day: i64) -> i64 {
    day - (day + 3).rem_euclid(7)
}

/// A time beyond the calendar's end is its own month.
fn first_of_month(day: i64) -> i64 {
    let julian = i32::try_from(day).ok().and_then(|day| day.checked_add(JULIAN_DAY_OF_1970));
    let date = julian.and_then(|julian| Date::from_julian_day(julian).ok());
    date.map_or(day, |date| day + 1 - i64::from(date.day()))
}

#[cfg(test)]
mod tests {
    use time::{Month, Weekday};

    use super::*;

    #[test]
    fn windows_begin_at_midnight_on_monday_and_on_the_first() {
        // (now, day of the amount) → in the day, the week, the month.
        let at =
            |year, month, day| i64::from(Date::from_calendar_date(year, month, day).expect("a date").to_julian_day() - JULIAN_DAY_OF_1970);
        let now = at(2026, Month::March, 4) * DAY_US + 1;
        assert_eq!(Date::from_calendar_date(2026, Month::March, 4).map(Date::weekday), Ok(Weekday::Wednesday));
        let rows = [
            (at(2026, Month::March, 4), (1, 1, 1)),
            (at(2026, Month::March, 5), (1, 1, 1)),
            (at(2026, Month::March, 3), (0, 1, 1)),
            (at(2026, Month::March, 2), (0, 1, 1)),
            (at(2026, Month::March, 1), (0, 0, 1)),
            (at(2026, Month::February, 28), (0, 0, 0)),
            (at(2025, Month::March, 4), (0, 0, 0)),
        ];
        for (day, (daily, weekly, monthly)) in rows {
            assert_eq!(windows([(day, 1)], now), KeyUsage { total: 1, daily, weekly, monthly }, "{day}");
        }
        assert_eq!(day(-1), -1);
        assert_eq!(windows([(day(i64::MAX), 3)], i64::MAX), KeyUsage { total: 3, daily: 3, weekly: 3, monthly: 3 });
    }

    #[test]
    fn every_week_begins_on_a_monday() {
        for day in -800..800 {
            let date = Date::from_julian_day(JULIAN_DAY_OF_1970 + i32::try_from(monday(day)).expect("small")).expect("a date");
            assert_eq!(date.weekday(), Weekday::Monday);
            assert!((0..7).contains(&(day - monday(day))));
        }
    }
}
