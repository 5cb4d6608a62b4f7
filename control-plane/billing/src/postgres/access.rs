//! Where the database is, and how it is entered. A password is in no log and in no error.

use std::{fmt, fs, io, path::Path};

use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::error::Error;

/// What may stand behind the `?` of a URL. Anything else is refused by its name: a misspelt `sslmode` must not go unnoticed.
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "options",
    "host",
    "port",
    "dbname",
    "user",
    "statement-cache-capacity",
];

/// A password.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// The content of a file without the line's end, as secrets are mounted.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        Ok(Self(fs::read_to_string(path)?.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password")
    }
}

/// A database and the right to enter it.
#[derive(Clone)]
pub struct Access(PgConnectOptions);

impl Access {
    /// Reads `postgres://user@host:port/database?sslmode=verify-full&sslrootcert=FILE`. The password comes beside it, from a file or the
    /// environment; one in the URL is for trying out. `sslcert` and `sslkey` name a client certificate.
    ///
    /// # Errors
    /// [`Error::Address`], which shows nothing of a password.
    pub fn read(url: &str, password: Option<Password>) -> Result<Self, Error> {
        let refuse = |why: String| Err(Error::Address(why));
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return refuse("it does not begin with postgres://".to_owned());
        }
        for (name, value) in parameters(url) {
            if !PARAMETERS.contains(&name) {
                return refuse(format!("the parameter `{name}` is unknown: there are {}", PARAMETERS.join(", ")));
            }
            if (name, value) == ("sslmode", "allow") {
                return refuse("sslmode=allow is not supported: use prefer, require, verify-ca or verify-full".to_owned());
            }
        }
        let options: PgConnectOptions = match url.parse() {
            Ok(options) => options,
            Err(sqlx::Error::Configuration(error)) => return refuse(error.to_string()),
            Err(_) => return refuse("it cannot be read".to_owned()),
        };
        let options = match password {
            Some(Password(password)) => options.password(&password),
            None => options,
        };
        let named = if options.get_application_name().is_some() { options } else { options.application_name("waybill") };
        Ok(Self(named.disable_statement_logging()))
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        self.0.clone()
    }
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.0.get_database().unwrap_or(self.0.get_username());
        write!(formatter, "postgres://{}@{}:{}/{database}", self.0.get_username(), self.0.get_host(), self.0.get_port())
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

fn parameters(url: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_or_refused_by_name_and_never_shows_a_password() {
        let rows = [
            ("postgres://ann@db.example:6432/ledger", Ok("postgres://ann@db.example:6432/ledger")),
            (
                "postgresql://ann:hunter2@db.example/ledger?sslmode=verify-full&sslrootcert=/ca.pem",
                Ok("postgres://ann@db.example:5432/ledger"),
            ),
            ("postgres://ann:hunter2@db.example/ledger?sslmod=require", Err("the parameter `sslmod` is unknown")),
            ("postgres://ann:hunter2@db.example/ledger?password=hunter2", Err("the parameter `password` is unknown")),
            ("postgres://ann:hunter2@db.example/ledger?sslmode=allow", Err("sslmode=allow is not supported")),
            ("postgres://ann:hunter2@db.example/ledger?sslmode=hunter", Err("the ledger's address cannot be used")),
            ("postgres://ann:hunter2@db.example:port/ledger", Err("the ledger's address cannot be used")),
            ("mysql://ann:hunter2@db.example/ledger", Err("it does not begin with postgres://")),
        ];
        for (url, expected) in rows {
            let read = Access::read(url, Some(Password::from("hunter2".to_owned())));
            let shown = format!("{read:?} {}", read.as_ref().map_or_else(ToString::to_string, ToString::to_string));
            assert!(!shown.contains("hunter2"), "{shown}");
            match (read, expected) {
                (Ok(access), Ok(expected)) => assert_eq!(access.to_string(), expected),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (read, expected) => panic!("{url}: {read:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn a_password_is_read_from_a_file_without_its_line_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        fs::write(&file, "hunter2\n").expect("written");
        let password = Password::from_file(&file).expect("read");
        assert_eq!((password.0.as_str(), format!("{password:?}").as_str()), ("hunter2", "Password"));
    }
}
