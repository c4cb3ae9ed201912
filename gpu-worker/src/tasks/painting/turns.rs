//! Requests take turns, a step at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proto::ProgressEvent;

use super::super::{Ask, Event, Job, Made, Tenant, Timing, shares::Shares};
use crate::failure::{Code, Failure};

/// A reader that takes nothing for this long loses its request.
const SLOW_READER: Duration = Duration::from_secs(60);

/// The requests of a lane; `R` is what is done for one of them.
pub(super) struct Turns<R> {
    /// In order of arrival.
    requests: Vec<Request<R>>,
    /// Whose step is next.
    chosen: Option<u64>,
    /// What each tenant has had, in sizes of steps.
    shares: Shares<Tenant>,
    next_id: u64,
}

struct Request<R> {
    id: u64,
    job: Job,
    work: R,
    started: Option<Instant>,
    steps: Duration,
}

/// What a step has to say.
pub(super) struct Stepped {
    pub progress: Option<ProgressEvent>,
    /// All is done.
    pub made: Option<Made>,
}

impl<R> Default for Turns<R> {
    fn default() -> Self {
        Self { requests: Vec::new(), chosen: None, shares: Shares::default(), next_id: 0 }
    }
}

impl<R> Turns<R> {
    pub(super) fn admit(&mut self, job: Job, work: R) {
        let id = self.next_id;
        self.next_id += 1;
        self.requests.push(Request { id, job, work, started: None, steps: Duration::ZERO });
    }

    /// Drops what was abandoned and says whose step is next, where somebody's is; `size` is how large it would be.
    pub(super) fn choose(&mut self, now: Instant, size: impl Fn(&R) -> usize) -> Option<Ask> {
        self.drop_abandoned(now);
        let at = self.next(now);
        self.chosen = at.map(|at| self.requests[at].id);
        let Request { job, work, .. } = &self.requests[at?];
        let part = (Arc::clone(&job.tenant), size(work));
        Some(Ask::of(job.priority, std::iter::once(part)))
    }

    /// Whose step is next.
    pub(super) fn chosen(&self) -> Option<&R> {
        self.place().map(|at| &self.requests[at].work)
    }

    /// The chosen request's step, unless it has left; what it says is sent, and a request that is done or has failed ends.
    pub(super) fn step(
        &mut self,
        size: impl Fn(&R) -> usize,
        run: impl FnOnce(&mut R) -> Result<Stepped, Failure>,
    ) {
        let begin = Instant::now();
        self.drop_abandoned(begin);
        let Some(at) = self.place() else { return };
        let request = &mut self.requests[at];
        self.shares.charge(&request.job.tenant, size(&request.work) as f64, begin);
        if request.started.is_none() {
            request.started = Some(begin);
            request.job.outbox.push(Event::Started);
        }
        let stepped = run(&mut request.work);
        request.steps += begin.elapsed();
        request.job.counters.stepped(1);
        request.job.has_stepped();
        self.chosen = None;
        match stepped {
            Ok(Stepped { progress, made }) => {
                if let Some(progress) = progress {
                    request.job.outbox.push(Event::Progress(progress));
                }
                if let Some(made) = made {
                    let Request { job, started, steps, .. } = self.requests.remove(at);
                    let waited = |started: Instant| started.duration_since(job.submitted);
                    let queue = started.map_or(Duration::ZERO, waited);
                    job.finish(made, Timing { queue, steps, ..Timing::default() });
                }
            }
            Err(failure) => self.requests.remove(at).job.fail(failure),
        }
    }

    /// Fails the request whose step panicked.
    pub(super) fn abort_step(&mut self, failure: &Failure) {
        let Some(at) = self.place() else { return };
        self.chosen = None;
        let mut request = self.requests.remove(at);
        request.job.counters.stepped(1);
        request.job.has_stepped();
        request.job.fail(failure.clone());
    }

    pub(super) fn abort_all(&mut self, failure: &Failure) {
        self.chosen = None;
        for request in std::mem::take(&mut self.requests) {
            request.job.fail(failure.clone());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn running(&self) -> usize {
        self.requests.iter().filter(|request| request.started.is_some()).count()
    }

    fn drop_abandoned(&mut self, now: Instant) {
        let slow = |request: &Request<R>| {
            request.job.outbox.full_for().is_some_and(|time| time > SLOW_READER)
        };
        let gone = self
            .requests
            .extract_if(.., |request| request.job.is_abandoned(now) || slow(request))
            .filter(|request| !request.job.is_abandoned(now));
        for request in gone {
            let message = "the events were not read for too long";
            request.job.fail(Failure::new(Code::SlowConsumer, message));
        }
    }

    /// Of those with the highest priority whose readers follow, that of the tenant who had least, and of one tenant the one
    /// that came first.
    fn next(&mut self, now: Instant) -> Option<usize> {
        let follows = |request: &Request<R>| request.job.outbox.full_for().is_none();
        let ready = || (0..self.requests.len()).filter(|&at| follows(&self.requests[at]));
        let priority = ready().map(|at| self.requests[at].job.priority).max()?;
        let of_highest: Vec<usize> =
            ready().filter(|&at| self.requests[at].job.priority == priority).collect();
        for &at in &of_highest {
            self.shares.arrive(&self.requests[at].job.tenant, now);
        }
        let served = |at: &usize| self.shares.served(&self.requests[*at].job.tenant);
        of_highest.into_iter().min_by(|a, b| served(a).total_cmp(&served(b)))
    }

    fn place(&self) -> Option<usize> {
        let chosen = self.chosen?;
        self.requests.iter().position(|request| request.id == chosen)
    }
}
