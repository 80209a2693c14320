//! How the process keeps its memory, and how much it has.

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

/// Bytes of memory that the process has to itself; pictures that lie in files and are mapped do not count. As freed memory is
/// kept, it is about the most there ever was. `None` where the kernel does not tell.
pub fn memory_in_use() -> Option<u64> {
    private_bytes(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn private_bytes(status: &str) -> Option<u64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_process_has_to_itself() {
        let status = "VmRSS:\t  900 kB\nRssAnon:\t     512 kB\nRssFile:\t  388 kB\n";
        assert_eq!(private_bytes(status), Some(512 << 10));
        assert_eq!(private_bytes("VmRSS:\t  900 kB\n"), None);
        let before = memory_in_use().unwrap();
        let filled = std::hint::black_box(vec![1_u8; 64 << 20]);
        let grown = memory_in_use().unwrap() - before;
        assert!((32 << 20..1 << 30).contains(&grown), "{grown}, with {} in use", filled.len());
    }
}
