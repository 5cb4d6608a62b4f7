//! From an `authorization` or `x-api-key` header to a key of the snapshot. No I/O, and the look-up is by a keyed hash, which a caller cannot steer.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};
use waybill_dialect::{ErrorBody, ErrorType};
use waybill_model::{
    key::{self, Pepper},
    snapshot::{ApiKey, Snapshot},
};

/// Where Anthropic's clients send the key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Why a caller is not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denied {
    /// No key.
    Missing,
    /// Two keys.
    Ambiguous,
    /// Not the form of a key, or not a key of ours.
    Unknown,
    /// Switched off.
    Disabled,
    /// Past its time.
    Expired,
    /// Known, but what it belongs to is unusable here: a fault of ours.
    Unusable,
    /// No configuration has arrived yet: a fault of ours.
    NoConfiguration,
}

impl Denied {
    /// The error the caller sees.
    #[must_use]
    pub fn error(self) -> ErrorBody {
        let denied = |message: &str| ErrorBody::new(ErrorType::Authentication, message);
        let ours = |message: &str| ErrorBody::new(ErrorType::Server, message).with_status(503).with_retry_after(5);
        match self {
            Self::Missing => denied(
                "No API key: send the header `Authorization: Bearer wb_…` or `x-api-key: wb_…`. `waybill keys create --name NAME --workspace default` makes one.",
            ),
            Self::Ambiguous => denied("Two different API keys: `Authorization` and `x-api-key` say different things. Send one of them."),
            Self::Unknown => denied(
                "This API key is not known here. Check that it was copied whole; `waybill keys create --name NAME --workspace default` makes a new one.",
            ),
            Self::Disabled => denied("This API key is disabled."),
            Self::Expired => denied("This API key has expired; `waybill keys create --name NAME --workspace default` makes a new one."),
            Self::Unusable => ours(
                "This key's workspace cannot be used in the configuration in force. It is no fault of the key; `waybill status` says why.",
            ),
            Self::NoConfiguration => ours("This proxy has no configuration yet. It is no fault of the key; try again."),
        }
    }
}

/// Finds the key of a request.
///
/// # Errors
/// See [`Denied`].
pub fn authenticate(headers: &HeaderMap, snapshot: &Snapshot, peppers: &[Pepper], now_unix_ms: i64) -> Result<Arc<ApiKey>, Denied> {
    let text = key_of(headers)?;
    if !key::is_well_formed(text) {
        return Err(Denied::Unknown);
    }
    if snapshot.revision == 0 {
        return Err(Denied::NoConfiguration);
    }
    let key = peppers.iter().find_map(|pepper| snapshot.key(&pepper.hash(text))).ok_or(Denied::Unknown)?;
    if key.disabled {
        return Err(Denied::Disabled);
    }
    if key.expire_unix_ms.is_some_and(|end| end <= now_unix_ms) {
        return Err(Denied::Expired);
    }
    if key.workspace.is_none() {
        return Err(Denied::Unusable);
    }
    Ok(key)
}

/// The text of the key, wherever it stands: OpenAI's clients send a bearer, Anthropic's either.
fn key_of(headers: &HeaderMap) -> Result<&str, Denied> {
    let own = headers.get(API_KEY).map(|value| value.to_str().map(str::trim).map_err(|_| Denied::Unknown)).transpose()?;
    match (bearer(headers)?, own) {
        (Some(bearer), Some(own)) if bearer != own => Err(Denied::Ambiguous),
        (bearer, own) => bearer.or(own).ok_or(Denied::Missing),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Denied::Unknown)?;
    let named = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(named.map(|(_, bearer)| bearer.trim()))
}

#[cfg(test)]
mod tests {
    use waybill_model::{compile::compile, world::World};
    use waybill_proto::model::v1 as wire;

    use super::*;

    fn resource(name: &str, spec: wire::resource::Spec) -> Arc<wire::Resource> {
        let metadata = wire::Metadata { name: name.into(), uid: format!("uid-{name}"), generation: 1, ..wire::Metadata::default() };
        Arc::new(wire::Resource { metadata: Some(metadata), spec: Some(spec) })
    }

    #[test]
    fn each_way_of_not_being_let_in_has_its_answer_and_none_of_ours_is_a_401() {
        let pepper = Pepper::new(1, &[7; 32]);
        let text = |seed: u8| key::generate(true, [seed; 20]);
        let key = |seed: u8, workspace: &str| wire::ApiKey {
            workspace: workspace.into(),
            hash: pepper.hash(&text(seed)).to_vec().into(),
            ..wire::ApiKey::default()
        };
        let expired = wire::ApiKey { expire_time: Some(pbjson_types::Timestamp { seconds: 100, nanos: 0 }), ..key(3, "w") };
        let world = World::new(
            1,
            [
                resource("w", wire::resource::Spec::Workspace(wire::Workspace { org: "o".into(), ..wire::Workspace::default() })),
                resource("good", wire::resource::Spec::ApiKey(key(1, "w"))),
                resource("off", wire::resource::Spec::ApiKey(wire::ApiKey { disabled: true, ..key(2, "w") })),
                resource("old", wire::resource::Spec::ApiKey(expired)),
                resource("lost", wire::resource::Spec::ApiKey(key(4, "nowhere"))),
            ],
        );
        let snapshot = compile(&world, &|_| None).snapshot;
        let mut typing_error = text(1);
        typing_error.pop();
        // `authorization`, `x-api-key`, what comes of them.
        let rows = [
            (Some(format!("Bearer {}", text(1))), None, Ok("good")),
            (Some(format!("bearer  {}", text(1))), None, Ok("good")),
            (None, Some(text(1)), Ok("good")),
            (Some(format!("Bearer {}", text(1))), Some(text(1)), Ok("good")),
            (Some("Basic abc".into()), Some(text(1)), Ok("good")),
            (Some(format!("Bearer {}", text(1))), Some(text(2)), Err((Denied::Ambiguous, 401))),
            (Some(format!("Bearer {}", text(9))), Some(text(1)), Err((Denied::Ambiguous, 401))),
            (None, None, Err((Denied::Missing, 401))),
            (None, Some("sk-ant-abc".into()), Err((Denied::Unknown, 401))),
            (None, Some(text(2)), Err((Denied::Disabled, 401))),
            (Some("Basic abc".into()), None, Err((Denied::Missing, 401))),
            (Some("Bearer sk-abc".into()), None, Err((Denied::Unknown, 401))),
            (Some(format!("Bearer {typing_error}")), None, Err((Denied::Unknown, 401))),
            (Some(format!("Bearer {}", text(9))), None, Err((Denied::Unknown, 401))),
            (Some(format!("Bearer {}", text(2))), None, Err((Denied::Disabled, 401))),
            (Some(format!("Bearer {}", text(3))), None, Err((Denied::Expired, 401))),
            (Some(format!("Bearer {}", text(4))), None, Err((Denied::Unusable, 503))),
        ];
        for (bearer, own, expected) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in [(AUTHORIZATION, &bearer), (API_KEY, &own)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().expect("a header"));
                }
            }
            let found = authenticate(&headers, &snapshot, std::slice::from_ref(&pepper), 100_000);
            let shown = found.as_ref().map(|key| &*key.name).map_err(|denied| (*denied, denied.error().status));
            assert_eq!(shown, expected, "{bearer:?} {own:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {}", text(1)).parse().expect("a header"));
        assert_eq!(authenticate(&headers, &Snapshot::default(), &[pepper], 0).map_err(|denied| denied.error().status).err(), Some(503));
    }
}
