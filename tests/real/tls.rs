//! Kafka with certificates and passwords, spoken to by a build with `kafka-tls`: OpenSSL is linked into no other, so this suite runs when it is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::{Authority, Kafka, KafkaSetup, Names, Report, program};

use crate::Case;

pub const CASES: &[Case] = &[
    Case { name: "kafka-tls: a build without it refuses by name", run: without },
    Case { name: "kafka-tls: every way in carries, every wrong one is told", run: with },
];

/// What turns it on, in one build of the workspace.
const FEATURE: [&str; 4] = ["--workspace", "--locked", "--features", "waybill/kafka-tls"];

/// The plain build, asked for what it does not have.
fn without(_: &Path, _: &mut Report) -> Result<()> {
    let there = ["kafka", "init", "--kafka-brokers", "127.0.0.1:9"];
    for (flags, told) in [
        (
            &["--kafka-security", "tls"][..],
            "kafka.security: `tls` needs TLS, which this build does not have: build with `--features kafka-tls`",
        ),
        (
            &["--kafka-security", "sasl_plaintext", "--kafka-sasl-user", "a", "--kafka-sasl-password-file", "/dev/null"],
            "kafka.saslMechanism: `SCRAM-SHA-512` is not in this build: build with `--features kafka-tls`",
        ),
    ] {
        let done = Command::new(program("waybill")?).args(there).args(flags).output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(!done.status.success() && said.contains(told), "{flags:?}: {said}");
    }
    Ok(())
}

fn cargo(verb: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(verb).args(FEATURE).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

/// A password that is none, and that nobody may read in a log.
const WRONG: &str = "wrong-canary";

/// Files that a client may be given.
struct Files {
    ca: PathBuf,
    other_ca: PathBuf,
    password: PathBuf,
    wrong: PathBuf,
}

fn with(folder: &Path, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let built = cargo("build").args(["--bin", "waybill"]).output().context("starting cargo")?;
    ensure!(built.status.success(), "the build with kafka-tls failed:\n{}", String::from_utf8_lossy(&built.stderr));
    report.figure("kafka_tls.build", start.elapsed().as_secs_f64(), "s");
    let mut kafka = Kafka::start(folder, KafkaSetup { nodes: 1, is_secure: true, through: None })?;
    let authority = kafka.authority().context("no authority")?;
    let other = Authority::new(&folder.join("other"))?;
    let (own, stranger) = (authority.issue("client", &Names::client("client"))?, other.issue("stranger", &Names::client("client"))?);
    let expired = authority.issue("expired", &Names::client("client").expired())?;
    let file = |name: &str, text: &str| fs::write(folder.join(name), text).map(|()| folder.join(name));
    let (password, wrong) = (file("password", kafka.sasl().password)?, file("wrong", WRONG)?);
    let files = Files { ca: authority.certificate(), other_ca: other.certificate(), password, wrong };

    let tls = |identity: Option<&waybill_tests::Identity>, ca: &Path| {
        let mut settings = json!({ "brokers": kafka.brokers_tls(), "security": "tls", "caFile": ca });
        if let Some(identity) = identity {
            settings["certFile"] = json!(identity.certificate);
            settings["keyFile"] = json!(identity.key);
        }
        settings
    };
    let sasl = |mechanism: &str, ca: Option<&Path>, user: &str, password: &Path| {
        let mut settings = json!({ "brokers": kafka.brokers_sasl(), "security": "sasl_tls", "saslMechanism": mechanism });
        settings["saslUser"] = user.into();
        settings["saslPasswordFile"] = json!(password);
        if let Some(ca) = ca {
            settings["caFile"] = json!(ca);
        }
        settings
    };
    let (user, ca) = (kafka.sasl().user, files.ca.as_path());
    let refused = ["the brokers refuse the login", "kafka.saslPasswordFile"];
    let untrusted = ["TLS with a broker fails", "kafka.caFile", "expired"];
    let scram = "SCRAM-SHA-512";
    let mut rows = vec![
        row("certificates on both sides", tls(Some(&own), ca), &[]),
        row("SCRAM-SHA-256", sasl("SCRAM-SHA-256", Some(ca), user, &files.password), &[]),
        row("SCRAM-SHA-512", sasl(scram, Some(ca), user, &files.password), &[]),
        row("PLAIN", sasl("PLAIN", Some(ca), user, &files.password), &[]),
        row("a wrong password by SCRAM", sasl(scram, Some(ca), user, &files.wrong), &refused),
        row("a wrong password by PLAIN", sasl("PLAIN", Some(ca), user, &files.wrong), &refused),
        row("a user that is not there", sasl(scram, Some(ca), "nobody", &files.password), &refused),
        row("another authority", sasl(scram, Some(&files.other_ca), user, &files.password), &untrusted),
        row("the system's authorities", sasl(scram, None, user, &files.password), &untrusted),
        row("another authority, with a certificate", tls(Some(&own), &files.other_ca), &untrusted),
        row("a certificate of a stranger's", tls(Some(&stranger), ca), &untrusted),
        row("a certificate that has expired", tls(Some(&expired), ca), &untrusted),
        row("no certificate", tls(None, ca), &untrusted),
    ];
    for row in &mut rows[4..6] {
        row["secret"] = WRONG.into();
    }
    transport(&folder.join("rows.json"), &rows)?;
    command(&sasl(scram, Some(ca), user, &files.password), &files)?;

    let rows = [row("brokers whose certificate has expired", sasl(scram, Some(ca), user, &files.password), &untrusted)];
    authority.issue("kafka", &Names::server("kafka").expired())?;
    kafka.node(0).kill()?;
    kafka.restart(0)?;
    kafka.wait_ready()?;
    transport(&folder.join("rows.json"), &rows)
}

fn row(name: &str, settings: Value, refused: &[&str]) -> Value {
    json!({ "name": name, "settings": settings, "refused": refused, "secret": null })
}

/// The rows, lived through by a test of cargo's.
fn transport(file: &Path, rows: &[Value]) -> Result<()> {
    fs::write(file, serde_json::to_string(rows)?)?;
    let mut command = cargo("test");
    command.args(["--test", "transport", "--", "--nocapture", "tls::"]).env("WAYBILL_TEST_KAFKA_SECURE", file);
    let done = command.output().context("starting cargo")?;
    let said = String::from_utf8_lossy(&done.stdout);
    ensure!(done.status.success(), "it ended with {}:\n{said}{}", done.status, String::from_utf8_lossy(&done.stderr));
    ensure!(said.contains("test result: ok. 1 passed"), "no test was run:\n{said}");
    said.lines().filter(|line| line.starts_with("  ")).for_each(|line| println!("{line}"));
    Ok(())
}

/// The operator's own command, with flags.
fn command(settings: &Value, files: &Files) -> Result<()> {
    let text = |name: &str| settings[name].as_str().unwrap_or_default().to_owned();
    let ask = |password: &Path| {
        let mut command = Command::new(program("waybill")?);
        command.args(["kafka", "init", "--replication", "1", "--min-insync", "1", "--partitions", "3"]);
        command.args(["--kafka-security", "sasl_tls", "--kafka-brokers", &text("brokers"), "--kafka-sasl-user", &text("saslUser")]);
        command.arg("--kafka-ca-file").arg(&files.ca).arg("--kafka-sasl-password-file").arg(password);
        Ok::<_, anyhow::Error>(command.output()?)
    };
    let made = ask(&files.password)?;
    ensure!(made.status.success() && made.stdout.starts_with(b"made "), "{made:?}");
    let refused = ask(&files.wrong)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && said.contains("the brokers refuse the login") && !said.contains(WRONG), "{said}");
    Ok(())
}
