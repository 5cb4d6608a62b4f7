//! Checks the ledger against itself: one snapshot, read page by page beside the writer.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use waybill_model::id::AttemptId;
use waybill_proto::{
    admin::v1::VerifyResponse,
    usage::v1::{Attempt, Closed, Event, Kind},
};

use super::{Sqlite, amount, query};
use crate::{
    error::Error,
    intake::{content_hash, counts},
    ledger::{Entries, post, post_adjustment},
    reprice::arithmetic,
    sequences::{Sequences, ranges_text},
    usage::{Scope, spent},
};

/// Events of one page.
pub const PAGE: i64 = 1_000;

/// Faults that are listed; more are counted.
const LISTED: usize = 1_000;

impl Sqlite {
    pub(super) async fn verify(&self) -> Result<VerifyResponse, Error> {
        let (_, price_faults) = self.read_prices().await?;
        let mut snapshot = self.readers.begin().await?;
        let mut audit = Audit::begin(&mut snapshot, self.own).await?;
        audit.faults.extend(price_faults);
        let mut first = 1;
        loop {
            let page = audit.page(&mut snapshot, first).await?;
            if page.is_empty() {
                break;
            }
            let postings = postings(&mut snapshot, first, first + PAGE).await?;
            for row in &page {
                audit.event(&mut snapshot, row, postings.get(&row.id).map_or(&[], Vec::as_slice)).await?;
            }
            first += PAGE;
        }
        audit.balances();
        audit.strays(&mut snapshot).await?;
        audit.attempts(&mut snapshot).await?;
        audit.spend(&mut snapshot).await?;
        audit.sequences(&mut snapshot).await?;
        Ok(audit.answer())
    }
}

/// An event as it lies in its row.
struct Stored {
    id: i64,
    incarnation: i64,
    sequence: i64,
    kind: i32,
    attempt: Vec<u8>,
    generation: Vec<u8>,
    number: i64,
    scope: Scope,
    model: String,
    answer: String,
    amount: i64,
    hash: Vec<u8>,
    payload: Vec<u8>,
}

impl Stored {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            incarnation: row.try_get("incarnation")?,
            sequence: row.try_get("sequence")?,
            kind: row.try_get("kind")?,
            attempt: row.try_get::<Option<_>, _>("attempt")?.unwrap_or_default(),
            generation: row.try_get::<Option<_>, _>("generation")?.unwrap_or_default(),
            number: row.try_get("number")?,
            scope: Scope { org: row.try_get("org")?, workspace: row.try_get("workspace")?, api_key: row.try_get("api_key")? },
            model: row.try_get("model")?,
            answer: row.try_get::<Option<_>, _>("answer")?.unwrap_or_default(),
            amount: row.try_get("amount")?,
            hash: row.try_get("hash")?,
            payload: row.try_get("payload")?,
        })
    }

    /// The columns beside the payload say what it says.
    fn agrees(&self, event: &Event, attempt: &Attempt) -> bool {
        self.kind == event.kind
            && self.attempt == attempt.attempt_id[..]
            && self.generation == attempt.generation_id[..]
            && self.number == i64::from(attempt.number)
            && self.scope == Scope { org: attempt.org.clone(), workspace: attempt.workspace.clone(), api_key: attempt.api_key.clone() }
            && self.model == attempt.model
            && self.answer == event.provider_answer_id
            && self.amount == event.amount_picousd
    }
}

/// What a pass over all events adds up, to be compared with what the ledger keeps.
struct Audit {
    own: u64,
    answer: VerifyResponse,
    faults: Vec<String>,
    /// Name, balance, and the sum of the postings, by account id.
    accounts: HashMap<i64, (String, i128, i128)>,
    spend: BTreeMap<(Scope, i64), i128>,
    arrived: BTreeMap<u64, Sequences>,
    closed: BTreeMap<u64, Closed>,
    last_id: i64,
}

impl Audit {
    async fn begin(snapshot: &mut SqliteConnection, own: u64) -> Result<Self, Error> {
        let mut accounts = HashMap::new();
        for row in sqlx::query("SELECT id, name, balance FROM ledger_accounts").fetch_all(snapshot).await? {
            accounts.insert(row.try_get(0)?, (row.try_get(1)?, amount(row.try_get(2)?)?, 0));
        }
        let (answer, faults) = (VerifyResponse::default(), Vec::new());
        let (spend, arrived, closed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { own, answer, faults, accounts, spend, arrived, closed, last_id: 0 })
    }

    /// The events of a page; a page that lies whole in a hole of the ids (they have none, unless somebody made one) is skipped by its caller's
    /// last check in [`Audit::strays`].
    async fn page(&mut self, snapshot: &mut SqliteConnection, first: i64) -> Result<Vec<Stored>, Error> {
        const FIND: &str = "SELECT * FROM ledger_events WHERE id >= ? AND id < ? ORDER BY id";
        let rows = sqlx::query(FIND).bind(first).bind(first + PAGE).fetch_all(snapshot).await?;
        Ok(rows.iter().map(Stored::read).collect::<Result<_, _>>()?)
    }

    async fn event(&mut self, snapshot: &mut SqliteConnection, row: &Stored, postings: &[(i64, i64)]) -> Result<(), Error> {
        let name = name(row.incarnation, row.sequence);
        self.answer.events += 1;
        self.answer.postings += postings.len() as u64;
        if row.id != self.last_id + 1 {
            self.faults.push(format!("{name}: there is a hole before row {} of the events", row.id));
        }
        self.last_id = row.id;
        let (incarnation, sequence) = (row.incarnation.cast_unsigned(), row.sequence.cast_unsigned());
        self.arrived.entry(incarnation).or_default().insert(sequence);
        if content_hash(row.kind, &row.attempt, &row.payload)[..] != row.hash {
            self.faults.push(format!("{name}: the content is not the one that was booked"));
        }
        let stored = self.stored_entries(&name, postings);
        if row.kind == i32::from(Kind::Closed) {
            match Closed::decode(&row.payload[..]) {
                Ok(closed) => {
                    let known = self.closed.entry(incarnation).or_default();
                    known.last_sequence = known.last_sequence.max(closed.last_sequence);
                    known.doubt |= closed.doubt;
                }
                Err(error) => self.faults.push(format!("{name}: the payload cannot be decoded: {error}")),
            }
            self.compare_entries(&name, &stored, Some(&Entries::default()));
            return Ok(());
        }
        let event = match Event::decode(&row.payload[..]) {
            Ok(event) => event,
            Err(error) => {
                self.faults.push(format!("{name}: the payload cannot be decoded: {error}"));
                return Ok(());
            }
        };
        self.faults.extend(arithmetic(&event).into_iter().map(|fault| format!("{name}, {}: {fault}", attempt_text(&event))));
        if !event.attempt.as_ref().is_some_and(|attempt| row.agrees(&event, attempt)) {
            self.faults.push(format!("{name}: the columns of its row are not what its payload says"));
        }
        if let Some((scope, day, amount)) = spent(&event) {
            *self.spend.entry((scope, day)).or_default() += i128::from(amount);
        }
        let orphan = self.orphan_of(snapshot, row).await?;
        let expected = match &orphan {
            Some(orphan) => post_adjustment(orphan, &event),
            None => post(&event),
        };
        self.compare_entries(&name, &stored, expected.ok().as_ref());
        Ok(())
    }

    async fn orphan_of(&self, snapshot: &mut SqliteConnection, row: &Stored) -> Result<Option<Event>, Error> {
        let attempt: Option<[u8; 16]> = row.attempt[..].try_into().ok();
        match attempt {
            Some(attempt) if row.kind == i32::from(Kind::Adjusted) => {
                Ok(query::terminal(snapshot, AttemptId::from_bytes(attempt)).await?.and_then(|row| row.event))
            }
            _ => Ok(None),
        }
    }

    /// The postings of an event by the names of their accounts; adds them to the accounts' sums.
    fn stored_entries(&mut self, name: &str, postings: &[(i64, i64)]) -> Vec<(String, i64)> {
        let mut stored = Vec::with_capacity(postings.len());
        for (account, amount) in postings {
            match self.accounts.get_mut(account) {
                Some((account, _, sum)) => {
                    *sum += i128::from(*amount);
                    stored.push((account.clone(), *amount));
                }
                None => self.faults.push(format!("{name}: it is posted to account {account}, which does not exist")),
            }
        }
        stored.sort_unstable();
        stored
    }

    fn compare_entries(&mut self, name: &str, stored: &[(String, i64)], expected: Option<&Entries<'_>>) {
        let sum: i128 = stored.iter().map(|(_, amount)| i128::from(*amount)).sum();
        if sum != 0 {
            self.faults.push(format!("{name}: its entries sum to {sum}, not to zero"));
        }
        let expected = expected.map(|entries| {
            let mut expected: Vec<(String, i64)> =
                entries.as_slice().iter().map(|entry| (entry.account.to_string(), entry.amount)).collect();
            expected.sort_unstable();
            expected
        });
        match expected {
            None => self.faults.push(format!("{name}: it is not an event that can be posted")),
            Some(expected) if expected != stored => {
                self.faults.push(format!("{name}: it is posted as {stored:?}, which should be {expected:?}"))
            }
            Some(_) => {}
        }
    }

    fn balances(&mut self) {
        let mut accounts: Vec<_> = self.accounts.values().collect();
        accounts.sort_unstable();
        let total: i128 = accounts.iter().map(|(_, _, sum)| sum).sum();
        if total != 0 {
            self.faults.push(format!("all entries sum to {total}, not to zero"));
        }
        let wrong = accounts.into_iter().filter(|(_, balance, sum)| balance != sum);
        self.faults
            .extend(wrong.map(|(name, balance, sum)| format!("account {name}: the balance is {balance}, its postings sum to {sum}")));
    }

    /// Rows that the pass has not met: beyond a hole of a page's size, or postings of no event.
    async fn strays(&mut self, snapshot: &mut SqliteConnection) -> Result<(), Error> {
        let events: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_events").fetch_one(&mut *snapshot).await?;
        let postings: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_postings").fetch_one(snapshot).await?;
        for (what, all, met) in [("events", events, self.answer.events), ("postings", postings, self.answer.postings)] {
            if all.cast_unsigned() != met {
                self.faults.push(format!("there are {all} {what}, of which {met} are in their place"));
            }
        }
        Ok(())
    }

    async fn attempts(&mut self, snapshot: &mut SqliteConnection) -> Result<(), Error> {
        const COUNT: &str = "SELECT count(DISTINCT attempt) FROM ledger_events WHERE kind BETWEEN 2 AND 5";
        let attempts: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *snapshot).await?;
        self.answer.attempts = attempts.cast_unsigned();
        for (find, fault) in [
            (
                "SELECT attempt FROM ledger_events WHERE kind BETWEEN 2 AND 5 GROUP BY attempt HAVING count(*) > 1",
                "it has more than one terminal event",
            ),
            ("SELECT attempt FROM ledger_events WHERE kind = 6 GROUP BY attempt HAVING count(*) > 1", "it was adjusted more than once"),
            (
                "SELECT attempt FROM ledger_events a WHERE kind = 6 \
                 AND NOT EXISTS (SELECT 1 FROM ledger_events o WHERE o.kind = 5 AND o.kind BETWEEN 2 AND 5 AND o.attempt = a.attempt)",
                "it was adjusted and is not orphaned",
            ),
        ] {
            for row in sqlx::query(find).fetch_all(&mut *snapshot).await? {
                self.faults.push(format!("{}: {fault}", id_text(row.try_get(0)?)));
            }
        }
        Ok(())
    }

    async fn spend(&mut self, snapshot: &mut SqliteConnection) -> Result<(), Error> {
        const FIND: &str = "SELECT org, workspace, api_key, day, amount FROM ledger_key_usage";
        for row in sqlx::query(FIND).fetch_all(snapshot).await? {
            let scope = Scope { org: row.try_get(0)?, workspace: row.try_get(1)?, api_key: row.try_get(2)? };
            *self.spend.entry((scope, row.try_get(3)?)).or_default() -= amount(row.try_get(4)?)?;
        }
        let wrong = self.spend.iter().filter(|(_, rest)| **rest != 0);
        self.faults.extend(
            wrong.map(|((scope, day), rest)| format!("key {}, day {day}: {rest} of its events is not in its spend", scope.api_key)),
        );
        Ok(())
    }

    async fn sequences(&mut self, snapshot: &mut SqliteConnection) -> Result<(), Error> {
        for row in sqlx::query("SELECT incarnation, sequence FROM ledger_quarantine").fetch_all(&mut *snapshot).await? {
            let identity = (row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get::<i64, _>(1)?.cast_unsigned());
            if counts(identity, self.own) {
                self.arrived.entry(identity.0).or_default().insert(identity.1);
            }
        }
        self.answer.incarnations = self.arrived.len() as u64;
        let kept: BTreeMap<u64, _> = query::incarnations(snapshot).await?.into_iter().map(|status| (status.incarnation, status)).collect();
        for (incarnation, arrived) in &self.arrived {
            let status = kept.get(incarnation).cloned().unwrap_or_default();
            let closed = self.closed.get(incarnation).copied();
            if status.closed != closed {
                self.faults
                    .push(format!("incarnation {incarnation:016x}: its end is kept as {:?}, its events say {closed:?}", status.closed));
            }
            let last = arrived.highest().max(closed.map_or(0, |closed| closed.last_sequence));
            let missing = arrived.missing(last);
            if (status.watermark, status.highest) != (arrived.watermark(), arrived.highest())
                || (closed == status.closed && status.missing != missing)
            {
                let (kept, really) = (status.watermark, arrived.watermark());
                self.faults.push(format!("incarnation {incarnation:016x}: the sequences kept (watermark {kept}) are not those of its records (watermark {really})"));
            }
            if closed.is_some() && !missing.is_empty() {
                self.faults.push(format!(
                    "incarnation {incarnation:016x} is closed, and these sequences never arrived: {}",
                    ranges_text(&missing, 20)
                ));
            }
        }
        let strange = kept.keys().filter(|incarnation| !self.arrived.contains_key(incarnation));
        self.faults
            .extend(strange.map(|incarnation| format!("incarnation {incarnation:016x}: sequences are kept of which there is no record")));
        Ok(())
    }

    fn answer(self) -> VerifyResponse {
        VerifyResponse { faults: listed(self.faults), ..self.answer }
    }
}

/// (account, amount) by event, of the events from `first` up to `end`, which is not one of them.
async fn postings(snapshot: &mut SqliteConnection, first: i64, end: i64) -> Result<HashMap<i64, Vec<(i64, i64)>>, Error> {
    const FIND: &str = "SELECT event, account, amount FROM ledger_postings WHERE event >= ? AND event < ?";
    let mut postings: HashMap<i64, Vec<(i64, i64)>> = HashMap::new();
    for row in sqlx::query(FIND).bind(first).bind(end).fetch_all(snapshot).await? {
        postings.entry(row.try_get(0)?).or_default().push((row.try_get(1)?, row.try_get(2)?));
    }
    Ok(postings)
}

pub fn listed(mut faults: Vec<String>) -> Vec<String> {
    let all = faults.len();
    if all > LISTED {
        faults.truncate(LISTED);
        faults.push(format!("… and {} more", all - LISTED));
    }
    faults
}

pub fn name(incarnation: i64, sequence: i64) -> String {
    format!("evt-{:016x}.{sequence}", incarnation.cast_unsigned())
}

pub fn attempt_text(event: &Event) -> String {
    event.attempt.as_ref().map_or_else(String::new, |attempt| id_text(&attempt.attempt_id))
}

fn id_text(bytes: &[u8]) -> String {
    bytes.try_into().map_or_else(|_| "an attempt without id".to_owned(), |bytes| AttemptId::from_bytes(bytes).to_string())
}
