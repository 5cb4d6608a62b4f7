use proptest::prelude::*;
use serde_json::Value;

use super::decimal::{Decimal, DecimalError, print_picousd};
use super::{ErrorKind, Kind, Scan, ScanLimits, write_quoted};

const LIMITS: ScanLimits = ScanLimits { depth: 64, keys: 1000 };

fn accepts(text: &[u8]) -> bool {
    let mut scan = Scan::new(text, LIMITS);
    scan.skip().and_then(|_| scan.end()).is_ok()
}

/// serde_json reads the same grammar, once numbers keep their text and the depth is ours.
fn serde_accepts(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

#[test]
fn the_grammar_is_followed_to_the_letter() {
    let rows: &[(&str, bool)] = &[
        ("null", true),
        (" [ ] ", true),
        ("{}", true),
        (r#"{"a":1,"a":2}"#, true),
        ("[1,2,[3,{\"a\":[]}],{}]", true),
        ("-0", true),
        ("0.5e-3", true),
        ("1E+2", true),
        ("\"\\u00e9\\\\\\\"\"", true),
        ("", false),
        ("nul", false),
        ("nulll", false),
        ("True", false),
        ("01", false),
        ("-", false),
        ("+1", false),
        (".5", false),
        ("1.", false),
        ("1e", false),
        ("0x10", false),
        ("NaN", false),
        ("Infinity", false),
        ("[1,]", false),
        ("[,1]", false),
        ("[1 2]", false),
        ("[1}", false),
        ("{\"a\":1]", false),
        ("{\"a\":1,}", false),
        ("{,}", false),
        ("{\"a\"}", false),
        ("{\"a\" 1}", false),
        ("{a:1}", false),
        ("{'a':1}", false),
        ("\"open", false),
        ("\"bad \\x escape\"", false),
        ("\"\\u12g4\"", false),
        ("\"\\u12\"", false),
        ("\"raw\ttab\"", false),
        ("\"raw\nline\"", false),
        ("1 1", false),
        ("{} {}", false),
        ("// comment\n1", false),
        ("[1,/**/2]", false),
        ("\u{feff}{}", false),
        ("\u{a0}1", false),
        ("\u{c}1", false),
    ];
    for (text, expected) in rows {
        assert_eq!(accepts(text.as_bytes()), *expected, "{text:?}");
    }
}

#[test]
fn depth_and_keys_are_limited() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(accepts(nested(64).as_bytes()));
    let deep = nested(65);
    let error = Scan::new(deep.as_bytes(), LIMITS).skip().err();
    assert_eq!(error.map(|error| (error.kind, error.at)), Some((ErrorKind::TooDeep, 64)));
    // As deep as a body can be: no stack grows.
    assert!(!accepts("[".repeat(1 << 20).as_bytes()));

    let wide = |keys: usize| format!("{{{}}}", vec!["\"k\":0"; keys].join(","));
    assert!(accepts(wide(1000).as_bytes()));
    let error = Scan::new(wide(1001).as_bytes(), LIMITS).skip().err();
    assert_eq!(error.map(|error| error.kind), Some(ErrorKind::TooManyKeys));
}

#[test]
fn strings_end_where_they_end_at_every_distance_from_a_block_border() {
    for length in 0..100 {
        for special in ["\"", "\\\\", "\\\"", "\\u0041", "\n"] {
            let text = format!("\"{}{special}{}\"", "x".repeat(length), "y".repeat(40));
            assert_eq!(accepts(text.as_bytes()), serde_accepts(text.as_bytes()), "{text}");
        }
    }
}

#[test]
fn decoding_and_its_length_agree_with_serde() {
    for text in [r#""""#, r#""plain""#, r#""a\n\t\"\\\/\b\f\r""#, r#""\u0041\u00e9\u20ac\ud83d\ude00""#, "\"é€😀\"", r#""\u0000""#] {
        let expected: String = serde_json::from_str(text).expect("valid");
        let found = Scan::new(text.as_bytes(), LIMITS).string().expect("valid");
        assert_eq!(found.decode().as_deref(), Some(expected.as_str()));
        assert_eq!(found.decoded_len(), expected.len(), "{text}");
        assert!(found.is(&expected));
    }
    for lone in [r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, r#""\ud800\u0041""#] {
        assert_eq!(Scan::new(lone.as_bytes(), LIMITS).string().expect("valid").decode(), None, "{lone}");
    }
}

#[test]
fn decimals_are_exact_or_refused() {
    let rows: &[(&str, Result<i64, DecimalError>)] = &[
        ("0", Ok(0)),
        ("0.000000000001", Ok(1)),
        ("1e-12", Ok(1)),
        ("10E-13", Ok(1)),
        ("2.50", Ok(2_500_000_000_000)),
        ("-0.5", Ok(-500_000_000_000)),
        ("9223372.036854775807", Ok(i64::MAX)),
        ("9223372.036854775808", Err(DecimalError::TooLarge)),
        ("1e300", Err(DecimalError::TooLarge)),
        ("0e300", Ok(0)),
        ("1e999999999", Err(DecimalError::NotANumber)),
        ("1e-13", Err(DecimalError::TooPrecise)),
        ("0.1234567890123", Err(DecimalError::TooPrecise)),
        ("", Err(DecimalError::NotANumber)),
        ("NaN", Err(DecimalError::NotANumber)),
        ("1e+-2", Err(DecimalError::NotANumber)),
        ("1_000", Err(DecimalError::NotANumber)),
        ("--1", Err(DecimalError::NotANumber)),
    ];
    for (text, expected) in rows {
        assert_eq!(Decimal::parse(text).and_then(Decimal::to_pico), *expected, "{text}");
    }
    assert_eq!(Decimal::parse("12.0").and_then(Decimal::to_whole), Ok(12));
    assert_eq!(Decimal::parse("1.2e1").and_then(Decimal::to_whole), Ok(12));
    assert_eq!(Decimal::parse("12.5").and_then(Decimal::to_whole), Err(DecimalError::TooPrecise));
}

/// Any JSON value of modest size.
pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-zé\"\\\\\n]{0,8}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn both_forms_of_the_search_agree(block in any::<[u8; 32]>(), more in any::<[u8; 32]>()) {
        let mut whole = [0; super::string::BLOCK];
        whole[..32].copy_from_slice(&block);
        whole[32..].copy_from_slice(&more);
        prop_assert_eq!(super::string::native_specials(&whole), super::string::portable_specials(&whole));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_are_judged_as_serde_judges_them(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Bad UTF-8 inside strings is judged before the scan.
        if std::str::from_utf8(&bytes).is_ok() {
            prop_assert_eq!(accepts(&bytes), serde_accepts(&bytes));
        } else {
            accepts(&bytes);
        }
    }

    #[test]
    fn broken_json_is_judged_as_serde_judges_it(
        text in r#"[\[\]{}:, "\\a0-9.eE+-]{0,24}|(\{"a":[0-9.\[{"]{0,6}[,}\]]{0,4}){1,3}"#,
    ) {
        prop_assert_eq!(accepts(text.as_bytes()), serde_accepts(text.as_bytes()), "{}", text);
    }

    #[test]
    fn every_value_is_skipped_whole(value in json_value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("prints");
        let mut scan = Scan::new(text.as_bytes(), ScanLimits::ANSWER);
        let span = scan.skip().expect("valid");
        prop_assert_eq!(span.of(text.as_bytes()), text.as_bytes());
        prop_assert!(scan.end().is_ok());
    }

    #[test]
    fn a_valid_text_with_one_byte_changed_is_judged_as_serde_judges_it(
        value in json_value(), at in any::<prop::sample::Index>(), byte in 0x20u8..0x7f,
    ) {
        let mut text = serde_json::to_vec(&value).expect("prints");
        let at = at.index(text.len());
        text[at] = byte;
        if std::str::from_utf8(&text).is_ok() {
            // A number beyond a float's range is a matter of serde's types, not of the grammar.
            let out_of_range = serde_json::from_slice::<Value>(&text).is_err_and(|error| error.to_string().contains("out of range"));
            prop_assert!(out_of_range || accepts(&text) == serde_accepts(&text), "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn quoting_is_undone_by_reading(text in any::<String>()) {
        let mut quoted = Vec::new();
        write_quoted(&mut quoted, &text);
        let read: String = serde_json::from_slice(&quoted).expect("valid");
        prop_assert_eq!(&read, &text);
        let mut scan = Scan::new(&quoted, LIMITS);
        prop_assert_eq!(scan.peek(), Ok(Kind::String));
        let found = scan.string().expect("valid");
        prop_assert_eq!(found.decoded_len(), text.len());
        prop_assert_eq!(found.decode().expect("text").into_owned(), text);
    }

    #[test]
    fn printing_an_amount_is_undone_by_reading(amount in any::<i64>().prop_filter("range", |amount| *amount != i64::MIN)) {
        let printed = print_picousd(amount);
        prop_assert_eq!(Decimal::parse(&printed).and_then(Decimal::to_pico), Ok(amount));
        prop_assert!(!printed.ends_with('.') && !printed.contains(['e', 'E']));
    }
}
