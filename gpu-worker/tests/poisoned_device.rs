//! A lost CUDA context ends the process with a status of its own. Runs itself as the process that ends; needs no GPU.
#![allow(clippy::unwrap_used, reason = "tests may, also in their functions")]

use std::{
    env,
    process::{Command, ExitStatus},
};

use gpu_worker::memory::cuda_errors::{EXIT_STATUS, end_worker, is_lost};

/// The text of the error that the child meets.
const ERROR: &str = "POISONED_DEVICE_ERROR";

/// What a lane does after a failed step, in a process of its own.
fn child_that_meets(error: &str) -> ExitStatus {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "the_child", "--nocapture"]).env(ERROR, error).status().unwrap()
}

/// No test by itself: passes unless it is the child.
#[test]
fn the_child() {
    let Ok(error) = env::var(ERROR) else { return };
    if is_lost(&error, || true) {
        end_worker("cuda:0", &error);
    }
}

#[test]
fn a_sticky_error_ends_the_process_with_its_status_and_another_does_not() {
    let lost = child_that_meets("CUDA error: an illegal memory access was encountered");
    assert_eq!(lost.code(), Some(EXIT_STATUS));
    assert_eq!(EXIT_STATUS, 76);
    assert!(child_that_meets("CUDA error: out of memory").success());
    assert!(child_that_meets("CUDA error: unknown error").success());
}
