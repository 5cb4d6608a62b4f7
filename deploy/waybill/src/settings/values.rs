//! Values of settings that have a form of their own. Each is text in the file, in a flag and in a variable alike.

use std::{borrow::Cow, fmt, path::PathBuf, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Makes a type that has a text form a setting.
macro_rules! text {
    ($type:ty, $name:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

/// A time: `500ms`, `30s`, `10m`, `24h`; `0s` is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Period(pub Duration);

text!(Period, "Period", "^[0-9]+(ms|s|m|h)$");

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no time: write 500ms, 30s, 10m or 24h");
        let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let ms = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1_000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            _ => None,
        };
        ms.map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms.is_multiple_of(1_000) => write!(formatter, "{}s", ms / 1_000),
            ms => write!(formatter, "{ms}ms"),
        }
    }
}

/// Where the configuration is stored: `sqlite:PATH`, `etcd://HOST:PORT,…`, or `etcds://HOST:PORT,…` for TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreUrl {
    Sqlite(PathBuf),
    Etcd { hosts: Vec<String>, tls: bool },
}

text!(StoreUrl, "StoreUrl", "^(sqlite:.+|etcds?://[^/@]+)$");

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{}` is no store: write sqlite:PATH, etcd://HOST:PORT,HOST:PORT or etcds://… for TLS", without_password(text));
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(path.into()));
        }
        let (tls, hosts) = match (text.strip_prefix("etcd://"), text.strip_prefix("etcds://")) {
            (Some(hosts), _) => (false, hosts),
            (_, Some(hosts)) => (true, hosts),
            (None, None) => return Err(wrong()),
        };
        if hosts.contains('@') {
            return Err("a user and a password have no place in the URL: give etcd.username and etcd.passwordFile".to_owned());
        }
        let hosts: Vec<String> = hosts.trim_end_matches('/').split(',').map(str::to_owned).collect();
        if hosts.iter().all(|host| is_host_and_port(host)) { Ok(Self::Etcd { hosts, tls }) } else { Err(wrong()) }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Etcd { hosts, tls } => write!(formatter, "{}://{}", if *tls { "etcds" } else { "etcd" }, hosts.join(",")),
        }
    }
}

/// Where the bill is kept: `sqlite:PATH` or `postgres://USER@HOST:PORT/DATABASE`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LedgerUrl {
    Sqlite(PathBuf),
    /// The URL, without a password.
    Postgres(String),
}

text!(LedgerUrl, "LedgerUrl", "^(sqlite:.+|postgres(ql)?://.+)$");

impl FromStr for LedgerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(path.into()));
        }
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")).filter(|rest| !rest.is_empty());
        let Some(rest) = rest else {
            return Err(format!("`{}` is no ledger: write sqlite:PATH or postgres://USER@HOST:PORT/DATABASE", without_password(text)));
        };
        let user = rest.split('/').next().unwrap_or_default().rsplit_once('@').map_or("", |(user, _)| user);
        if user.contains(':') || rest.contains("password=") {
            return Err("a password has no place in the URL: give postgres.passwordFile".to_owned());
        }
        Ok(Self::Postgres(text.to_owned()))
    }
}

impl fmt::Display for LedgerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Postgres(url) => formatter.write_str(url),
        }
    }
}

/// A file with a pepper, and the number that key records know it by: `PATH` is number 1, else `NUMBER=PATH`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PepperFile {
    pub id: u8,
    pub path: PathBuf,
}

text!(PepperFile, "PepperFile", "^([0-9]{1,3}=)?.+$");

impl FromStr for PepperFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((id, path)) if !path.is_empty() && id.chars().all(|letter| letter.is_ascii_digit()) => {
                let id = id.parse().map_err(|_| format!("`{id}` is no number of a pepper: from 0 to 255"))?;
                Ok(Self { id, path: path.into() })
            }
            _ if text.is_empty() => Err("an empty path is no file".to_owned()),
            _ => Ok(Self { id: 1, path: text.into() }),
        }
    }
}

impl fmt::Display for PepperFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.id, self.path.display())
    }
}

/// `HOST:PORT`, without a scheme, a path or a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address(pub String);

text!(Address, "Address", "^[^/@,]+:[0-9]+$");

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_host_and_port(text) { Ok(Self(text.to_owned())) } else { Err(format!("`{text}` is not HOST:PORT")) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains(['/', '@', ',', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A refused URL is shown without what may be a secret.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<T: FromStr<Err = String> + fmt::Display>(text: &str) -> String {
        text.parse::<T>().map_or_else(|error| format!("! {error}"), |value| value.to_string())
    }

    #[test]
    fn values_are_read_and_shown_or_refused_without_their_secrets() {
        for (shown, expected) in [
            (shown::<Period>("90s"), "90s"),
            (shown::<Period>("2m"), "120s"),
            (shown::<Period>("250ms"), "250ms"),
            (shown::<Period>("0s"), "0s"),
            (shown::<Period>("30"), "! `30` is no time: write 500ms, 30s, 10m or 24h"),
            (shown::<Period>("99999999999999999999s"), "! `99999999999999999999s` is no time: write 500ms, 30s, 10m or 24h"),
            (shown::<StoreUrl>("sqlite:/var/lib/waybill.db"), "sqlite:/var/lib/waybill.db"),
            (shown::<StoreUrl>("etcd://a:2379,b:2379/"), "etcd://a:2379,b:2379"),
            (shown::<StoreUrl>("etcds://a:2379"), "etcds://a:2379"),
            (
                shown::<StoreUrl>("etcd://a:2379,b"),
                "! `etcd://a:2379,b` is no store: write sqlite:PATH, etcd://HOST:PORT,HOST:PORT or etcds://… for TLS",
            ),
            (
                shown::<StoreUrl>("etcd://root:hush@a:2379"),
                "! a user and a password have no place in the URL: give etcd.username and etcd.passwordFile",
            ),
            (shown::<LedgerUrl>("postgres://waybill@db:5432/waybill"), "postgres://waybill@db:5432/waybill"),
            (shown::<LedgerUrl>("postgres://w:hush@db/waybill"), "! a password has no place in the URL: give postgres.passwordFile"),
            (
                shown::<LedgerUrl>("mysql://w:hush@db/waybill"),
                "! `mysql://db/waybill` is no ledger: write sqlite:PATH or postgres://USER@HOST:PORT/DATABASE",
            ),
            (shown::<PepperFile>("/run/pepper"), "1=/run/pepper"),
            (shown::<PepperFile>("2=/run/pepper"), "2=/run/pepper"),
            (shown::<PepperFile>("256=/run/pepper"), "! `256` is no number of a pepper: from 0 to 255"),
            (shown::<Address>("control-0.control:7071"), "control-0.control:7071"),
            (shown::<Address>("[::1]:7071"), "[::1]:7071"),
            (shown::<Address>("https://control:7071"), "! `https://control:7071` is not HOST:PORT"),
        ] {
            assert_eq!(shown, expected);
        }
    }
}
