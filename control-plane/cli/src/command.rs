//! What is typed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::show::Format;

/// Where the admin surface is, and how answers are shown.
#[derive(Args, Clone, Debug, Default)]
pub struct Connection {
    /// Where the admin surface listens.
    #[arg(long, env = "WAYBILL_ADMIN", value_name = "ADDRESS", default_value = "127.0.0.1:7070", global = true)]
    pub admin: String,
    /// File with the operator token [default: secrets/operator-token in the default state folder].
    #[arg(long, env = "WAYBILL_TOKEN_FILE", value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// How to show the answer [default: table; documents for `get`].
    #[arg(long, short, value_enum, value_name = "FORMAT", global = true)]
    pub output: Option<Format>,
}

/// The operator's commands. They exit with 0 = done, 1 = refused or invalid, 2 = not understood, 3 = nobody answers.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Apply resources from files.
    Apply(ApplyArgs),
    /// Show one resource.
    Get(GetArgs),
    /// List the resources of a kind.
    List(ListArgs),
    /// Delete resources of a kind, all or none.
    Delete(DeleteArgs),
    /// Show the revision, the replicas, what each proxy has applied, and the ledger's state.
    Status(StatusArgs),
    /// Show what the fleet knows of the endpoints' health, and why.
    Health(HealthArgs),
    /// Make and list API keys.
    Keys(KeysArgs),
    /// Read and check the ledger.
    Ledger(LedgerArgs),
    /// Tell how a request was routed, tried and billed.
    Explain(ExplainArgs),
    /// List, wait for and halt rollouts.
    Rollout(RolloutArgs),
    /// Show the version.
    Version,
}

/// `apply`.
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// A file, a folder of .yaml, .yml and .json files, or - for standard input; may be given several times.
    #[arg(long = "filename", short = 'f', value_name = "FILE|FOLDER|-", required = true)]
    pub files: Vec<PathBuf>,
    /// Validate and show what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until every connected proxy has applied it, at most so many seconds [default: 30]; fails if one refuses. With --rollout: until
    /// its end, as long as it moves: at most so many seconds without a step beyond the time that a part is watched; fails if it is halted.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30",
        conflicts_with = "dry_run",
        value_parser = clap::value_parser!(u64).range(1..=600)
    )]
    pub wait: Option<u64>,
    /// Bring it to a growing part of the proxies (one, 5 %, 25 %, all), and take it back by itself if it harms.
    #[arg(long, conflicts_with = "dry_run")]
    pub rollout: bool,
    /// How long each part is watched: 30s, 10m, 1h [default: 30s].
    #[arg(long, value_name = "DURATION", requires = "rollout", value_parser = bake_ms)]
    pub bake: Option<u64>,
    #[command(flatten)]
    pub connection: Connection,
}

/// `get`.
#[derive(Args, Clone, Debug)]
pub struct GetArgs {
    /// Org, Workspace, ApiKey, Provider, ProviderAccount, Model, Endpoint, RoutePolicy, PriceBook or Guardrail; case and plural do not matter.
    pub kind: String,
    /// Its name.
    pub name: String,
    #[command(flatten)]
    pub connection: Connection,
}

/// `delete`.
#[derive(Args, Clone, Debug)]
pub struct DeleteArgs {
    /// As for `get`.
    pub kind: String,
    /// Their names.
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Validate and show what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// `list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// As for `get`; all kinds if left out.
    pub kind: Option<String>,
    /// Only resources with this label; may be given several times.
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    #[command(flatten)]
    pub connection: Connection,
}

/// `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    pub connection: Connection,
}

/// `health`.
#[derive(Args, Clone, Debug)]
pub struct HealthArgs {
    /// An Endpoint, or a Model: then all its endpoints. Left out: all endpoints of which something is known.
    pub name: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}

/// `keys`.
#[derive(Args, Clone, Debug)]
pub struct KeysArgs {
    #[command(subcommand)]
    pub verb: KeysVerb,
    #[command(flatten)]
    pub connection: Connection,
}

/// The verbs on keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysVerb {
    /// Make a key; its text is shown once.
    Create {
        /// Name of the new key.
        #[arg(long)]
        name: String,
        /// The workspace it belongs to.
        #[arg(long)]
        workspace: String,
        /// When it ends: an instant (2027-01-31T00:00:00Z), or from now (30d, 12h).
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
    },
    /// List all keys.
    List,
}

/// `ledger`.
#[derive(Args, Clone, Debug)]
pub struct LedgerArgs {
    #[command(subcommand)]
    pub verb: LedgerVerb,
    /// Read this state folder, while no Waybill is running on it, instead of asking a running one.
    #[arg(long, value_name = "FOLDER", global = true)]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub connection: Connection,
}

/// The verbs on the ledger.
#[derive(Clone, Debug, Subcommand)]
pub enum LedgerVerb {
    /// Show events, newest last.
    Show {
        /// Only of this API key.
        #[arg(long)]
        key: Option<String>,
        /// Only of this model.
        #[arg(long)]
        model: Option<String>,
        /// Only of this workspace.
        #[arg(long)]
        workspace: Option<String>,
        /// Only of this kind: settled, partial, failed, orphaned, adjusted or closed.
        #[arg(long, value_parser = kind)]
        kind: Option<waybill_proto::usage::v1::Kind>,
        /// At most so many, the newest [default: 50 in a table, all otherwise].
        #[arg(long)]
        limit: Option<u32>,
    },
    /// Check the ledger against itself.
    Verify,
    /// Price every event again and compare.
    Recompute,
    /// Resolve an orphaned attempt by the provider's own record.
    Adjust {
        /// `att-…`
        attempt: String,
        /// What the provider's record says, in USD.
        #[arg(long, value_name = "USD")]
        amount: String,
        /// Who answers for it.
        #[arg(long, env = "WAYBILL_OPERATOR")]
        operator: String,
        /// Why, and on what evidence.
        #[arg(long)]
        reason: String,
    },
    /// Show what is missing of the proxies' logs.
    Gaps,
    /// Declare what is missing of a log as lost.
    WriteOff {
        /// The log, as `ledger gaps` shows it.
        #[arg(value_parser = log)]
        log: u64,
        /// Who answers for it.
        #[arg(long, env = "WAYBILL_OPERATOR")]
        operator: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Show the records that were set aside, with the reason, newest first.
    Quarantine {
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show the balances of accounts.
    Balances {
        /// Only accounts that begin with this.
        #[arg(default_value = "")]
        prefix: String,
    },
}

/// `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// `gen-…`, `att-…`, or the provider's id of the answer.
    pub id: String,
    #[command(flatten)]
    pub connection: Connection,
}

/// `rollout`.
#[derive(Args, Clone, Debug)]
pub struct RolloutArgs {
    #[command(subcommand)]
    pub verb: RolloutVerb,
    #[command(flatten)]
    pub connection: Connection,
}

/// The verbs on rollouts.
#[derive(Clone, Debug, Subcommand)]
pub enum RolloutVerb {
    /// Show the rollout on its way and the last ones that ended.
    List,
    /// Wait for the end of a rollout, however long, and say what it waits for; fails if it is halted.
    Wait {
        /// Its id.
        id: String,
    },
    /// End a rollout and take its change back.
    Halt {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

impl Command {
    /// The state folder whose service is to be run in this process, if the command names one.
    #[must_use]
    pub fn state(&self) -> Option<&Path> {
        match self {
            Self::Ledger(ledger) => ledger.state.as_deref(),
            _ => None,
        }
    }

    /// Where to ask; nothing for a command that asks nobody.
    #[must_use]
    pub const fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Apply(ApplyArgs { connection, .. })
            | Self::Get(GetArgs { connection, .. })
            | Self::Delete(DeleteArgs { connection, .. })
            | Self::List(ListArgs { connection, .. })
            | Self::Status(StatusArgs { connection })
            | Self::Health(HealthArgs { connection, .. })
            | Self::Keys(KeysArgs { connection, .. })
            | Self::Ledger(LedgerArgs { connection, .. })
            | Self::Explain(ExplainArgs { connection, .. })
            | Self::Rollout(RolloutArgs { connection, .. }) => Some(connection),
            Self::Version => None,
        }
    }
}

/// A time to watch in milliseconds, from a number with its unit.
fn bake_ms(text: &str) -> Result<u64, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let parsed = units.iter().find_map(|(unit, ms)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*ms));
    parsed.filter(|ms| *ms > 0).ok_or_else(|| format!("`{text}` is not a time: write it as 30s, 10m or 1h"))
}

fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
    parts.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| format!("`{text}` is not KEY=VALUE"))
}

/// The number of a log, in hexadecimal digits.
fn log(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("`{text}` is no log: it has up to 16 hexadecimal digits"))
}

fn kind(word: &str) -> Result<waybill_proto::usage::v1::Kind, String> {
    let name = format!("KIND_{}", word.to_ascii_uppercase());
    let known = waybill_proto::usage::v1::Kind::from_str_name(&name).filter(|kind| *kind as i32 > 1);
    known.ok_or_else(|| format!("`{word}` is not one of settled, partial, failed, orphaned, adjusted, closed"))
}
