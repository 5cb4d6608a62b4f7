//! What a translation could not carry as it was: nothing is lost without a word.

use std::fmt;

/// What became of a field that the other dialect does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where it stands in the caller's request.
    pub path: String,
    pub outcome: Outcome,
}

/// The rule of the field; the third one, *refuse*, is a [`crate::Fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something near to it was sent; says what.
    Approximated(&'static str),
    /// Left out; says why.
    Dropped(&'static str),
}

impl Notice {
    pub(crate) fn approximated(path: impl Into<String>, how: &'static str) -> Self {
        Self { path: path.into(), outcome: Outcome::Approximated(how) }
    }

    pub(crate) fn dropped(path: impl Into<String>, why: &'static str) -> Self {
        Self { path: path.into(), outcome: Outcome::Dropped(why) }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Approximated(how) => write!(f, "{}: approximated, {how}", self.path),
            Outcome::Dropped(why) => write!(f, "{}: dropped, {why}", self.path),
        }
    }
}

/// Longest value of the warning header; proxies in front of us commonly take 8 KiB for all headers.
const HEADER_BYTES: usize = 2048;

/// All notices as the value of one header: visible ASCII, at most 2 KiB, with the number of those that found no room.
pub fn warning_header(notices: &[Notice]) -> String {
    let mut header = String::new();
    for (at, notice) in notices.iter().enumerate() {
        let item: String = notice.to_string().chars().map(|letter| if matches!(letter, ' '..='~') { letter } else { '?' }).collect();
        if header.len() + item.len() + 32 > HEADER_BYTES {
            header.push_str(&format!("{}and {} more", if at == 0 { "" } else { "; " }, notices.len() - at));
            break;
        }
        if at > 0 {
            header.push_str("; ");
        }
        header.push_str(&item);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_every_field_or_says_how_many_it_left_out() {
        assert_eq!(warning_header(&[]), "");
        let two = [Notice::dropped("seed", "Anthropic has none"), Notice::approximated("temperature", "clamped to 1")];
        assert_eq!(warning_header(&two), "seed: dropped, Anthropic has none; temperature: approximated, clamped to 1");
        assert_eq!(warning_header(&[Notice::dropped("ü\n", "x")]), "??: dropped, x");
        let many: Vec<Notice> = (0..100).map(|n| Notice::dropped(format!("messages[{n}].cache_control"), "no such field there")).collect();
        let header = warning_header(&many);
        assert!(header.len() <= HEADER_BYTES && header.ends_with(" more"), "{header}");
    }
}
