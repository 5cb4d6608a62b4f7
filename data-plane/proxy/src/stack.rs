//! The one file that joins the rooms: from a request to its answer.

use std::{cell::OnceCell, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;
use waybill_dialect::{Call, DataCollection, Dialect, ErrorBody, ErrorType, Need, Sort, read_request};
use waybill_front::{BodyFault, Denied, Reply, authenticate, error_answer, json_answer, read_body};
use waybill_guard::Guard;
use waybill_model::{
    id::GenerationId,
    price::Tariff,
    snapshot::{ApiKey, Endpoint, Found, Model, Snapshot},
};
use waybill_proto::usage::v1::Decision;
use waybill_route::{MaxPrice, Refusal, Wishes, least_input_tokens, plan};

use crate::{
    account,
    answer::Answer,
    attempts::{self, Accepted, limits_of},
    books::Owner,
    count,
    guarded::{closed_error, forbidden_error, refusal_error},
    models::{self, Doing},
    outbound,
    refusals::Refused,
    surface::{Operation, Question, Surface, dialect, operation, unescaped},
    uptime::Span,
    waiting,
    worker::Worker,
};

const GENERATION: HeaderName = HeaderName::from_static("x-generation-id");

/// The same, where Anthropic's clients look for it.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// `omit` leaves `usage.cost` out of this answer.
const COST: HeaderName = HeaderName::from_static("x-waybill-cost");

/// How long `GET generation` waits for the ledger.
const GENERATION_WAIT: Duration = Duration::from_secs(2);

/// Answers a request.
pub(crate) async fn answer(worker: Rc<Worker>, request: Request<Incoming>) -> Response<Answer> {
    worker.counters.requests.add(1);
    let (parts, body) = request.into_parts();
    let dialect = dialect(parts.uri.path(), &parts.headers);
    let operation = admissible(&worker, &parts.headers).and_then(|()| operation(&parts.method, parts.uri.path()));
    let answered = match operation {
        Ok((surface, Operation::ChatCompletions | Operation::Messages)) => {
            let generation = worker.generation();
            // On the heap, for a connection keeps the room of its largest answer, also while a stream goes on without it.
            let outcome = Box::pin(serve(&worker, surface, dialect, generation, parts.headers, body)).await;
            return stamped(dialect, generation, outcome);
        }
        Ok((_, Operation::CountTokens)) => {
            let generation = worker.generation();
            let outcome = Box::pin(count::answer(&worker, generation, parts.headers, body)).await;
            return stamped(dialect, generation, outcome.map(reply));
        }
        Ok((surface, Operation::Ask(question))) => ask(&worker, surface, question, &parts).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(answer) => reply(answer),
        // Anthropic's clients show the id of every error.
        Err(error) if dialect == Dialect::Anthropic => stamped(dialect, worker.generation(), Err(error)),
        Err(error) => reply(error_answer(dialect, &error, "")),
    }
}

/// An answer to a call, or its error, with the id of the generation: as `x-generation-id`, and where Anthropic's clients look for it.
fn stamped(dialect: Dialect, generation: GenerationId, outcome: Result<Response<Answer>, ErrorBody>) -> Response<Answer> {
    let id = generation.to_string();
    let mut response = outcome.unwrap_or_else(|error| reply(error_answer(dialect, &error, &id)));
    if let Ok(value) = HeaderValue::from_str(&id) {
        if dialect == Dialect::Anthropic {
            response.headers_mut().insert(REQUEST_ID, value.clone());
        }
        response.headers_mut().insert(GENERATION, value);
    }
    response
}

/// A model that the key may call, and what else it may.
fn open_model<'a>(snapshot: &'a Snapshot, key: &'a ApiKey, name: &str) -> Result<(&'a Model, Guard<'a>), ErrorBody> {
    let (model, guard) = (found(snapshot, name)?, Guard::new(&key.bounds, 0));
    guard.models(&[model]).map_err(|forbidden| forbidden_error(&forbidden))?;
    Ok((model, guard))
}

/// Answers what is not a call.
async fn ask(worker: &Worker, surface: Surface, question: Question<'_>, parts: &Parts) -> Result<Reply, ErrorBody> {
    let shown = |name: &str, show: fn(&Model, Guard<'_>, i64) -> serde_json::Value| {
        let (snapshot, key) = let_in(worker, &parts.headers)?;
        let (model, guard) = open_model(&snapshot, &key, name)?;
        Ok(ok(show(model, guard, worker.unix_ms()).to_string()))
    };
    let query = parts.uri.query().unwrap_or_default();
    match question {
        Question::Models => list(worker, &parts.headers, query),
        Question::Model(name) => shown(&name, models::one),
        Question::ModelData(name) => shown(&name, models::one_as_data),
        Question::Endpoints(name) => endpoints(worker, surface, &name, &parts.headers),
        Question::Key => own_key(worker, &parts.headers).await,
        Question::Generation => generation(worker, &parts.headers, query).await,
    }
}

/// On `/api/v1` OpenRouter's schema is kept to the letter; `/v1`, where no vendor has such a path, says why as well.
fn endpoints(worker: &Worker, surface: Surface, name: &str, headers: &HeaderMap) -> Result<Reply, ErrorBody> {
    let (snapshot, key) = let_in(worker, headers)?;
    let ((model, guard), now_unix_ms) = (open_model(&snapshot, &key, name)?, worker.unix_ms());
    let doing = |endpoint: &Endpoint| Doing {
        standing: worker.with_health(|health| health.standing(endpoint, now_unix_ms)),
        uptimes: worker.sightings().uptimes(&endpoint.name, [Span::Minutes5, Span::Minutes30, Span::Day], now_unix_ms),
    };
    Ok(ok(models::endpoints(model, guard, surface == Surface::Vendor, now_unix_ms, doing).to_string()))
}

fn ok(body: impl Into<Bytes>) -> Reply {
    json_answer(StatusCode::OK, body.into())
}

fn reply(reply: Reply) -> Response<Answer> {
    reply.map(|body| Answer::whole([body]))
}

/// Limits of headers, and loops.
fn admissible(worker: &Worker, headers: &HeaderMap) -> Result<(), ErrorBody> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let limit = worker.limits().header_bytes;
    if bytes > limit {
        return Err(ErrorBody::new(
            ErrorType::InvalidRequest,
            format!("The headers have {bytes} bytes; at most {limit} are taken (limit header_bytes)."),
        )
        .with_status(431));
    }
    let hops = headers.get_all(outbound::HOP);
    if hops.iter().any(|hop| hop.as_bytes() == worker.hop().as_bytes()) || hops.iter().count() > outbound::MOST_HOPS {
        let message =
            "This request has come back to the gateway it came from: a provider's base URL leads here. Check the base URL of the provider.";
        return Err(ErrorBody::new(ErrorType::InvalidRequest, message).with_status(508));
    }
    Ok(())
}

pub(crate) fn let_in(worker: &Worker, headers: &HeaderMap) -> Result<(Arc<Snapshot>, Arc<ApiKey>), ErrorBody> {
    let snapshot = worker.snapshot();
    let key = authenticate(headers, &snapshot, worker.peppers(), worker.unix_ms()).map_err(Denied::error)?;
    if worker.is_denied(&key.uid) {
        return Err(Denied::Disabled.error());
    }
    Guard::open(&key.bounds).map_err(|closed| closed_error(&closed))?;
    Ok((snapshot, key))
}

pub(crate) fn found<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Model, ErrorBody> {
    match snapshot.model(name) {
        Found::Model(model) => Ok(model),
        Found::Ambiguous => {
            Err(ErrorBody::new(ErrorType::InvalidRequest, format!("The model `{name}` is ambiguous: write it as author/slug.")))
        }
        Found::None => Err(ErrorBody::new(ErrorType::NotFound, format!("There is no model `{name}`. GET /v1/models lists them."))),
    }
}

fn away(error: &crate::books::Away) -> ErrorBody {
    ErrorBody::new(ErrorType::Server, format!("{error}. Requests are served all the same."))
        .with_status(503)
        .with("reason", "ledger_unavailable")
        .with_retry_after(2)
}

fn owner(key: &ApiKey) -> Result<Owner, ErrorBody> {
    let workspace = key.workspace.as_ref().ok_or_else(|| Denied::Unusable.error())?;
    Ok(Owner { org: workspace.org.clone(), workspace: workspace.name.clone(), api_key: key.name.clone() })
}

/// Only Anthropic's clients page; to the others a limit would look like all there is.
fn list(worker: &Worker, headers: &HeaderMap, query: &str) -> Result<Reply, ErrorBody> {
    let (snapshot, key) = let_in(worker, headers)?;
    let page = if headers.contains_key(outbound::ANTHROPIC_VERSION) { models::Page::of_query(query)? } else { models::Page::default() };
    Ok(ok(models::list(&snapshot, Guard::new(&key.bounds, 0), &page, worker.unix_ms()).to_string()))
}

async fn own_key(worker: &Worker, headers: &HeaderMap) -> Result<Reply, ErrorBody> {
    let (_, key) = let_in(worker, headers)?;
    let spent = worker.books().spent(&owner(&key)?).await.map_err(|error| away(&error))?;
    Ok(ok(account::key(&key, spent)))
}

async fn generation(worker: &Worker, headers: &HeaderMap, query: &str) -> Result<Reply, ErrorBody> {
    let (_, key) = let_in(worker, headers)?;
    let id = query.split('&').find_map(|pair| pair.strip_prefix("id=")).and_then(unescaped).filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| ErrorBody::new(ErrorType::InvalidRequest, "Say which generation: ?id=gen-…").with_param("id"))?;
    let events = worker.books().generation(&owner(&key)?, &id, GENERATION_WAIT).await.map_err(|error| away(&error))?;
    let body = account::generation(&events).ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        ErrorBody::new(ErrorType::NotFound, format!("This key has no generation `{shown}`."))
    })?;
    Ok(ok(body))
}

async fn serve(
    worker: &Rc<Worker>,
    surface: Surface,
    dialect: Dialect,
    generation: GenerationId,
    headers: HeaderMap,
    body: Incoming,
) -> Result<Response<Answer>, ErrorBody> {
    let (snapshot, key) = let_in(worker, &headers)?;
    let workspace = key.workspace.clone().ok_or_else(|| Denied::Unusable.error())?;
    let limits = worker.limits();
    let body = taken(worker, body).await?;
    let call = read_request(dialect, &body, &limits_of(limits)).map_err(|fault| ErrorBody::from(&fault))?;
    if let Some(sort @ (Sort::Throughput | Sort::Latency)) = call.provider.sort {
        let message = format!("provider.sort: {sort:?} is not measured here yet; `price` is.").to_lowercase();
        return Err(ErrorBody::new(ErrorType::InvalidRequest, message).with_param("provider.sort"));
    }
    let cost = !key.omit_cost && headers.get(COST).is_none_or(|value| value.as_bytes() != b"omit");
    let accepted = Accepted { key, workspace, snapshot, surface, dialect, prompt: OnceCell::new(), generation, call, body, headers, cost };
    let (plan, decision) = planned(worker, &accepted)?;
    if !accepted.call.stream {
        return attempts::run(worker, &accepted, &plan, decision).await;
    }
    let (teller, pause) = (accepted.teller(worker), limits.keep_alive_time);
    let making = {
        let worker = Rc::clone(worker);
        Box::pin(async move { attempts::run(&worker, &accepted, &plan, decision).await })
    };
    waiting::wait(making, pause, teller).await
}

/// The whole body, within its limits.
pub(crate) async fn taken(worker: &Worker, body: Incoming) -> Result<Bytes, ErrorBody> {
    let limits = worker.limits();
    read_body(body, limits.body_bytes, limits.body_time).await.map_err(body_fault)
}

fn body_fault(fault: BodyFault) -> ErrorBody {
    match fault {
        BodyFault::TooLarge { .. } => ErrorBody::new(ErrorType::PayloadTooLarge, format!("{fault}.")),
        BodyFault::TooSlow { .. } => ErrorBody::new(ErrorType::Timeout, format!("{fault}.")).with_status(408),
        BodyFault::Broken => ErrorBody::new(ErrorType::InvalidRequest, format!("{fault}.")),
    }
}

/// Names of what a call needs and sets, for routing.
pub(crate) struct Names {
    /// The caller's own first, then those that its request can be translated into.
    pub(crate) dialects: &'static [&'static str],
    parameters: Vec<&'static str>,
    input: Vec<&'static str>,
    output: Vec<&'static str>,
}

impl Names {
    pub(crate) fn of(call: &Call) -> Self {
        let needed =
            |rows: &[(Need, &'static str)]| rows.iter().filter(|(need, _)| call.needs.contains(*need)).map(|(_, name)| *name).collect();
        Self {
            dialects: match call.dialect {
                Dialect::OpenAi => &["openai", "anthropic"],
                Dialect::Anthropic => &["anthropic", "openai"],
            },
            parameters: call.parameters.iter().map(|parameter| parameter.name()).collect(),
            input: needed(&[
                (Need::ImageInput, "image"),
                (Need::AudioInput, "audio"),
                (Need::FileInput, "file"),
                (Need::VideoInput, "video"),
            ]),
            output: needed(&[(Need::ImageOutput, "image"), (Need::AudioOutput, "audio")]),
        }
    }

    pub(crate) fn wishes<'a>(&'a self, call: &'a Call) -> Wishes<'a> {
        let provider = &call.provider;
        Wishes {
            model: &call.model,
            models: &call.models,
            dialects: self.dialects,
            order: &provider.order,
            only: &provider.only,
            ignore: &provider.ignore,
            allow_fallbacks: provider.allow_fallbacks,
            require_parameters: provider.require_parameters,
            parameters: &self.parameters,
            input_modalities: &self.input,
            output_modalities: &self.output,
            quantizations: &provider.quantizations,
            max_price: MaxPrice {
                prompt: provider.max_price.prompt,
                completion: provider.max_price.completion,
                request: provider.max_price.request,
            },
            sort_by_price: provider.sort == Some(Sort::Price),
            deny_data_collection: provider.data_collection == Some(DataCollection::Deny),
            zero_data_retention: provider.zdr,
            max_output: call.max_output,
            // Media make a body long without making its prompt so.
            least_input_tokens: if self.input.is_empty() { least_input_tokens(call.body_bytes) } else { 0 },
        }
    }
}

fn planned(worker: &Worker, accepted: &Accepted) -> Result<(waybill_route::Plan, Decision), ErrorBody> {
    let names = Names::of(&accepted.call);
    let wishes = names.wishes(&accepted.call);
    let seed = worker.random();
    routed(worker, accepted, &wishes, seed).map_err(|refusal| refuse(worker, accepted, &wishes, seed, &refusal))
}

/// A plan of the endpoints in the caller's own dialect alone, for a request that cannot be carried to another one; none if there are none.
pub(crate) fn planned_at_home(worker: &Worker, accepted: &Accepted) -> Option<(waybill_route::Plan, Decision)> {
    let names = Names::of(&accepted.call);
    let wishes = Wishes { dialects: names.dialects.get(..1).unwrap_or_default(), ..names.wishes(&accepted.call) };
    routed(worker, accepted, &wishes, worker.random()).ok()
}

fn routed(worker: &Worker, accepted: &Accepted, wishes: &Wishes<'_>, seed: u64) -> Result<(waybill_route::Plan, Decision), Refusal> {
    let guard = Guard::new(&accepted.key.bounds, wishes.least_input_tokens);
    let filter = |endpoint: &Endpoint, tariff: Option<&Tariff>| guard.endpoint(endpoint, tariff);
    let plan = worker
        .with_health(|health| plan(wishes, &accepted.snapshot, &accepted.workspace.policy, &filter, health, worker.unix_ms(), seed))?;
    let decision = plan.record.decision(&accepted.snapshot, wishes, worker.deny_epoch());
    Ok((plan, decision))
}

/// Nothing can be tried: the caller is told why, and `explain` remembers for a while.
fn refuse(worker: &Worker, accepted: &Accepted, wishes: &Wishes<'_>, seed: u64, refusal: &Refusal) -> ErrorBody {
    worker.counters.refusals.add(1);
    let error = refusal_error(refusal, wishes, &accepted.key.bounds, &accepted.snapshot);
    let decision = match refusal {
        Refusal::NoEndpoints(none) => none.record.decision(&accepted.snapshot, wishes, worker.deny_epoch()),
        _ => Decision { revision: accepted.snapshot.revision, deny_epoch: worker.deny_epoch(), seed, ..Decision::default() },
    };
    worker.remember(Refused {
        generation: accepted.generation,
        status: error.status,
        error_type: error.error_type.name(),
        message: error.message.clone(),
        decision,
        unix_us: worker.unix_us(),
    });
    error
}
