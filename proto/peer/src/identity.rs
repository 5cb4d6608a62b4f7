//! What a certificate says about its holder: URIs `spiffe://waybill/<role>/<name>` among its subject alternative names. Pure.

use std::{fmt, str::FromStr};

use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// The trust domain of all identities.
const DOMAIN: &str = "spiffe://waybill/";

/// Most names of one certificate: one for a whole set of replicas lists them all.
pub const MAX_NAMES: usize = 256;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A replica of the control plane.
    Control,
    /// A proxy.
    Proxy,
    /// Billing.
    Billing,
    /// A person, or what acts for one.
    Operator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Control, Self::Proxy, Self::Billing, Self::Operator];

    /// As it stands in an identity.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Proxy => "proxy",
            Self::Billing => "billing",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(())
    }
}

/// Who holds a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    role: Role,
    names: Box<[Box<str>]>,
}

/// A certificate says nothing about its holder that we understand. Whoever issues certificates has to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// It is no certificate.
    #[error("it is no certificate")]
    Unreadable,
    /// It has no identity.
    #[error("it has no URI {DOMAIN}<role>/<name> among its subject alternative names")]
    Nameless,
    /// An identity of ours that does not read.
    #[error("{0} is no identity: {DOMAIN}<role>/<name> with a role of control, proxy, billing or operator")]
    Malformed(String),
    /// More than one role.
    #[error("it has the roles {0} and {1}; one process has one role")]
    Roles(Role, Role),
    /// More than [`MAX_NAMES`].
    #[error("it has more than {MAX_NAMES} names")]
    TooMany,
}

impl Identity {
    /// An identity with one name.
    #[must_use]
    pub fn new(role: Role, name: &str) -> Self {
        Self { role, names: Box::new([name.into()]) }
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The first name: what stands in logs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("", |name| name)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Its holder may call itself so. A name that ends in `*` stands for all that begin alike: one certificate for replicas whose names nobody
    /// knows beforehand.
    #[must_use]
    pub fn may_be(&self, name: &str) -> bool {
        self.names().any(|own| own.strip_suffix('*').map_or(own == name, |prefix| name.starts_with(prefix) && !name.is_empty()))
    }

    /// What a certificate (DER) says.
    ///
    /// # Errors
    /// It says nothing, or contradicts itself.
    pub fn of_certificate(der: &[u8]) -> Result<Self, Unidentified> {
        let (_, certificate) = parse_x509_certificate(der).map_err(|_| Unidentified::Unreadable)?;
        let names = certificate.subject_alternative_name().map_err(|_| Unidentified::Unreadable)?;
        let uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        Self::of_uris(uris)
    }

    /// What URIs say; those of other domains are none of ours.
    ///
    /// # Errors
    /// They say nothing, or contradict themselves.
    pub fn of_uris<'a>(uris: impl IntoIterator<Item = &'a str>) -> Result<Self, Unidentified> {
        let mut found: Option<(Role, Vec<Box<str>>)> = None;
        for uri in uris {
            let Some(path) = uri.strip_prefix(DOMAIN) else { continue };
            let (role, name) = read(path).ok_or_else(|| Unidentified::Malformed(uri.to_owned()))?;
            let (first, names) = found.get_or_insert((role, Vec::new()));
            if *first != role {
                return Err(Unidentified::Roles(*first, role));
            }
            if names.len() >= MAX_NAMES {
                return Err(Unidentified::TooMany);
            }
            names.push(name.into());
        }
        let (role, names) = found.ok_or(Unidentified::Nameless)?;
        Ok(Self { role, names: names.into() })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.role, self.name())?;
        match self.names.len() {
            0 | 1 => Ok(()),
            more => write!(formatter, " and {} more", more - 1),
        }
    }
}

fn read(path: &str) -> Option<(Role, &str)> {
    let (role, name) = path.split_once('/')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let stem = name.strip_suffix('*').unwrap_or(name);
    let named = !name.is_empty() && stem.bytes().all(plain);
    named.then_some((role.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_one_role_and_its_names() {
        let malformed = |uri: &str| Err(Unidentified::Malformed(uri.to_owned()));
        let one = |role, name| Ok(Identity::new(role, name));
        type Row<'a> = (&'a [&'a str], Result<Identity, Unidentified>);
        let rows: [Row<'_>; 12] = [
            (&["spiffe://waybill/proxy/p-1"], one(Role::Proxy, "p-1")),
            (&["https://example.com", "spiffe://waybill/control/a.b_c"], one(Role::Control, "a.b_c")),
            (&["spiffe://waybill/billing/b"], one(Role::Billing, "b")),
            (&["spiffe://waybill/operator/ada"], one(Role::Operator, "ada")),
            (&[], Err(Unidentified::Nameless)),
            (&["spiffe://other/proxy/p"], Err(Unidentified::Nameless)),
            (&["spiffe://waybill/"], malformed("spiffe://waybill/")),
            (&["spiffe://waybill/proxy"], malformed("spiffe://waybill/proxy")),
            (&["spiffe://waybill/proxy/"], malformed("spiffe://waybill/proxy/")),
            (&["spiffe://waybill/proxy/a/b"], malformed("spiffe://waybill/proxy/a/b")),
            (&["spiffe://waybill/Proxy/a"], malformed("spiffe://waybill/Proxy/a")),
            (&["spiffe://waybill/proxy/a", "spiffe://waybill/control/a"], Err(Unidentified::Roles(Role::Proxy, Role::Control))),
        ];
        for (uris, expected) in rows {
            assert_eq!(Identity::of_uris(uris.iter().copied()), expected, "{uris:?}");
        }
    }

    #[test]
    fn a_holder_may_have_the_names_of_its_certificate_and_no_others() {
        let identity = Identity::of_uris(["spiffe://waybill/proxy/p-0", "spiffe://waybill/proxy/web-*"]).unwrap();
        for (name, may) in [("p-0", true), ("p-1", false), ("p-", false), ("", false), ("web-", true), ("web-x7", true), ("we", false)] {
            assert_eq!(identity.may_be(name), may, "{name}");
        }
        assert!(!Identity::new(Role::Proxy, "*").may_be("") && Identity::new(Role::Proxy, "*").may_be("x"));
        assert_eq!(identity.to_string(), "proxy/p-0 and 1 more");
    }
}
