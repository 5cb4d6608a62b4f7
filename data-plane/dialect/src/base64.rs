//! Base64 back into bytes (RFC 4648), for documents that one dialect takes as base64 and the other as text.

/// `None` if the text is no base64. Padding may be missing; line breaks are skipped, as encoders for mail put them in.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut bits: u32 = 0;
    let mut held = 0;
    let body = text.trim_ascii_end();
    let body = body.strip_suffix(b"==").or(body.strip_suffix(b"=")).unwrap_or(body);
    for byte in body.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
        bits = bits << 6 | u32::from(value(*byte)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    // A last letter alone holds no byte.
    (held < 6).then_some(bytes)
}

fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc_and_what_is_none() {
        let rows: [(&str, Option<&str>); 10] = [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg", Some("foob")),
            ("Zm9v\r\nYmE=\n", Some("fooba")),
            ("Zm9vYmFy", Some("foobar")),
            ("Z", None),
            ("Zm9v!", None),
            ("Z===", None),
        ];
        for (text, bytes) in rows {
            assert_eq!(decode(text.as_bytes()).as_deref(), bytes.map(str::as_bytes), "{text}");
        }
    }
}
