//! Where the time goes: user and kernel share per thread, and system calls where strace is installed.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::Load;
use crate::target::Target;
use waybill_tests::cpu::{self, Thread};

const WINDOW: Duration = Duration::from_secs(2);

/// Prints the profile of one target under one load. It is no part of the figures: strace makes a program several times slower.
pub fn print(case: &str, target: &mut Target, load: &Load) -> Result<()> {
    let before = cpu::threads(target.process())?;
    let reading = target.measure(load, WINDOW)?;
    let after = cpu::threads(target.process())?;
    let requests = reading.done.requests.max(1);
    println!("profile of {case}, {}: {requests} requests", target.kind.name());
    for thread in after {
        let old = before.iter().find(|old| old.id == thread.id);
        if let Some(line) = share(&thread, old, requests) {
            println!("  {line}");
        }
    }
    calls(target, load)
}

/// One thread's run time per request; the split is by clock ticks of 10 ms and so only good for busy threads.
fn share(thread: &Thread, old: Option<&Thread>, requests: u64) -> Option<String> {
    let run = thread.run_ns - old.map_or(0, |old| old.run_ns);
    let user = thread.user_ticks - old.map_or(0, |old| old.user_ticks);
    let system = thread.system_ticks - old.map_or(0, |old| old.system_ticks);
    let us = run as f64 / 1_000.0 / requests as f64;
    let user_share = user as f64 / (user + system).max(1) as f64;
    let split = format!("user {:.1}, kernel {:.1}", us * user_share, us * (1.0 - user_share));
    (us >= 0.05).then(|| format!("{:<16} {us:>6.1} us/request ({split})", thread.name))
}

fn calls(target: &mut Target, load: &Load) -> Result<()> {
    let log = tempfile::NamedTempFile::new()?;
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-o"]).arg(log.path()).args(["-p", &target.process().to_string()]);
    let Ok(mut strace) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        println!("  strace is not installed: no system calls");
        return Ok(());
    };
    // It needs a moment to attach to every thread.
    std::thread::sleep(Duration::from_millis(300));
    let reading = target.measure(load, Duration::from_secs(1));
    // Only an interrupt makes strace write its table.
    Command::new("kill").args(["-INT", &strace.id().to_string()]).status().context("ending strace")?;
    strace.wait()?;
    let requests = reading?.done.requests.max(1);
    let table = std::fs::read_to_string(log.path())?;
    for line in table.lines() {
        // % time, seconds, usecs/call, calls, [errors,] name.
        let words: Vec<&str> = line.split_whitespace().collect();
        let ([_, _, _, calls, ..], Some(name)) = (&words[..], words.last()) else { continue };
        let Ok(calls) = calls.parse::<u64>() else { continue };
        let each = calls as f64 / requests as f64;
        if each >= 0.01 {
            println!("  {name:<16} {each:>6.2} calls/request");
        }
    }
    Ok(())
}
