//! A child process that is ended when its guard goes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::environment::clean;

/// How often a wait looks again: far below what any suite measures, far above what a look costs.
const LOOK: Duration = Duration::from_millis(2);

/// Calls `look` until it gives a value, at most for `limit`.
pub fn wait_until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look().with_context(|| format!("waiting for {what}"))? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        sleep(LOOK);
    }
}

/// How to start a program: arguments, variables, cores.
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    cores: Option<String>,
    ignored: Option<String>,
}

impl Launch {
    /// A start of `program` in the clean environment.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), variables: Vec::new(), cores: None, ignored: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable on top of the clean environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Holds the program on these cores (`0`, `0,1`).
    #[must_use]
    pub fn cores(mut self, cores: &str) -> Self {
        self.cores = Some(cores.to_owned());
        self
    }

    /// Has it ignore a signal (`XFSZ`), which would else end it.
    #[must_use]
    pub fn ignoring(mut self, signal: &str) -> Self {
        self.ignored = Some(signal.to_owned());
        self
    }

    /// Starts it. What it prints goes to the file `log`, which is made anew.
    pub fn spawn(&self, log: &Path) -> Result<Process> {
        let out = File::create(log).with_context(|| format!("the log {}", log.display()))?;
        self.spawn_into(out, log)
    }

    /// Starts it. What it prints goes to the end of the file `log`, behind what an earlier process has printed.
    pub fn spawn_again(&self, log: &Path) -> Result<Process> {
        let out = File::options().create(true).append(true).open(log).with_context(|| format!("the log {}", log.display()))?;
        self.spawn_into(out, log)
    }

    fn spawn_into(&self, out: File, log: &Path) -> Result<Process> {
        // taskset and env become the program by exec, so the process id stays the one that we were given.
        let mut words: Vec<OsString> = Vec::new();
        if let Some(cores) = &self.cores {
            words.extend(["taskset", "-c", cores].map(OsString::from));
        }
        if let Some(signal) = &self.ignored {
            words.extend([OsString::from("env"), format!("--ignore-signal={signal}").into()]);
        }
        words.push(self.program.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        clean(&mut command);
        command
            .args(&self.args)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out);
        let child = command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        Ok(Process { child, log: log.to_owned() })
    }
}

/// A running child. Dropping it kills the process and waits for its end.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed so far.
    pub fn printed(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error that holds the end of the log, when the process is no longer running.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended with {status}; it printed:\n{}", tail(&self.printed())),
        }
    }

    /// The rest of the first whole line that starts with `prefix`.
    pub fn line(&mut self, prefix: &str, limit: Duration) -> Result<String> {
        wait_until(&format!("a line `{prefix}…`"), limit, || {
            let printed = self.printed();
            let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
            let found = whole.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
            if found.is_none() {
                self.still_runs()?;
            }
            Ok(found)
        })
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        signal(self.id(), libc::SIGTERM)?;
        self.wait(limit)
    }

    /// Ends it at once (SIGKILL), as a crash would.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// From now on it can write no file beyond so many bytes: its disk fails there. Without a number it can again.
    #[allow(unsafe_code)]
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        let id = libc::pid_t::try_from(self.id()).context("a process id")?;
        let limit = libc::rlimit { rlim_cur: bytes.unwrap_or(libc::RLIM_INFINITY), rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the limit is read before the call returns, and nothing is written: the old one is not asked for.
        let done = unsafe { libc::prlimit(id, libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut()) };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("limiting the size of files") }
    }

    /// Sends a signal to the process and to all that it has started, itself first: it starts nothing behind our back then.
    pub fn signal_all(&self, number: i32) -> Result<()> {
        let mut ids = vec![self.id()];
        while let Some(id) = ids.pop() {
            match signal(id, number) {
                // One that has ended meanwhile. The process itself cannot have, as far as its id goes: it has not been waited for.
                Err(_) if id != self.id() => {}
                sent => sent?,
            }
            let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            ids.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of process {}", self.id());
        wait_until(&what, limit, || Ok(self.child.try_wait()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[allow(unsafe_code)]
fn signal(id: u32, signal: libc::c_int) -> Result<()> {
    let id = libc::pid_t::try_from(id).context("a process id")?;
    // SAFETY: kill takes two integers. The id is that of a child that has not been waited for, so it cannot name another process, or was one of
    // its descendants a moment ago.
    if unsafe { libc::kill(id, signal) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}

/// The last lines of a log.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> (Process, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let process = Launch::new("sh").args(["-c", script]).variable("GIVEN", "1").spawn(&folder.path().join("log")).unwrap();
        (process, folder)
    }

    #[test]
    fn a_line_is_found_and_a_signal_ends_the_process() {
        let (mut process, _folder) = shell("echo starting; echo listening here; exec sleep 600");
        assert_eq!(process.line("listening ", SHORT).unwrap(), "here");
        assert!(!process.terminate(SHORT).unwrap().success());
    }

    #[test]
    fn an_early_end_is_told_with_what_was_printed() {
        let (mut process, _folder) = shell("echo out of luck; exit 3");
        let error = format!("{:#}", process.line("listening ", SHORT).unwrap_err());
        assert!(error.contains("out of luck"), "{error}");
    }

    #[test]
    fn a_guard_that_goes_takes_the_process_along() {
        let (process, _folder) = shell("exec sleep 600");
        let id = process.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_signal_reaches_what_the_process_has_started() {
        let (process, _folder) = shell("sleep 600 & wait");
        let state = |id: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
        };
        let child = wait_until("a child", SHORT, || {
            let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.id()))?;
            Ok(children.split_whitespace().next().and_then(|id| id.parse::<u32>().ok()))
        });
        let ids = [process.id(), child.unwrap()];
        let all = |wanted: &[char]| ids.iter().all(|id| state(*id).is_some_and(|state| wanted.contains(&state)));
        process.signal_all(libc::SIGSTOP).unwrap();
        wait_until("both to stand still", SHORT, || Ok(all(&['T']).then_some(()))).unwrap();
        process.signal_all(libc::SIGCONT).unwrap();
        wait_until("both to go on", SHORT, || Ok(all(&['S', 'R']).then_some(()))).unwrap();
        process.signal_all(libc::SIGKILL).unwrap();
    }

    #[test]
    fn a_log_goes_on_when_the_process_is_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let launch = Launch::new("sh").args(["-c", "echo here"]);
        for _ in 0..2 {
            assert!(launch.spawn_again(&log).unwrap().wait(SHORT).unwrap().success());
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "here\nhere\n");
    }

    #[test]
    fn the_environment_is_the_short_list_and_what_was_given() {
        let (mut process, _folder) = shell("env; echo end of list");
        process.line("end of list", SHORT).unwrap();
        let printed = process.printed();
        let names: Vec<&str> = printed.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert!(names.contains(&"GIVEN"), "{printed}");
        // What a shell sets by itself.
        let own = ["PWD", "SHLVL", "_", "OLDPWD", "GIVEN"];
        let passed = ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "RUST_BACKTRACE"];
        assert!(names.iter().all(|name| own.contains(name) || passed.contains(name)), "{printed}");
    }
}
