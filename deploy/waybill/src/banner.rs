//! What `up` prints, once: where it listens, how to ask it, what answers.

use std::{net::SocketAddr, path::Path, time::Duration};

use waybill_meter::Recovered;
use waybill_model::{
    resource::{Kind, metadata},
    world::World,
};

/// What there is to say.
pub struct Banner<'a> {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub ops: SocketAddr,
    pub state: &'a Path,
    /// At the first start only.
    pub first_key: Option<&'a str>,
    /// At later starts: how the first key begins.
    pub key_prefix: Option<String>,
    /// A model to try.
    pub model: Option<String>,
    pub providers: &'a [String],
    pub recovered: &'a [Recovered],
    pub revision: u64,
    pub took: Duration,
    pub colour: bool,
}

/// A model that a newcomer can ask: the sandbox's first, else a cheap and well-known one, else any.
pub fn example_model(world: &World) -> Option<String> {
    const KNOWN: [&str; 4] = ["sandbox/chat", "openai/gpt-4o-mini", "openai/gpt-4.1-mini", "meta-llama/llama-3.3-70b-instruct"];
    let has = |name: &&&str| world.of_kind(Kind::Model).any(|model| metadata(&model).name == **name);
    KNOWN
        .iter()
        .find(has)
        .map(|name| (*name).to_owned())
        .or_else(|| world.of_kind(Kind::Model).next().map(|model| metadata(&model).name.clone()))
}

/// Prints to standard output.
pub fn print(banner: &Banner<'_>) {
    println!("{}", text(banner));
}

fn text(banner: &Banner<'_>) -> String {
    let bold = |text: &str| if banner.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() };
    let mut lines = vec![
        format!(
            "{} {} is ready ({} ms, revision {})",
            bold("Waybill"),
            env!("CARGO_PKG_VERSION"),
            banner.took.as_millis(),
            banner.revision
        ),
        String::new(),
        format!("  applications  http://{}/v1      (OpenAI's rules)", banner.http),
        format!("                http://{}/api/v1  (OpenRouter's rules)", banner.http),
        format!("  operators     {} (gRPC): waybill status, waybill ledger show", banner.admin),
        format!("  health        http://{}/readyz, /metrics", banner.ops),
        format!("  state         {}", banner.state.display()),
    ];
    for (position, provider) in banner.providers.iter().enumerate() {
        lines.push(format!("  {}{provider}", if position == 0 { "providers     " } else { "              " }));
    }
    if banner.providers.is_empty() {
        lines.push("  providers     those of the stored configuration: waybill list providers".to_owned());
    }
    for log in banner.recovered.iter().filter(|log| log.orphaned > 0 || !log.damage.is_empty()) {
        lines.push(format!(
            "  recovered     {} attempts of an earlier process have no known end: `waybill ledger show --kind orphaned` lists them{}",
            log.orphaned,
            if log.damage.is_empty() { "" } else { "; a part of its spool is damaged" }
        ));
    }
    lines.push(String::new());
    match (banner.first_key, &banner.key_prefix) {
        (Some(key), _) => lines.push(format!("  {} {key}   (shown this once)", bold("your API key"))),
        (None, Some(prefix)) => lines
            .push(format!("  the first API key begins with {prefix}; `waybill keys create --name NAME --workspace default` makes another")),
        (None, None) => lines.push("  `waybill keys create --name NAME --workspace default` makes an API key".to_owned()),
    }
    let key = banner.first_key.unwrap_or("$WAYBILL_API_KEY");
    let model = banner.model.as_deref().unwrap_or("author/slug");
    let http = banner.http;
    lines.extend([
        String::new(),
        "  try it:".to_owned(),
        format!("curl http://{http}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]}}'")
            .replace(&format!("'Authorization: Bearer {key}'"), &if banner.first_key.is_some() { format!("'Authorization: Bearer {key}'") } else { format!("\"Authorization: Bearer {key}\"") }),
        String::new(),
        "  or in Python (pip install openai):".to_owned(),
        "from openai import OpenAI".to_owned(),
        match banner.first_key {
            Some(key) => format!("client = OpenAI(base_url=\"http://{http}/v1\", api_key=\"{key}\")"),
            None => format!("import os; client = OpenAI(base_url=\"http://{http}/v1\", api_key=os.environ[\"WAYBILL_API_KEY\"])"),
        },
        format!("print(client.chat.completions.create(model=\"{model}\", messages=[{{\"role\": \"user\", \"content\": \"Hello!\"}}]).choices[0].message.content)"),
        String::new(),
        "  Ctrl-C drains and ends.".to_owned(),
    ]);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(first_key: Option<&str>) -> String {
        text(&Banner {
            http: ([127, 0, 0, 1], 8080).into(),
            admin: ([127, 0, 0, 1], 7070).into(),
            ops: ([127, 0, 0, 1], 7072).into(),
            state: Path::new("/state"),
            first_key,
            key_prefix: Some("wb_live_abcd".to_owned()),
            model: Some("sandbox/chat".to_owned()),
            providers: &["the sandbox".to_owned()],
            recovered: &[],
            revision: 3,
            took: Duration::from_millis(120),
            colour: false,
        })
    }

    #[test]
    fn the_first_start_shows_the_key_and_later_ones_its_beginning() {
        let first = banner(Some("wb_live_secret"));
        assert_eq!(first.matches("wb_live_secret").count(), 3, "the key, the curl line, the Python line");
        assert!(first.contains("'Authorization: Bearer wb_live_secret'"));
        let later = banner(None);
        assert!(
            later.contains("begins with wb_live_abcd") && later.contains("\"Authorization: Bearer $WAYBILL_API_KEY\""),
            "the shell fills in the variable"
        );
        assert!(later.contains("os.environ"));
    }
}
