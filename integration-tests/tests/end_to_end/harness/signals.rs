//! Signals to processes that the tests started, which the standard library doesn't offer.
#![allow(unsafe_code)]

/// Asks the process to end.
pub fn terminate(pid: u32) {
    send(pid, libc::SIGTERM);
}

/// Ends the process at once.
pub fn kill(pid: u32) {
    send(pid, libc::SIGKILL);
}

fn send(pid: u32, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a process id");
    assert!(pid > 1, "{pid} is no process of ours");
    // SAFETY: kill takes two integers and touches no memory of ours.
    let sent = unsafe { libc::kill(pid, signal) };
    assert_eq!(sent, 0, "process {pid} cannot be signalled");
}
