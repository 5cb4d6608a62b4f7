//! JSON that crosses from one dialect to another as it was spelt.

use std::borrow::Cow;

use bytes::Bytes;

use crate::json::{self, Tree, unescaped, write_quoted};

/// The inside of a JSON string: its escapes stay as they are, so text is neither decoded nor encoded on its way, and a fragment of a string
/// that was cut in a stream is a `Text` as well.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(Bytes);

impl Text {
    /// The JSON spelling of `text`.
    pub fn new(text: &str) -> Self {
        let mut quoted = Vec::with_capacity(text.len() + 2);
        write_quoted(&mut quoted, text);
        let end = quoted.len() - 1;
        Self(Bytes::from(quoted).slice(1..end))
    }

    /// A word that needs no escape.
    pub(crate) const fn word(word: &'static str) -> Self {
        Self(Bytes::from_static(word.as_bytes()))
    }

    /// A string of `source`, without a copy.
    pub(crate) fn of(source: &Bytes, text: &json::Text<'_>) -> Self {
        Self(source.slice_ref(text.raw()))
    }

    /// What stands between the quotes.
    pub fn escaped(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the text means. A surrogate that stands alone, as at the edge of a fragment, becomes U+FFFD.
    pub fn decode(&self) -> Cow<'_, str> {
        unescaped(&self.0)
    }

    pub fn is(&self, word: &str) -> bool {
        self.decode() == word
    }

    /// A part of the text. `range` must not cut an escape in two.
    pub(crate) fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self(self.0.slice(range))
    }

    /// The texts one after another.
    pub fn joined(parts: &[Self]) -> Self {
        match parts {
            [] => Self::default(),
            [only] => only.clone(),
            many => Self(many.iter().map(Self::escaped).collect::<Vec<_>>().concat().into()),
        }
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", String::from_utf8_lossy(&self.0))
    }
}

/// Any JSON value as it was spelt.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Raw(Bytes);

impl Raw {
    /// A value of `source`, without a copy.
    pub(crate) fn of(source: &Bytes, tree: &Tree<'_>) -> Self {
        Self(source.slice_ref(tree.raw))
    }

    /// JSON that was written here.
    pub(crate) fn written(json: impl Into<Bytes>) -> Self {
        Self(json.into())
    }

    /// A value inside of this one, without a copy.
    pub(crate) fn part(&self, raw: &[u8]) -> Self {
        Self(self.0.slice_ref(raw))
    }

    pub fn json(&self) -> &[u8] {
        &self.0
    }

    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    pub fn is_string(&self) -> bool {
        self.0.first() == Some(&b'"')
    }

    pub fn is_object(&self) -> bool {
        self.0.first() == Some(&b'{')
    }
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// The arguments of a tool call: one dialect sends an object, another a string that should hold one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments {
    Object(Raw),
    /// As the model wrote them, which may be no JSON at all.
    Text(Text),
}

impl Arguments {
    /// The arguments as an object; `None` if they are not one. No text at all means no arguments.
    pub fn to_object(&self) -> Option<Raw> {
        match self {
            Self::Object(raw) => Some(raw.clone()),
            Self::Text(text) => {
                let decoded = text.decode();
                let trimmed = decoded.trim();
                if trimmed.is_empty() {
                    return Some(Raw::written(Bytes::from_static(b"{}")));
                }
                json::is_object(trimmed.as_bytes()).then(|| Raw::written(trimmed.to_owned().into_bytes()))
            }
        }
    }

    /// The arguments as the inside of a string.
    pub fn to_text(&self) -> Text {
        match self {
            Self::Object(raw) => Text::new(&String::from_utf8_lossy(raw.json())),
            Self::Text(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_its_spelling_and_knows_its_meaning() {
        for (meaning, spelling) in [("", ""), ("a\"b", r#"a\"b"#), ("zwölf\n", r"zwölf\n"), ("\\u0041", r"\\u0041")] {
            let text = Text::new(meaning);
            assert_eq!(text.escaped(), spelling.as_bytes());
            assert_eq!(text.decode(), meaning);
        }
        assert_eq!(Text(Bytes::from_static(br"\ud83d")).decode(), "\u{fffd}");
        assert_eq!(Text(Bytes::from_static(br"\ud83d\ude00x")).decode(), "😀x");
        assert_eq!(Text::joined(&[Text::new("a"), Text::new("\n")]).decode(), "a\n");
    }

    #[test]
    fn arguments_change_between_object_and_string_and_back() {
        let rows = [
            (r#"{"a":"x\"y"}"#, Some(r#"{"a":"x\"y"}"#)),
            (" {} ", Some("{}")),
            ("", Some("{}")),
            ("[1]", None),
            ("{\"a\":", None),
            ("null", None),
        ];
        for (text, object) in rows {
            let arguments = Arguments::Text(Text::new(text));
            let found = arguments.to_object();
            assert_eq!(found.as_ref().map(|raw| String::from_utf8_lossy(raw.json()).into_owned()).as_deref(), object, "{text}");
            if let Some(raw) = found {
                assert_eq!(Arguments::Object(raw.clone()).to_text().decode().as_bytes(), raw.json());
            }
        }
    }
}
