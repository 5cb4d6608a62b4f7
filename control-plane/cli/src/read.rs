//! `get` and `list`.

use serde_json::json;
use waybill_model::resource::{Kind, metadata};
use waybill_proto::{
    admin::v1::{GetRequest, ListRequest},
    model::v1::{Guardrail, Resource, SecretRef, resource::Spec},
};

use crate::{
    backend::Backend,
    error::Error,
    show::{Format, Report, document_value, documents_yaml, or_dash, table, time_s},
};

/// Shows one resource.
pub async fn get(kind: &str, name: &str, format: Format, backend: &dyn Backend) -> Result<Report, Error> {
    let kind = read_kind(kind)?.name().to_owned();
    let response = backend.get(GetRequest { kind, name: name.to_owned() }).await?;
    let resource = response.resource.unwrap_or_default();
    let text = match format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&document_value(&resource)?)?),
        Format::Yaml => documents_yaml(&[resource])?,
        Format::Table => resources_table(&[resource]),
    };
    Ok(Report::of(text))
}

/// Lists the resources of a kind; of all kinds if it is empty.
pub async fn list(kind: &str, labels: &[(String, String)], format: Format, backend: &dyn Backend) -> Result<Report, Error> {
    let kind = if kind.is_empty() { String::new() } else { read_kind(kind)?.name().to_owned() };
    let (resources, revision) =
        all(ListRequest { kind, labels: labels.iter().cloned().collect(), ..ListRequest::default() }, backend).await?;
    let text = match format {
        Format::Table if resources.is_empty() => return Ok(Report::of(String::new()).with_note("There are none.\n")),
        Format::Table => resources_table(&resources),
        Format::Yaml => documents_yaml(&resources)?,
        Format::Json => {
            let documents: Result<Vec<_>, Error> = resources.iter().map(document_value).collect();
            format!("{}\n", serde_json::to_string_pretty(&json!({ "revision": revision.to_string(), "resources": documents? }))?)
        }
    };
    Ok(Report::of(text))
}

/// All pages, with the revision of the last one.
pub async fn all(mut request: ListRequest, backend: &dyn Backend) -> Result<(Vec<Resource>, u64), Error> {
    let mut resources = Vec::new();
    loop {
        let page = backend.list(request.clone()).await?;
        resources.extend(page.resources);
        if page.next_page_token.is_empty() {
            return Ok((resources, page.revision));
        }
        request.page_token = page.next_page_token;
    }
}

/// The kind that a word names; case and plural do not matter.
pub fn read_kind(word: &str) -> Result<Kind, Error> {
    word.parse().map_err(|error: waybill_model::resource::UnknownKind| Error::Usage(error.to_string()))
}

fn resources_table(resources: &[Resource]) -> String {
    let row = |resource: &Resource| {
        let metadata = metadata(resource);
        let kind = Kind::of(resource).map(Kind::name).unwrap_or_default();
        let created = time_s(metadata.create_time.as_ref());
        vec![kind.to_owned(), metadata.name.clone(), metadata.generation.to_string(), created, about(resource)]
    };
    table(&["KIND", "NAME", "GENERATION", "CREATED", "ABOUT"], resources.iter().map(row).collect(), &[2])
}

/// The one thing about a resource that people look for.
fn about(resource: &Resource) -> String {
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    match &resource.spec {
        None => String::new(),
        Some(Spec::Org(org)) => or_dash(&org.display_name),
        Some(Spec::Workspace(workspace)) => {
            format!("org {}, policy {}", workspace.org, or(&workspace.route_policy, "(defaults)"))
        }
        Some(Spec::ApiKey(key)) => format!("{}… workspace {}{}", key.prefix, key.workspace, if key.disabled { ", disabled" } else { "" }),
        Some(Spec::Provider(provider)) => format!("{} at {}", provider.dialect, provider.base_url),
        Some(Spec::ProviderAccount(account)) => {
            format!("{}, secret {}", account.provider, account.secret.as_ref().map_or("none".to_owned(), secret))
        }
        Some(Spec::Model(model)) => format!("{} tokens", model.context_window),
        Some(Spec::Endpoint(endpoint)) => {
            let state = if endpoint.disabled { ", disabled" } else { "" };
            format!("{} at {} as {}{state}", endpoint.model, endpoint.provider, endpoint.provider_model)
        }
        Some(Spec::RoutePolicy(policy)) => format!("sort {}, only [{}]", or(&policy.sort, "weighted"), policy.only.join(", ")),
        Some(Spec::Guardrail(guardrail)) => format!("{}; {}", scope(guardrail), or_dash(&guardrail.description)),
        Some(Spec::PriceBook(book)) => format!("{} entries as of {}", book.entries.len(), or_dash(&book.as_of)),
    }
}

/// For whom a Guardrail holds.
fn scope(guardrail: &Guardrail) -> String {
    let scopes = [("workspace", &guardrail.workspaces), ("member", &guardrail.members), ("key", &guardrail.api_keys)];
    let named = scopes.into_iter().flat_map(|(what, names)| names.iter().map(move |name| format!("{what} {name}")));
    let named: Vec<String> = named.collect();
    if named.is_empty() { "for nobody yet".to_owned() } else { format!("for {}", named.join(", ")) }
}

/// Where a secret lies.
fn secret(reference: &SecretRef) -> String {
    if reference.env.is_empty() { format!("file {}", reference.file) } else { format!("env {}", reference.env) }
}
