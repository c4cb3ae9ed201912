//! Says why the process ends when a mapped file was truncated under it.
//!
//! Touching a page that its file no longer has raises SIGBUS inside of any libtorch kernel, on any of its threads: there is
//! nothing to return to. So the worker writes one line and exits with a status of its own, and its supervisor restarts it.
//! Only immutable cache blobs are mapped, so this happens only if something else writes to the cache.
#![allow(unsafe_code)]

use std::{io, mem, ptr};

/// Exit status after a SIGBUS (`EX_TEMPFAIL`: try again).
pub const EXIT_STATUS: i32 = 75;

const TRUNCATED: &[u8] =
    b"anymodel: SIGBUS: a mapped checkpoint file was truncated or cannot be read any more, \
the worker exits so that its supervisor restarts it\n";
const OTHER: &[u8] = b"anymodel: SIGBUS: memory failed (hardware error or unaligned access), \
the worker exits so that its supervisor restarts it\n";

/// Installs the handler for the whole process.
pub fn install() -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction`; the handler only calls what POSIX lists as async-signal-safe.
    let answer = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handle as extern "C" fn(_, _, _) as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut())
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn handle(
    _signal: libc::c_int,
    info: *const libc::siginfo_t,
    _context: *const libc::c_void,
) {
    // SAFETY: with `SA_SIGINFO` the kernel passes a valid `siginfo_t`; `write` and `_exit` are async-signal-safe.
    unsafe {
        let message = if (*info).si_code == libc::BUS_ADRERR { TRUNCATED } else { OTHER };
        libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
        libc::_exit(EXIT_STATUS)
    }
}
