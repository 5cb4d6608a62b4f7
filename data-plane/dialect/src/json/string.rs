use std::borrow::Cow;

use super::scan::{Error, ErrorKind, Result};

/// Bytes looked at in one step.
pub(super) const BLOCK: usize = 64;
const SHORT_BLOCK: usize = 16;

/// A string or key as it stands in the text, between its quotes. Its escapes are known to be well formed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
    at: usize,
}

impl<'a> Text<'a> {
    /// The bytes between the quotes, escapes and all.
    pub(crate) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether the spelling holds an escape.
    pub(crate) fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// The offset of the opening quote.
    pub(crate) fn start(&self) -> usize {
        self.at.saturating_sub(1)
    }

    /// The offset of the closing quote.
    pub(crate) fn end(&self) -> usize {
        self.at + self.raw.len()
    }

    /// Whether the string means `word`, whatever its escapes.
    pub(crate) fn is(&self, word: &str) -> bool {
        if self.escaped { self.decode().is_some_and(|text| text == word) } else { self.raw == word.as_bytes() }
    }

    /// The meaning of the string; `None` if it is no Unicode text (bad UTF-8 or a surrogate that stands alone).
    pub(crate) fn decode(&self) -> Option<Cow<'a, str>> {
        let raw = std::str::from_utf8(self.raw).ok()?;
        if self.escaped { unescape(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
    }

    /// The meaning of the string as bytes, for comparing with known words; nothing if [`Text::decode`] gives nothing for an escaped one.
    pub(crate) fn meaning(&self) -> Cow<'a, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        Cow::Owned(self.decode().unwrap_or_default().into_owned().into_bytes())
    }

    /// Bytes of UTF-8 that the meaning takes.
    pub(crate) fn decoded_len(&self) -> usize {
        if !self.escaped {
            return self.raw.len();
        }
        let mut len = 0;
        let mut at = 0;
        while let Some(found) = memchr::memchr(b'\\', self.raw.get(at..).unwrap_or_default()) {
            let escape = at + found;
            len += found;
            if self.raw.get(escape + 1) == Some(&b'u') {
                // A half of a surrogate pair counts 2, so a pair counts 4.
                len += match hex4(self.raw, escape + 2) {
                    Some(0..=0x7f) => 1,
                    Some(0x80..=0x7ff) | Some(0xd800..=0xdfff) => 2,
                    _ => 3,
                };
                at = escape + 6;
            } else {
                len += 1;
                at = escape + 2;
            }
        }
        len + self.raw.len().saturating_sub(at)
    }
}

/// Reads the string whose opening quote lies at `quote`.
#[inline]
pub(super) fn read(bytes: &[u8], quote: usize) -> Result<Text<'_>> {
    let at = quote + 1;
    // Most strings are keys and short words without an escape.
    if let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<SHORT_BLOCK>())
        && let Some((raw, [b'"', ..])) = block.split_at_checked(short_specials(block).trailing_zeros() as usize)
    {
        return Ok(Text { raw, escaped: false, at });
    }
    read_long(bytes, at)
}

fn read_long(bytes: &[u8], at: usize) -> Result<Text<'_>> {
    let mut escaped = false;
    let mut block = at;
    let mut width = SHORT_BLOCK;
    let mut specials = short_specials_at(bytes, block);
    loop {
        let mut next = block + width;
        while specials != 0 {
            let special = block + specials.trailing_zeros() as usize;
            match bytes.get(special) {
                Some(b'"') => {
                    let raw = bytes.get(at..special).unwrap_or_default();
                    return Ok(Text { raw, escaped, at });
                }
                Some(b'\\') => {
                    escaped = true;
                    let after = escape_end(bytes, special)?;
                    if after >= next {
                        next = after;
                        break;
                    }
                    specials &= u64::MAX << (after - block);
                }
                _ => return Err(expected(special, "no raw control character in a string")),
            }
        }
        if next >= bytes.len() {
            return Err(expected(bytes.len(), "the end of a string"));
        }
        block = next;
        width = BLOCK;
        specials = specials_at(bytes, block);
    }
}

/// The offset after the escape that begins at `backslash`.
#[inline]
fn escape_end(bytes: &[u8], backslash: usize) -> Result<usize> {
    match bytes.get(backslash + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(backslash + 2),
        Some(b'u') if hex4(bytes, backslash + 2).is_some() => Ok(backslash + 6),
        _ => Err(expected(backslash, "an escape")),
    }
}

fn expected(at: usize, what: &'static str) -> Error {
    Error { at, kind: ErrorKind::Expected(what) }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
}

/// One bit for each byte of the block that ends a run of plain text: quote, backslash, control character.
/// Past the end of the text there is none.
#[inline]
fn specials_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk::<BLOCK>() {
        Some(block) => specials(block),
        None => specials(&padded(rest)),
    }
}

#[inline]
fn short_specials_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk::<SHORT_BLOCK>() {
        Some(block) => short_specials(block),
        None => short_specials(&padded(rest)),
    }
}

fn padded<const N: usize>(rest: &[u8]) -> [u8; N] {
    let mut block = [b' '; N];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    block
}

/// The instructions are called by name because the compiler finds no good ones for the portable form: reading a body
/// of 160 KB takes 12 us so and five times as long with the other.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[allow(unsafe_code)]
#[inline]
fn specials(block: &[u8; BLOCK]) -> u64 {
    // SAFETY: the only demand is a processor with SSE2, and this function exists only where all code assumes one.
    unsafe { sse2::specials(block) }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[allow(unsafe_code)]
#[inline]
fn short_specials(block: &[u8; SHORT_BLOCK]) -> u64 {
    // SAFETY: as above.
    unsafe { sse2::quarter(block, 0) }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod sse2 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8};

    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn specials(block: &[u8; super::BLOCK]) -> u64 {
        quarter(block, 0) | quarter(block, 16) << 16 | quarter(block, 32) << 32 | quarter(block, 48) << 48
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn quarter(block: &[u8], at: usize) -> u64 {
        let bytes = _mm_set_epi64x(word(block, at + 8), word(block, at));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash))) as u64 & 0xffff
    }

    #[inline]
    fn word(block: &[u8], at: usize) -> i64 {
        block.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_le_bytes)
    }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
fn specials(block: &[u8; BLOCK]) -> u64 {
    portable_specials(block)
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
fn short_specials(block: &[u8; SHORT_BLOCK]) -> u64 {
    portable_specials(block)
}

/// What the other form must agree with.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
pub(super) fn portable_specials(block: &[u8]) -> u64 {
    let is_special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
    block.iter().enumerate().fold(0, |mask, (at, byte)| mask | u64::from(is_special(byte)) << at)
}

#[cfg(test)]
pub(super) fn native_specials(block: &[u8; BLOCK]) -> u64 {
    specials(block)
}

fn unescape(raw: &str) -> Option<String> {
    decoded(raw, None)
}

/// The meaning of what stands between quotes; what is no Unicode text (a surrogate that stands alone, bad UTF-8) becomes U+FFFD.
pub(crate) fn unescaped(raw: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(raw) {
        text if !raw.contains(&b'\\') => text,
        text => Cow::Owned(decoded(&text, Some('\u{fffd}')).unwrap_or_else(|| text.clone().into_owned())),
    }
}

/// Decodes escapes. `broken` stands for what is no character; without one the text is refused.
fn decoded(raw: &str, broken: Option<char>) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(rest.get(..at)?);
        let letter = *rest.as_bytes().get(at + 1)?;
        let mut taken = at + 2;
        text.push(match letter {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (character, width) = unicode(rest.as_bytes(), taken).or(broken.map(|broken| (broken, 4)))?;
                taken += width;
                character
            }
            other => char::from(other),
        });
        rest = rest.get(taken..)?;
    }
    text.push_str(rest);
    Some(text)
}

/// The character whose hexadecimal digits begin at `at`, and how many bytes it takes from there.
fn unicode(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let first = hex4(bytes, at)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).map(|character| (character, 4));
    }
    if bytes.get(at + 4..at + 6)? != b"\\u" {
        return None;
    }
    let second = hex4(bytes, at + 6)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    char::from_u32(0x10000 + ((first - 0xd800) << 10) + second).map(|character| (character, 10))
}

/// Writes `text` as a JSON string with its quotes.
pub(crate) fn write_quoted(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
