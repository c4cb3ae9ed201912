//! Our own loops on the threads that libtorch computes with: a step's threads are those that its permits allow, and no
//! second pool beside OpenMP's.

use super::shim;

/// Runs `body` on so many threads at once, or on this one alone where libtorch has none; it must not panic.
///
/// How many really run it, and when, is not said: `body` takes its share of the work from something shared.
pub fn run(threads: usize, body: impl Fn() + Sync) {
    if threads < 2 || !shim::team(threads, &body) {
        body();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_of_the_work_is_done_by_as_many_as_there_are() {
        for threads in [0, 1, 2, 5] {
            let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
            run(threads, || {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job > 1000 {
                        break;
                    }
                    sum.fetch_add(job, Ordering::Relaxed);
                }
            });
            assert_eq!(sum.into_inner(), 500_500, "{threads} threads");
        }
    }
}
