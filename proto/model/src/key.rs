//! API keys: their text, its check, and the hash under which a key is known.
//!
//! Text: `wb_<live|test>_<20 random bytes as 27 base-62 digits>_<CRC-32 of all before the last _, 6 base-62 digits>`. The checksum turns
//! typing errors and scanners' guesses away without a look-up. A record holds HMAC-SHA-256(pepper, text) cut to 16 bytes (the key has 160 bits
//! of entropy, so no slow hash is needed) and the id of the pepper.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Hash under which a key is known.
pub type KeyHash = [u8; 16];

/// The secret that keyed hashes are made with. Up to two are valid at once, so that it can be rotated.
#[derive(Clone)]
pub struct Pepper {
    id: u8,
    mac: Hmac<Sha256>,
    fingerprint: [u8; 8],
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Pepper {{ id: {} }}", self.id)
    }
}

impl Pepper {
    /// A pepper of 32 random bytes under an id.
    #[must_use]
    pub fn new(id: u8, secret: &[u8; 32]) -> Self {
        let mac = Hmac::<Sha256>::new(&(*secret).into_key());
        let fingerprint = blake3::derive_key("waybill pepper fingerprint v1", secret);
        Self { id, mac, fingerprint: std::array::from_fn(|index| fingerprint[index]) }
    }

    /// Its id in key records.
    #[must_use]
    pub const fn id(&self) -> u8 {
        self.id
    }

    /// A digest that tells peppers apart and gives nothing away.
    #[must_use]
    pub const fn fingerprint(&self) -> [u8; 8] {
        self.fingerprint
    }

    /// The hash of a key text.
    #[must_use]
    pub fn hash(&self, text: &str) -> KeyHash {
        let mut mac = self.mac.clone();
        mac.update(text.as_bytes());
        let full = mac.finalize().into_bytes();
        std::array::from_fn(|index| full[index])
    }
}

trait IntoKey {
    fn into_key(self) -> hmac::digest::Key<Hmac<Sha256>>;
}

impl IntoKey for [u8; 32] {
    /// HMAC pads keys shorter than the block with zeros (RFC 2104 §2), so this is the same key.
    fn into_key(self) -> hmac::digest::Key<Hmac<Sha256>> {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..32].copy_from_slice(&self);
        block
    }
}

/// Makes a key text from 20 random bytes.
#[must_use]
pub fn generate(live: bool, random: [u8; 20]) -> String {
    let mut number = random;
    let mut digits = [0_u8; 27];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    let body = format!("wb_{}_{}", if live { "live" } else { "test" }, String::from_utf8_lossy(&digits));
    let sum = checksum(&body);
    format!("{body}_{}", String::from_utf8_lossy(&sum))
}

/// The text has the form of a key and its checksum is right. Says nothing about whether the key exists.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let Some((body, sum)) = text.rsplit_once('_') else {
        return false;
    };
    let digits = body.strip_prefix("wb_live_").or_else(|| body.strip_prefix("wb_test_"));
    digits.is_some_and(|digits| digits.len() == 27 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        && *sum.as_bytes() == checksum(body)
}

/// The part of a key text that may be shown: `wb_live_abcd`.
#[must_use]
pub fn prefix(text: &str) -> &str {
    text.get(..12).unwrap_or_default()
}

fn checksum(body: &str) -> [u8; 6] {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [0_u8; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_well_formed_and_any_changed_letter_is_noticed() {
        for random in [[0; 20], [0xff; 20], std::array::from_fn(|index| index as u8 * 13)] {
            let key = generate(true, random);
            assert_eq!(key.len(), 8 + 27 + 1 + 6);
            assert!(is_well_formed(&key), "{key}");
            for position in 8..key.len() {
                let mut wrong = key.clone().into_bytes();
                wrong[position] = if wrong[position] == b'x' { b'y' } else { b'x' };
                let wrong = String::from_utf8(wrong).expect("ASCII");
                assert!(wrong == key || !is_well_formed(&wrong), "{wrong}");
            }
        }
        for bad in ["", "wb_live_", "sk-abc", "wb_live_abc_def", "wb_prod_000000000000000000000000000_000000"] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn the_hash_is_hmac_sha_256() {
        // Computed with Python: hmac.new(bytes(range(32)), b"wb_test_key", "sha256").hexdigest()[:32]
        let pepper = Pepper::new(1, &std::array::from_fn(|index| index as u8));
        let hash: String = pepper.hash("wb_test_key").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "08910a7545aea268fc2667b967f2400b");
    }

    #[test]
    fn a_pepper_never_prints_its_secret() {
        assert_eq!(format!("{:?}", Pepper::new(7, &[9; 32])), "Pepper { id: 7 }");
    }
}
