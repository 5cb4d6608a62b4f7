//! What a ledger must hold, worked out from what was delivered. It reads no payload and knows no database: it is told what each record is, and keeps
//! plain maps.

use std::collections::{BTreeMap, BTreeSet};

/// What a delivered record is, by the word of who made it.
#[derive(Clone, Debug)]
pub struct Fact {
    pub log: u64,
    pub sequence: u64,
    /// Names its content: records of the same name with different contents contradict each other.
    pub content: u64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// The end of an attempt.
    End { attempt: u64, ending: Ending, amount: i128 },
    /// The end of the log.
    Close { last: u64, doubt: bool },
    /// Not readable.
    Noise,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    Sold,
    Failed,
    Orphaned,
}

/// Everything that can be seen from outside.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct View {
    /// (log, sequence) → amount, by kinds that are listed together.
    pub ends: BTreeMap<(u64, u64), i128>,
    pub closings: BTreeSet<(u64, u64)>,
    pub balances: BTreeMap<String, i128>,
    pub spent: BTreeMap<u64, i128>,
    /// Log → what has arrived of it, up to the highest.
    pub arrived: BTreeMap<u64, BTreeSet<u64>>,
    /// Log → its end.
    pub closed: BTreeMap<u64, (u64, bool)>,
    /// (log, sequence) → how many contents were set aside under this name.
    pub set_aside: BTreeMap<(u64, u64), u64>,
    pub unresolved: u64,
}

/// How many of a batch were new, known, set aside.
pub type Counted = (usize, usize, usize);

/// The books.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// (log, sequence) → content.
    booked: BTreeMap<(u64, u64), u64>,
    /// Attempt → (ending, amount); resolved ones are in `resolved` too.
    ended: BTreeMap<u64, (Ending, i128)>,
    resolved: BTreeMap<u64, i128>,
    set_aside: BTreeSet<(u64, u64, u64)>,
    view: View,
}

impl Model {
    pub fn deliver(&mut self, facts: &[Fact]) -> Counted {
        let (mut new, mut aside) = (0, 0);
        for fact in facts {
            self.view.arrived.entry(fact.log).or_default().insert(fact.sequence);
            match self.deliver_one(fact) {
                Some(true) => new += 1,
                Some(false) if self.set_aside.insert((fact.log, fact.sequence, fact.content)) => {
                    *self.view.set_aside.entry((fact.log, fact.sequence)).or_default() += 1;
                    aside += 1;
                }
                Some(false) | None => {}
            }
        }
        (new, facts.len() - new - aside, aside)
    }

    /// Booked, to be set aside, or known.
    fn deliver_one(&mut self, fact: &Fact) -> Option<bool> {
        let name = (fact.log, fact.sequence);
        if let Some(content) = self.booked.get(&name) {
            return if *content == fact.content { None } else { Some(false) };
        }
        match fact.what {
            What::Noise => return Some(false),
            What::End { attempt, .. } if self.ended.contains_key(&attempt) => return Some(false),
            What::End { attempt, ending, amount } => {
                self.ended.insert(attempt, (ending, amount));
                self.view.ends.insert(name, amount);
                self.book_end(attempt, ending, amount);
            }
            What::Close { last, doubt } => {
                self.view.closings.insert(name);
                let end = self.view.closed.entry(fact.log).or_default();
                *end = (end.0.max(last), end.1 || doubt);
            }
        }
        self.booked.insert(name, fact.content);
        Some(true)
    }

    fn book_end(&mut self, attempt: u64, ending: Ending, amount: i128) {
        match ending {
            Ending::Failed => {}
            Ending::Sold => self.sell(attempt, amount),
            Ending::Orphaned => {
                self.view.unresolved += 1;
                self.hold(attempt, amount);
            }
        }
    }

    fn hold(&mut self, attempt: u64, amount: i128) {
        self.add(format!("suspense/w-{}", attempt % 3 % 2), amount);
        self.add(format!("provider_payable_unconfirmed/account-{}", attempt % 2), -amount);
    }

    fn sell(&mut self, attempt: u64, amount: i128) {
        self.add(format!("receivable/w-{}", attempt % 3 % 2), amount);
        self.add("usage_revenue".to_owned(), -amount);
        self.add(format!("provider_cost/account-{}", attempt % 2), amount);
        self.add(format!("provider_payable/account-{}", attempt % 2), -amount);
        *self.view.spent.entry(attempt % 3).or_default() += amount;
    }

    fn add(&mut self, account: String, amount: i128) {
        *self.view.balances.entry(account).or_default() += amount;
    }

    /// Whether an operator's word of this attempt is taken.
    pub fn resolve(&mut self, attempt: u64, amount: i128) -> bool {
        let Some((Ending::Orphaned, held)) = self.ended.get(&attempt).copied() else { return false };
        if self.resolved.insert(attempt, amount).is_some() {
            return false;
        }
        self.view.unresolved -= 1;
        self.hold(attempt, -held);
        self.sell(attempt, amount);
        true
    }

    pub fn view(&self) -> View {
        let mut view = self.view.clone();
        view.balances.retain(|_, amount| *amount != 0);
        view.spent.retain(|_, amount| *amount != 0);
        view
    }

    /// Whether numbers of closed logs never arrived.
    pub fn lost(&self) -> bool {
        let lost = |(log, (last, _)): (&u64, &(u64, bool))| {
            let arrived = self.view.arrived.get(log);
            let highest = arrived.and_then(BTreeSet::last).copied().unwrap_or(0);
            (1..=highest.max(*last)).any(|sequence| !arrived.is_some_and(|arrived| arrived.contains(&sequence)))
        };
        self.view.closed.iter().any(lost)
    }
}
