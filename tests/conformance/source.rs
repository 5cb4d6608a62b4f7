//! Reading Rust source for what it touches: comments, strings and tests are left out, the rest is looked at word by word.

/// Names of modules that say nothing about what they hold.
const EMPTY_NAMES: [&str; 8] = ["common", "util", "utils", "helper", "helpers", "misc", "core", "manager"];

/// The part of a file that is compiled into the product: without comments, without the content of strings, without the tests at its end.
pub fn product(text: &str) -> String {
    let plain = plain(text);
    // By the house's manner tests are the last thing in a file.
    let end = plain.find("#[cfg(test)]").filter(|&at| plain.get(at..).is_some_and(|rest| rest.contains("mod tests {")));
    plain.get(..end.unwrap_or(plain.len())).unwrap_or_default().to_owned()
}

/// What a pure room may not use and this text does.
pub fn impurities(text: &str) -> Vec<&'static str> {
    // Addresses of `std::net` are values like others; what opens a socket or resolves a name is not.
    const WORDS: [&str; 12] = [
        "SystemTime",
        "tokio",
        "rand",
        "getrandom",
        "thread_rng",
        "async",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "UnixListener",
        "ToSocketAddrs",
    ];
    const OF_STD: [&str; 4] = ["fs", "env", "process", "thread"];
    let words = words(text);
    let mut found: Vec<&'static str> = WORDS.into_iter().filter(|word| words.contains(word)).collect();
    for (at, word) in words.iter().enumerate() {
        let rest = words.get(at + 1..).unwrap_or_default();
        if *word == "Instant" && rest.starts_with(&["::", "now"]) {
            found.push("Instant::now");
        }
        if *word == "std" && rest.first() == Some(&"::") {
            let imported = imported(rest.get(1..).unwrap_or_default());
            found.extend(OF_STD.into_iter().filter(|name| imported.contains(name)));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// True when the text builds a gRPC server with tonic.
pub fn builds_grpc_server(text: &str) -> bool {
    let words = words(text);
    words.windows(5).any(|window| window == ["tonic", "::", "transport", "::", "Server"])
        || words.windows(4).enumerate().any(|(at, window)| {
            window == ["tonic", "::", "transport", "::"]
                && words.get(at + 4) == Some(&"{")
                && words.iter().skip(at + 5).take_while(|word| **word != "}").any(|word| *word == "Server")
        })
}

/// The part of a path that says nothing, if one is a folder or file name of a module.
pub fn empty_name(path: &str) -> Option<&'static str> {
    let mut parts = path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
    parts.find_map(|part| EMPTY_NAMES.into_iter().find(|name| *name == part))
}

/// Modules whose names say nothing.
pub fn empty_modules(text: &str) -> Vec<&'static str> {
    let words = words(text);
    let named = words.windows(2).filter_map(|window| match window {
        ["mod", name] => EMPTY_NAMES.into_iter().find(|empty| empty == name),
        _ => None,
    });
    named.collect()
}

/// The first segments of what follows `std::`: one name, or all of a group.
fn imported<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    if rest.first() != Some(&"{") {
        return rest.first().copied().into_iter().collect();
    }
    let (mut depth, mut names) = (0, Vec::new());
    for (at, word) in rest.iter().enumerate() {
        match *word {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if depth == 1 && matches!(rest.get(at.wrapping_sub(1)), Some(&"{" | &",")) => names.push(name),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// Identifiers, `::` and single signs.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (word, left) = rest.split_at(length);
        words.push(word);
        rest = left.trim_start();
    }
    words
}

/// The text with comments removed and strings emptied.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped(rest, plain.chars().next_back());
        if skipped > 0 {
            rest = rest.get(skipped..).unwrap_or_default();
            plain.push(' ');
        } else {
            plain.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    plain
}

/// Length of the comment, string or character at the front; 0 = there is none.
fn skipped(rest: &str, before: Option<char>) -> usize {
    let until = |from: usize, end: &str| rest.get(from..).and_then(|tail| tail.find(end)).map_or(rest.len(), |at| from + at + end.len());
    let in_word = before.is_some_and(|sign| sign.is_alphanumeric() || sign == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until(2, "*/");
    }
    if rest.starts_with('"') {
        return quoted(rest, 1);
    }
    if !in_word && rest.starts_with("b\"") {
        return quoted(rest, 2);
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')).filter(|_| !in_word);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw.get(hashes..).is_some_and(|tail| tail.starts_with('"')) {
            return until(rest.len() - raw.len() + hashes + 1, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    // A quoted sign, not a lifetime: '"' and '\\' would otherwise open a string.
    if rest.starts_with("'\\") {
        return until(3, "'");
    }
    let mut signs = rest.chars();
    if let (Some('\''), Some(sign), Some('\'')) = (signs.next(), signs.next(), signs.next()) {
        return 2 + sign.len_utf8();
    }
    0
}

/// Length of a string with escapes whose content begins at `from`.
fn quoted(rest: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, sign) in rest.char_indices().skip_while(|(at, _)| *at < from) {
        match sign {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

#[test]
fn comments_strings_and_tests_are_no_product() {
    let text = "use a; // tokio\n/* std::fs */ let s = \"std::net \\\" rand\"; let r = r#\"tokio \" \"#; let c = '\"'; let d = '\\''; fn f<'a>() {} let b = b\"tokio\";\n#[cfg(test)]\nmod tests { use std::fs; }";
    let product = product(text);
    assert_eq!(impurities(&product), Vec::<&str>::new(), "{product}");
    assert!(product.contains("use a;") && product.contains("fn f<'a>()"), "{product}");
}

#[test]
fn what_a_pure_room_may_not_use_is_found_however_it_is_written() {
    for (text, expected) in [
        ("use std::time::SystemTime;", &["SystemTime"][..]),
        ("let now = std::time::Instant::now();", &["Instant::now"]),
        ("fn later(now: Instant) -> Instant { now }", &[]),
        ("std::fs::read(path)", &["fs"]),
        ("use std::{collections::BTreeMap, net::{IpAddr}, fs, env};", &["env", "fs"]),
        ("use std::net::{SocketAddr, ToSocketAddrs};", &["ToSocketAddrs"]),
        ("use std::{fmt, collections::{fs}};", &[]),
        ("let operand = strand + random;", &[]),
        ("rand::random()", &["rand"]),
        ("async fn f() {}", &["async"]),
        ("use tokio::spawn;", &["tokio"]),
    ] {
        assert_eq!(impurities(text), expected, "{text}");
    }
}

#[test]
fn a_grpc_server_is_seen_in_both_manners_of_import() {
    for (text, expected) in [
        ("use tonic::transport::Server;", true),
        ("use tonic::transport::{Channel, Server};", true),
        ("use tonic::transport::{Channel, Endpoint};", false),
        ("tonic::transport::Server::builder()", true),
        ("use crate::Server;", false),
    ] {
        assert_eq!(builds_grpc_server(text), expected, "{text}");
    }
}

#[test]
fn names_that_say_nothing_are_found_in_paths_and_modules() {
    assert_eq!(empty_name("data-plane/front/src/utils.rs"), Some("utils"));
    assert_eq!(empty_name("data-plane/front/src/core/accept.rs"), Some("core"));
    assert_eq!(empty_name("data-plane/front/src/score.rs"), None);
    assert_eq!(empty_modules("mod helpers; pub mod scores { }"), ["helpers"]);
}
