use std::{collections::HashSet, fs};

use clap::{Command, FromArgMatches};

use super::*;
use crate::settings::leaf::Form;

/// The least that makes a control plane.
const CONTROL: &str = "\
store: sqlite:/var/lib/waybill/waybill.db
ledger: sqlite:/var/lib/waybill/waybill.db
pepperFiles: [/run/secrets/pepper]
operatorTokenFile: /run/secrets/token
insecureSync: true
";

const PROXY: &str = "\
control: [127.0.0.1:7071]
insecureSync: true
state: /var/lib/waybill
pepperFiles: [/run/secrets/pepper]
usage: {transport: ingest}
";

const BILLING: &str = "ledger: postgres://waybill@db/waybill\nkafka: {brokers: 'a:9092'}\n";

/// Reads settings of a file and of flags; faults without the path of the file.
fn settings<R: Role>(file: &str, flags: &[&str]) -> Result<R, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.yaml");
    fs::write(&path, file).unwrap();
    let command = <Given<R> as clap::Args>::augment_args(Command::new("waybill").no_binary_name(true));
    let path = path.display().to_string();
    let words = ["--config", &path].into_iter().chain(flags.iter().copied());
    let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
    let given = Given::<R>::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    read(&given).map_err(|refused| refused.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn the_least_is_enough_and_flags_stand_above_the_file() {
    let control: Control = settings(CONTROL, &[]).unwrap();
    assert_eq!((control.admin_listen.port(), control.sync_listen.port(), control.ops_listen.port()), (7070, 7071, 7072));
    let proxy: Proxy = settings(PROXY, &["--strict", "--limits", "stall_time=5s,drain_time=1s", "--usage-silence=5s"]).unwrap();
    assert!(proxy.strict && proxy.limits().unwrap().stall_time.as_secs() == 5 && proxy.usage.silence.0.as_secs() == 5);
    let billing: Billing = settings(BILLING, &["--kafka-brokers", "b:9092,c:9092", "--group", "g"]).unwrap();
    assert_eq!(billing.kafka.brokers, "b:9092,c:9092");
    assert_eq!((billing.group.as_str(), billing.kafka.topic.as_str()), ("g", "wb.usage.v1"));
}

#[test]
fn each_fault_names_its_setting_its_place_and_the_way_out() {
    let control = |file: &str, flags: &[&str]| settings::<Control>(&format!("{CONTROL}{file}"), flags).unwrap_err();
    let proxy = |file: &str, flags: &[&str]| settings::<Proxy>(&format!("{PROXY}{file}"), flags).unwrap_err();
    let rows = [
        (
            control("adminlisten: 127.0.0.1:1", &[]),
            "settings.yaml:6:14: adminlisten: there is no such setting; did you mean `adminListen`?",
        ),
        (
            control("postgres: {passwordfile: /f}", &[]),
            "settings.yaml:6:26: postgres.passwordfile: there is no such setting; did you mean `passwordFile`?",
        ),
        (control("adminListen: here", &[]), "settings.yaml:6:14: adminListen: invalid socket address syntax"),
        (control("etcd: {username: 3}", &[]), "settings.yaml:6:18: etcd.username: invalid type: integer `3`, expected a string"),
        (control("", &["--admin-listen", "here"]), "--admin-listen: adminListen: invalid socket address syntax"),
        (proxy("", &["--workers", "many"]), "--workers: workers: `many` is no whole number"),
        (control("", &["--insecure-sync=maybe"]), "--insecure-sync: insecureSync: `maybe` is neither true nor false"),
        (control("", &["--insecure-sync=false"]), "tls.caFile: is missing: control planes and proxies know one another by certificates"),
        (control("tls: {caFile: /ca}", &[]), "settings.yaml:5:15: insecureSync: contradicts tls.caFile"),
        (control("syncListen: 0.0.0.0:7071", &[]), "settings.yaml:6:13: syncListen: 0.0.0.0:7071 is not loopback"),
        (control("etcd: {username: root}", &[]), "settings.yaml:6:18: etcd.username: means nothing: the store is not etcd"),
        (control("a: b: c", &[]), "settings.yaml:6:"),
        (control("store: sqlite:/other", &[]), "settings.yaml:6:"),
        (settings::<Control>("- 1", &[]).unwrap_err(), "settings.yaml:1:1: the file holds no mapping of settings"),
        (
            settings::<Control>("", &[]).unwrap_err(),
            "  pepperFiles: is missing: give it in the file, as --pepper-files or as WAYBILL_PEPPER_FILES. Files with",
        ),
        (settings::<Control>("store: etcd://a", &[]).unwrap_err(), "  ledger: is missing"),
        (proxy("", &["--control", "a"]), "--control: control[0]: `a` is not HOST:PORT"),
        (proxy("", &["--control", "control:7071"]), "--control: control: control:7071 is not loopback"),
        (proxy("limits: {stall: 3s}", &[]), "settings.yaml:6:1: limits: there is no limit `stall`"),
        (proxy("workers: 0", &[]), "settings.yaml:6:10: workers: at least 1"),
        (proxy("kafka: {brokers: 'a:1'}", &[]), "settings.yaml:6:1: kafka: means nothing with usage.transport: ingest"),
        (proxy("", &["--usage-transport", "kafka"]), "kafka.brokers: names no broker"),
        (
            proxy("", &["--usage-transport", "carrier"]),
            "--usage-transport: usage.transport: unknown variant `carrier`, expected `kafka` or `ingest`",
        ),
        (
            proxy("kafka: {saslUser: waybill, brokers: 'a:1'}", &["--usage-transport", "kafka"]),
            "settings.yaml:6:19: kafka.saslUser: a user has no meaning",
        ),
        (proxy("", &["--pepper-files", "/a,/b"]), "--pepper-files: pepperFiles: number 1 is given twice"),
        (proxy("drain: {flush: 3}", &[]), "settings.yaml:6:16: drain.flush: invalid type: integer `3`, expected a string"),
        (settings::<Billing>("ledger: sqlite:/a", &[]).unwrap_err(), "kafka.brokers: names no broker"),
    ];
    for (found, expected) in rows {
        assert!(found.contains(expected) && found.contains("nothing was started"), "{expected}\n--- but\n{found}");
    }
    let all = settings::<Control>("stroe: x\nlegder: y", &[]).unwrap_err();
    assert!(all.starts_with("6 faults"), "{all}");
}

fn complete<R: Role>(example: &str) {
    let mut flags = HashSet::from(["config".to_owned(), "log-json".to_owned(), "help".to_owned()]);
    for leaf in R::leaves() {
        assert!(leaf.help.ends_with('.'), "{}: {} says `{}`", R::NAME, leaf.path, leaf.help);
        assert!(flags.insert(leaf.flag.clone()), "{}: {} has the flag of another", R::NAME, leaf.path);
        // A default that is shown is one that can be written.
        if let Some(default) = leaf.default.as_deref().filter(|default| !default.is_empty()) {
            let flag = format!("--{}={default}", leaf.flag);
            let kept = settings::<R>(example, &[&flag]);
            let refused = kept.err().unwrap_or_default();
            assert!(leaf.form == Form::List || !refused.contains("--"), "{flag}: {refused}");
        }
    }
}

#[test]
fn every_setting_is_explained_and_its_default_can_be_written() {
    complete::<Control>(CONTROL);
    complete::<Proxy>(PROXY);
    complete::<Billing>(BILLING);
}
