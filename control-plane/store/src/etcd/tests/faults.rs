//! Servers that die, freeze, fill up, forget us or never knew us.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use tokio_stream::StreamExt;

use super::connect;
use super::servers::{Authority, FAST, Servers, program};
use crate::conformance::{CASES, Making, cluster, random};
use crate::contract::Answer;
use crate::{
    Candidacy, Compare, Election, Entry, Error, Etcd, EtcdCondition, EtcdSettings, EtcdUser, Found, Key, Leadership, Listing, Operation,
    Outcome, Position, Range, Read, Store, Transaction, Update, Watch, keys,
};

/// Far beyond an election, for a machine that does much else.
const SOON: Duration = Duration::from_secs(20);

fn put(key: Key, value: impl Into<bytes::Bytes>) -> Transaction {
    Transaction { then: vec![Operation::Put(key, value.into())], ..Transaction::default() }
}

/// Adds one to a counter, if it is still as it was read.
fn step(entry: &Entry) -> Transaction {
    let count: u64 = std::str::from_utf8(&entry.value).expect("text").parse().expect("a number");
    Transaction { compares: vec![Compare::unchanged(entry.key.clone(), entry.modified)], ..put(entry.key.clone(), (count + 1).to_string()) }
}

async fn counter(store: &Etcd) -> Entry {
    let deadline = Instant::now() + SOON;
    loop {
        match store.get(&keys::head()).await {
            Ok(found) => return found.entry.expect("the counter"),
            Err(error) => assert!(error.may_retry() && Instant::now() < deadline, "{error}"),
        }
    }
}

/// What came of counting through a fault.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) landed: u64,
    pub(super) unknown: u64,
    pub(super) longest: Duration,
}

/// Counts until `enough` commits in a row have landed, or a minute has passed.
pub(super) async fn count_on(store: &Etcd, enough: u64) -> Counted {
    let mut counted = Counted::default();
    let (mut row, mut last) = (0, Instant::now());
    let begun = Instant::now();
    let mut held = counter(store).await;
    while row < enough {
        assert!(begun.elapsed() < Duration::from_secs(60), "only {row} commits in a row");
        match store.commit(step(&held)).await {
            Ok(outcome) => {
                assert!(outcome.succeeded, "nobody else counts");
                counted.longest = counted.longest.max(last.elapsed());
                (row, last) = (row + 1, Instant::now());
                counted.landed += 1;
            }
            Err(Error::Unavailable { .. }) => {
                row = 0;
                counted.unknown += 1;
            }
            Err(other) => panic!("{other}"),
        }
        held = counter(store).await;
    }
    counted
}

#[tokio::test]
async fn a_leader_that_is_killed_costs_an_election_and_nothing_else() {
    let Some(program) = program() else { return };
    let mut servers = Servers::start(program, 3, None, &[FAST]);
    let store = connect(servers.settings()).await;
    store.commit(put(keys::head(), "0")).await.expect("a commit");
    let (mut landed, mut unknown) = (0, 0);
    for _ in 0..2 {
        let leader = servers.leader().await;
        servers.kill(leader);
        // A hundred in a row: no fraction of the calls goes on asking the dead.
        let counted = count_on(&store, 100).await;
        assert!(counted.longest < SOON, "{:?} without a write", counted.longest);
        (landed, unknown) = (landed + counted.landed, unknown + counted.unknown);
        servers.run(leader);
    }
    let count: u64 = String::from_utf8_lossy(&counter(&store).await.value).parse().expect("a number");
    assert!((landed..=landed + unknown).contains(&count), "counted {count}, landed {landed}, perhaps {unknown}");
}

#[tokio::test]
async fn without_a_quorum_calls_fail_by_name_and_quickly_and_go_on_afterwards() {
    let Some(program) = program() else { return };
    let mut servers = Servers::start(program, 3, None, &[FAST]);
    let settings = servers.settings();
    let call = settings.timing.call;
    let store = connect(settings).await;
    store.commit(put(keys::head(), "0")).await.expect("a commit");
    servers.kill(0);
    servers.kill(1);
    tokio::time::sleep(call).await;
    for round in 0..3 {
        let begun = Instant::now();
        for refused in [store.commit(put(keys::head(), "1")).await.map(drop), store.get(&keys::head()).await.map(drop)] {
            let error = refused.expect_err("a refusal");
            assert!(matches!(&error, Error::Unavailable { what } if what.contains("no leader")), "{error}");
        }
        // Two calls: within their deadline when it is new, at once when it is known.
        let patience = if round == 0 { call * 3 } else { call };
        assert!(begun.elapsed() < patience, "round {round}: {:?}", begun.elapsed());
    }
    let ill = store.servers().iter().filter(|(_, condition)| matches!(condition, EtcdCondition::Ill { .. })).count();
    assert_eq!(ill, 3, "{:?}", store.servers());
    servers.run(0);
    count_on(&store, 20).await;
}

#[tokio::test]
async fn a_watch_at_a_server_that_freezes_ends_with_a_reason_and_a_read_goes_elsewhere() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program, 3, None, &[FAST]);
    let mut settings = servers.settings();
    // The first server only, so that the watch is surely there; a second store sees them all.
    let all = connect(settings.clone()).await;
    settings.endpoints.truncate(1);
    settings.timing.progress = Duration::from_millis(200);
    settings.timing.silence = Duration::from_secs(2);
    let store = connect(settings).await;
    let start = store.commit(put(keys::head(), "0")).await.expect("a commit").position;
    let mut watch = store.watch(keys::config(), start).await.expect("a watch");
    assert!(matches!(watch.next().await, Some(Ok(Update::Progress(reached))) if reached >= start));
    // A watch with nothing to tell lives on beyond the silence that would end it.
    assert!(tokio::time::timeout(Duration::from_secs(4), watch.next()).await.is_err(), "nothing happens");
    servers.freeze(0, true);
    let error = tokio::time::timeout(SOON, watch.next()).await.expect("an end").expect("a reason").expect_err("an error");
    assert!(matches!(&error, Error::Unavailable { what } if what.contains("says nothing")), "{error}");
    assert!(watch.next().await.is_none());
    for round in 0..20 {
        let read = tokio::time::timeout(SOON, all.get(&keys::head())).await.expect("in time");
        read.unwrap_or_else(|error| panic!("{round}: {error}"));
    }
    servers.freeze(0, false);
    count_on(&store, 3).await;
}

#[tokio::test]
async fn a_store_that_is_full_says_so_and_still_reads() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program, 1, None, &[FAST, "--quota-backend-bytes", "8388608"]);
    let store = connect(servers.settings()).await;
    let large = bytes::Bytes::from(vec![1_u8; 1_000_000]);
    let mut refused = None;
    for n in 0..40 {
        if let Err(error) = store.commit(put(keys::log(n), large.clone())).await {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    assert!(matches!(&refused, Error::Full { what } if what.contains("NOSPACE")) && !refused.may_retry(), "{refused:?}");
    assert!(store.get(&keys::log(0)).await.expect("a read").entry.is_some());
}

/// Makes users `root`, `waybill` (whose role may do all under `/wb/`) and `nobody` (who may do
/// nothing), and turns authentication on.
async fn set_up_users(settings: &EtcdSettings) {
    let mut options = ConnectOptions::new();
    if let Some(tls) = &settings.tls {
        let (certificate, key) = tls.identity.clone().expect("an identity");
        let config = etcd_client::TlsOptions::new()
            .ca_certificate(etcd_client::Certificate::from_pem(&tls.ca))
            .identity(etcd_client::Identity::from_pem(certificate, key));
        options = options.with_tls(config);
    }
    let mut client = Client::connect([&settings.endpoints[0]], Some(options)).await.expect("a client");
    client.role_add("root").await.expect("a role");
    client.role_add("waybill").await.expect("a role");
    let permission = Permission::new(PermissionType::Readwrite, "/wb/").with_prefix();
    client.role_grant_permission("waybill", permission).await.expect("a permission");
    for (user, role) in [("root", Some("root")), ("waybill", Some("waybill")), ("nobody", None)] {
        client.user_add(user, "secret", None).await.expect("a user");
        if let Some(role) = role {
            client.user_grant_role(user, role).await.expect("a role");
        }
    }
    client.auth_enable().await.expect("authentication");
}

fn user(name: &str, password: &str) -> Option<EtcdUser> {
    Some(EtcdUser { name: name.to_owned(), password: password.to_owned() })
}

/// Connecting may find the servers not ready; only what is final counts.
async fn refusal(settings: EtcdSettings) -> Error {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match Etcd::connect(settings.clone()).await {
            Err(error) if error.may_retry() && Instant::now() < deadline => {}
            Err(error) => return error,
            Ok(_) => panic!("it was let in"),
        }
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program.clone(), 1, Some(Authority::new("ours")), &[FAST]);
    let root = servers.settings();
    connect(root.clone()).await;
    set_up_users(&root).await;
    let with = |identity: Option<(Vec<u8>, Vec<u8>)>, user: Option<EtcdUser>| EtcdSettings {
        tls: Some(servers.authority().tls(identity)),
        user,
        ..root.clone()
    };
    let signed = |name: &str| Some(servers.authority().signs(name, &[]));
    let plain = EtcdSettings { tls: None, ..root.clone() };
    let stranger = Authority::new("theirs");
    let rows = [
        ("no certificate", with(None, None), "client certificate"),
        ("a certificate of another authority", with(Some(stranger.signs("waybill", &[])), None), "does not accept our certificate"),
        (
            "a server of another authority",
            EtcdSettings { tls: Some(stranger.tls(signed("waybill"))), ..root.clone() },
            "not signed by the authority",
        ),
        ("a wrong password", with(signed("waybill"), user("waybill", "wrong")), "user and password"),
        ("a user without rights", with(signed("nobody"), None), "/wb/"),
        ("another user than the certificate's, without rights", with(signed("waybill"), user("nobody", "secret")), "/wb/"),
    ];
    for (what, settings, expected) in rows {
        let error = refusal(settings).await;
        assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains(expected), "{what}: {error}");
    }
    // Speaking in the clear to TLS, or TLS in the clear, looks like a server that dies: the reason says what to look at.
    let error = Etcd::connect(plain).await.err().expect("a refusal");
    assert!(error.to_string().contains(&root.endpoints[0]), "{error}");

    // Who is let in is held to its prefix.
    let store = connect(with(signed("waybill"), None)).await;
    store.commit(put(keys::head(), "1")).await.expect("a commit");
    let elsewhere = put(Key::from_bytes("/other"), "1");
    let error = store.commit(elsewhere).await.expect_err("a refusal");
    assert!(matches!(&error, Error::Refused { what } if what.contains("/wb/")), "{error}");
    let whole = Range::prefix(&b"/"[..]);
    for refused in [store.list(&Read::now(whole.clone())).await.map(drop), store.watch(whole, crate::Position(1)).await.map(drop)] {
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    }

    let without_tls = Servers::start(program, 1, None, &[FAST]);
    connect(without_tls.settings()).await;
    let settings = EtcdSettings { tls: Some(stranger.tls(None)), ..without_tls.settings() };
    let error = Etcd::connect(settings).await.err().expect("a refusal");
    assert!(error.to_string().contains("does it speak TLS?"), "{error}");
    let error = refusal(EtcdSettings { user: user("waybill", "secret"), ..without_tls.settings() }).await;
    assert!(matches!(&error, Error::Refused { what } if what.contains("authentication is off")), "{error}");
}

#[tokio::test]
async fn a_server_that_has_forgotten_our_login_is_logged_in_to_again() {
    let Some(program) = program() else { return };
    let mut servers = Servers::start(program, 1, None, &[FAST]);
    connect(servers.settings()).await;
    set_up_users(&servers.settings()).await;
    let store = connect(EtcdSettings { user: user("waybill", "secret"), ..servers.settings() }).await;
    store.commit(put(keys::head(), "0")).await.expect("a commit");
    for _ in 0..2 {
        // Tokens live in a server's memory.
        servers.kill(0);
        servers.run(0);
        count_on(&store, 3).await;
        let now = counter(&store).await.modified;
        let mut watch = store.watch(keys::config(), now).await.expect("a watch");
        assert!(matches!(watch.next().await, Some(Ok(Update::Progress(_)))));
    }
}

/// A store as the limited user has it. etcd lets nobody but root compact, so that is root's here.
struct Limited {
    store: Etcd,
    root: Etcd,
}

impl Store for Limited {
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Found> {
        self.store.get(key)
    }
    fn list<'a>(&'a self, read: &'a Read) -> Answer<'a, Listing> {
        self.store.list(read)
    }
    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        self.store.commit(transaction)
    }
    fn watch(&self, range: Range, after: Position) -> Answer<'_, Watch> {
        self.store.watch(range, after)
    }
    fn compact(&self, at: Position) -> Answer<'_, ()> {
        Box::pin(async move {
            let refused = self.store.compact(at).await.expect_err("a refusal");
            assert!(matches!(&refused, Error::Refused { what } if what.contains("auto-compaction")), "{refused}");
            self.root.compact(at).await
        })
    }
    fn lead<'a>(&'a self, candidacy: &'a Candidacy) -> Answer<'a, Election> {
        self.store.lead(candidacy)
    }
    fn renew<'a>(&'a self, leadership: &'a Leadership) -> Answer<'a, ()> {
        self.store.renew(leadership)
    }
    fn resign(&self, leadership: Leadership) -> Answer<'_, ()> {
        self.store.resign(leadership)
    }
}

/// The way the product is run: three servers, TLS, a user with rights to its prefix only.
#[test]
fn the_suite_passes_on_three_servers_with_tls_and_a_limited_user() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program, 3, Some(Authority::new("ours")), &[FAST]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let root = servers.settings();
    let limited = EtcdSettings { tls: Some(servers.authority().tls(Some(servers.authority().signs("waybill", &[])))), ..root.clone() };
    runtime.block_on(async {
        connect(root.clone()).await;
        set_up_users(&root).await;
    });
    let make = move || -> Making {
        let (limited, root) = (limited.clone(), root.clone());
        Box::pin(async {
            let store = Limited { store: connect(limited).await, root: connect(root).await };
            cluster::emptied(Arc::new(store), ()).await
        })
    };
    for (name, case) in CASES {
        println!("{name}");
        runtime.block_on(async { case(make().await).await });
    }
    random::histories(make, 3);
}
