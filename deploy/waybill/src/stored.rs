//! Verbs on what is stored, beside the running roles: bringing schemas up to date, backups, the way from one store to another.

use std::{
    fs,
    io::{BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use waybill_store::{
    Store,
    copy::{Copied, Onto},
    keys,
};

use crate::{
    secrets::{hex, read_pepper},
    settings::{Etcd, LedgerUrl, PepperFile, Postgres, StoreUrl},
    stores::{migrate_ledger, open_store_beside},
};

/// How stores and ledgers are entered: as in the settings of the control plane.
#[derive(Args, Clone, Debug)]
pub struct Access {
    /// PEM file with the authority that signed etcd's certificates.
    #[arg(long, env = "WAYBILL_ETCD_CA_FILE", value_name = "FILE")]
    etcd_ca_file: Option<PathBuf>,
    /// PEM file with this client's certificate for etcd.
    #[arg(long, env = "WAYBILL_ETCD_CERT_FILE", value_name = "FILE")]
    etcd_cert_file: Option<PathBuf>,
    /// PEM file with the private key of that certificate.
    #[arg(long, env = "WAYBILL_ETCD_KEY_FILE", value_name = "FILE")]
    etcd_key_file: Option<PathBuf>,
    /// The name in etcd's certificates, where it is not that of the addresses.
    #[arg(long, env = "WAYBILL_ETCD_SERVER_NAME", value_name = "NAME")]
    etcd_server_name: Option<String>,
    /// User of etcd's own rights management.
    #[arg(long, env = "WAYBILL_ETCD_USERNAME", value_name = "NAME")]
    etcd_username: Option<String>,
    /// File with that user's password.
    #[arg(long, env = "WAYBILL_ETCD_PASSWORD_FILE", value_name = "FILE")]
    etcd_password_file: Option<PathBuf>,
    /// File with the password of the ledger's user.
    #[arg(long, env = "WAYBILL_POSTGRES_PASSWORD_FILE", value_name = "FILE")]
    postgres_password_file: Option<PathBuf>,
}

impl Access {
    fn etcd(&self) -> Etcd {
        Etcd {
            ca_file: self.etcd_ca_file.clone(),
            cert_file: self.etcd_cert_file.clone(),
            key_file: self.etcd_key_file.clone(),
            server_name: self.etcd_server_name.clone(),
            username: self.etcd_username.clone(),
            password_file: self.etcd_password_file.clone(),
        }
    }

    fn postgres(&self) -> Postgres {
        Postgres { password_file: self.postgres_password_file.clone() }
    }

    /// A store that is to be there: a misspelt path makes no new one.
    async fn source(&self, url: &StoreUrl) -> Result<Arc<dyn Store>> {
        if let StoreUrl::Sqlite(path) = url
            && !path.exists()
        {
            bail!("there is no {}", path.display());
        }
        open_store_beside(url, &self.etcd()).await
    }
}

/// Brings what is stored to the schema of this build. Doing it twice is harmless.
#[derive(Args, Clone, Debug)]
pub struct Migrate {
    /// The configuration store, as in the settings of the control plane.
    #[arg(long, env = "WAYBILL_STORE", value_name = "URL", required_unless_present = "ledger")]
    store: Option<StoreUrl>,
    /// The ledger, as in the settings of the control plane.
    #[arg(long, env = "WAYBILL_LEDGER", value_name = "URL")]
    ledger: Option<LedgerUrl>,
    #[command(flatten)]
    access: Access,
}

/// Writes all of a configuration store to a file (0600), as it is at one moment. Roles may run meanwhile.
#[derive(Args, Clone, Debug)]
pub struct Backup {
    /// The configuration store.
    #[arg(long, env = "WAYBILL_STORE", value_name = "URL")]
    store: StoreUrl,
    /// The file; it must not be there.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    access: Access,
}

/// Brings a backup back into a configuration store.
#[derive(Args, Clone, Debug)]
pub struct Restore {
    /// The file.
    file: PathBuf,
    /// The configuration store; it must be empty.
    #[arg(long, env = "WAYBILL_STORE", value_name = "URL")]
    store: StoreUrl,
    /// What the store holds is replaced.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    access: Access,
}

/// Verbs on whole configuration stores.
#[derive(Args, Clone, Debug)]
pub struct Stores {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Copies one store into another: from a laptop's file to a cluster's etcd, and back.
    Copy(Box<Copy>),
}

#[derive(Args, Clone, Debug)]
struct Copy {
    /// Where it comes from, for example sqlite:STATE/waybill.db
    #[arg(long, value_name = "URL")]
    from: StoreUrl,
    /// Where it goes to; it must be empty.
    #[arg(long, value_name = "URL")]
    to: StoreUrl,
    /// What the target holds is replaced.
    #[arg(long)]
    replace: bool,
    /// The peppers that the target's roles will have: refused if they are not those of the source's API keys.
    #[arg(long, env = "WAYBILL_PEPPER_FILES", value_delimiter = ',', value_name = "FILE")]
    pepper_files: Vec<PepperFile>,
    #[command(flatten)]
    access: Access,
}

/// `waybill migrate`.
pub async fn migrate(migrate: &Migrate) -> Result<ExitCode> {
    if let Some(url) = &migrate.store {
        let store = open_store_beside(url, &migrate.access.etcd()).await?;
        let done = waybill_store::migrate(&*store).await?;
        println!("store {url}: schema {}, {} values rewritten", done.to, done.rewritten);
    }
    if let Some(url) = &migrate.ledger {
        let schema = migrate_ledger(url, &migrate.access.postgres()).await?;
        println!("ledger {url}: schema {schema}");
    }
    Ok(ExitCode::SUCCESS)
}

/// `waybill backup`.
pub async fn backup(backup: &Backup) -> Result<ExitCode> {
    let store = backup.access.source(&backup.store).await?;
    let path = &backup.output;
    let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("{} cannot be made", path.display()))?;
    let mut out = BufWriter::new(file);
    let written = async {
        let copied = waybill_store::copy::dump(&*store, &mut out).await?;
        out.flush()?;
        out.get_ref().sync_all()?;
        Ok::<_, anyhow::Error>(copied)
    };
    match written.await {
        Ok(copied) => say(&copied),
        Err(error) => {
            // Half a backup is none.
            drop(fs::remove_file(path));
            return Err(error);
        }
    }
    say_peppers(&*store).await?;
    Ok(ExitCode::SUCCESS)
}

/// `waybill restore`.
pub async fn restore(restore: &Restore) -> Result<ExitCode> {
    let file = fs::File::open(&restore.file).with_context(|| format!("{} cannot be opened", restore.file.display()))?;
    let store = open_store_beside(&restore.store, &restore.access.etcd()).await?;
    say(&waybill_store::copy::load(&*store, &mut BufReader::new(file), onto(restore.replace)).await?);
    say_peppers(&*store).await?;
    Ok(ExitCode::SUCCESS)
}

/// `waybill store`.
pub async fn stores(stores: &Stores) -> Result<ExitCode> {
    let Verb::Copy(copy) = &stores.verb;
    let source = copy.access.source(&copy.from).await?;
    for file in &copy.pepper_files {
        let pepper = read_pepper(file)?;
        match source.get(&keys::pepper(file.id)).await?.entry {
            Some(entry) if entry.value == pepper.fingerprint()[..] => {}
            Some(_) => bail!("{} is not pepper {} of {}: no API key would be recognised there", file.path.display(), file.id, copy.from),
            None => bail!("{} knows no pepper {}: no API key was made with it", copy.from, file.id),
        }
    }
    let target = open_store_beside(&copy.to, &copy.access.etcd()).await?;
    say(&waybill_store::copy::copy(&*source, &*target, onto(copy.replace)).await?);
    say_peppers(&*target).await?;
    Ok(ExitCode::SUCCESS)
}

const fn onto(replace: bool) -> Onto {
    if replace { Onto::Anything } else { Onto::Empty }
}

fn say(copied: &Copied) {
    println!("{}", copied.digest);
}

/// Says which peppers a store's API keys need: `waybill secrets fingerprint FILE` is to show the same.
async fn say_peppers(store: &dyn Store) -> Result<()> {
    for id in 0..=u8::MAX {
        if let Some(entry) = store.get(&keys::pepper(id)).await?.entry {
            println!("pepper {id}: fingerprint {}", hex(&entry.value));
        }
    }
    Ok(())
}
