//! What the standard library doesn't offer about child processes: their fate when we die, and a gentle signal.
#![allow(unsafe_code)]

use std::io;

use tokio::process::Command;

/// The child gets SIGTERM when the thread that starts it ends, whichever way.
pub(super) fn dies_with_us(command: &mut Command) {
    let parent = std::process::id();
    let before_exec = move || {
        // SAFETY: prctl and getppid are async-signal-safe and touch no memory of ours.
        let (set, now) =
            unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM), libc::getppid()) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have died before the signal was arranged.
        if u32::try_from(now) != Ok(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing, takes no lock and calls only async-signal-safe functions.
    unsafe { command.pre_exec(before_exec) };
}

/// Asks the process to end.
pub(super) fn terminate(pid: u32) {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return };
    // SAFETY: kill takes two integers; a process that is already gone is an ordinary error.
    let _ = unsafe { libc::kill(pid, libc::SIGTERM) };
}
