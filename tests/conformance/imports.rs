//! The import rules: who may know whom, which outsider has which door, what the pure rooms may not touch, which names say nothing.
//!
//! Dependencies come from `cargo metadata`, the rest from the source. Each rule is a pure function from what was read to its faults, so that it
//! is itself tested on a tree that breaks it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::source;

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, Deserialize)]
struct Dependency {
    name: String,
    /// `None` = an ordinary one, else `dev` or `build`.
    kind: Option<String>,
    #[serde(default)]
    features: Vec<String>,
}

/// A crate of the workspace: where it lies below the root, and what it depends on.
#[derive(Debug, Clone)]
struct Room {
    folder: String,
    name: String,
    dependencies: Vec<Dependency>,
}

impl Room {
    fn area(&self) -> &str {
        self.folder.split('/').next().unwrap_or_default()
    }

    fn ordinary(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|dependency| dependency.kind.is_none())
    }
}

fn read() -> (PathBuf, Vec<Room>) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let root = metadata.workspace_root;
    let rooms = metadata.packages.into_iter().map(|package| {
        let folder = package.manifest_path.parent().unwrap().strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        Room { folder, name: package.name, dependencies: package.dependencies }
    });
    (root.clone(), rooms.collect())
}

/// Every edge between two crates of ours: (from, to, kind).
fn edges(rooms: &[Room]) -> Vec<(&Room, &Room, Option<&str>)> {
    let by_name: BTreeMap<&str, &Room> = rooms.iter().map(|room| (room.name.as_str(), room)).collect();
    let ours = |name: &str| by_name.get(name).copied();
    let all = rooms.iter().flat_map(|room| room.dependencies.iter().map(move |dependency| (room, dependency)));
    all.filter_map(|(room, dependency)| Some((room, ours(&dependency.name)?, dependency.kind.as_deref()))).collect()
}

/// Rule 1: the planes meet in `proto` only, and the contract knows nobody outside of itself.
fn planes(rooms: &[Room]) -> Vec<String> {
    let mut faults = Vec::new();
    for (from, to, kind) in edges(rooms) {
        let forbidden = match (from.area(), to.area()) {
            ("proto", area) => area != "proto",
            ("data-plane", area) => area == "control-plane" || area == "tests",
            ("control-plane", area) => area == "data-plane" || area == "tests",
            ("deploy", area) => area == "tests",
            _ => false,
        };
        // Rooms may test against the sandbox; only the binaries ship with it.
        let ships_sandbox = to.folder == "deploy/sandbox" && from.area().ends_with("-plane") && kind.is_none();
        if forbidden || ships_sandbox {
            faults.push(format!("{} imports {}", from.folder, to.folder));
        }
    }
    faults
}

/// Rule 3: rooms of the data plane do not import rooms; all may import the neutral form, and the proxy joins them.
fn rooms_of_the_data_plane(rooms: &[Room]) -> Vec<String> {
    let own = |room: &Room| room.area() == "data-plane";
    let edges = edges(rooms).into_iter().filter(|(from, to, _)| own(from) && own(to));
    let wrong = edges.filter(|(from, to, _)| from.folder != "data-plane/proxy" && to.folder != "data-plane/dialect");
    wrong.map(|(from, to, _)| format!("{} imports {}", from.folder, to.folder)).collect()
}

/// Rule 5: command line, console and importers are clients of the admin API and know the contract only.
fn clients(rooms: &[Room]) -> Vec<String> {
    const CLIENTS: [&str; 3] = ["control-plane/cli", "control-plane/console", "control-plane/catalog"];
    let edges = edges(rooms)
        .into_iter()
        .filter(|(from, to, kind)| CLIENTS.contains(&from.folder.as_str()) && to.area() != "proto" && kind.is_none());
    edges.map(|(from, to, _)| format!("{} imports {}", from.folder, to.folder)).collect()
}

/// An outsider, the feature that opens it (empty = the crate itself), and who may.
struct Door {
    outsider: &'static str,
    feature: &'static str,
    open_to: &'static [&'static str],
}

/// Rule 4, as far as manifests show it.
const DOORS: [Door; 9] = [
    Door { outsider: "sqlx", feature: "", open_to: &["control-plane/store", "control-plane/billing"] },
    Door { outsider: "etcd-client", feature: "", open_to: &["control-plane/store"] },
    Door { outsider: "rdkafka", feature: "", open_to: &["data-plane/meter", "control-plane/billing"] },
    Door { outsider: "hyper", feature: "server", open_to: &["data-plane/front", "deploy/sandbox", "tests"] },
    Door { outsider: "hyper-util", feature: "server", open_to: &["data-plane/front", "deploy/sandbox", "tests"] },
    Door { outsider: "hyper-util", feature: "server-auto", open_to: &["data-plane/front", "deploy/sandbox", "tests"] },
    Door { outsider: "hyper", feature: "client", open_to: &["data-plane/upstream", "tests"] },
    Door { outsider: "hyper-util", feature: "client-legacy", open_to: &["tests"] },
    Door { outsider: "opentelemetry-otlp", feature: "", open_to: &["proto/telemetry"] },
];

fn doors(rooms: &[Room]) -> Vec<String> {
    let mut faults = Vec::new();
    for room in rooms {
        for dependency in room.ordinary() {
            let through = DOORS.iter().filter(|door| door.outsider == dependency.name);
            for door in through.filter(|door| door.feature.is_empty() || dependency.features.iter().any(|feature| feature == door.feature))
            {
                if !door.open_to.contains(&room.folder.as_str()) {
                    faults.push(format!("{} opens {} {}", room.folder, door.outsider, door.feature).trim_end().to_owned());
                }
            }
        }
    }
    faults
}

/// Rule 4, as far as only the source shows it: a gRPC server is built in these rooms.
const GRPC_SERVERS: [&str; 2] = ["control-plane/admin", "control-plane/publish"];

/// Rule 2: the crates that are pure as a whole.
const PURE_CRATES: [&str; 4] = ["proto/model", "data-plane/dialect", "data-plane/guard", "data-plane/route"];

/// What a pure crate may not even depend on.
const IMPURE_CRATES: [&str; 12] = [
    "tokio",
    "tokio-stream",
    "futures-util",
    "hyper",
    "hyper-util",
    "tonic",
    "sqlx",
    "getrandom",
    "rand",
    "socket2",
    "libc",
    "tracing-subscriber",
];

fn pure_manifests(rooms: &[Room]) -> Vec<String> {
    let pure = rooms.iter().filter(|room| PURE_CRATES.contains(&room.folder.as_str()));
    let wrong = pure.flat_map(|room| {
        room.ordinary().filter(|dependency| IMPURE_CRATES.contains(&dependency.name.as_str())).map(move |dependency| (room, dependency))
    });
    wrong.map(|(room, dependency)| format!("{} depends on {}", room.folder, dependency.name)).collect()
}

/// Modules of other crates that must be pure, below the root and without `.rs`: a file, or a folder of that name. Whoever renames one renames it here.
const PURE_MODULES: [&str; 21] = [
    "data-plane/meter/src/intent",
    "data-plane/meter/src/tally",
    "control-plane/store/src/decide",
    "control-plane/publish/src/index",
    "control-plane/publish/src/diff",
    "control-plane/billing/src/ledger",
    "control-plane/billing/src/reprice",
    "control-plane/publish/src/changes",
    "control-plane/publish/src/debounce",
    "control-plane/publish/src/denials",
    "control-plane/publish/src/publication",
    "control-plane/publish/src/session",
    "control-plane/publish/src/rollout",
    "control-plane/publish/src/conduct",
    "data-plane/sync/src/adopt",
    "data-plane/sync/src/backoff",
    "data-plane/sync/src/change",
    "data-plane/sync/src/container",
    "data-plane/sync/src/guard",
    "data-plane/sync/src/overlay",
    "data-plane/sync/src/subscriber",
];

/// A file whose first line ends by calling it pure is held to it, wherever it lies.
fn calls_itself_pure(text: &str) -> bool {
    text.lines().next().is_some_and(|first| first.starts_with("//!") && first.contains(". Pure"))
}

fn pure_paths(root: &Path, rooms: &[Room]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = PURE_CRATES.iter().map(|folder| root.join(folder).join("src")).collect();
    for module in PURE_MODULES {
        let places = [root.join(format!("{module}.rs")), root.join(module)];
        assert!(places.iter().any(|path| path.exists()), "{module} is a pure module and not there");
        paths.extend(places.into_iter().filter(|path| path.exists()));
    }
    let all = rooms.iter().filter(|room| room.folder != "tests").flat_map(|room| files(&root.join(&room.folder).join("src")));
    paths.extend(all.filter(|file| calls_itself_pure(&fs::read_to_string(file).unwrap())));
    paths
}

/// Every Rust file below a folder (or the file itself), tests left out.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        let test = path.file_stem().is_some_and(|stem| stem == "tests");
        return if path.extension().is_some_and(|extension| extension == "rs") && !test { vec![path.to_owned()] } else { Vec::new() };
    }
    if path.file_name().is_some_and(|name| name == "tests" || name == "target") {
        return Vec::new();
    }
    let mut found: Vec<PathBuf> = fs::read_dir(path).into_iter().flatten().flat_map(|entry| files(&entry.unwrap().path())).collect();
    found.sort();
    found
}

fn sources(root: &Path, path: &Path) -> Vec<(String, String)> {
    let name = |file: &Path| file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned();
    files(path).iter().map(|file| (name(file), source::product(&fs::read_to_string(file).unwrap()))).collect()
}

#[track_caller]
fn none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn the_planes_meet_in_the_contract_only() {
    none("the planes never import each other, and the contract knows nobody", &planes(&read().1));
}

#[test]
fn rooms_of_the_data_plane_are_joined_by_the_proxy_only() {
    none("rooms do not import rooms", &rooms_of_the_data_plane(&read().1));
}

#[test]
fn clients_have_no_private_door() {
    none("cli, console and catalog know the contract only", &clients(&read().1));
}

#[test]
fn every_outsider_has_one_door() {
    let (root, rooms) = read();
    let mut faults = doors(&rooms);
    for room in rooms.iter().filter(|room| !GRPC_SERVERS.contains(&room.folder.as_str()) && room.folder != "tests") {
        for (file, text) in sources(&root, &root.join(&room.folder).join("src")) {
            faults.extend(source::builds_grpc_server(&text).then(|| format!("{file} builds a gRPC server")));
        }
    }
    none("one door per outsider", &faults);
}

#[test]
fn pure_rooms_touch_nothing_but_their_arguments() {
    let (root, rooms) = read();
    let mut faults = pure_manifests(&rooms);
    for path in pure_paths(&root, &rooms) {
        for (file, text) in sources(&root, &path) {
            faults.extend(source::impurities(&text).into_iter().map(|word| format!("{file} uses {word}")));
        }
    }
    none("pure rooms have no I/O, no clock, no async, no randomness of their own", &faults);
}

#[test]
fn every_module_is_named_after_what_it_holds() {
    let (root, rooms) = read();
    let mut faults = Vec::new();
    for room in &rooms {
        for file in files(&root.join(&room.folder)) {
            let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            faults.extend(source::empty_name(&name).map(|word| format!("{name}: `{word}` says nothing")));
            let text = source::product(&fs::read_to_string(&file).unwrap());
            faults.extend(source::empty_modules(&text).into_iter().map(|word| format!("{name}: module `{word}` says nothing")));
        }
    }
    none("no module is named common, util, helpers, misc, core or manager", &faults);
}

/// The rules on a tree that breaks each of them.
mod broken {
    use super::*;

    fn room(folder: &str, dependencies: &[(&str, Option<&str>, &[&str])]) -> Room {
        let dependency = |(name, kind, features): &(&str, Option<&str>, &[&str])| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        let name = folder.rsplit('/').next().unwrap().to_owned();
        Room { folder: folder.to_owned(), name, dependencies: dependencies.iter().map(dependency).collect() }
    }

    fn tree() -> Vec<Room> {
        vec![
            room("proto/model", &[("tokio", None, &[]), ("tokio", Some("dev"), &[])]),
            room("proto/telemetry", &[("front", None, &[])]),
            room("data-plane/dialect", &[]),
            room("data-plane/front", &[("dialect", None, &[]), ("sandbox", Some("dev"), &[]), ("hyper", None, &["server", "http1"])]),
            room("data-plane/upstream", &[("front", None, &[]), ("hyper", None, &["client"]), ("hyper", Some("dev"), &["server"])]),
            room("data-plane/meter", &[("store", Some("dev"), &[]), ("sandbox", None, &[])]),
            room("data-plane/proxy", &[("front", None, &[]), ("upstream", None, &[]), ("hyper", None, &["server"])]),
            room("control-plane/store", &[("sqlx", None, &[])]),
            room("control-plane/admin", &[("store", None, &[]), ("sqlx", None, &[]), ("proxy", None, &[])]),
            room("control-plane/cli", &[("model", None, &[]), ("store", None, &[]), ("store", Some("dev"), &[])]),
            room("deploy/sandbox", &[]),
            room("deploy/waybill", &[("proxy", None, &[]), ("admin", None, &[]), ("sandbox", None, &[])]),
        ]
    }

    /// A rule, and its faults in the tree above.
    type Row = (fn(&[Room]) -> Vec<String>, &'static [&'static str]);

    #[test]
    fn each_rule_finds_its_faults_and_no_others() {
        let tree = tree();
        let rows: [Row; 5] = [
            (
                planes,
                &[
                    "proto/telemetry imports data-plane/front",
                    "data-plane/meter imports control-plane/store",
                    "data-plane/meter imports deploy/sandbox",
                    "control-plane/admin imports data-plane/proxy",
                ],
            ),
            (rooms_of_the_data_plane, &["data-plane/upstream imports data-plane/front"]),
            (clients, &["control-plane/cli imports control-plane/store"]),
            (doors, &["data-plane/proxy opens hyper server", "control-plane/admin opens sqlx"]),
            (pure_manifests, &["proto/model depends on tokio"]),
        ];
        for (rule, expected) in rows {
            assert_eq!(rule(&tree), expected);
        }
    }
}
