//! `keys`.

use pbjson_types::Timestamp;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use waybill_model::resource::metadata;
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, ListRequest, Precondition},
    model::v1::{ApiKey, Metadata, Resource, resource::Spec},
};

use crate::{
    backend::Backend,
    command::{KeysArgs, KeysVerb},
    error::Error,
    read,
    show::{Format, Report, message, or_dash, table, time_s},
};

/// Makes or lists keys.
pub async fn keys(args: &KeysArgs, now_s: i64, backend: &dyn Backend) -> Result<Report, Error> {
    let format = args.connection.output.unwrap_or_default();
    match &args.verb {
        KeysVerb::Create { name, workspace, expires } => {
            let expire_time = expires.as_deref().map(|text| instant(text, now_s)).transpose()?;
            create(name, workspace, expire_time, format, backend).await
        }
        KeysVerb::List if format == Format::Table => list(now_s, backend).await,
        KeysVerb::List => read::list("ApiKey", &[], format, backend).await,
    }
}

async fn create(
    name: &str,
    workspace: &str,
    expire_time: Option<Timestamp>,
    format: Format,
    backend: &dyn Backend,
) -> Result<Report, Error> {
    let key = ApiKey { workspace: workspace.to_owned(), expire_time, ..ApiKey::default() };
    let metadata = Metadata { name: name.to_owned(), ..Metadata::default() };
    let request = ApplyChangeSetRequest {
        upserts: vec![Resource { metadata: Some(metadata), spec: Some(Spec::ApiKey(key)) }],
        preconditions: vec![Precondition { kind: "ApiKey".to_owned(), name: name.to_owned(), generation: 0 }],
        faults_in_answer: true,
        ..ApplyChangeSetRequest::default()
    };
    let response = backend.apply(request).await?;
    if !response.violations.is_empty() {
        let lines: Vec<String> = response.violations.iter().map(|one| format!("{}: {}", one.path, one.message)).collect();
        return Err(Error::Refused(format!("no key was made:\n{}", lines.join("\n"))));
    }
    let text = response.generated_keys.first().map(|made| made.key.clone()).unwrap_or_default();
    let out = message(format, &response, || format!("{text}\n"))?;
    Ok(Report::of(out).with_note(format!("This is the text of the key `{name}`. It is shown this once: keep it.\n")))
}

async fn list(now_s: i64, backend: &dyn Backend) -> Result<Report, Error> {
    let (resources, _) = read::all(ListRequest { kind: "ApiKey".to_owned(), ..ListRequest::default() }, backend).await?;
    let row = |resource: &Resource| {
        let Some(Spec::ApiKey(key)) = &resource.spec else { return Vec::new() };
        let expired = key.expire_time.as_ref().is_some_and(|time| time.seconds <= now_s);
        let state = if key.disabled {
            "disabled"
        } else if expired {
            "expired"
        } else {
            "active"
        };
        vec![
            metadata(resource).name.clone(),
            format!("{}…", key.prefix),
            or_dash(&key.workspace),
            state.to_owned(),
            time_s(key.expire_time.as_ref()),
            time_s(metadata(resource).create_time.as_ref()),
        ]
    };
    let rows = resources.iter().map(row).collect();
    Ok(Report::of(table(&["NAME", "KEY", "WORKSPACE", "STATE", "EXPIRES", "CREATED"], rows, &[])))
}

/// An instant (RFC 3339), or a number of days or hours from now.
fn instant(text: &str, now_s: i64) -> Result<Timestamp, Error> {
    let later = |count: &str, unit_s: i64| now_s.checked_add(count.parse::<u32>().ok().map(i64::from)?.checked_mul(unit_s)?);
    let seconds = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => later(days, 86_400),
        (_, Some(hours)) => later(hours, 3_600),
        _ => OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp),
    };
    let seconds = seconds.ok_or_else(|| Error::Usage(format!("`{text}` is no time: write 2027-01-31T00:00:00Z, or 30d, or 12h")))?;
    if seconds <= now_s {
        return Err(Error::Usage(format!("`{text}` is in the past: the key would never let anybody in")));
    }
    Ok(Timestamp { seconds, nanos: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_an_instant_or_a_number_of_days_or_hours() {
        let now = 1_700_000_000;
        for (text, seconds) in [
            ("30d", Some(now + 30 * 86_400)),
            ("12h", Some(now + 12 * 3_600)),
            ("2027-01-31T00:00:00Z", Some(1_801_353_600)),
            ("2027-01-31T01:00:00+01:00", Some(1_801_353_600)),
            ("2001-01-31T00:00:00Z", None),
            ("0d", None),
            ("-1d", None),
            ("30", None),
            ("d", None),
            ("", None),
        ] {
            assert_eq!(instant(text, now).ok().map(|time| time.seconds), seconds, "{text}");
        }
    }
}
