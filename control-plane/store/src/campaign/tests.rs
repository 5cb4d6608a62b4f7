//! Campaigns on tokio's own clock, which stands still until everybody waits.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::*;
use crate::contract::Answer;
use crate::{Entry, Found, Key, Listing, Outcome, Position, Range, Read, Sqlite, Transaction, Watch, keys};

/// A store of one leader key that counts on the paused clock, and that can go away.
#[derive(Default)]
struct Office {
    term: Mutex<Option<(Leadership, Entry, Instant)>>,
    elections: AtomicU64,
    closed: AtomicBool,
    silent: AtomicBool,
    /// Answers to candidates take a second.
    slow: AtomicBool,
}

impl Office {
    async fn open(&self) -> Result<(), Error> {
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.closed.load(Ordering::Relaxed) { Err(Error::Unavailable { what: "closed".to_owned() }) } else { Ok(()) }
    }

    fn holder(&self) -> Option<String> {
        let term = self.term.lock().expect("the term");
        term.as_ref().filter(|(_, _, ends)| Instant::now() < *ends).map(|(_, entry, _)| String::from_utf8_lossy(&entry.value).into_owned())
    }
}

impl Store for Office {
    fn get<'a>(&'a self, _: &'a Key) -> Answer<'a, Found> {
        unreachable!("a campaign reads nothing")
    }
    fn list<'a>(&'a self, _: &'a Read) -> Answer<'a, Listing> {
        unreachable!("a campaign lists nothing")
    }
    fn commit(&self, _: Transaction) -> Answer<'_, Outcome> {
        unreachable!("a campaign writes nothing")
    }
    fn watch(&self, _: Range, _: Position) -> Answer<'_, Watch> {
        unreachable!("a campaign watches nothing")
    }
    fn compact(&self, _: Position) -> Answer<'_, ()> {
        unreachable!("a campaign forgets nothing")
    }

    fn lead<'a>(&'a self, candidacy: &'a Candidacy) -> Answer<'a, Election> {
        Box::pin(async move {
            self.open().await?;
            if self.slow.load(Ordering::Relaxed) {
                pass(1).await;
            }
            let mut term = self.term.lock().expect("the term");
            if let Some((_, entry, ends)) = &*term
                && Instant::now() < *ends
            {
                return Ok(Election::Held(entry.clone()));
            }
            let created = Position(self.elections.fetch_add(1, Ordering::Relaxed) + 1);
            let leadership = Leadership { key: candidacy.key.clone(), created, ttl: candidacy.ttl };
            let entry = Entry { key: candidacy.key.clone(), value: candidacy.holder.clone(), created, modified: created, version: 1 };
            *term = Some((leadership.clone(), entry, Instant::now() + candidacy.ttl));
            Ok(Election::Won(leadership))
        })
    }

    fn renew<'a>(&'a self, leadership: &'a Leadership) -> Answer<'a, ()> {
        Box::pin(async move {
            self.open().await?;
            match &mut *self.term.lock().expect("the term") {
                Some((held, _, ends)) if held == leadership && Instant::now() < *ends => {
                    *ends = Instant::now() + leadership.ttl;
                    Ok(())
                }
                _ => Err(Error::LeadershipLost { key: leadership.key.clone() }),
            }
        })
    }

    fn resign(&self, leadership: Leadership) -> Answer<'_, ()> {
        Box::pin(async move {
            self.open().await?;
            self.term.lock().expect("the term").take_if(|(held, ..)| *held == leadership);
            Ok(())
        })
    }
}

fn candidacy(holder: &'static str) -> Candidacy {
    Candidacy { key: keys::leader("job", 0), holder: holder.into(), ttl: JOB_TTL }
}

/// Who works at this moment. Two at once is the failure that these tests look for.
#[derive(Clone, Default)]
struct Workplace(Arc<Mutex<Vec<(&'static str, Leadership)>>>, Arc<Mutex<Vec<&'static str>>>);

struct AtWork(Workplace, &'static str);

impl Workplace {
    fn enter(&self, name: &'static str, leadership: Leadership) -> AtWork {
        let mut present = self.0.lock().expect("the workplace");
        assert!(present.is_empty(), "{name} meets {present:?}");
        present.push((name, leadership));
        self.1.lock().expect("the book").push(name);
        AtWork(self.clone(), name)
    }

    fn present(&self) -> Vec<&'static str> {
        self.0.lock().expect("the workplace").iter().map(|(name, _)| *name).collect()
    }

    fn came(&self) -> Vec<&'static str> {
        self.1.lock().expect("the book").clone()
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.0.lock().expect("the workplace").retain(|(name, _)| *name != self.1);
    }
}

fn stand(office: &Arc<Office>, workplace: &Workplace, name: &'static str) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let (store, workplace) = (Arc::clone(office) as Arc<dyn Store>, workplace.clone());
    let work = move |leadership| {
        let at_work = workplace.enter(name, leadership);
        async move {
            std::future::pending::<()>().await;
            drop(at_work);
        }
    };
    let campaign = campaign_until(store, candidacy(name), work, async move {
        drop(stopped.await);
    });
    (stop, tokio::spawn(campaign))
}

async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn one_works_at_a_time_and_keeps_the_job_for_an_hour() {
    let (office, workplace) = (Arc::new(Office::default()), Workplace::default());
    let _first = stand(&office, &workplace, "first");
    pass(1).await;
    let _second = stand(&office, &workplace, "second");
    for _ in 0..360 {
        pass(10).await;
        assert_eq!(workplace.present(), ["first"]);
    }
    assert_eq!(office.elections.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_stop_makes_room_at_once() {
    let (office, workplace) = (Arc::new(Office::default()), Workplace::default());
    let (stop, first) = stand(&office, &workplace, "first");
    pass(1).await;
    let _second = stand(&office, &workplace, "second");
    pass(30).await;
    stop.send(()).expect("the first listens");
    first.await.expect("the first ends");
    assert_eq!(office.holder(), None);
    pass(4).await;
    assert_eq!(workplace.present(), ["second"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_stop_while_an_election_is_on_does_not_keep_what_it_wins() {
    let (office, workplace) = (Arc::new(Office::default()), Workplace::default());
    office.slow.store(true, Ordering::Relaxed);
    let (stop, first) = stand(&office, &workplace, "first");
    sleep(Duration::from_millis(500)).await;
    stop.send(()).expect("the first listens");
    first.await.expect("the first ends");
    assert_eq!((office.elections.load(Ordering::Relaxed), office.holder()), (1, None));
    assert_eq!(workplace.came(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn work_stops_before_another_can_begin_whether_the_store_answers_or_not() {
    for (silent, closed) in [(true, false), (false, true)] {
        let (office, workplace) = (Arc::new(Office::default()), Workplace::default());
        let _first = stand(&office, &workplace, "first");
        pass(25).await;
        office.silent.store(silent, Ordering::Relaxed);
        office.closed.store(closed, Ordering::Relaxed);
        // The office's own count ends the term; the work must have been dropped by then.
        while office.holder().is_some() {
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(workplace.present(), [""; 0], "silent {silent} closed {closed}");
        office.silent.store(false, Ordering::Relaxed);
        office.closed.store(false, Ordering::Relaxed);
        let _second = stand(&office, &workplace, "second");
        pass(60).await;
        // An election that hangs in the silence is not repeated by the first: the second has come.
        assert_eq!(workplace.present().len(), 1);
        assert_eq!(office.elections.load(Ordering::Relaxed), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_less_than_the_term_costs_no_leadership() {
    let (office, workplace) = (Arc::new(Office::default()), Workplace::default());
    let _first = stand(&office, &workplace, "first");
    pass(1).await;
    let _second = stand(&office, &workplace, "second");
    for _ in 0..50 {
        office.closed.store(true, Ordering::Relaxed);
        pass(6).await;
        office.closed.store(false, Ordering::Relaxed);
        pass(14).await;
    }
    assert_eq!(workplace.came(), ["first"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_taken_away_ends_the_work_at_the_next_renewal() {
    let (office, workplace) = (Arc::new(Office::default()), Workplace::default());
    let _first = stand(&office, &workplace, "first");
    pass(20).await;
    office.term.lock().expect("the term").take();
    // At most a third of the time to live until the next renewal, and as much again before standing anew.
    pass(7).await;
    assert_eq!((workplace.came(), workplace.present()), (vec!["first", "first"], vec!["first"]));
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_is_begun_again_in_a_term_of_its_own() {
    let office = Arc::new(Office::default());
    let terms = Arc::new(Mutex::new(Vec::new()));
    let work = {
        let terms = Arc::clone(&terms);
        move |leadership: Leadership| {
            terms.lock().expect("the terms").push(leadership.created);
            sleep(Duration::from_secs(5))
        }
    };
    let standing = tokio::spawn(campaign(Arc::clone(&office) as Arc<dyn Store>, candidacy("only"), work));
    pass(60).await;
    standing.abort();
    let terms = terms.lock().expect("the terms").clone();
    assert!((6..=9).contains(&terms.len()) && terms.is_sorted_by(|a, b| a < b), "{terms:?}");
}

#[tokio::test]
async fn on_a_file_the_leader_writes_under_its_fence_and_the_next_takes_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(crate::MonotonicClock::start());
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&folder.path().join("store.db"), clock).await.expect("a store"));
    let mut terms = Vec::new();
    for holder in ["first", "second"] {
        let (told, mut tells) = tokio::sync::mpsc::channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let work = |leadership: Leadership| {
            let (store, told) = (Arc::clone(&store), told.clone());
            async move {
                let write = Transaction {
                    compares: vec![leadership.fence()],
                    then: vec![crate::Operation::Put(keys::health("e"), holder.into())],
                    ..Transaction::default()
                };
                assert!(store.commit(write).await.expect("a commit").succeeded);
                told.send(leadership).await.expect("the test listens");
                std::future::pending().await
            }
        };
        let standing = campaign_until(Arc::clone(&store), candidacy(holder), work, async { drop(stopped.await) });
        let watching = async {
            let leadership = tells.recv().await.expect("a leader");
            let held = store.get(&keys::health("e")).await.expect("a read").entry.expect("what was written");
            assert_eq!(held.value, bytes::Bytes::from(holder));
            stop.send(()).expect("the campaign listens");
            leadership
        };
        terms.push(tokio::join!(standing, watching).1);
    }
    assert!(terms[0].created < terms[1].created, "{terms:?}");
    let late = Transaction { compares: vec![terms[0].fence()], ..Transaction::default() };
    assert!(!store.commit(late).await.expect("a commit").succeeded);
}
