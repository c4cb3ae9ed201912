//! The intra-op threads of a lane: how many a step has, and when those that helped may go.
//!
//! OpenMP keeps for every OS thread the helpers of its largest step so far. With many lanes that would be many idle
//! threads, so a lane lets them go when it is given fewer and when it rests; starting one anew takes some 50 µs.

use std::cell::Cell;

use crate::memory::openmp;

/// Of one lane, used on its thread only.
pub(super) struct Threads {
    /// The most that a step had since the helpers were let go.
    kept: Cell<usize>,
}

impl Threads {
    pub(super) fn new() -> Self {
        Self { kept: Cell::new(1) }
    }

    /// So many for the next step.
    pub(super) fn set(&self, threads: usize) {
        if threads < self.kept.get() {
            self.rest();
        }
        self.kept.set(threads.max(1));
        let threads = i32::try_from(threads).unwrap_or(i32::MAX);
        if tch::get_num_threads() != threads {
            tch::set_num_threads(threads);
        }
    }

    /// Lets the helpers go.
    pub(super) fn rest(&self) {
        if self.kept.replace(1) > 1 {
            openmp::release_helpers();
        }
    }
}
