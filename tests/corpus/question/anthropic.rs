//! Anthropic's requests.

use serde_json::Value;

use super::{Question, parts, schema, word};

const MEMBERS: &[&str] = &[
    "model",
    "messages",
    "system",
    "stream",
    "tools",
    "tool_choice",
    "max_tokens",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "output_config",
    "service_tier",
    "thinking",
    "metadata",
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

pub fn read(question: &mut Question, body: &Value) {
    for (path, part) in parts(&body["system"], "system") {
        question.text("request.system", path.clone(), "system", word(&part, "text"));
        question.cache(&path, &part);
        question.rest(&path, &part, &["type", "text", "cache_control"]);
    }
    for (at, message) in body["messages"].as_array().into_iter().flatten().enumerate() {
        let role = word(message, "role");
        for (path, part) in parts(&message["content"], &format!("messages[{at}].content")) {
            block(question, role, &path, &part);
        }
        question.rest(&format!("messages[{at}]"), message, &["role", "content"]);
    }
    for (at, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let path = format!("tools[{at}]");
        if tool.get("type").is_none_or(|kind| kind == "custom" || kind.is_null()) {
            let says = serde_json::json!([
                word(tool, "name"),
                word(tool, "description"),
                schema(tool.get("input_schema")),
                tool["strict"] == true
            ]);
            question.note("request.tools", path.clone(), says.to_string());
            question.rest(&path, tool, &["type", "name", "description", "input_schema", "strict", "cache_control"]);
            question.cache(&path, tool);
        } else {
            question.note("request.tools", path, tool.to_string());
        }
    }
    let choice = &body["tool_choice"];
    match word(choice, "type") {
        // The model's own choice is what happens anyhow.
        "" | "auto" => {}
        "any" => question.note("request.choice", "tool_choice", "required"),
        "tool" => question.note("request.choice", "tool_choice", format!("call {}", word(choice, "name"))),
        other => question.note("request.choice", "tool_choice", other),
    }
    if choice["disable_parallel_tool_use"] == true {
        question.note("request.choice", "tool_choice.disable_parallel_tool_use", "one at a time");
    }
    question.number("request.limits", body, "max_tokens", "most tokens");
    for (at, stop) in body["stop_sequences"].as_array().into_iter().flatten().enumerate() {
        question.note("request.limits", format!("stop_sequences[{at}]"), format!("stop: {}", stop.as_str().unwrap_or_default()));
    }
    for name in ["temperature", "top_p", "top_k"] {
        question.number("request.sampling", body, name, name);
    }
    let config = &body["output_config"];
    if config["format"].is_object() {
        question.note("request.format", "output_config.format", config["format"]["schema"].to_string());
    }
    question.rest("output_config", config, &["format", "effort"]);
    let thinking = &body["thinking"];
    if thinking.is_object() && thinking["type"] != "disabled" {
        question.note("request.thinking", "thinking", "think");
    } else if config["effort"].is_string() {
        question.note("request.thinking", "output_config.effort", "think");
    }
    // Other providers show the thoughts that they show.
    let display = if thinking["display"] == "summarized" { "display" } else { "type" };
    question.rest("thinking", thinking, &["type", "budget_tokens", display]);
    question.tier(body, "standard_only");
    if !word(&body["metadata"], "user_id").is_empty() {
        question.note("request.rest", "metadata.user_id", format!("user: {}", word(&body["metadata"], "user_id")));
    }
    question.rest("metadata", &body["metadata"], &["user_id"]);
    question.cache("", body);
    question.rest("", body, MEMBERS);
}

fn block(question: &mut Question, role: &str, path: &str, block: &Value) {
    question.cache(path, block);
    match word(block, "type") {
        "text" => {
            question.text("request.texts", path.to_owned(), role, word(block, "text"));
            question.rest(path, block, &["type", "text", "cache_control"]);
        }
        "image" => question.note("request.media", path, format!("image {}", source(&block["source"]))),
        "document" => document(question, role, path, block),
        "thinking" => question.note("request.thoughts", path, word(block, "thinking")),
        "redacted_thinking" => question.note("request.thoughts", path, word(block, "data")),
        "tool_use" => {
            question.note("request.calls", path, format!("{} {} {}", word(block, "id"), word(block, "name"), block["input"]));
            question.rest(path, block, &["type", "id", "name", "input", "cache_control"]);
        }
        "tool_result" => result(question, path, block),
        _ => question.note("request.media", path, block.to_string()),
    }
}

fn document(question: &mut Question, role: &str, path: &str, block: &Value) {
    match word(&block["source"], "type") {
        // Plain text is text, wherever it stands.
        "text" => question.text("request.texts", path.to_owned(), role, word(&block["source"], "data")),
        _ => question.note("request.media", path, format!("file {}", source(&block["source"]))),
    }
    if !word(block, "title").is_empty() {
        question.note("request.rest", format!("{path}.title"), format!("title: {}", word(block, "title")));
    }
    if block["citations"]["enabled"] == true {
        question.note("request.rest", format!("{path}.citations"), "citations");
    }
    question.rest(path, block, &["type", "source", "title", "citations", "cache_control"]);
}

fn result(question: &mut Question, path: &str, block: &Value) {
    let mut texts = String::new();
    for (path, part) in parts(&block["content"], &format!("{path}.content")) {
        match word(&part, "type") {
            "text" => {
                texts.push_str(word(&part, "text"));
                question.cache(&path, &part);
            }
            _ => self::block(question, "user", &path, &part),
        }
    }
    question.note("request.results", path, format!("{}: {texts}", word(block, "tool_use_id")));
    if block["is_error"] == true {
        question.note("request.rest", format!("{path}.is_error"), "is_error");
    }
    question.rest(path, block, &["type", "tool_use_id", "content", "is_error", "cache_control"]);
}

fn source(source: &Value) -> String {
    match word(source, "type") {
        "base64" => format!("{};base64,{}", word(source, "media_type"), word(source, "data")),
        "url" => word(source, "url").to_owned(),
        _ => source.to_string(),
    }
}
