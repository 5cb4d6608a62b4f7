//! What the kernel says a process has used: run time of threads and of the whole process, memory.

use std::fs;

use anyhow::{Context, Result};

/// Run time of one thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its kernel id.
    pub id: u32,
    /// Its name, at most 15 characters.
    pub name: String,
    /// Time on a core since its start, ns.
    pub run_ns: u64,
    /// Share of it in user mode, in clock ticks (coarse; for the split only).
    pub user_ticks: u64,
    /// Share of it in the kernel, in clock ticks.
    pub system_ticks: u64,
}

/// All threads that live now.
pub fn threads(process: u32) -> Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/task")).with_context(|| format!("the threads of process {process}"))? {
        let folder = entry?.path();
        // A thread may end between the listing and the reading; then it is not among those that live.
        if let (Ok(stat), Ok(schedule)) = (fs::read_to_string(folder.join("stat")), fs::read_to_string(folder.join("schedstat"))) {
            threads.push(thread(&stat, &schedule)?);
        }
    }
    Ok(threads)
}

/// From the texts of `/proc/PID/task/TID/{stat,schedstat}`; see proc(5).
fn thread(stat: &str, schedule: &str) -> Result<Thread> {
    // The name stands in parentheses and may hold spaces and parentheses itself.
    let (id, rest) = stat.split_once(" (").context("a thread's id")?;
    let (name, rest) = rest.rsplit_once(") ").context("a thread's name")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| -> Result<u64> { Ok(fields.get(index).context("a field of stat")?.parse()?) };
    let run_ns = schedule.split_ascii_whitespace().next().context("the run time of a thread")?.parse()?;
    // The state is field 3 of the file and 0 of what is left, user and system time are fields 14 and 15.
    Ok(Thread { id: id.parse()?, name: name.to_owned(), run_ns, user_ticks: number(11)?, system_ticks: number(12)? })
}

/// Run time of the whole process, ended threads included, ns. A sum over the living threads would lose those that ended.
#[allow(unsafe_code)]
pub fn process_ns(process: u32) -> Result<u64> {
    let id = libc::pid_t::try_from(process).context("a process id")?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the pointer is to a live clockid_t.
    let failure = unsafe { libc::clock_getcpuclockid(id, &raw mut clock) };
    if failure != 0 {
        return Err(std::io::Error::from_raw_os_error(failure)).with_context(|| format!("the CPU clock of process {process}"));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| format!("the CPU time of process {process}"));
    }
    Ok(u64::try_from(time.tv_sec)? * 1_000_000_000 + u64::try_from(time.tv_nsec)?)
}

/// Resident memory, KiB.
pub fn resident_kib(process: u32) -> Result<u64> {
    memory_kib(process, "VmRSS:")
}

/// The most resident memory since its start, KiB.
pub fn peak_kib(process: u32) -> Result<u64> {
    memory_kib(process, "VmHWM:")
}

fn memory_kib(process: u32, what: &'static str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).with_context(|| format!("the memory of process {process}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).context(what)?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_read_whatever_its_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 17 4 0 0 20 0 1";
        let thread = thread(stat, "1500 20 3\n").unwrap();
        assert_eq!(thread, Thread { id: 42, name: "a) b (c".into(), run_ns: 1500, user_ticks: 17, system_ticks: 4 });
    }

    #[test]
    fn the_process_has_used_at_least_what_its_busy_thread_has() {
        let own = std::process::id();
        let busy = move || threads(own).unwrap().into_iter().find(|thread| thread.name == "wb-busy");
        let before = process_ns(own).unwrap();
        let used = std::thread::Builder::new().name("wb-busy".into()).spawn(move || {
            let mut sum = 0_u64;
            for number in 0..20_000_000_u64 {
                sum = std::hint::black_box(sum ^ number);
            }
            busy().unwrap().run_ns
        });
        let used = used.unwrap().join().unwrap();
        // The thread is gone now: only the process's clock still knows what it used.
        assert_eq!(busy(), None);
        assert!(used > 1_000_000, "{used} ns");
        assert!(process_ns(own).unwrap() - before >= used);
    }
}
