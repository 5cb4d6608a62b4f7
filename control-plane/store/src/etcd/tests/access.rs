//! Who is let in, who is not and is told why, and who is forgotten.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use tokio_stream::StreamExt;

use super::faults::{count_on, counter};
use super::servers::{Authority, FAST, Servers, program};
use super::{connect, put};
use crate::conformance::{CASES, Making, cluster, random};
use crate::contract::Answer;
use crate::{
    Candidacy, Election, Error, Etcd, EtcdSettings, EtcdUser, Found, Key, Leadership, Listing, Outcome, Position, Range, Read, Store,
    Transaction, Update, Watch, keys,
};

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

#[tokio::test]
async fn certificates_are_exchanged_while_it_runs_and_a_bad_one_changes_nothing() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program, 1, Some(Authority::new("ours")), &[FAST]);
    let store = connect(servers.settings()).await;
    let (ours, theirs) = (servers.authority(), Authority::new("theirs"));
    let start = store.commit(put(keys::head(), "0")).await.expect("a commit").position;
    let mut watch = store.watch(keys::config(), start).await.expect("a watch");
    store.use_tls(&ours.tls(Some(ours.signs("root", &[])))).await.expect("new certificates");
    store.commit(put(keys::head(), "1")).await.expect("a commit");
    let bad = store.use_tls(&ours.tls(Some((b"no PEM".to_vec(), b"no PEM".to_vec())))).await.expect_err("a refusal");
    assert!(matches!(bad, Error::Misconfigured { .. }), "{bad}");
    store.commit(put(keys::head(), "2")).await.expect("a commit");
    // Calls do take what they are given.
    store.use_tls(&theirs.tls(None)).await.expect("certificates of another authority");
    let refused = store.get(&keys::head()).await.expect_err("a refusal");
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    store.use_tls(&ours.tls(Some(ours.signs("root", &[])))).await.expect("new certificates");
    store.commit(put(keys::head(), "3")).await.expect("a commit");
    let mut seen = 0;
    while seen < 3 {
        let update = tokio::time::timeout(Duration::from_secs(30), watch.next()).await.expect("in time").expect("an update");
        seen += usize::from(matches!(update.expect("the watch lives on"), Update::Batch(_)));
    }
}

#[tokio::test]
async fn certificates_are_followed_and_what_is_of_no_use_is_not_taken() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program, 1, Some(Authority::new("ours")), &[FAST]);
    let settings = servers.settings();
    let good = settings.tls.clone().expect("certificates");
    let store = connect(settings).await;
    store.commit(put(keys::head(), "0")).await.expect("a commit");
    let (ours, theirs) = (servers.authority(), Authority::new("theirs"));
    let files = Arc::new(Mutex::new(Ok(good.clone())));
    let lying = Arc::clone(&files);
    store.follow_tls(good, Duration::from_millis(20), move || lying.lock().expect("a lock").clone());
    // What lies there, and whether calls do well a while later. Another authority's are taken, which shows that anything is.
    let rows = [
        (Err("the file is gone".to_owned()), true),
        (Ok(ours.tls(Some((b"no PEM".to_vec(), b"no PEM".to_vec())))), true),
        (Ok(theirs.tls(None)), false),
        (Ok(ours.tls(Some(ours.signs("root", &[])))), true),
    ];
    for (number, (found, well)) in rows.into_iter().enumerate() {
        *files.lock().expect("a lock") = found;
        if number < 2 {
            // Nothing is to happen, so it is waited for.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let begun = std::time::Instant::now();
        while store.get(&keys::head()).await.is_ok() != well {
            assert!(begun.elapsed() < Duration::from_secs(20), "row {number}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // The last clone ends it.
    drop(store);
    let begun = std::time::Instant::now();
    while Arc::strong_count(&files) > 1 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
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
