//! How the process keeps its memory.

use nix::libc::{M_MMAP_MAX, M_TOP_PAD, M_TRIM_THRESHOLD, mallopt};

const TOP_PAD: i32 = 64 << 20;

/// Keeps freed memory for the next batch instead of giving it back: every batch allocates what the one before it freed, and
/// getting pages anew from the kernel costs a CPU run about a tenth of its time. Call it first.
#[expect(unsafe_code, reason = "the C library's allocator has no other switch")]
pub fn keep_memory() {
    // SAFETY: `mallopt` takes two numbers; no thread but this one runs yet.
    unsafe {
        mallopt(M_MMAP_MAX, 0);
        mallopt(M_TRIM_THRESHOLD, i32::MAX);
        mallopt(M_TOP_PAD, TOP_PAD);
    }
}
