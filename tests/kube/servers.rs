//! etcd, Kafka and PostgreSQL for suites that are no Rust program, with what Waybill needs to reach them: `waybill-servers FOLDER`.
//!
//! Once all of them serve it prints one line of JSON that says where they are; it ends, and they with it, at the end of its standard input.
//! etcd wants certificates and knows users (not if `--plain`), PostgreSQL wants a password: what a test gives wrongly is refused.

use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Value, json};
use waybill_tests::{Authority, Etcd, EtcdSecurity, Identity, Kafka, KafkaSetup, Names, Postgres};

/// A user of etcd's and of PostgreSQL's, and the name of its database.
const USER: &str = "waybill";

/// Its password at both.
const PASSWORD: &str = "a password of the test";

/// What of etcd is Waybill's.
const PREFIX: &str = "/wb/";

/// Real servers until the end of standard input.
#[derive(Parser)]
#[command(name = "waybill-servers")]
struct Flags {
    /// Where their files are.
    folder: PathBuf,
    /// No certificates and no users at etcd.
    #[arg(long)]
    plain: bool,
    /// A file with the password of PostgreSQL's user, in place of one that is told.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

fn main() -> Result<()> {
    let Flags { folder, plain, password_file } = Flags::parse();
    let password = match password_file {
        Some(file) => std::fs::read_to_string(&file).with_context(|| file.display().to_string())?.trim().to_owned(),
        None => PASSWORD.to_owned(),
    };
    let security = if plain { EtcdSecurity::Plain } else { EtcdSecurity::MutualTls(folder.join("etcd-tls")) };
    let mut etcd = Etcd::start(&folder.join("etcd"), 1, &security)?;
    let kafka = Kafka::start(&folder.join("kafka"), KafkaSetup { nodes: 1, ..KafkaSetup::default() })?;
    let postgres = Postgres::start(&folder.join("postgres"))?;
    if !plain {
        etcd.require_users(USER, PASSWORD, PREFIX)?;
    }
    let client =
        etcd.authority().map(|authority| Ok::<_, anyhow::Error>(files(authority, &authority.issue("client", &Names::client(USER))?)));
    require_password(&postgres, &password)?;
    let planes = Authority::new(&folder.join("planes"))?;
    let told = json!({
        "etcd": { "addresses": [etcd.address(0)], "user": USER, "password": PASSWORD, "tls": client.transpose()? },
        "kafka": { "brokers": kafka.brokers() },
        "postgres": { "address": format!("127.0.0.1:{}", postgres.port()), "database": USER, "user": USER, "password": password },
        "control": files(&planes, &plane(&planes, "control")?),
        "proxy": files(&planes, &plane(&planes, "proxy")?),
    });
    println!("{told}");
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// One certificate for all processes of a role.
fn plane(authority: &Authority, role: &str) -> Result<Identity> {
    authority.issue(role, &Names::client(role).with_uri(&format!("spiffe://waybill/{role}/*")))
}

fn files(authority: &Authority, identity: &Identity) -> Value {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    json!({ "ca.crt": absolute(&authority.certificate()), "tls.crt": absolute(&identity.certificate), "tls.key": absolute(&identity.key) })
}

/// Makes the user and its database, and asks for its password from now on.
fn require_password(postgres: &Postgres, password: &str) -> Result<()> {
    postgres.sql("postgres", &format!("CREATE ROLE {USER} LOGIN PASSWORD '{password}'"))?;
    postgres.sql("postgres", &format!("CREATE DATABASE {USER} OWNER {USER}"))?;
    let file = postgres.sql("postgres", "SHOW hba_file")?;
    let rules = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    std::fs::write(&file, format!("host all {USER} 127.0.0.1/32 scram-sha-256\n{rules}"))?;
    postgres.sql("postgres", "SELECT pg_reload_conf()").map(drop)
}
