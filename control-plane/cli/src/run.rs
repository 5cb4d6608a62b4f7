//! From a command to an exit code.

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    apply,
    backend::Backend,
    command::{Command, GetArgs, ListArgs},
    error::{Error, Exit},
    explain, health, keys, ledger, read,
    remote::Remote,
    rollout,
    show::{Format, Report},
    status,
};

/// Runs a command and prints what it says. `in_process` answers instead of a running Waybill: the verbs of the ledger on a state folder
/// ([`Command::state`]).
pub async fn run(command: &Command, in_process: Option<&dyn Backend>) -> ExitCode {
    let result = match (in_process, command.connection()) {
        (Some(backend), _) => execute(command, backend).await,
        (None, None) => Ok(version()),
        (None, Some(connection)) => match Remote::connect(connection).await {
            Ok(remote) => execute(command, &remote).await,
            Err(error) => Err(error),
        },
    };
    print(result).into()
}

/// Runs a command on a backend.
///
/// # Errors
/// See [`Error`].
pub async fn execute(command: &Command, backend: &dyn Backend) -> Result<Report, Error> {
    match command {
        Command::Apply(args) => apply::apply(args, backend).await,
        Command::Get(GetArgs { kind, name, connection }) => read::get(kind, name, connection.output.unwrap_or(Format::Yaml), backend).await,
        Command::List(ListArgs { kind, labels, connection }) => {
            read::list(kind.as_deref().unwrap_or_default(), labels, connection.output.unwrap_or_default(), backend).await
        }
        Command::Delete(args) => apply::delete(args, backend).await,
        Command::Status(args) => status::status(args.connection.output.unwrap_or_default(), backend).await,
        Command::Health(args) => {
            let name = args.name.as_deref().unwrap_or_default();
            health::health(name, args.connection.output.unwrap_or_default(), backend).await
        }
        Command::Keys(args) => keys::keys(args, unix_seconds(), backend).await,
        Command::Ledger(args) => ledger::ledger(args, backend).await,
        Command::Explain(args) => explain::explain(&args.id, args.connection.output.unwrap_or_default(), backend).await,
        Command::Rollout(args) => rollout::rollout(args, backend).await,
        Command::Version => Ok(version()),
    }
}

fn version() -> Report {
    Report::of(format!("waybill {}\n", env!("CARGO_PKG_VERSION")))
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Prints a result. Whoever reads it may stop reading: that is no failure of the command.
fn print(result: Result<Report, Error>) -> Exit {
    let report = result.unwrap_or_else(|error| Report { out: String::new(), note: format!("waybill: {error}\n"), exit: error.exit() });
    drop(io::stdout().lock().write_all(report.out.as_bytes()).and_then(|()| io::stdout().flush()));
    drop(io::stderr().lock().write_all(report.note.as_bytes()));
    report.exit
}

/// Who types, for the log of changes.
pub fn operator() -> Option<String> {
    ["WAYBILL_OPERATOR", "USER", "LOGNAME"].iter().find_map(|name| env::var(name).ok()).filter(|name| !name.is_empty())
}
