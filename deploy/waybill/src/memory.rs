//! What the system's allocator keeps of memory that was freed.

/// Freed memory at the end of a thread's heap that stays with the process. By default 128 KiB do: one large request after another then gives
/// its memory back and gets it anew, zeroed page by page. The price: so much may stay with each worker for good.
const KEPT_BYTES: i32 = 4 << 20;

/// From here on memory is mapped for one buffer and goes back with it. By default this moves with what was freed last.
const MAPPED_BYTES: i32 = 1 << 20;

/// To be called before other threads run.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn keep_buffers() {
    for (parameter, bytes) in [(libc::M_TRIM_THRESHOLD, KEPT_BYTES), (libc::M_MMAP_THRESHOLD, MAPPED_BYTES)] {
        // SAFETY: the call takes two numbers and changes the allocator's own parameters under its own lock. A value it does not take changes
        // nothing, and costs only speed.
        let _ = unsafe { libc::mallopt(parameter, bytes) };
    }
}

/// Other allocators have their own ways.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_buffers() {
    let _ = (KEPT_BYTES, MAPPED_BYTES);
}
