//! The texts of identifiers: base 64 as canonical JSON has it, and the product's `att-…`.

/// Sixteen bytes that name an attempt or a generation.
pub type Id = [u8; 16];

/// Crockford's base 32.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// `att-…` or `gen-…`: 26 digits, the highest first.
pub fn text(prefix: &str, id: &Id) -> String {
    let number = u128::from_be_bytes(*id);
    let digits = (0..26).rev().map(|place| char::from(DIGITS[(number >> (5 * place)) as usize % 32]));
    std::iter::once(prefix.to_owned()).chain(digits.map(String::from)).collect()
}

/// When an id was made: the first 48 bits are the milliseconds since 1970, as in a UUID of version 7.
pub fn unix_ms(id: &Id) -> u128 {
    u128::from_be_bytes(*id) >> 80
}

/// The id behind a prefix.
pub fn parse(prefix: &str, text: &str) -> Option<Id> {
    let digits = text.strip_prefix(prefix).filter(|digits| digits.len() == 26)?;
    let number = digits.bytes().try_fold(0_u128, |number, digit| {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        number.checked_mul(32)?.checked_add(value as u128)
    })?;
    Some(number.to_be_bytes())
}

/// Sixteen bytes in base 64 (RFC 4648, section 4), padded.
pub fn from_base64(text: &str) -> Option<Id> {
    let digits = text.strip_suffix("==").filter(|digits| digits.len() == 22)?;
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(16), 0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (held, bits) = (held << 6 | u32::from(value), bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back() {
        let id: Id = std::array::from_fn(|place| (place * 37 + 200) as u8);
        assert_eq!(parse("att-", &text("att-", &id)), Some(id));
        assert_eq!(text("att-", &[0xff; 16]), "att-7zzzzzzzzzzzzzzzzzzzzzzzzz");
        for wrong in ["gen-00000000000000000000000000", "att-0", "att-8zzzzzzzzzzzzzzzzzzzzzzzzz", "att-0000000000000000000000000u"] {
            assert_eq!(parse("att-", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn base_64_is_read_as_the_rfc_has_it() {
        assert_eq!(from_base64("AAECAwQFBgcICQoLDA0ODw=="), Some(std::array::from_fn(|place| place as u8)));
        assert_eq!(from_base64("/////////////////////w=="), Some([0xff; 16]));
        for wrong in ["", "AAECAwQFBgcICQoLDA0ODw", "AAECAwQFBgcICQoLDA0O*w==", "AAEC"] {
            assert_eq!(from_base64(wrong), None, "{wrong}");
        }
    }
}
