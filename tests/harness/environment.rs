//! Which variables a tested program sees, and where its file is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The caller's variables that a tested program may see. A list of what passes, not of what is taken away: a provider key with a name nobody
/// thought of must not be used either.
const PASSED: [&str; 6] = ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "RUST_BACKTRACE"];

/// Empties the environment of `command` but for [`PASSED`].
pub fn clean(command: &mut Command) {
    command.env_clear();
    for name in PASSED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

/// The file of a program of this workspace: beside the running one, whatever the profile and the target folder.
pub fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("the path of the running program")?;
    // A test runs from `deps/` below the folder of the programs.
    for folder in here.ancestors().skip(1).take(2) {
        let file = folder.join(name);
        if file.is_file() {
            return Ok(file);
        }
    }
    bail!("{name} is not beside {}: build the workspace first, as `tests/run` does", here.display())
}
