//! A handful of threads that share a list of jobs: no barrier, so a busy neighbour on one core does not hold up the others.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

/// Reading and converting are bound by memory: more threads than this gain nothing.
const MAX_THREADS: usize = 4;

/// Does every job; each thread has a state of its own. After an error a thread stops, and the first error is answered.
pub fn for_each<J: Send, S: Default, E: Send>(
    jobs: impl Iterator<Item = J> + Send,
    work: impl Fn(&mut S, J) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let jobs = Mutex::new(jobs);
    let drain = || {
        let mut state = S::default();
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(job) = job else { return Ok(()) };
            work(&mut state, job)?;
        }
    };
    let n_threads = thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
    thread::scope(|scope| {
        // Where no further thread can be had, those that there are do it all.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, drain).ok();
        let others: Vec<_> = (1..n_threads).map_while(spawn).collect();
        let own = drain();
        others.into_iter().fold(own, |answer, other| {
            // A panic goes on in the thread that waits, where it is caught.
            let theirs = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            answer.and(theirs)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn every_job_is_done_once_and_an_error_is_answered() {
        let sum = AtomicU64::new(0);
        let add = |_: &mut (), job: u64| {
            sum.fetch_add(job, Ordering::Relaxed);
            if job == 1001 { Err(job) } else { Ok(()) }
        };
        assert_eq!(for_each(0..1001, add), Ok(()));
        assert_eq!(sum.load(Ordering::Relaxed), 500_500);
        assert_eq!(for_each(1000..1002, add), Err(1001));
    }
}
