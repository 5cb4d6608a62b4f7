//! The sandbox as a process of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use waybill_sandbox::{Keep, Listen, Options, Sandbox, fast};

/// A provider over real HTTP that needs no key: answers by model name (GET /v1/models lists them).
#[derive(Debug, Parser)]
#[command(name = "waybill-sandbox")]
struct Flags {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Written once it serves: JSON with addr, base_url, refusing_addr and pid.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Appends a record of every request and answer, as JSON lines, before the bytes are sent.
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Cuts the bytes of every answer at random positions.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Requires this bearer token, or this x-api-key in Anthropic's dialect.
    #[arg(long)]
    token: Option<String>,
    /// The benchmark's responder in place of the sandbox: models bench-…, no records, no token.
    #[arg(long, conflicts_with_all = ["records", "seed", "token"])]
    fast: bool,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(if_fast(flags))
}

async fn if_fast(flags: Flags) -> anyhow::Result<()> {
    if flags.fast { serve_fast(flags).await } else { serve(flags).await }
}

async fn serve(flags: Flags) -> anyhow::Result<()> {
    let options = Options {
        listen: Listen::Address(flags.listen),
        token: flags.token,
        records: flags.records.map_or(Keep::Nothing, Keep::File),
        cut_seed: flags.seed,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).with_context(|| format!("cannot serve on {}", flags.listen))?;
    announce(flags.ready_file.as_deref(), sandbox.addr(), Some(sandbox.refusing_addr()))?;
    told_to_end().await?;
    sandbox.stop().await;
    Ok(())
}

async fn serve_fast(flags: Flags) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind(flags.listen).with_context(|| format!("cannot serve on {}", flags.listen))?;
    let responder = fast::Responder::start(listener)?;
    announce(flags.ready_file.as_deref(), responder.addr(), None)?;
    told_to_end().await?;
    eprintln!("answered {}", responder.answered());
    Ok(())
}

async fn told_to_end() -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Says where it serves: to people on the terminal, to programs in a file that appears whole or not at all.
fn announce(ready_file: Option<&Path>, addr: SocketAddr, refusing: Option<SocketAddr>) -> anyhow::Result<()> {
    println!("sandbox: http://{addr}/v1");
    let Some(path) = ready_file else { return Ok(()) };
    let ready = serde_json::json!({
        "addr": addr,
        "base_url": format!("http://{addr}/v1"),
        "refusing_addr": refusing,
        "pid": std::process::id(),
    });
    let unfinished = path.with_extension("unfinished");
    let mut file = fs::File::create(&unfinished).with_context(|| format!("cannot write {}", unfinished.display()))?;
    writeln!(file, "{ready}")?;
    fs::rename(&unfinished, path).with_context(|| format!("cannot write {}", path.display()))
}
