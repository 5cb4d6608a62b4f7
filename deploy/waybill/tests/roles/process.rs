//! Processes of a small cluster in a folder of their own, and a client that speaks to them.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use waybill_sandbox::{Options, Sandbox};

/// Longest wait for anything; what is waited for takes a few seconds at most.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);

/// The secret of the sandbox, in the proxy's environment.
const SECRET: &str = "SANDBOX_KEY";

/// A running process; dropping it ends it at once.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Asks it to end (SIGTERM) and waits; also what it printed.
    pub fn terminate(mut self) -> (ExitStatus, String) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill");
        assert!(asked.success());
        let end = wait_for("its end", || self.child.try_wait().expect("a child"));
        (end, self.printed())
    }

    pub fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `http`, `ops`, … of the line that says where it listens.
    pub fn address_in_log(&self, what: &str) -> Option<String> {
        let printed = self.printed();
        let line = printed.lines().find(|line| line.contains("listening: "))?;
        let (_, rest) = line.split_once(&format!("{what} "))?;
        Some(rest.split([',', ' ']).next()?.to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(LOOK);
    }
}

/// An answer over HTTP.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub fn generation(&self) -> String {
        let line = self.head.lines().find_map(|line| line.strip_prefix("x-generation-id: "));
        line.expect("a generation id").to_owned()
    }
}

/// Asks with `GET`.
pub fn get(address: &str, path: &str, key: Option<&str>) -> Answer {
    let authorization = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n"))
}

fn exchange(address: &str, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {text}"));
    Answer { status, head: head.replace('\r', ""), body: body.to_owned() }
}

pub struct Cluster {
    folder: tempfile::TempDir,
    sandbox: Sandbox,
    pub control: Option<Process>,
    pub proxy: Option<Process>,
    /// Where they listen; the same after a restart.
    addresses: Addresses,
}

struct Addresses {
    admin: String,
    sync: String,
    http: String,
    ops: String,
}

impl Cluster {
    /// A folder with the secrets of a cluster.
    pub fn empty() -> Self {
        let any = || "127.0.0.1:0".to_owned();
        let addresses = Addresses { admin: any(), sync: "127.0.0.1:1".to_owned(), http: any(), ops: any() };
        let sandbox = Sandbox::spawn_thread(Options::default()).expect("a sandbox");
        let cluster = Self { folder: tempfile::tempdir().expect("a folder"), sandbox, control: None, proxy: None, addresses };
        for (kind, file) in [("pepper", "pepper"), ("operator-token", "token")] {
            let (made, log) = cluster.run(&["secrets", "new", kind, file]);
            assert!(made.success(), "{log}");
        }
        cluster
    }

    /// A control plane and a proxy.
    pub fn start() -> Self {
        let mut cluster = Self::empty();
        cluster.addresses.sync = "127.0.0.1:0".to_owned();
        cluster.start_control();
        cluster.start_proxy();
        cluster
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("a file");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
        command.env_clear().env(SECRET, "x").args(words).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; also what it printed.
    pub fn run(&self, words: &[&str]) -> (ExitStatus, String) {
        let ended = self.command(words).output().expect("it starts");
        (ended.status, String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned())
    }

    /// Runs an operator's command; what it prints.
    pub fn waybill(&self, words: &[&str]) -> String {
        let connection = ["--admin", &self.addresses.admin, "--token-file", "token"];
        let ended = self.command(&[words, &connection[..]].concat()).output().expect("it starts");
        assert!(ended.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8_lossy(&ended.stdout).into_owned()
    }

    fn spawn(&self, name: &str, words: &[&str]) -> Process {
        let log = self.path(&format!("{name}.log"));
        let out = fs::File::create(&log).expect("a log");
        let child = self.command(words).stderr(out.try_clone().expect("a log")).stdout(out).spawn().expect("it starts");
        Process { child, log }
    }

    fn control_words(&self) -> Vec<&str> {
        let Addresses { admin, sync, .. } = &self.addresses;
        let stored = ["control", "--name", "c0", "--store", "sqlite:store.db", "--ledger", "sqlite:ledger.db", "--insecure-sync"];
        let secrets = ["--pepper-files", "pepper", "--operator-token-file", "token", "--ready-file", "control.json"];
        let listening = ["--admin-listen", admin, "--sync-listen", sync, "--ops-listen", "127.0.0.1:0"];
        [&stored[..], &secrets, &listening].concat()
    }

    pub fn start_control(&mut self) {
        let ready = self.path("control.json");
        fs::remove_file(&ready).ok();
        let mut process = self.spawn("control", &self.control_words());
        let ready = wait_ready(&mut process, &ready);
        (self.addresses.admin, self.addresses.sync) = (told(&ready, "admin"), told(&ready, "sync"));
        self.control = Some(process);
    }

    /// Runs the control plane, which is to end by itself.
    pub fn run_control(&self) -> (ExitStatus, String) {
        self.run(&self.control_words())
    }

    pub fn spawn_proxy(&self) -> Process {
        let Addresses { sync, http, ops, .. } = &self.addresses;
        let which =
            ["proxy", "--name", "p0", "--control", sync, "--insecure-sync", "--state", "p0", "--pepper-files", "pepper", "--workers", "1"];
        let listening = ["--listen", http, "--ops-listen", ops, "--usage-transport", "ingest", "--ready-file", "proxy.json"];
        self.spawn("proxy", &[&which[..], &listening].concat())
    }

    pub fn start_proxy(&mut self) {
        let process = self.spawn_proxy();
        // Its ready file comes with its configuration.
        let address = |what: &str| wait_for("its addresses", || process.address_in_log(what));
        (self.addresses.http, self.addresses.ops) = (address("http"), address("ops"));
        self.proxy = Some(process);
        if self.path("proxy.json").exists() {
            self.eventually("a proxy that serves", |cluster| (cluster.ready().status == 200).then_some(()));
        }
    }

    pub fn ready(&self) -> Answer {
        get(&self.addresses.ops, "/readyz", None)
    }

    /// Applies the sandbox, its prices and a key, and waits until the proxy has it. Gives the key.
    pub fn configure(&self) -> String {
        let base = self.sandbox.base_url();
        self.write("documents.yaml", &DOCUMENTS.replace("BASE", &base));
        let applied = self.waybill(&["apply", "-f", "documents.yaml"]);
        let key = applied.lines().find_map(|line| line.strip_prefix("key app: ")).expect("a key").to_owned();
        self.eventually("a configuration in force", |cluster| (cluster.ready().status == 200).then_some(()));
        self.eventually("a ready file", |cluster| cluster.path("proxy.json").exists().then_some(()));
        key
    }

    pub fn chat(&self, key: &str) -> Answer {
        let body = r#"{"model":"sandbox/chat","messages":[{"role":"user","content":"Hello!"}]}"#;
        let address = &self.addresses.http;
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        );
        exchange(address, &format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
    }

    pub fn get(&self, key: &str, path: &str) -> Answer {
        get(&self.addresses.http, path, Some(key))
    }

    pub fn eventually<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        wait_for(what, || look(self))
    }
}

fn wait_ready(process: &mut Process, file: &Path) -> Value {
    wait_for("a ready file", || {
        let ended = process.child.try_wait().expect("a child");
        assert!(ended.is_none(), "it ended: {}", process.printed());
        fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    })
}

fn told(ready: &Value, what: &str) -> String {
    ready[what].as_str().expect("an address").to_owned()
}

const DOCUMENTS: &str = r#"
apiVersion: waybill/v1
kind: Org
metadata: {name: default}
spec: {displayName: Default}
---
apiVersion: waybill/v1
kind: Workspace
metadata: {name: default}
spec: {org: default, displayName: Default}
---
apiVersion: waybill/v1
kind: ApiKey
metadata: {name: app}
spec: {workspace: default, displayName: The app}
---
apiVersion: waybill/v1
kind: Provider
metadata: {name: sandbox}
spec: {displayName: Sandbox, dialect: openai, baseUrl: "BASE"}
---
apiVersion: waybill/v1
kind: ProviderAccount
metadata: {name: sandbox}
spec: {provider: sandbox, secret: {env: SANDBOX_KEY}}
---
apiVersion: waybill/v1
kind: Model
metadata: {name: sandbox/chat}
spec: {displayName: Chat, contextWindow: 131072, maxOutput: 8192, inputModalities: [text], outputModalities: [text]}
---
apiVersion: waybill/v1
kind: PriceBook
metadata: {name: sandbox}
spec:
  currency: USD
  asOf: 2026-08-21
  entries:
    - item: chat
      rates: [{meter: input, usdPerMillion: "0.50"}, {meter: output, usdPerMillion: "1.50"}]
---
apiVersion: waybill/v1
kind: Endpoint
metadata: {name: chat@sandbox}
spec: {model: sandbox/chat, provider: sandbox, account: sandbox, providerModel: sandbox/chat, priceBook: sandbox, priceItem: chat}
"#;
