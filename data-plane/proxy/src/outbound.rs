//! The request towards a provider: its path, its few headers, its body.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
};
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

/// Builds the request. Headers are made new; of the caller's only attribution passes, and only to a provider that is a gateway.
///
/// # Errors
/// A configured value is no header or path: a fault of the configuration.
pub(crate) fn request(
    endpoint: &Endpoint,
    attempt: &str,
    hop: &str,
    caller: &HeaderMap,
    stream: bool,
    payload: Payload,
) -> Result<Request<Payload>, http::Error> {
    let provider = &endpoint.provider;
    let uri: Uri = format!("{}/chat/completions", provider.path).parse()?;
    let mut request = Request::new(payload);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&provider.origin.authority)?);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ACCEPT, if stream { EVENTS } else { JSON });
    // An encoded answer could be neither priced nor spliced.
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(CLIENT_REQUEST_ID, HeaderValue::from_str(attempt)?);
    // Only what a gateway writes goes on; anything else in that header would reach the provider as the caller's own words.
    for value in caller.get_all(HOP).iter().filter(|value| value.len() == 16 && value.as_bytes().iter().all(u8::is_ascii_hexdigit)) {
        headers.append(HOP, value.clone());
    }
    headers.append(HOP, HeaderValue::from_str(hop)?);
    if provider.takes_gateway_fields {
        for name in ATTRIBUTION {
            if let Some(value) = caller.get(name) {
                headers.insert(name, value.clone());
            }
        }
    }
    for (name, value) in &provider.headers {
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    if let Credential::Bearer(secret) = &endpoint.account.credential {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", secret.expose()))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(request)
}
