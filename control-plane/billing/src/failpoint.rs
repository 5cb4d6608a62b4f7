//! Deaths on demand, for the tests that kill the process inside a commit.

use std::{env, sync::OnceLock};

/// Ends the process as a crash would, when the environment says `WAYBILL_FAILPOINT=<name>`.
pub fn pass(name: &str) {
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    if CHOSEN.get_or_init(|| env::var("WAYBILL_FAILPOINT").ok()).as_deref() == Some(name) {
        die();
    }
}

#[allow(unsafe_code)]
fn die() {
    // SAFETY: raise(3) takes a signal number and touches no memory of ours. SIGKILL cannot be caught, so no destructor and no flush runs.
    unsafe { libc::raise(libc::SIGKILL) };
}
