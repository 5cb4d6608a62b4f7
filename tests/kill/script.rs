//! The deaths, in their order.

use std::time::Duration;

use waybill_tests::Random;

/// How one life of the process is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// Under load, when it passes this place for the so-manieth time.
    Passing { place: &'static str, count: u32 },
    /// The same before it serves: while it starts, and recovers what the one before has left.
    Starting { place: &'static str, count: u32 },
    /// Each time that it passes this place while it starts, again and again until it has nothing left to do there.
    StartingUntilItLives { place: &'static str },
    /// It is told to end, and dies at this place on the way.
    Ending { place: &'static str },
    /// At an instant after its start, whatever it does.
    At { after: Duration },
    /// Under load; then the operator's command reads the state folder, recovering it first.
    ThenOffline,
    /// None: it is told to end, and does.
    Told,
}

/// Places on the way of a request.
const REQUEST: [&str; 9] = [
    "intent.before",
    "intent.after",
    "attempt.sent",
    "attempt.head",
    "attempt.first_token",
    "attempt.body",
    "attempt.end",
    "end.before",
    "end.after",
];

/// Places inside a transaction of the ledger. They are passed by each, and the first is enough.
const LEDGER: [&str; 3] = ["ledger.begin", "ledger.before_commit", "ledger.after_commit"];

/// Times that each place is visited.
const ROUNDS: u32 = 3;

/// A random death comes within this time after a start: with the start itself, most of it under load.
const RANDOM_WITHIN_MS: u64 = 2000;

/// The name of all deaths at random instants.
pub const RANDOM: &str = "random";

impl Death {
    /// Where it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passing { place, .. } | Self::Starting { place, .. } | Self::StartingUntilItLives { place } | Self::Ending { place } => {
                place
            }
            Self::At { .. } => RANDOM,
            Self::ThenOffline => "offline",
            Self::Told => "none",
        }
    }
}

/// All deaths: first those of a first start, then the named places, then so many random instants, then none.
pub fn script(points: u32, random: &mut Random) -> Vec<Death> {
    let mut script =
        vec![Death::Starting { place: "store.commit.before", count: 1 }, Death::StartingUntilItLives { place: "store.commit.after" }];
    let mut groups = named(random);
    random.shuffle(&mut groups);
    script.extend(groups.into_iter().flatten());
    script.push(Death::ThenOffline);
    script.extend((0..points).map(|_| Death::At { after: Duration::from_millis(random.between(0, RANDOM_WITHIN_MS)) }));
    script.push(Death::Told);
    script
}

/// The named places; what belongs together is one group.
fn named(random: &mut Random) -> Vec<Vec<Death>> {
    let mut groups = Vec::new();
    for _ in 0..ROUNDS {
        for place in REQUEST {
            groups.push(vec![Death::Passing { place, count: random.between(1, 60) as u32 }]);
        }
        groups.extend(LEDGER.map(|place| vec![Death::Passing { place, count: 1 }]));
        groups.push(vec![Death::Passing { place: "roll.middle", count: 1 }]);
        groups.push(vec![Death::Ending { place: "close.before" }]);
        groups.push(recoveries(random));
    }
    groups
}

/// A recovery that dies again and again: after its first orphan, after some more, after each log that it has closed.
fn recoveries(random: &mut Random) -> Vec<Death> {
    let count = random.between(2, 4) as u32;
    vec![
        Death::Passing { place: "attempt.first_token", count: random.between(20, 60) as u32 },
        Death::Starting { place: "recovery.orphaned", count: 1 },
        Death::Starting { place: "recovery.orphaned", count },
        Death::Starting { place: "recovery.closed", count: 1 },
        Death::Starting { place: "recovery.closed", count: 1 },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_script_and_every_place_is_in_it() {
        let written = script(50, &mut Random::new(1));
        assert_eq!(written, script(50, &mut Random::new(1)));
        assert_ne!(written, script(50, &mut Random::new(2)));
        let of = |name: &str| written.iter().filter(|death| death.name() == name).count();
        let rest = ["roll.middle", "recovery.orphaned", "recovery.closed", "close.before", "store.commit.before", "store.commit.after"];
        for place in REQUEST.iter().chain(&LEDGER).chain(&rest) {
            assert!(of(place) >= 1, "{place}");
        }
        assert_eq!((of(RANDOM), written.last()), (50, Some(&Death::Told)));
    }
}
