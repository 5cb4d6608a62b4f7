//! Leadership: one at a time, as long as it is renewed, and never after.

use std::time::Duration;

use bytes::Bytes;

use super::{Subject, batches_until, guarded, key, put};
use crate::{Candidacy, Election, Error, Event, Leadership, Range, keys};

const TTL: Duration = Duration::from_secs(3);

/// Longer than a time to live, with room for a store that looks at its clock now and then.
const LONG: Duration = Duration::from_secs(6);

fn candidacy(holder: &'static str) -> Candidacy {
    Candidacy { key: keys::leader("job", 0), holder: Bytes::from(holder), ttl: TTL }
}

async fn win(subject: &Subject, holder: &'static str) -> Leadership {
    match subject.store.lead(&candidacy(holder)).await.expect("an election") {
        Election::Won(leadership) => leadership,
        Election::Held(entry) => panic!("{holder} lost to {entry:?}"),
    }
}

async fn lose(subject: &Subject, holder: &'static str, to: &'static str) {
    match subject.store.lead(&candidacy(holder)).await.expect("an election") {
        Election::Held(entry) => assert_eq!(entry.value, Bytes::from(to)),
        Election::Won(leadership) => panic!("{holder} won {leadership:?} from {to}"),
    }
}

async fn lost<T: std::fmt::Debug>(answer: Result<T, Error>) {
    match answer {
        Err(Error::LeadershipLost { key }) => assert_eq!(key, keys::leader("job", 0)),
        other => panic!("{other:?}"),
    }
}

/// The second candidate gets the job when the first does not renew, and all can see it.
pub async fn one_leads_until_its_time_is_up(subject: Subject) {
    let start = subject.now().await;
    let mut watch = subject.watch(Range::one(&keys::leader("job", 0)), start).await;
    let first = win(&subject, "first").await;
    lose(&subject, "second", "first").await;
    lose(&subject, "first", "first").await;
    // Another job, and another shard of the same, are contests of their own.
    for other in [keys::leader("job", 1), keys::leader("other", 0)] {
        let won = subject.store.lead(&Candidacy { key: other, ..candidacy("second") }).await.expect("an election");
        assert!(matches!(won, Election::Won(_)), "{won:?}");
    }
    subject.time.pass(LONG).await;
    let second = win(&subject, "second").await;
    assert!(second.created > first.created);
    lost(subject.store.renew(&first).await).await;
    subject.store.renew(&second).await.expect("the second's renewal");
    let events: Vec<Event> = batches_until(&mut watch, second.created).await.into_iter().flat_map(|batch| batch.events).collect();
    let values: Vec<Option<&[u8]>> = events.iter().map(|event| event.value().map(|value| &value[..])).collect();
    assert_eq!(values, [Some(&b"first"[..]), None, Some(&b"second"[..])]);
}

/// Renewed every second, a term of three seconds lasts.
pub async fn renewing_keeps_the_job(subject: Subject) {
    let leader = win(&subject, "leader").await;
    for _ in 0..8 {
        subject.time.pass(Duration::from_secs(1)).await;
        subject.store.renew(&leader).await.expect("a renewal");
        lose(&subject, "rival", "leader").await;
    }
    let outcome = subject.commit(guarded(vec![leader.fence()], vec![put("k", "by the leader")])).await;
    assert!(outcome.succeeded);
}

/// Giving up makes room at once; doing so late does not hurt the next.
pub async fn who_resigns_makes_room(subject: Subject) {
    let first = win(&subject, "first").await;
    subject.store.resign(first.clone()).await.expect("a resignation");
    let second = win(&subject, "second").await;
    subject.store.resign(first.clone()).await.expect("a second resignation");
    lost(subject.store.renew(&first).await).await;
    lose(&subject, "third", "second").await;
    subject.store.renew(&second).await.expect("a renewal");
}

/// The fence holds from the moment the time is up, whether or not there is a successor.
pub async fn a_former_leader_cannot_write(subject: Subject) {
    let first = win(&subject, "first").await;
    let write = |leader: &Leadership, value: &'static str| guarded(vec![leader.fence()], vec![put("k", value)]);
    assert!(subject.commit(write(&first, "in office")).await.succeeded);
    subject.time.pass(LONG).await;
    lost(subject.store.renew(&first).await).await;
    assert!(!subject.commit(write(&first, "out of office")).await.succeeded);
    let second = win(&subject, "second").await;
    assert!(!subject.commit(write(&first, "replaced")).await.succeeded);
    assert!(subject.commit(write(&second, "successor")).await.succeeded);
    let entry = subject.store.get(&key("k")).await.expect("a read").entry.expect("k");
    assert_eq!(entry.value, Bytes::from("successor"));
}
