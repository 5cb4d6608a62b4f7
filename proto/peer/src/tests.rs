use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_stream::StreamExt;

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, PEM.
fn certificate(authority: &Authority, uris: &[&str], years: (i32, i32)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

const VALID: (i32, i32) = (2020, 2120);

fn write(folder: &Path, ca: &str, (cert, key): &(String, String)) -> Files {
    let files = Files { ca: folder.join("ca.pem"), cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    for (path, text) in [(&files.ca, ca), (&files.cert, cert), (&files.key, key)] {
        fs::write(path, text).unwrap();
    }
    files
}

fn credentials(authority: &Authority, uri: &str, role: Role) -> (TempDir, Credentials) {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), &authority.pem(), &certificate(authority, &[uri], VALID));
    let credentials = Credentials::load(files, role).unwrap();
    (folder, credentials)
}

/// Serves: says to each peer who it is.
async fn serve(server: PeerServer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut connections = server.accept(listener).unwrap();
    tokio::spawn(async move {
        while let Some(connection) = connections.next().await {
            let mut connection = connection.unwrap();
            tokio::spawn(async move {
                let peer = connection.peer().to_string();
                connection.write_all(peer.as_bytes()).await.unwrap_or_default();
                connection.shutdown().await.unwrap_or_default();
            });
        }
    });
    address
}

/// Whom the server takes us for. In TLS 1.3 a client learns with the first answer that it was refused.
async fn ask(client: &PeerClient, address: &str) -> Result<String, String> {
    let mut connection = client.connect(address).await.map_err(|error| chain(&error))?;
    let mut said = String::new();
    connection.read_to_string(&mut said).await.map_err(|error| error.to_string())?;
    if said.is_empty() { Err("closed".to_owned()) } else { Ok(said) }
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let authority = authority();
    let (_server_folder, control) = credentials(&authority, "spiffe://waybill/control/c-1", Role::Control);
    let (_client_folder, proxy) = credentials(&authority, "spiffe://waybill/proxy/p-1", Role::Proxy);
    let address = serve(PeerServer::new(control)).await;
    let client = PeerClient::new(proxy, Role::Control);
    assert_eq!(ask(&client, &address).await.unwrap(), "proxy/p-1");
    let connection = client.connect(&address).await.unwrap();
    assert_eq!(*connection.peer(), Peer::Known(Identity::new(Role::Control, "c-1")));
    assert!(connection.peer().has(Role::Control) && !connection.peer().has(Role::Proxy));
    assert!(connection.peer().may_be("c-1") && !connection.peer().may_be("c-2"));
}

#[tokio::test]
async fn whoever_does_not_show_who_it_is_gets_nowhere() {
    let (ours, theirs) = (authority(), authority());
    let (_server_folder, control) = credentials(&ours, "spiffe://waybill/control/c-1", Role::Control);
    let address = serve(PeerServer::new(control)).await;
    // The server's authority is not the client's, and the other way round.
    let (_folder, stranger) = credentials(&theirs, "spiffe://waybill/proxy/p-1", Role::Proxy);
    let refusal = ask(&PeerClient::new(stranger, Role::Control), &address).await.unwrap_err();
    assert!(refusal.contains("invalid peer certificate"), "{refusal}");
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), &ours.pem(), &certificate(&theirs, &["spiffe://waybill/proxy/p-1"], VALID));
    let forged = Credentials::load(files, Role::Proxy).unwrap();
    ask(&PeerClient::new(forged, Role::Control), &address).await.unwrap_err();
    // A proxy that poses as the control plane.
    let (_proxy_folder, proxy) = credentials(&ours, "spiffe://waybill/proxy/p-1", Role::Proxy);
    let posing = serve(PeerServer::new(proxy.clone())).await;
    let refusal = ask(&PeerClient::new(proxy.clone(), Role::Control), &posing).await.unwrap_err();
    assert!(refusal.contains("proxy/p-1, and not of the role control"), "{refusal}");
    // No certificate at all.
    ask(&PeerClient::insecure(Role::Control), &address).await.unwrap_err();
    // A peer without certificates where they are wanted from the server.
    let open = serve(PeerServer::insecure()).await;
    ask(&PeerClient::new(proxy.clone(), Role::Control), &open).await.unwrap_err();
    // And one who does: the server is still there.
    assert_eq!(ask(&PeerClient::new(proxy, Role::Control), &address).await.unwrap(), "proxy/p-1");
}

#[tokio::test]
async fn without_certificates_only_loopback_is_served_and_asked() {
    let address = serve(PeerServer::insecure()).await;
    assert_eq!(ask(&PeerClient::insecure(Role::Control), &address).await.unwrap(), "a peer without a certificate");
    let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    assert!(matches!(PeerServer::insecure().accept(everywhere), Err(ListenError::NotLoopback(_))));
}

#[test]
fn files_of_no_use_are_refused_by_name() {
    let (ours, folder) = (authority(), tempfile::tempdir().unwrap());
    let ca = ours.pem();
    let good = certificate(&ours, &["spiffe://waybill/proxy/p-1"], VALID);
    let other = certificate(&ours, &["spiffe://waybill/proxy/p-1"], VALID);
    let nameless = certificate(&ours, &[], VALID);
    let control = certificate(&ours, &["spiffe://waybill/control/c-1"], VALID);
    let (expired, early) = (
        certificate(&ours, &["spiffe://waybill/proxy/p-1"], (2020, 2021)),
        certificate(&ours, &["spiffe://waybill/proxy/p-1"], (2119, 2120)),
    );
    let pair = |cert: &(String, String), key: &(String, String)| (cert.0.clone(), key.1.clone());
    let rows = [
        (String::new(), good.clone(), "ca.pem holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), good.clone(), "ca.pem"),
        (ca.clone(), (String::new(), good.1.clone()), "cert.pem holds no certificate"),
        (ca.clone(), (good.0.clone(), "x".to_owned()), "key.pem holds no private key"),
        (ca.clone(), pair(&good, &other), "key.pem"),
        (ca.clone(), nameless, "cert.pem: it has no URI spiffe://waybill/"),
        (ca.clone(), control, "is for the role control; this process needs one for proxy"),
        (ca.clone(), expired, "is expired"),
        (ca.clone(), early, "is not valid yet"),
    ];
    for (ca, pair, expected) in rows {
        let files = write(folder.path(), &ca, &pair);
        let error = Credentials::load(files, Role::Proxy).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not say {expected}");
    }
    let mut files = write(folder.path(), &ca, &good);
    assert!(Credentials::load(files.clone(), Role::Proxy).unwrap().expires_unix_s() > 4_000_000_000);
    files.key = folder.path().join("absent.pem");
    let error = Credentials::load(files, Role::Proxy).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("absent.pem"), "{error}");
}

#[test]
fn a_bad_new_file_keeps_the_old_one_and_a_good_one_replaces_it() {
    let (ours, folder) = (authority(), tempfile::tempdir().unwrap());
    let first = certificate(&ours, &["spiffe://waybill/proxy/p-1"], VALID);
    let files = write(folder.path(), &ours.pem(), &first);
    let credentials = Credentials::load(files.clone(), Role::Proxy).unwrap();
    assert_eq!(credentials.reload().unwrap(), Reloaded::Unchanged);
    // Half of a change: the certificate is new, its key is not there yet.
    let second = certificate(&ours, &["spiffe://waybill/proxy/p-2"], VALID);
    fs::write(&files.cert, &second.0).unwrap();
    credentials.reload().unwrap_err();
    fs::remove_file(&files.key).unwrap();
    credentials.reload().unwrap_err();
    assert_eq!(credentials.identity().name(), "p-1");
    fs::write(&files.key, &second.1).unwrap();
    assert_eq!((credentials.reload().unwrap(), credentials.identity().name()), (Reloaded::Changed, "p-2"));
}

/// The clock is paused: it runs on when nothing else can.
#[tokio::test(start_paused = true)]
async fn changed_files_are_found_by_themselves() {
    let (ours, folder) = (authority(), tempfile::tempdir().unwrap());
    let files = write(folder.path(), &ours.pem(), &certificate(&ours, &["spiffe://waybill/proxy/p-1"], VALID));
    let credentials = Credentials::load(files, Role::Proxy).unwrap();
    credentials.follow();
    write(folder.path(), &ours.pem(), &certificate(&ours, &["spiffe://waybill/proxy/p-2"], VALID));
    let found = async {
        while credentials.identity().name() != "p-2" {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), found).await.unwrap();
}

/// Certificates and the authority change under load, and no handshake fails: during a change of authority both are believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_load_without_a_failed_handshake() {
    let (old, new) = (authority(), authority());
    let both = old.pem() + &new.pem();
    let (server_folder, client_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let issue = |authority: &Authority, role: &str| certificate(authority, &[&format!("spiffe://waybill/{role}/x")], VALID);
    let server_files = write(server_folder.path(), &old.pem(), &issue(&old, "control"));
    let client_files = write(client_folder.path(), &old.pem(), &issue(&old, "proxy"));
    let server = Credentials::load(server_files, Role::Control).unwrap();
    let client = Credentials::load(client_files, Role::Proxy).unwrap();
    let address = serve(PeerServer::new(server.clone())).await;
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (client, address) = (PeerClient::new(client.clone(), Role::Control), address.clone());
            let (stop, made) = (Arc::clone(&stop), Arc::clone(&made));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    ask(&client, &address).await?;
                    made.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    // Both believe both, then both show the new one, then nobody believes the old one.
    let steps = [(&both, &old), (&both, &new), (&new.pem(), &new)];
    for (ca, issuer) in steps {
        for (folder, credentials, role) in [(&server_folder, &server, "control"), (&client_folder, &client, "proxy")] {
            write(folder.path(), ca, &issue(issuer, role));
            assert_eq!(credentials.reload().unwrap(), Reloaded::Changed);
            let before = made.load(Ordering::Relaxed);
            while made.load(Ordering::Relaxed) < before + 20 && load.iter().all(|task| !task.is_finished()) {
                tokio::task::yield_now().await;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    assert!(made.load(Ordering::Relaxed) >= 120);
    let (_folder, outdated) = credentials(&old, "spiffe://waybill/proxy/x", Role::Proxy);
    ask(&PeerClient::new(outdated, Role::Control), &address).await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_that_ends_while_its_process_runs_is_refused_by_the_peer() {
    let ours = authority();
    let (_server_folder, control) = credentials(&ours, "spiffe://waybill/control/c-1", Role::Control);
    let address = serve(PeerServer::new(control)).await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://waybill/proxy/p-1".try_into().unwrap())];
    let now = std::time::SystemTime::now();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), (now + std::time::Duration::from_secs(2)).into());
    let pair = (params.signed_by(&key, &ours).unwrap().pem(), key.serialize_pem());
    let folder = tempfile::tempdir().unwrap();
    let client = PeerClient::new(Credentials::load(write(folder.path(), &ours.pem(), &pair), Role::Proxy).unwrap(), Role::Control);
    let ended = async { while ask(&client, &address).await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.unwrap();
}
