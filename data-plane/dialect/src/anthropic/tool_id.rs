//! Ids of tool calls: Anthropic takes letters, digits, `_` and `-` only; other providers give others.

use crate::neutral::Text;

/// What a spelt-out id begins with.
const PREFIX: &str = "wb-";

/// The id in letters that Anthropic takes; `None` if it is so already. One id has one spelling and two ids never share one, so
/// that a call and its result still match.
pub(super) fn fit(id: &Text) -> Option<Text> {
    let told = id.decode();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !told.is_empty() && told.bytes().all(is_plain) && !told.starts_with(PREFIX) {
        return None;
    }
    Some(Text::new(&told.bytes().fold(PREFIX.to_owned(), |spelt, byte| spelt + &format!("{byte:02x}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_anthropic_takes_stay_and_all_others_have_a_spelling_of_their_own() {
        let rows = [
            ("toolu_01-A", None),
            ("", Some("wb-")),
            ("a.b", Some("wb-612e62")),
            ("wb-", Some("wb-77622d")),
            ("wb-612e62", Some("wb-77622d363132653632")),
            ("ü", Some("wb-c3bc")),
            ("functions.f:0", Some("wb-66756e6374696f6e732e663a30")),
        ];
        for (id, spelt) in rows {
            assert_eq!(fit(&Text::new(id)).map(|text| text.decode().into_owned()).as_deref(), spelt, "{id}");
        }
    }
}
