//! The roles as processes of their own, on files and loopback: a control plane, a proxy, and the way of a request between them.

mod process;

use process::Cluster;
use serde_json::Value;

#[test]
fn a_request_is_answered_billed_and_explained_and_a_dead_control_plane_stops_none_of_it() {
    let mut cluster = Cluster::start();
    let key = cluster.configure();

    // Answered and billed.
    let answer = cluster.chat(&key);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let generation = answer.generation();
    let shown = cluster.get(&key, &format!("/api/v1/generation?id={generation}"));
    assert_eq!(shown.status, 200, "{}", shown.body);
    let cost = answer.json()["usage"]["cost"].to_string();
    assert_eq!(shown.json()["data"]["total_cost"].to_string(), cost);
    let explained = cluster.waybill(&["explain", &generation]);
    assert!(explained.contains("chat@sandbox"), "{explained}");
    assert!(cluster.waybill(&["status"]).contains("applied by 1 of 1 proxies"));

    // The control plane dies: requests flow, what only it knows is said to be away.
    cluster.control.take().expect("a control plane").kill();
    let (alone, later) = (cluster.chat(&key), cluster.chat(&key));
    assert_eq!((alone.status, later.status), (200, 200), "{}{}", alone.body, later.body);
    let away = cluster.get(&key, &format!("/api/v1/generation?id={}", alone.generation()));
    assert_eq!(away.status, 503, "{}", away.body);
    assert!(away.body.contains("ledger_unavailable") && !away.body.contains("127.0.0.1"), "{}", away.body);
    assert_eq!(cluster.ready().status, 200, "a configured proxy needs nobody");

    // A proxy that starts now serves from what it held, and its spool is still there.
    cluster.proxy.take().expect("a proxy").kill();
    cluster.start_proxy();
    assert_eq!(cluster.chat(&key).status, 200);

    // It comes back: the bill is complete.
    cluster.start_control();
    let rows = cluster.eventually("four attempts in the ledger", |cluster| {
        let rows: Vec<Value> = serde_json::from_str(&cluster.waybill(&["ledger", "show", "-o", "json"])).expect("JSON");
        let attempts: Vec<Value> = rows.into_iter().filter(|row| row["event"]["attempt"].is_object()).collect();
        (attempts.len() == 4).then_some(attempts)
    });
    assert!(rows.iter().all(|row| row["event"]["kind"] == "KIND_SETTLED"), "{rows:?}");
    let spent = cluster.get(&key, "/api/v1/key");
    let one: f64 = cost.parse().expect("a number");
    let usage = spent.json()["data"]["usage"].as_f64().expect("a number");
    assert!((usage - 4.0 * one).abs() < one / 1e6, "{usage} for four times {one}");
    assert!(cluster.waybill(&["ledger", "verify"]).contains("everything agrees"));

    // An orderly end: nothing is left in the spool.
    let (ended, log) = cluster.proxy.take().expect("a proxy").terminate();
    assert!(ended.success() && log.contains("the spool is empty"), "{log}");
    let (ended, log) = cluster.control.take().expect("a control plane").terminate();
    assert!(ended.success(), "{log}");
}

#[test]
fn a_start_that_cannot_be_meant_is_refused_with_its_place_and_the_way_out() {
    let cluster = Cluster::empty();
    let refused = |words: &[&str]| {
        let (ended, log) = cluster.run(words);
        assert!(!ended.success(), "{words:?} started");
        log
    };
    let log = refused(&[
        "control",
        "--store",
        "sqlite:s.db",
        "--ledger",
        "sqlite:l.db",
        "--insecure-sync",
        "--pepper-files",
        "none",
        "--operator-token-file",
        "none",
    ]);
    assert!(log.contains("waybill secrets new pepper none"), "{log}");
    let log = refused(&["proxy", "--insecure-sync"]);
    assert!(log.contains("3 faults") && log.contains("--control") && log.contains("WAYBILL_STATE"), "{log}");
    let log = refused(&["billing", "--ledger", "sqlite:l.db"]);
    assert!(log.contains("kafka.brokers"), "{log}");
    cluster.write("settings.yaml", "store: sqlite:s.db\nlegder: sqlite:l.db\n");
    let log = refused(&["control", "--config", "settings.yaml"]);
    assert!(log.contains("settings.yaml:2:9: legder: there is no such setting; did you mean `ledger`?"), "{log}");
}

#[test]
fn a_pepper_of_another_store_is_refused() {
    let mut cluster = Cluster::start();
    cluster.configure();
    let (ended, log) = cluster.control.take().expect("a control plane").terminate();
    assert!(ended.success(), "{log}");
    std::fs::remove_file(cluster.path("pepper")).expect("the pepper");
    cluster.run(&["secrets", "new", "pepper", "pepper"]);
    let (ended, log) = cluster.run_control();
    assert!(!ended.success() && log.contains("not the pepper that this store's API keys were made with"), "{log}");
}

#[test]
fn a_proxy_without_a_configuration_says_so_and_refuses_nobody_for_it() {
    let cluster = Cluster::empty();
    let proxy = cluster.spawn_proxy();
    let ops = cluster.eventually("an ops listener", |_| proxy.address_in_log("ops"));
    let ready = process::get(&ops, "/readyz", None);
    assert_eq!((ready.status, ready.body.as_str()), (503, "no configuration yet\n"));
    assert_eq!(process::get(&ops, "/healthz", None).status, 200);
    let metrics = process::get(&ops, "/metrics", None).body;
    assert!(metrics.contains("waybill_control_connected 0\n") && metrics.contains("waybill_spool_bytes "), "{metrics}");
}

#[test]
fn a_store_is_copied_backed_up_and_brought_back_whole_and_never_over_another() {
    let mut cluster = Cluster::start();
    cluster.configure();
    let done = |words: &[&str], expected: bool| {
        let (ended, log) = cluster.run(words);
        assert_eq!(ended.success(), expected, "{words:?}: {log}");
        log
    };
    let digest = done(&["store", "copy", "--from", "sqlite:store.db", "--to", "sqlite:copy.db", "--pepper-files", "pepper"], true);
    assert!(digest.contains("pepper 1: fingerprint "), "{digest}");
    assert_eq!(done(&["backup", "--store", "sqlite:copy.db", "-o", "backup"], true), digest);
    assert!(done(&["backup", "--store", "sqlite:copy.db", "-o", "backup"], false).contains("cannot be made"));
    assert_eq!(done(&["restore", "backup", "--store", "sqlite:back.db"], true), digest);
    assert!(done(&["restore", "backup", "--store", "sqlite:back.db"], false).contains("not empty"));
    assert_eq!(done(&["restore", "backup", "--store", "sqlite:back.db", "--replace"], true), digest);
    assert!(done(&["migrate", "--store", "sqlite:back.db", "--ledger", "sqlite:ledger.db"], true).contains("0 values rewritten"));
    assert!(done(&["store", "copy", "--from", "sqlite:none.db", "--to", "sqlite:x.db"], false).contains("there is no none.db"));
    done(&["secrets", "new", "pepper", "other"], true);
    let refused = done(&["store", "copy", "--from", "sqlite:store.db", "--to", "sqlite:x.db", "--pepper-files", "other"], false);
    assert!(refused.contains("no API key would be recognised"), "{refused}");
    let (ended, log) = cluster.control.take().expect("a control plane").terminate();
    assert!(ended.success(), "{log}");
}
