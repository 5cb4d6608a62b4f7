//! OpenAI's chat requests.

use serde_json::Value;

use super::{Question, parts, schema, word};

const MEMBERS: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "temperature",
    "top_p",
    "top_k",
    "response_format",
    "service_tier",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "user",
    "cache_control",
    // For the gateway, which carries them out.
    "models",
    "provider",
    "route",
    "plugins",
    "usage",
    "session_id",
    "trace",
    "preset",
    "debug",
    "transforms",
];

const MESSAGE: &[&str] =
    &["role", "content", "tool_calls", "tool_call_id", "reasoning", "reasoning_content", "reasoning_details", "refusal", "cache_control"];

pub fn read(question: &mut Question, body: &Value) {
    for (at, message) in body["messages"].as_array().into_iter().flatten().enumerate() {
        turn(question, &format!("messages[{at}]"), message);
    }
    for (at, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let (path, function) = (format!("tools[{at}]"), &tool["function"]);
        if tool.get("type").is_none_or(|kind| kind == "function") {
            let says = serde_json::json!([
                word(function, "name"),
                word(function, "description"),
                schema(function.get("parameters")),
                function["strict"] == true
            ]);
            question.note("request.tools", path.clone(), says.to_string());
            question.rest(&format!("{path}.function"), function, &["name", "description", "parameters", "strict", "cache_control"]);
            question.cache(&path, tool);
        } else {
            question.note("request.tools", path, tool.to_string());
        }
    }
    let choice = &body["tool_choice"];
    let says = choice.as_str().map(str::to_owned).or_else(|| Some(format!("call {}", choice["function"]["name"].as_str()?)));
    // The model's own choice is what happens anyhow.
    if let Some(says) = says.filter(|says| says != "auto") {
        question.note("request.choice", "tool_choice", if says == "any" { "required".to_owned() } else { says });
    }
    if body["parallel_tool_calls"] == false {
        question.note("request.choice", "parallel_tool_calls", "one at a time");
    }
    for name in ["max_tokens", "max_completion_tokens"] {
        question.number("request.limits", body, name, "most tokens");
    }
    for (path, stop) in parts(&body["stop"], "stop") {
        let stop = stop.as_str().map_or_else(|| word(&stop, "text").to_owned(), str::to_owned);
        question.note("request.limits", path, format!("stop: {stop}"));
    }
    for name in ["temperature", "top_p", "top_k"] {
        question.number("request.sampling", body, name, name);
    }
    let format = &body["response_format"];
    match word(format, "type") {
        "" | "text" => {}
        "json_schema" => question.note("request.format", "response_format", format["json_schema"]["schema"].to_string()),
        other => question.note("request.format", "response_format", other),
    }
    question.rest("response_format.json_schema", &format["json_schema"], &["schema", "name", "strict"]);
    thinking(question, body);
    if !word(body, "user").is_empty() {
        question.note("request.rest", "user", format!("user: {}", word(body, "user")));
    }
    question.cache("", body);
    let mut rest = body.clone();
    if rest["n"] == 1 {
        rest["n"] = Value::Null;
    }
    question.tier(body, "default");
    question.rest("", &rest, MEMBERS);
}

fn thinking(question: &mut Question, body: &Value) {
    let mut says = |path: &str, on: bool| {
        if on {
            question.note("request.thinking", path, "think");
        }
    };
    if let Some(effort) = body["reasoning_effort"].as_str() {
        says("reasoning_effort", effort != "none");
    }
    let wish = &body["reasoning"];
    if wish.is_object() {
        let is_off = wish["enabled"] == false || wish["effort"] == "none" || wish["max_tokens"] == 0;
        let is_on = wish["enabled"] == true || wish["effort"].is_string() || wish["max_tokens"].is_u64();
        says("reasoning", is_on && !is_off);
    }
    let own = &body["thinking"];
    if own.is_object() {
        says("thinking", own["type"] != "disabled");
    }
}

fn turn(question: &mut Question, path: &str, message: &Value) {
    let role = word(message, "role");
    let content = format!("{path}.content");
    question.cache(path, message);
    thoughts(question, path, message);
    match role {
        "tool" => {
            parts(&message["content"], &content).iter().for_each(|(path, part)| question.cache(path, part));
            let texts: String = parts(&message["content"], &content).iter().map(|(_, part)| word(part, "text").to_owned()).collect();
            question.note("request.results", content, format!("{}: {texts}", word(message, "tool_call_id")));
        }
        _ => {
            for (path, part) in parts(&message["content"], &content) {
                self::part(question, role, path, &part);
            }
        }
    }
    question.text("request.texts", format!("{path}.refusal"), "assistant", word(message, "refusal"));
    for (at, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let (path, function) = (format!("{path}.tool_calls[{at}]"), &call["function"]);
        let written = function["arguments"].as_str().unwrap_or_default();
        let written = if written.trim().is_empty() { "{}" } else { written };
        let arguments: Value = serde_json::from_str(written).unwrap_or_else(|_| written.into());
        question.note("request.calls", path, format!("{} {} {arguments}", word(call, "id"), word(function, "name")));
    }
    question.rest(path, message, MESSAGE);
}

/// One thought under several names is one thought.
fn thoughts(question: &mut Question, path: &str, message: &Value) {
    let details = message["reasoning_details"].as_array().filter(|details| !details.is_empty());
    for (at, detail) in details.into_iter().flatten().enumerate() {
        let says = ["text", "summary", "data"].into_iter().map(|name| word(detail, name)).find(|says| !says.is_empty());
        if let Some(says) = says {
            question.note("request.thoughts", format!("{path}.reasoning_details[{at}]"), says);
        }
    }
    if details.is_none() {
        let name = ["reasoning_content", "reasoning"].into_iter().find(|name| !word(message, name).is_empty());
        if let Some(name) = name {
            question.note("request.thoughts", format!("{path}.{name}"), word(message, name));
        }
    }
}

fn part(question: &mut Question, role: &str, path: String, part: &Value) {
    question.cache(&path, part);
    let media = |url: &str| url.strip_prefix("data:").unwrap_or(url).to_owned();
    match word(part, "type") {
        "text" if role == "system" || role == "developer" => question.text("request.system", path, "system", word(part, "text")),
        "text" => question.text("request.texts", path, role, word(part, "text")),
        "refusal" => question.text("request.texts", path, role, word(part, "refusal")),
        // Mistral's way of writing both.
        "image_url" if part["image_url"].is_string() => {
            question.note("request.media", path, format!("image {}", media(word(part, "image_url"))))
        }
        "document_url" => question.note("request.media", path, format!("file {}", media(word(part, "document_url")))),
        "image_url" => {
            question.note("request.media", path.clone(), format!("image {}", media(word(&part["image_url"], "url"))));
            question.rest(&format!("{path}.image_url"), &part["image_url"], &["url"]);
        }
        "file" => {
            let file = &part["file"];
            question.note("request.media", path.clone(), format!("file {}", media(word(file, "file_data"))));
            if !word(file, "filename").is_empty() {
                question.note("request.rest", format!("{path}.file.filename"), format!("title: {}", word(file, "filename")));
            }
            question.rest(&format!("{path}.file"), file, &["file_data", "filename"]);
        }
        _ => question.note("request.media", path, part.to_string()),
    }
}
