//! Double entry: what an event does to the accounts. Pure.
//!
//! Debits are positive, credits negative, and the entries of one event sum to zero.

use std::fmt;

use waybill_proto::usage::v1::{Attempt, Event, Kind};

/// An account of the ledger.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Account<'a> {
    /// What a workspace owes.
    Receivable(&'a str),
    /// What was sold.
    UsageRevenue,
    /// What usage at a provider account cost.
    ProviderCost(&'a str),
    /// What is owed to the provider of an account.
    ProviderPayable(&'a str),
    /// What a workspace may owe for attempts whose end nobody saw.
    Suspense(&'a str),
    /// What may be owed to the provider of an account for such attempts.
    ProviderPayableUnconfirmed(&'a str),
}

impl fmt::Display for Account<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receivable(workspace) => write!(formatter, "receivable/{workspace}"),
            Self::UsageRevenue => formatter.write_str("usage_revenue"),
            Self::ProviderCost(account) => write!(formatter, "provider_cost/{account}"),
            Self::ProviderPayable(account) => write!(formatter, "provider_payable/{account}"),
            Self::Suspense(workspace) => write!(formatter, "suspense/{workspace}"),
            Self::ProviderPayableUnconfirmed(account) => write!(formatter, "provider_payable_unconfirmed/{account}"),
        }
    }
}

/// One side of a transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry<'a> {
    /// The account it is of.
    pub account: Account<'a>,
    /// pico-USD; a debit is positive.
    pub amount: i64,
}

/// The entries of one event.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entries<'a>(Vec<Entry<'a>>);

/// Why an event cannot be posted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unpostable {
    /// An amount below zero would have to be a reversal, and those are only made by [`post_adjustment`].
    #[error("the amount is negative")]
    NegativeAmount,
    /// Nothing is owed for a failed attempt, by definition.
    #[error("a failed attempt has an amount")]
    FailedWithAmount,
    /// It needs to know who pays whom.
    #[error("there is an amount and no attempt")]
    NoAttempt,
    /// An adjustment reverses an orphaned event: use [`post_adjustment`].
    #[error("an adjustment has no meaning without the orphaned event that it resolves")]
    AdjustmentAlone,
    /// Not a kind that the ledger keeps.
    #[error("the kind is neither terminal nor `closed`")]
    NotAnEvent,
}

impl<'a> Entries<'a> {
    /// The entries in the order of posting.
    #[must_use]
    pub fn as_slice(&self) -> &[Entry<'a>] {
        &self.0
    }

    /// The sum of all entries: zero, for everything that this module makes.
    #[must_use]
    pub fn sum(&self) -> i128 {
        self.0.iter().map(|entry| i128::from(entry.amount)).sum()
    }

    /// Moves an amount that is not negative; nothing is written for zero.
    fn transfer(&mut self, debit: Account<'a>, credit: Account<'a>, amount: i64) {
        if amount != 0 {
            self.0.push(Entry { account: debit, amount });
            self.0.push(Entry { account: credit, amount: -amount });
        }
    }

    fn sale(&mut self, attempt: &'a Attempt, amount: i64) {
        self.transfer(Account::Receivable(&attempt.workspace), Account::UsageRevenue, amount);
        self.transfer(Account::ProviderCost(&attempt.account), Account::ProviderPayable(&attempt.account), amount);
    }
}

/// The entries of an event as a proxy writes it. Cost and price are the same amount as long as nothing is marked up.
///
/// # Errors
/// The event is not one that a proxy may write; it belongs in quarantine.
pub fn post(event: &Event) -> Result<Entries<'_>, Unpostable> {
    let amount = event.amount_picousd;
    let mut entries = Entries::default();
    match event.kind() {
        Kind::Unspecified | Kind::Intent => return Err(Unpostable::NotAnEvent),
        Kind::Adjusted => return Err(Unpostable::AdjustmentAlone),
        Kind::Failed | Kind::Closed if amount != 0 => return Err(Unpostable::FailedWithAmount),
        Kind::Failed | Kind::Closed => {}
        Kind::Settled | Kind::Partial => entries.sale(owed(event)?, amount),
        Kind::Orphaned => {
            let attempt = owed(event)?;
            entries.transfer(Account::Suspense(&attempt.workspace), Account::ProviderPayableUnconfirmed(&attempt.account), amount);
        }
    }
    Ok(entries)
}

/// The entries of an adjustment: those of the orphaned event reversed, then the adjusted amount as a settled one.
///
/// # Errors
/// One of the two events is not of its kind, or an amount is negative.
pub fn post_adjustment<'a>(orphan: &'a Event, adjusted: &Event) -> Result<Entries<'a>, Unpostable> {
    if orphan.kind() != Kind::Orphaned || adjusted.kind() != Kind::Adjusted {
        return Err(Unpostable::NotAnEvent);
    }
    if adjusted.amount_picousd < 0 {
        return Err(Unpostable::NegativeAmount);
    }
    let mut entries = post(orphan)?;
    for entry in &mut entries.0 {
        entry.amount = -entry.amount;
    }
    entries.sale(owed(orphan)?, adjusted.amount_picousd);
    Ok(entries)
}

fn owed(event: &Event) -> Result<&Attempt, Unpostable> {
    if event.amount_picousd < 0 {
        return Err(Unpostable::NegativeAmount);
    }
    event.attempt.as_ref().ok_or(Unpostable::NoAttempt)
}

/// What a request cost its caller.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cost {
    /// pico-USD of all settled, partial and adjusted attempts.
    pub booked: i128,
    /// pico-USD of orphaned attempts that nobody has resolved.
    pub pending: i128,
}

impl Cost {
    /// Adds one terminal event, with the event that resolved it if there is one.
    pub fn add(&mut self, event: &Event, adjusted: Option<&Event>) {
        match (event.kind(), adjusted) {
            (Kind::Settled | Kind::Partial | Kind::Adjusted, _) => self.booked += i128::from(event.amount_picousd),
            (Kind::Orphaned, Some(adjusted)) => self.booked += i128::from(adjusted.amount_picousd),
            (Kind::Orphaned, None) => self.pending += i128::from(event.amount_picousd),
            (Kind::Unspecified | Kind::Intent | Kind::Failed | Kind::Closed, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(kind: Kind, amount: i64) -> Event {
        let attempt = Attempt { workspace: "w".into(), account: "a".into(), ..Attempt::default() };
        Event { attempt: Some(attempt), kind: kind.into(), amount_picousd: amount, ..Event::default() }
    }

    fn table(entries: &Entries<'_>) -> Vec<(String, i64)> {
        entries.as_slice().iter().map(|entry| (entry.account.to_string(), entry.amount)).collect()
    }

    fn rows(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
        rows.iter().map(|(account, amount)| ((*account).to_owned(), *amount)).collect()
    }

    const SALE: [(&str, i64); 4] = [("receivable/w", 7), ("usage_revenue", -7), ("provider_cost/a", 7), ("provider_payable/a", -7)];

    #[test]
    fn each_kind_is_posted_to_its_accounts() {
        type Expected<'a> = Result<&'a [(&'a str, i64)], Unpostable>;
        let table_of: [(Kind, i64, Expected<'_>); 14] = [
            (Kind::Settled, 7, Ok(&SALE)),
            (Kind::Partial, 7, Ok(&SALE)),
            (Kind::Orphaned, 7, Ok(&[("suspense/w", 7), ("provider_payable_unconfirmed/a", -7)])),
            (Kind::Settled, 0, Ok(&[])),
            (Kind::Partial, 0, Ok(&[])),
            (Kind::Orphaned, 0, Ok(&[])),
            (Kind::Failed, 0, Ok(&[])),
            (Kind::Closed, 0, Ok(&[])),
            (Kind::Failed, 1, Err(Unpostable::FailedWithAmount)),
            (Kind::Settled, -1, Err(Unpostable::NegativeAmount)),
            (Kind::Orphaned, i64::MIN, Err(Unpostable::NegativeAmount)),
            (Kind::Adjusted, 7, Err(Unpostable::AdjustmentAlone)),
            (Kind::Intent, 0, Err(Unpostable::NotAnEvent)),
            (Kind::Unspecified, 0, Err(Unpostable::NotAnEvent)),
        ];
        for (kind, amount, expected) in table_of {
            let event = event(kind, amount);
            assert_eq!(post(&event).as_ref().map(table).map_err(|error| *error), expected.map(rows), "{kind:?} {amount}");
        }
        assert_eq!(post(&Event { attempt: None, ..event(Kind::Settled, 1) }), Err(Unpostable::NoAttempt));
    }

    #[test]
    fn an_adjustment_reverses_the_orphan_and_then_sells() {
        let orphan = event(Kind::Orphaned, 9);
        let reversal = [("suspense/w", -9), ("provider_payable_unconfirmed/a", 9)];
        let both = [reversal.as_slice(), SALE.as_slice()].concat();
        assert_eq!(post_adjustment(&orphan, &event(Kind::Adjusted, 7)).as_ref().map(table), Ok(rows(&both)));
        assert_eq!(post_adjustment(&orphan, &event(Kind::Adjusted, 0)).as_ref().map(table), Ok(rows(&reversal)));
        assert_eq!(post_adjustment(&orphan, &event(Kind::Adjusted, -1)), Err(Unpostable::NegativeAmount));
        assert_eq!(post_adjustment(&orphan, &event(Kind::Settled, 1)), Err(Unpostable::NotAnEvent));
        assert_eq!(post_adjustment(&event(Kind::Settled, 1), &event(Kind::Adjusted, 1)), Err(Unpostable::NotAnEvent));
    }

    #[test]
    fn the_cost_counts_what_is_known_and_shows_the_rest_as_pending() {
        let mut cost = Cost::default();
        for (kind, amount, adjusted) in [
            (Kind::Settled, i64::MAX, None),
            (Kind::Partial, 2, None),
            (Kind::Failed, 0, None),
            (Kind::Orphaned, 40, None),
            (Kind::Orphaned, 80, Some(5)),
        ] {
            cost.add(&event(kind, amount), adjusted.map(|amount| event(Kind::Adjusted, amount)).as_ref());
        }
        assert_eq!(cost, Cost { booked: i128::from(i64::MAX) + 7, pending: 40 });
    }

    proptest! {
        #[test]
        fn whatever_is_posted_sums_to_zero(kind in 0_i32..9, amount: i64, adjusted: i64) {
            let event = Event { kind, ..event(Kind::Settled, amount) };
            if let Ok(entries) = post(&event) {
                prop_assert_eq!(entries.sum(), 0);
            }
            let adjusted = Event { kind: Kind::Adjusted.into(), amount_picousd: adjusted, ..Event::default() };
            if let Ok(entries) = post_adjustment(&event, &adjusted) {
                prop_assert_eq!(entries.sum(), 0);
                let left: i128 = entries.as_slice().iter().filter(|entry| matches!(entry.account, Account::Suspense(_))).map(|entry| i128::from(entry.amount)).sum();
                prop_assert_eq!(left, -i128::from(amount));
            }
        }
    }
}
