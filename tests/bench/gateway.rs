//! The product as it is measured: `waybill up` on one worker, with a configuration of its own for the mock.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use waybill_tests::{Launch, Up, program};

use crate::mock;

/// The variable that holds the secret of the account at the mock.
const SECRET: &str = "BENCH_ACCOUNT_SECRET";

/// What a caller names the mock's model: by its canonical name, so that the name is replaced on the way, as it is for real models.
pub fn model(model: &str) -> String {
    format!("bench/{model}")
}

/// How to start it on these cores, with its state in `folder`. Keys, routing, intents, events and metrics are all on; nothing is tuned.
pub fn up(mock: SocketAddr, folder: &Path, cores: &str) -> Result<Up> {
    fs::create_dir_all(folder)?;
    let file = folder.join("bench.yaml");
    fs::write(&file, documents(mock)).context("writing the configuration")?;
    let up = Up::new(program("waybill")?, folder);
    Ok(up.with(|launch| {
        let launch = launch.args(["--sandbox", "off", "--workers", "1", "--config"]).args([file]);
        launch.variable(SECRET, "bench-secret-of-the-account").cores(cores)
    }))
}

/// Has the product check the ledger in a state folder that no process uses any more.
pub fn verify(state: &Path) -> Result<()> {
    let log = state.with_extension("verify.log");
    let launch = Launch::new(program("waybill")?).args(["ledger", "verify", "--output", "json", "--state"]).args([state]);
    let mut process = launch.spawn(&log)?;
    let status = process.wait(crate::target::LIMIT)?;
    ensure!(status.success(), "`waybill ledger verify` ended with {status}: {}", process.printed());
    Ok(())
}

/// Provider, account, models, endpoints and prices for the mock.
fn documents(mock: SocketAddr) -> String {
    let mut text = format!(
        "apiVersion: waybill/v1
kind: Provider
metadata: {{ name: bench }}
spec:
  displayName: the benchmark's mock
  dialect: openai
  baseUrl: http://{mock}/v1
  asksUsage: ASKS_USAGE_STREAM_OPTIONS
  hangUp: HANG_UP_CANCEL
---
apiVersion: waybill/v1
kind: ProviderAccount
metadata: {{ name: bench }}
spec: {{ provider: bench, secret: {{ env: {SECRET} }} }}
---
apiVersion: waybill/v1
kind: PriceBook
metadata: {{ name: bench }}
spec:
  currency: USD
  source: the benchmark
  asOf: \"2026-01-01\"
  entries:
    - item: any
      rates:
        - {{ meter: input, usdPerMillion: \"0.15\" }}
        - {{ meter: cache_read, usdPerMillion: \"0.075\" }}
        - {{ meter: output, usdPerMillion: \"0.60\" }}
"
    );
    for name in mock::MODELS {
        text.push_str(&format!(
            "---
apiVersion: waybill/v1
kind: Model
metadata: {{ name: {model} }}
spec: {{ contextWindow: 400000, maxOutput: 16384, inputModalities: [text], outputModalities: [text] }}
---
apiVersion: waybill/v1
kind: Endpoint
metadata: {{ name: {name} }}
spec: {{ model: {model}, provider: bench, account: bench, providerModel: {name}, priceBook: bench, priceItem: any }}
",
            model = model(name)
        ));
    }
    text
}
