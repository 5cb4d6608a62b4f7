//! Deaths on demand, for the tests that kill the process inside a commit.

/// Ends the process as a crash would, when the environment says `WAYBILL_FAILPOINT=<name>`.
pub(crate) fn pass(name: &str) {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("WAYBILL_FAILPOINT").ok());
    if chosen.as_deref() == Some(name) {
        die();
    }
}

#[allow(unsafe_code)]
fn die() {
    // SAFETY: raise(3) takes a signal number and touches no memory of ours. SIGKILL cannot be
    // caught, so that no destructor and no flush runs.
    unsafe { libc::raise(libc::SIGKILL) };
}
