//! Named places at which a test can have the process die as by `kill -9`.
//!
//! `WAYBILL_FAILPOINT=name[:count]` names one; at the count-th passage (default: the first) the process sends itself SIGKILL. Without the
//! variable a passage costs one relaxed load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

const VARIABLE: &str = "WAYBILL_FAILPOINT";
const UNREAD: u8 = 0;
const OFF: u8 = 1;
const ARMED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNREAD);
static TARGET: OnceLock<Option<Failpoint>> = OnceLock::new();

#[derive(Debug)]
struct Failpoint {
    name: String,
    /// Passages until the process dies.
    left: AtomicU64,
    dying: AtomicBool,
}

/// Passes the place of this name; does not return if the environment says that the process is to die here.
#[inline]
pub fn failpoint(name: &str) {
    if STATE.load(Ordering::Relaxed) != OFF {
        pass(name);
    }
}

#[cold]
fn pass(name: &str) {
    let target = TARGET.get_or_init(|| std::env::var(VARIABLE).ok().and_then(|value| parse(&value)));
    STATE.store(if target.is_some() { ARMED } else { OFF }, Ordering::Relaxed);
    let Some(target) = target else { return };
    if target.name == name && target.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        target.dying.store(true, Ordering::Relaxed);
    }
    // Once one thread dies here no other may get past a failpoint of the name.
    if target.name == name && target.dying.load(Ordering::Relaxed) {
        die();
    }
}

fn parse(value: &str) -> Option<Failpoint> {
    let (name, count) = match value.rsplit_once(':') {
        Some((name, count)) => (name, count.parse().ok().filter(|count| *count > 0)?),
        None => (value, 1),
    };
    (!name.is_empty()).then(|| Failpoint { name: name.to_owned(), left: AtomicU64::new(count), dying: AtomicBool::new(false) })
}

#[allow(unsafe_code)]
fn die() -> ! {
    // SAFETY: both calls take integers only and touch no memory of ours.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts_are_read() {
        let read = |value| parse(value).map(|point| (point.name, point.left.into_inner()));
        assert_eq!(read("end.after"), Some(("end.after".to_owned(), 1)));
        assert_eq!(read("end.after:30"), Some(("end.after".to_owned(), 30)));
        for nothing in ["", ":3", "end.after:0", "end.after:x"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
