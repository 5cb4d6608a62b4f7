//! Secrets in files: peppers and operator tokens, how they are made, written and read.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use waybill_model::{key::Pepper, snapshot::Secret};
use waybill_proto::model::v1::SecretRef;

use crate::settings::PepperFile;

/// Bytes of a pepper.
const PEPPER_BYTES: usize = 32;

/// Makes the secrets that a cluster shares.
#[derive(Args, Clone, Debug)]
pub struct Secrets {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Writes a new secret to a file (0600) that is not there yet.
    New { kind: Kind, file: PathBuf },
    /// Shows the fingerprint of a pepper: what a store notes, to know the right one.
    Fingerprint { file: PathBuf },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// What API keys are recognised with. The same for every control plane and proxy; without it no key is known any more.
    Pepper,
    /// What operators show to the control plane.
    OperatorToken,
}

/// Does what was asked.
pub fn run(secrets: &Secrets) -> Result<ExitCode> {
    match &secrets.verb {
        Verb::New { kind, file } => {
            if file.exists() {
                bail!("{} is there already; nothing was written", file.display());
            }
            let text = if *kind == Kind::Pepper { new_pepper()? } else { new_token()? };
            write_secret(file, format!("{text}\n"))?;
        }
        Verb::Fingerprint { file } => {
            let pepper = read_pepper(&PepperFile { id: 1, path: file.clone() })?;
            println!("{}", hex(&pepper.fingerprint()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The text of a new pepper.
pub fn new_pepper() -> Result<String> {
    Ok(hex(&random::<PEPPER_BYTES>()?))
}

/// The text of a new operator token.
pub fn new_token() -> Result<String> {
    Ok(format!("wbo_{}", hex(&random::<24>()?)))
}

/// Reads a pepper.
pub fn read_pepper(file: &PepperFile) -> Result<Pepper> {
    let path = file.path.display();
    let text = fs::read_to_string(&file.path).with_context(|| {
        format!("the pepper {path} cannot be read. The first one is made by `waybill secrets new pepper {path}`; every control plane and proxy has the same")
    })?;
    let secret = pepper_of(&text).with_context(|| format!("{path} does not hold 64 hexadecimal digits: that is no pepper"))?;
    Ok(Pepper::new(file.id, &secret))
}

/// Reads the peppers that settings name, in their order.
pub fn read_peppers(files: &[PepperFile]) -> Result<Vec<Pepper>> {
    files.iter().map(read_pepper).collect()
}

/// A pepper from its text.
pub fn pepper_of(text: &str) -> Option<[u8; PEPPER_BYTES]> {
    unhex(text.trim())
}

/// Reads a secret of one line: a token, a password. `what` says what it is, `how` how one is made.
pub fn read_line(path: &Path, what: &str, how: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("the {what} {} cannot be read. {how}", path.display()))?;
    match text.trim() {
        "" => bail!("the {what} {} is empty. {how}", path.display()),
        text => Ok(text.to_owned()),
    }
}

/// Resolves a reference to a secret in this process: its environment, its files.
pub fn resolve(reference: &SecretRef) -> Option<Secret> {
    let text = if reference.env.is_empty() { fs::read_to_string(&reference.file).ok()? } else { env::var(&reference.env).ok()? };
    let text = text.trim();
    (!text.is_empty()).then(|| Secret::new(text))
}

/// Where a file lies: a bare name lies in the working folder.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    Ok(bytes)
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_secret(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content.as_ref())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The name is durable when its folder is.
        fs::File::open(folder_of(path))?.sync_all()
    })();
    written.map_err(|error: io::Error| error).with_context(|| format!("cannot write {}", path.display()))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_working_folder() {
        for (path, folder) in [("ready.json", "."), ("run/ready.json", "run"), ("/run/ready.json", "/run")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }

    #[test]
    fn a_new_secret_is_its_owners_and_never_replaces_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pepper");
        let new = Secrets { verb: Verb::New { kind: Kind::Pepper, file: file.clone() } };
        run(&new).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let one = read_pepper(&PepperFile { id: 1, path: file.clone() }).unwrap();
        assert!(run(&new).unwrap_err().to_string().contains("there already"));
        assert_eq!(read_peppers(&[PepperFile { id: 2, path: file.clone() }]).unwrap()[0].fingerprint(), one.fingerprint());
        fs::write(&file, "short").unwrap();
        assert!(read_pepper(&PepperFile { id: 1, path: file }).unwrap_err().to_string().contains("no pepper"));
        let missing = read_line(&folder.path().join("token"), "operator token", "It is made by hand.").unwrap_err().to_string();
        assert!(missing.ends_with("It is made by hand."), "{missing}");
    }
}
