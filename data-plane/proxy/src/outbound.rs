//! The request towards a provider: its path, its few headers, its body.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
};
use waybill_dialect::Dialect;
use waybill_model::snapshot::{Credential, Endpoint};
use waybill_upstream::Payload;

/// Names the gateways a request has passed, so that a loop ends at its first turn.
pub(crate) const HOP: HeaderName = HeaderName::from_static("x-waybill-hop");

/// OpenAI's header for the caller's own id of a request: it lets a bill be compared with the provider's log line by line.
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");

/// Attribution headers, for providers that are gateways themselves.
const ATTRIBUTION: [&str; 3] = ["http-referer", "x-title", "x-openrouter-title"];

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("waybill/", env!("CARGO_PKG_VERSION")));

/// Most gateways a request may pass.
pub(crate) const MOST_HOPS: usize = 8;

/// Anthropic's name for the version of its interface, and for what is tried out beside it.
pub(crate) const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The version that is spoken here, for callers who name none.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Who asks, and how.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) headers: &'a HeaderMap,
}

/// What is asked of a provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wanted {
    Whole,
    Stream,
    /// How many tokens a request has.
    Count,
}

impl Wanted {
    const fn path(self, dialect: Dialect) -> &'static str {
        match (dialect, self) {
            (Dialect::OpenAi, _) => "/chat/completions",
            (Dialect::Anthropic, Self::Count) => "/messages/count_tokens",
            (Dialect::Anthropic, _) => "/messages",
        }
    }
}

/// Builds the request. Headers are made new; of the caller's pass attribution, to a provider that is a gateway, and Anthropic's own, from its
/// dialect to its dialect.
///
/// # Errors
/// A configured value is no header or path: a fault of the configuration.
pub(crate) fn request(
    endpoint: &Endpoint,
    attempt: String,
    hop: &str,
    caller: Caller<'_>,
    wanted: Wanted,
    payload: Payload,
) -> Result<Request<Payload>, http::Error> {
    let provider = &endpoint.provider;
    let dialect = dialect_of(endpoint);
    let uri = Uri::try_from([&provider.path, wanted.path(dialect)].concat())?;
    let mut request = Request::new(payload);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.reserve(12);
    headers.insert(HOST, HeaderValue::from_str(&provider.origin.authority)?);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ACCEPT, if wanted == Wanted::Stream { EVENTS } else { JSON });
    // An encoded answer could be neither priced nor spliced.
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(CLIENT_REQUEST_ID, HeaderValue::try_from(attempt)?);
    // Only what a gateway writes goes on; anything else in that header would reach the provider as the caller's own words.
    for value in caller.headers.get_all(HOP).iter().filter(|value| value.len() == 16 && value.as_bytes().iter().all(u8::is_ascii_hexdigit))
    {
        headers.append(HOP, value.clone());
    }
    headers.append(HOP, HeaderValue::from_str(hop)?);
    if provider.takes_gateway_fields {
        for name in ATTRIBUTION {
            if let Some(value) = caller.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
    }
    if dialect == Dialect::Anthropic {
        of_anthropic(headers, caller);
    }
    for (name, value) in &provider.headers {
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    let secret = match &endpoint.account.credential {
        Credential::Bearer(secret) => Some((AUTHORIZATION, HeaderValue::try_from(["Bearer ", secret.expose()].concat())?)),
        Credential::ApiKeyHeader(secret) => Some((API_KEY, HeaderValue::from_str(secret.expose())?)),
        Credential::None | Credential::Missing => None,
    };
    if let Some((name, mut value)) = secret {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(request)
}

/// The dialect of an endpoint's provider. A snapshot holds none that this build does not speak.
pub(crate) fn dialect_of(endpoint: &Endpoint) -> Dialect {
    Dialect::from_name(&endpoint.provider.dialect).unwrap_or_default()
}

fn of_anthropic(headers: &mut HeaderMap, caller: Caller<'_>) {
    let own = if caller.dialect == Dialect::Anthropic { Some(caller.headers) } else { None };
    let version = own.and_then(|own| own.get(ANTHROPIC_VERSION)).filter(|version| is_version(version.as_bytes()));
    headers.insert(ANTHROPIC_VERSION, version.cloned().unwrap_or(VERSION));
    for beta in own.into_iter().flat_map(|own| own.get_all(ANTHROPIC_BETA)) {
        headers.append(ANTHROPIC_BETA, beta.clone());
    }
}

/// `20YY-MM-DD`: anything else would reach the provider as the caller's own words.
fn is_version(text: &[u8]) -> bool {
    text.len() == 10
        && text.starts_with(b"20")
        && text.iter().enumerate().all(|(at, byte)| if matches!(at, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use waybill_model::{compile::compile, snapshot::Secret, world::World};
    use waybill_proto::model::v1::{self as wire, resource::Spec};

    use super::*;

    fn endpoint(dialect: &str, spec: wire::Provider) -> Arc<Endpoint> {
        let secret = Some(wire::SecretRef { env: "ANY".into(), file: String::new() });
        let resources = [
            ("p", Spec::Provider(wire::Provider { dialect: dialect.into(), base_url: "http://127.0.0.1:9/v1".into(), ..spec })),
            ("p", Spec::ProviderAccount(wire::ProviderAccount { provider: "p".into(), secret, ..Default::default() })),
            ("a/m", Spec::Model(wire::Model::default())),
            (
                "m@p",
                Spec::Endpoint(wire::Endpoint {
                    model: "a/m".into(),
                    provider: "p".into(),
                    account: "p".into(),
                    provider_model: "m-1".into(),
                    allow_unpriced: true,
                    ..Default::default()
                }),
            ),
        ];
        let resources = resources.into_iter().map(|(name, spec)| {
            let metadata = wire::Metadata { name: name.into(), uid: name.into(), generation: 1, ..Default::default() };
            Arc::new(wire::Resource { metadata: Some(metadata), spec: Some(spec) })
        });
        let compiled = compile(&World::new(1, resources), &|_| Some(Secret::new("s3cret")));
        assert!(compiled.rejected.is_empty(), "{:?}", compiled.rejected);
        Arc::clone(&compiled.snapshot.endpoints()[0])
    }

    #[test]
    fn each_dialect_has_its_path_and_headers_and_nothing_else_of_the_callers_passes() {
        let told = |caller: Dialect, fields: &[(&'static str, &str)], provider: &str, wanted: Wanted| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), value.parse().expect("a value"));
            }
            let endpoint = endpoint(provider, wire::Provider::default());
            let caller = Caller { dialect: caller, headers: &headers };
            let request =
                request(&endpoint, "att-1".to_owned(), "0123456789abcdef", caller, wanted, Payload::default()).expect("a request");
            let shown = ["authorization", "x-api-key", "anthropic-version", "anthropic-beta", "cookie"]
                .iter()
                .flat_map(|name| request.headers().get_all(*name).iter().map(move |value| format!("{name}: {}", value.to_str().unwrap())))
                .collect::<Vec<_>>();
            (request.uri().path().to_owned(), shown.join(", "))
        };
        let fields: &[(&'static str, &str)] = &[
            ("anthropic-version", "2024-01-31"),
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b,c"),
            ("x-api-key", "wb"),
            ("cookie", "x"),
        ];
        let odd: &[(&'static str, &str)] = &[("anthropic-version", "2024-01-31x")];
        use Dialect::{Anthropic, OpenAi};
        let all = "x-api-key: s3cret, anthropic-version: 2024-01-31, anthropic-beta: a, anthropic-beta: b,c";
        let plain = "x-api-key: s3cret, anthropic-version: 2023-06-01";
        let rows = [
            (Anthropic, fields, "anthropic", Wanted::Stream, "/v1/messages", all),
            (Anthropic, fields, "anthropic", Wanted::Count, "/v1/messages/count_tokens", all),
            (Anthropic, odd, "anthropic", Wanted::Whole, "/v1/messages", plain),
            (OpenAi, fields, "anthropic", Wanted::Whole, "/v1/messages", plain),
            (Anthropic, fields, "openai", Wanted::Whole, "/v1/chat/completions", "authorization: Bearer s3cret"),
            (OpenAi, fields, "openai", Wanted::Stream, "/v1/chat/completions", "authorization: Bearer s3cret"),
        ];
        for (caller, fields, provider, wanted, path, headers) in rows {
            assert_eq!(told(caller, fields, provider, wanted), (path.to_owned(), headers.to_owned()), "{caller} {provider} {wanted:?}");
        }
    }
}
