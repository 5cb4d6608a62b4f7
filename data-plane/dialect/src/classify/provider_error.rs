//! What a provider's error says, in whatever shape it says it.

use serde_json::Value;

use crate::error::ErrorType;

/// The texts that classification looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProviderError {
    /// `error.code` or `error.status`, as text.
    pub code: Option<String>,
    /// `error.type`.
    pub kind: Option<String>,
    /// A number in `code` or `status_code` that can be an HTTP status.
    pub status: Option<u16>,
    pub message: Option<String>,
    /// The member of our own vocabulary that `error_type` names.
    pub named: Option<ErrorType>,
    /// The answer comes from an aggregator that names the provider behind it.
    pub behind_aggregator: bool,
    /// A moderation verdict is attached.
    pub is_moderation: bool,
}

/// Bytes of an error answer that are looked at, and of a message that is kept.
const MOST_BODY: usize = 64 << 10;
const MOST_MESSAGE: usize = 2048;
/// Errors packed into messages of errors.
const MOST_NESTED: u32 = 4;

impl ProviderError {
    /// Reads any body: an object, Vertex's list, a bare string, a page of HTML, nothing.
    pub(super) fn read(body: &[u8]) -> Self {
        let body = body.trim_ascii();
        let head = body.get(..MOST_BODY).unwrap_or(body);
        match serde_json::from_slice::<Value>(body.get(..).filter(|body| body.len() <= MOST_BODY).unwrap_or_default()) {
            Ok(value) => {
                let mut error = Self::default();
                error.take(&value, MOST_NESTED);
                error
            }
            Err(_) => Self { message: plain_text(head), ..Self::default() },
        }
    }

    fn take(&mut self, value: &Value, nested: u32) {
        match value {
            Value::Array(list) => {
                if let Some(first) = list.first() {
                    self.take(first, nested);
                }
            }
            Value::String(text) => self.take_message(text, nested),
            Value::Object(_) => self.take_object(value, nested),
            _ => {}
        }
    }

    fn take_object(&mut self, value: &Value, nested: u32) {
        match value.get("error") {
            Some(inner @ (Value::Object(_) | Value::String(_))) if nested > 0 => {
                self.take(inner, nested - 1);
                // FastAPI's style puts the words beside a short `error`.
                if inner.is_string()
                    && let Some(Value::String(message)) = value.get("message")
                {
                    self.take_message(message, nested);
                }
                return;
            }
            _ => {}
        }
        for key in ["code", "status"] {
            let code = value.get(key).and_then(|code| match code {
                Value::String(text) if !text.is_empty() => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
            if let Some(code) = code {
                self.status = self.status.or(as_status(&code));
                self.code.get_or_insert(code);
            }
        }
        let told = value.get("status_code").and_then(Value::as_u64);
        self.status = self.status.or(told.and_then(|status| as_status(&status.to_string())));
        if let Some(Value::String(kind)) = value.get("type") {
            self.kind.get_or_insert_with(|| kind.clone());
        }
        self.name(value);
        self.metadata(value.get("metadata"), nested);
        for key in ["message", "detail", "msg"] {
            match value.get(key) {
                Some(Value::String(message)) => self.take_message(message, nested),
                Some(inner) if nested > 0 => self.take(inner, nested - 1),
                _ => {}
            }
        }
    }

    fn name(&mut self, value: &Value) {
        let named = value.get("error_type").and_then(Value::as_str).and_then(ErrorType::from_name);
        self.named = self.named.or(named);
    }

    /// OpenRouter tells what its provider said in `metadata.raw`.
    fn metadata(&mut self, metadata: Option<&Value>, nested: u32) {
        let Some(metadata) = metadata else { return };
        self.name(metadata);
        self.behind_aggregator |= metadata.get("provider_name").is_some_and(Value::is_string);
        self.is_moderation |= metadata.get("flagged_input").is_some() || metadata.get("reasons").is_some();
        if let Some(Value::String(raw)) = metadata.get("raw") {
            self.take_message(raw, nested);
        }
    }

    /// Takes a message, which may be a JSON text of its own. The first one that was found stays.
    fn take_message(&mut self, text: &str, nested: u32) {
        let inner = text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str::<Value>(text).ok());
        if let Some(Some(value)) = inner
            && nested > 0
        {
            self.take(&value, nested - 1);
        }
        if self.message.is_none() {
            self.message = Some(shortened(text));
        }
    }
}

fn as_status(code: &str) -> Option<u16> {
    code.parse().ok().filter(|status| (400..600).contains(status))
}

/// A page is no message.
fn plain_text(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') { None } else { Some(shortened(text)) }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_MESSAGE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The message without names of accounts and keys, which are the operator's and not the caller's.
pub(super) fn scrubbed(message: &str) -> String {
    const PRIVATE: &[&str] = &["org-", "proj_", "sk-", "sk_", "user_", "acct_", "req_", "gsk_", "key-"];
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '*');
    message
        .split_inclusive(|letter| !is_word(letter))
        .map(|piece| {
            let word = piece.trim_end_matches(|letter| !is_word(letter));
            let private = PRIVATE.iter().any(|prefix| word.len() > prefix.len() + 3 && word.starts_with(prefix));
            if private { piece.replacen(word, "***", 1) } else { piece.to_owned() }
        })
        .collect()
}
