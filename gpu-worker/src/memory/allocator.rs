//! Settings of glibc's allocator, so that memory freed by an unloaded model goes back to the system.
//!
//! By default the threshold above which a block is mapped on its own moves up with every large block that is freed;
//! after two loads and unloads everything stays resident. A fixed threshold gives large blocks back at once.
#![allow(unsafe_code)]

/// Blocks of at least this many bytes are mapped on their own, and unmapped when freed.
const MMAP_THRESHOLD: libc::c_int = 128 << 10;
/// Free bytes at the end of the heap that are kept for the next allocation.
const TRIM_THRESHOLD: libc::c_int = 1 << 20;

/// To be called at the start of `main`. `false`: the allocator refused, or is not glibc's.
pub fn configure() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: plain integers; glibc takes its own lock.
        let (mapped, trimmed) = unsafe {
            (
                libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD),
                libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD),
            )
        };
        mapped == 1 && trimmed == 1
    }
    #[cfg(not(target_env = "gnu"))]
    {
        false
    }
}

/// Begins to watch what this thread allocates.
pub fn reset_peak() {}

/// The most bytes that this thread had allocated at once since [`reset_peak`]; 0 where the allocator does not count them.
pub fn peak() -> u64 {
    0
}

/// Gives the heap's free pages back to the system: after an unload, since it takes tens of milliseconds.
/// `false`: there was nothing to give back.
pub fn trim() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: a plain integer; glibc takes its own lock.
        unsafe { libc::malloc_trim(0) == 1 }
    }
    #[cfg(not(target_env = "gnu"))]
    {
        false
    }
}
