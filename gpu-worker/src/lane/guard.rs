//! The one place where panics of libtorch are caught.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::failure::{Code, Failure};

/// Runs libtorch code and turns its panic into a failure: out of memory, or `otherwise`.
pub fn guarded<T>(otherwise: Code, run: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| failure_of_panic(panic.as_ref(), otherwise))
}

fn failure_of_panic(panic: &(dyn Any + Send), otherwise: Code) -> Failure {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    // libtorch appends its C++ frames; only the first line is for a client.
    let line = text.lines().next().unwrap_or_default();
    let is_memory = ["out of memory", "can't allocate memory", "DefaultCPUAllocator"]
        .iter()
        .any(|part| text.contains(part));
    let code = if is_memory { Code::OutOfMemory } else { otherwise };
    Failure::new(code, cut(line, 300))
}

fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}
