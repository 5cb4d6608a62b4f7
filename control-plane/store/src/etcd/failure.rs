//! What a failed call means: whether anything was done, whether another server would do better,
//! and in words what to do. etcd's own messages seldom say it.

use std::error::Error as _;

use tonic::{Code, Status};

use crate::Error;

/// Why a call to one server failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was done, and another server may do it.
    NotDone(Reason),
    /// It may have been done, and may yet be.
    Unknown(String),
    /// Nothing was done, and every server would say the same.
    Final(Error),
    /// The history asked for is gone.
    Compacted,
    /// The history asked for is to come.
    Future,
    /// The lease has ended.
    LeaseGone,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// TLS did not come about.
    Tls(String),
    /// The server knows of no leader.
    NoLeader,
    /// We have to log in anew.
    Login(String),
    /// No connection came about, or it broke off.
    Unreached(String),
    /// The server gave no answer, or is too busy.
    Away(String),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoLeader => f.write_str("it knows of no leader"),
            Self::Tls(what) | Self::Login(what) | Self::Unreached(what) | Self::Away(what) => f.write_str(what),
        }
    }
}

/// A part of a message, and what it means.
type Saying = (&'static str, fn() -> Failure);

/// What an etcd server says, and what that means. Parts of messages, for etcd words them a
/// little differently from release to release.
const SAID: &[Saying] = &[
    ("required revision has been compacted", || Failure::Compacted),
    ("required revision is a future revision", || Failure::Future),
    ("requested lease not found", || Failure::LeaseGone),
    ("lease not found", || Failure::LeaseGone),
    ("no leader", || Failure::NotDone(Reason::NoLeader)),
    ("too many requests", || Failure::NotDone(Reason::Away("it has too many requests to do".to_owned()))),
    ("invalid auth token", || Failure::NotDone(Reason::Login("it does not know our login any more".to_owned()))),
    ("revision of auth store is old", || Failure::NotDone(Reason::Login("users or roles were changed since our login".to_owned()))),
    ("database space exceeded", || {
        Failure::Final(Error::Full {
            what: "etcd has raised the alarm NOSPACE: compact and defragment every server (etcdctl compact --physical REVISION, etcdctl defrag --cluster), then etcdctl alarm disarm; \
                   a larger --quota-backend-bytes gives more room"
                .to_owned(),
        })
    }),
    ("corrupt", || {
        Failure::Final(Error::Corrupt {
            what: "etcd has raised the alarm CORRUPT: its servers do not hold the same; see etcdctl alarm list".to_owned(),
        })
    }),
    ("permission denied", || {
        refused(
            "our etcd user lacks rights: its role needs readwrite on the prefix /wb/ (etcdctl role grant-permission ROLE readwrite --prefix=true /wb/)",
        )
    }),
    ("user name is empty", || {
        refused("etcd wants a user: set the store's user and password, or give a client certificate whose common name is the user")
    }),
    ("invalid user ID or password", || refused("etcd does not accept the store's user and password")),
    ("user name not found", || refused("etcd does not know our user: etcdctl user add")),
    ("authentication is not enabled", || {
        refused("the store has a user set, but authentication is off in etcd: etcdctl auth enable, or set no user")
    }),
    ("request is too large", || refused("etcd's --max-request-bytes is below its default of 1.5 MiB, which is needed")),
    ("too many operations in txn request", || refused("etcd's --max-txn-ops is below its default of 128, which is needed")),
];

fn refused(what: &str) -> Failure {
    Failure::Final(Error::Refused { what: what.to_owned() })
}

/// What TLS stacks say, and what to look at. The first that is found counts.
const TLS: &[(&str, &str)] = &[
    ("UnknownIssuer", "its certificate is not signed by the authority that we were given"),
    ("BadSignature", "its certificate is not signed by the authority that we were given"),
    ("NotValidForName", "its certificate is for another name than its address: give the store's TLS server name"),
    ("certificate not valid for name", "its certificate is for another name than its address: give the store's TLS server name"),
    ("Expired", "its certificate has expired"),
    ("invalid peer certificate", "its certificate is not valid"),
    ("CertificateRequired", "it wants a client certificate"),
    ("received fatal alert", "it does not accept our certificate"),
    ("InvalidContentType", "it does not speak TLS: the URL begins with etcd:// then"),
    ("corrupt message", "it does not speak TLS: the URL begins with etcd:// then"),
];

/// Sorts the failure of a call.
pub(super) fn judge(error: &etcd_client::Error) -> Failure {
    match error {
        etcd_client::Error::GRpcStatus(status) => judge_status(status),
        etcd_client::Error::InvalidArgs(_) | etcd_client::Error::InvalidUri(_) | etcd_client::Error::InvalidMetadataValue(_) => {
            Failure::Final(super::settings::misconfigured(format!("etcd cannot be called: {error}")))
        }
        other => said(&other.to_string()).unwrap_or_else(|| Failure::Unknown(other.to_string())),
    }
}

/// Whether the connection is to blame and not the server's own word: a status that a server sends has nothing behind it.
pub(super) fn broke_off(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status) if status.source().is_some())
}

fn judge_status(status: &Status) -> Failure {
    let told = chain(status);
    if let Some((_, hint)) = TLS.iter().find(|(part, _)| told.contains(part)) {
        return Failure::NotDone(Reason::Tls((*hint).to_owned()));
    }
    if was_never_sent(status) {
        // A server that dies hangs up as one does that speaks no TLS, so this alone is no refusal.
        let told = if told.contains("tls handshake eof") {
            format!("it hung up when it was spoken to by TLS; does it speak TLS? ({told})")
        } else {
            told
        };
        return Failure::NotDone(Reason::Unreached(told));
    }
    if let Some(failure) = said(status.message()) {
        return failure;
    }
    match status.code() {
        Code::Unauthenticated => Failure::NotDone(Reason::Login(told)),
        Code::PermissionDenied => Failure::Final(Error::Refused { what: told }),
        Code::Unimplemented => Failure::Final(super::settings::misconfigured(format!("that is no etcd 3.5 or later: {told}"))),
        _ => Failure::Unknown(told),
    }
}

fn said(message: &str) -> Option<Failure> {
    SAID.iter().find(|(part, _)| message.contains(part)).map(|(_, failure)| failure())
}

/// What a watch was ended with. etcd has the reason in words only.
pub(super) fn judge_cancel(reason: &str) -> Error {
    match said(reason) {
        Some(Failure::Final(error)) => error,
        _ => {
            Error::Unavailable { what: format!("etcd has ended the watch: {}", if reason.is_empty() { "no reason given" } else { reason }) }
        }
    }
}

/// Whether the connection did not come about.
fn was_never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The message with those of its causes that add something.
fn chain(status: &Status) -> String {
    let mut told = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !told.contains(&more) {
            told = if told.is_empty() { more } else { format!("{told}: {more}") };
        }
        source = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: Code, message: &str) -> Failure {
        judge(&etcd_client::Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn what_etcd_says_is_sorted_by_whether_anything_was_done() {
        type Row = (Code, &'static str, fn(&Failure) -> bool);
        let rows: &[Row] = &[
            (Code::Unavailable, "etcdserver: no leader", |found| matches!(found, Failure::NotDone(Reason::NoLeader))),
            (Code::Unavailable, "etcdserver: request timed out", |found| matches!(found, Failure::Unknown(_))),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure", |found| {
                matches!(found, Failure::Unknown(_))
            }),
            (Code::Unavailable, "etcdserver: leader changed", |found| matches!(found, Failure::Unknown(_))),
            (Code::Unknown, "transport error", |found| matches!(found, Failure::Unknown(_))),
            (Code::ResourceExhausted, "etcdserver: too many requests", |found| matches!(found, Failure::NotDone(Reason::Away(_)))),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", |found| {
                matches!(found, Failure::Final(Error::Full { .. }))
            }),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", |found| matches!(found, Failure::Compacted)),
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision", |found| matches!(found, Failure::Future)),
            (Code::NotFound, "etcdserver: requested lease not found", |found| matches!(found, Failure::LeaseGone)),
            (Code::Unauthenticated, "etcdserver: invalid auth token", |found| matches!(found, Failure::NotDone(Reason::Login(_)))),
            (Code::PermissionDenied, "etcdserver: permission denied", |found| matches!(found, Failure::Final(Error::Refused { .. }))),
            (Code::InvalidArgument, "etcdserver: user name is empty", |found| matches!(found, Failure::Final(Error::Refused { .. }))),
            (Code::DataLoss, "etcdserver: corrupt cluster", |found| matches!(found, Failure::Final(Error::Corrupt { .. }))),
            (Code::Unimplemented, "unknown service", |found| matches!(found, Failure::Final(Error::Misconfigured { .. }))),
        ];
        for (code, message, expected) in rows {
            let found = judged(*code, message);
            assert!(expected(&found), "{message}: {found:?}");
        }
    }

    #[test]
    fn an_alarm_says_what_to_do() {
        let Failure::Final(error) = judged(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded") else { panic!("final") };
        assert!(["NOSPACE", "defrag", "disarm"].iter().all(|word| error.to_string().contains(word)), "{error}");
        assert!(matches!(judge_cancel("etcdserver: permission denied"), Error::Refused { .. }));
        assert!(matches!(judge_cancel(""), Error::Unavailable { .. }));
    }
}
