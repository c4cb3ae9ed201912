//! How long idle OpenMP threads spin, which libgomp reads from its environment before `main`.
//!
//! By default they spin so long that one busy neighbour makes a forward thirty times slower; a short spin costs nothing measurable.

use std::{env, ffi::OsStr, io, os::unix::process::CommandExt, path::PathBuf, process::Command};

use super::shim;

const SPIN_COUNT: &str = "GOMP_SPINCOUNT";
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";
/// Iterations, a few tens of microseconds.
const SHORT_SPIN: &str = "30000";

/// Starts this program anew with a short spin, unless the environment already decides. Returns at once if it does.
///
/// Must be called before any thread starts. It cannot loop: the program it starts finds the variable set. Comes back with an error
/// only if the program cannot be started; going on then is correct, only slow next to busy neighbours.
pub fn ensure_environment() -> io::Result<()> {
    if is_decided(|name| env::var_os(name).is_some()) {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let program = env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let name = arguments.next();
    let mut command = Command::new(&program);
    command.arg0(name.as_deref().unwrap_or(OsStr::new("gpu-worker"))).args(arguments);
    Err(command.env(SPIN_COUNT, SHORT_SPIN).exec())
}

/// Ends the threads that OpenMP keeps to help this one. They are started again when they are needed.
pub fn release_helpers() {
    shim::release_helpers();
}

fn is_decided(is_set: impl Fn(&str) -> bool) -> bool {
    is_set(SPIN_COUNT) || is_set(WAIT_POLICY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: &str = "ANYMODEL_TEST_OPENMP_CHILD";
    const PRINTED: &str = "spin count is ";

    #[test]
    fn a_wait_policy_or_a_spin_count_is_left_alone() {
        assert!(is_decided(|name| name == WAIT_POLICY));
        assert!(is_decided(|name| name == SPIN_COUNT));
        assert!(!is_decided(|_| false));
    }

    #[test]
    fn the_program_starts_itself_anew_once_with_a_short_spin() {
        if env::var_os(CHILD).is_some() {
            ensure_environment().unwrap();
            println!("{PRINTED}{}", env::var(SPIN_COUNT).unwrap());
            return;
        }
        let test = "memory::openmp::tests::the_program_starts_itself_anew_once_with_a_short_spin";
        let output = Command::new(env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .env_remove(SPIN_COUNT)
            .env_remove(WAIT_POLICY)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert_eq!(text.matches(PRINTED).count(), 1, "{text}");
        assert!(text.contains("spin count is 30000"), "{text}");
    }
}
