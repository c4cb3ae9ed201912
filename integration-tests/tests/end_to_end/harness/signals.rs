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

/// Stops the process where it is; it keeps its connections and says nothing.
pub fn stop(pid: u32) {
    send(pid, libc::SIGSTOP);
}

/// Lets a stopped process go on.
pub fn wake(pid: u32) {
    send(pid, libc::SIGCONT);
}

/// Lets the process have `more` bytes of anonymous memory than it has now; further allocations fail.
pub fn limit_data(pid: u32, more: u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).expect("VmData");
    let now: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    set_data_limit(pid, now * 1024 + more);
}

/// Takes the limit away again.
pub fn unlimit_data(pid: u32) {
    set_data_limit(pid, libc::RLIM_INFINITY);
}

fn set_data_limit(pid: u32, bytes: u64) {
    let pid = libc::pid_t::try_from(pid).expect("a process id");
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: prlimit reads the struct, which outlives the call, and writes nothing where the old limit is null.
    let set =
        unsafe { libc::prlimit(pid, libc::RLIMIT_DATA, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "the limit of process {pid} cannot be set");
}

fn send(pid: u32, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a process id");
    assert!(pid > 1, "{pid} is no process of ours");
    // SAFETY: kill takes two integers and touches no memory of ours.
    let sent = unsafe { libc::kill(pid, signal) };
    assert_eq!(sent, 0, "process {pid} cannot be signalled");
}
