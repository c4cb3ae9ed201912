//! A lane: the one OS thread that owns a residency, its tensors and its pipelines.
//!
//! It loads, then runs steps while there is work, and sleeps on its command queue while there is none.
//! Every panic of libtorch is caught in [`guard`], and nowhere else.

mod adopt;
mod company;
mod guard;
mod load;
mod pace;
mod peaks;
pub mod scheduler;
mod threads;

#[cfg(test)]
mod tests;

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use tch::{Device, Kind, Tensor};
use tokio::sync::oneshot;

use self::{
    adopt::AdapterCommand,
    company::Company,
    guard::guarded,
    scheduler::{Grant, LaneId, Scheduler},
    threads::Threads,
};
pub use self::{
    load::{LoadSpec, LoadStage, Loaded, Measured},
    pace::Pace,
    peaks::{StepPeak, StepPeaks},
};
use crate::{
    failure::{Code, Failure},
    memory::{allocator, cuda_errors, peak::Peak, shim},
    tasks::{Job, JobCount, Pipeline, Pipelines},
};

/// How many jobs may wait at one lane before a new one is refused.
pub const QUEUE_BOUND: usize = 256;

/// How long a lane rests whose requests all wait for their readers.
const PARKED_PAUSE: Duration = Duration::from_millis(5);

/// A lane that had nothing to do for this long gives up the threads that helped it.
const HELPERS_STAY: Duration = Duration::from_millis(50);

enum Command {
    Run(Box<Job>),
    /// Give back what no job needs.
    LetGo,
    /// Cancel what runs, drop everything and say so.
    /// What is left ends with that.
    Close(Failure),
    Adapter(AdapterCommand),
}

/// What others may read while the lane works.
#[derive(Debug, Default)]
pub struct LaneGauges {
    /// Jobs that were handed over and have not ended.
    pub jobs: Arc<AtomicUsize>,
    /// Of these, the ones whose first step has begun.
    pub running: AtomicUsize,
    /// Bytes of caches that are there.
    pub cache_bytes: AtomicU64,
    /// Of these: what is only kept in case it is of use again.
    pub kept_bytes: AtomicU64,
    pace: Mutex<Pace>,
}

impl LaneGauges {
    /// How fast jobs end.
    pub fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The owner of a running lane. Dropping it lets the lane end.
pub struct Lane {
    handle: LaneHandle,
    closed: oneshot::Receiver<()>,
}

/// The way to hand jobs to a lane.
#[derive(Clone)]
pub struct LaneHandle {
    commands: Sender<Command>,
    pub gauges: Arc<LaneGauges>,
}

impl Lane {
    /// Starts the thread, which loads first and says how that went.
    pub fn spawn(
        id: LaneId,
        spec: LoadSpec,
        scheduler: Scheduler,
    ) -> (Self, oneshot::Receiver<Result<Loaded, Failure>>) {
        let (measured, coming) = (Arc::clone(&spec.measured), Arc::clone(&spec.coming));
        Self::start(id, spec.device, scheduler, measured, coming, move || load::load(&spec))
    }

    /// The same with another way to come by pipelines. Their tensors are made on the lane's own thread.
    pub fn start<L: Send + 'static>(
        id: LaneId,
        device: Device,
        scheduler: Scheduler,
        measured: Measured,
        coming: Arc<AtomicUsize>,
        load: impl FnOnce() -> Result<(Pipelines, L), Failure> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<L, Failure>>) {
        let (commands, inbox) = channel();
        let (loaded_sender, loaded) = oneshot::channel();
        let (closed_sender, closed) = oneshot::channel();
        let gauges = Arc::new(LaneGauges::default());
        let threads = Threads::new();
        let told = Arc::clone(&gauges);
        let company = Company::new(coming);
        let body =
            LaneBody { id, device, scheduler, measured, company, gauges: told, inbox, threads };
        let spawned = thread::Builder::new().name(format!("lane-{id}")).spawn(move || {
            body.run(load, loaded_sender);
            allocator::trim();
            // Only now is the memory back.
            let _ = closed_sender.send(());
        });
        // A machine without threads left: the dropped sender reports it as a failed load.
        if let Err(error) = spawned {
            tracing::error!(%error, "a lane's thread could not be started");
        }
        (Self { handle: LaneHandle { commands, gauges }, closed }, loaded)
    }

    pub fn handle(&self) -> LaneHandle {
        self.handle.clone()
    }

    /// Cancels what runs, drops every tensor, and returns when the memory is back.
    pub async fn close(self, end: Failure) {
        let _ = self.handle.commands.send(Command::Close(end));
        let _ = self.closed.await;
    }
}

impl LaneHandle {
    /// A place in the lane's queue, or the refusal when too many wait.
    pub fn reserve(&self) -> Result<JobCount, Failure> {
        let count = JobCount::new(&self.gauges.jobs);
        if self.gauges.jobs.load(Ordering::Acquire) > QUEUE_BOUND {
            let failure = Failure::new(Code::Overloaded, "too many requests wait for this model");
            return Err(failure
                .number("limit", QUEUE_BOUND as u64)
                .retry_after(self.gauges.pace().wait(QUEUE_BOUND, Instant::now())));
        }
        Ok(count)
    }

    /// Bytes of keys and values that are there.
    pub fn cache_bytes(&self) -> u64 {
        self.gauges.cache_bytes.load(Ordering::Acquire)
    }

    /// Of these: what is only kept in case it is of use again.
    pub fn kept_bytes(&self) -> u64 {
        self.gauges.kept_bytes.load(Ordering::Acquire)
    }

    /// Asks for the memory of what is only kept.
    pub fn let_go(&self) {
        let _ = self.commands.send(Command::LetGo);
    }

    /// Hands a job over. When the lane has ended, the job's outbox closes without a result.
    pub fn submit(&self, job: Job) {
        let _ = self.commands.send(Command::Run(Box::new(job)));
    }
}

struct LaneBody {
    id: LaneId,
    device: Device,
    scheduler: Scheduler,
    /// Hears of steps that needed more than any of their size before.
    measured: Measured,
    company: Company,
    gauges: Arc<LaneGauges>,
    inbox: Receiver<Command>,
    threads: Threads,
}

impl LaneBody {
    fn run<L>(
        self,
        load: impl FnOnce() -> Result<(Pipelines, L), Failure>,
        report: oneshot::Sender<Result<L, Failure>>,
    ) {
        let _inference_mode = match shim::InferenceMode::enter() {
            Ok(guard) => guard,
            Err(error) => {
                let _ = report.send(Err(Failure::new(Code::LoadFailed, error)));
                return;
            }
        };
        // Layers choose how they compute by the threads they will have at most.
        self.threads.set(self.scheduler.cores());
        let loaded = guarded(Code::LoadFailed, load).and_then(|result| result);
        let mut peaks = StepPeaks::default();
        match loaded {
            Ok((mut pipelines, loaded)) => {
                if report.send(Ok(loaded)).is_ok() {
                    // Outside of a step there is little that can panic; if it does, the lane goes on without its jobs.
                    while let Err(failure) =
                        guarded(Code::InferenceFailed, || self.serve(&mut pipelines, &mut peaks))
                    {
                        tracing::error!(lane = self.id, %failure, "the lane's work was dropped");
                        pipelines.abort_all(&failure);
                    }
                }
                drop(pipelines);
                release_cached();
            }
            Err(failure) => {
                // The memory of a failed load goes back before anyone hears of the failure.
                allocator::trim();
                let _ = report.send(Err(failure));
            }
        }
        self.scheduler.forget(self.id);
    }

    fn serve(&self, pipelines: &mut Pipelines, peaks: &mut StepPeaks) {
        loop {
            if pipelines.is_idle() {
                let Some(command) = self.wait() else { return };
                if self.take(command, pipelines).is_break() {
                    return;
                }
            }
            let begin = Instant::now();
            loop {
                let patience = match pipelines.takes_all_at_once() {
                    true => self.company.patience(begin.elapsed()),
                    false => Duration::ZERO,
                };
                match self.inbox.recv_timeout(patience) {
                    Ok(command) => {
                        if self.take(command, pipelines).is_break() {
                            return;
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => return pipelines.abort_all(&unloaded()),
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
            let mut has_stepped = false;
            for pipeline in pipelines.iter_mut() {
                has_stepped |= self.step(pipeline, peaks);
            }
            self.publish(pipelines);
            if !has_stepped && !pipelines.is_idle() {
                // Everyone waits for a slow reader.
                thread::sleep(PARKED_PAUSE);
            }
        }
    }

    /// Does what it is told between steps; `Break` when that was to end.
    fn take(&self, command: Command, pipelines: &mut Pipelines) -> ControlFlow<()> {
        match command {
            Command::Run(job) => pipelines.admit(*job),
            Command::Adapter(command) => self.adapt(command, pipelines),
            Command::LetGo => let_go(pipelines),
            Command::Close(end) => {
                pipelines.abort_all(&end);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// The next command, or `None` when nobody can send one any more.
    fn wait(&self) -> Option<Command> {
        match self.inbox.recv_timeout(HELPERS_STAY) {
            Ok(command) => return Some(command),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => self.threads.rest(),
        }
        self.inbox.recv().ok()
    }

    /// Runs one step, if there is something to do.
    fn step(&self, pipeline: &mut dyn Pipeline, peaks: &mut StepPeaks) -> bool {
        let Some(ask) = pipeline.prepare_step(Instant::now()) else { return false };
        let permit = self.scheduler.acquire(self.id, ask);
        self.threads.set(permit.grant.threads);
        let shape = pipeline.shape();
        let peak = Peak::start(self.device);
        let begin = Instant::now();
        let stepped = guarded(Code::InferenceFailed, || self.complete(pipeline, permit.grant));
        self.company.stepped(begin.elapsed());
        let bytes = peak.bytes();
        if let Err(failure) = stepped.and_then(|ended| ended) {
            tracing::error!(lane = self.id, %failure, "a step failed");
            pipeline.abort_step(&failure);
            // A lost device answers nothing any more, so it is looked at first.
            check_device(self.device, &failure);
            release_cached();
        } else if shape.tokens > 0 && bytes > 0 && peaks.see(shape, bytes) {
            (self.measured)(shape, bytes);
        }
        drop(permit);
        true
    }

    /// A step has ended when the device has completed it, not when it was handed over.
    fn complete(&self, pipeline: &mut dyn Pipeline, grant: Grant) -> Result<(), Failure> {
        let failed = |error| Failure::new(Code::InferenceFailed, error);
        let Device::Cuda(index) = self.device else {
            pipeline.step();
            return Ok(());
        };
        shim::use_stream(index, grant.is_short).map_err(failed)?;
        pipeline.step();
        shim::finish_stream(index).map(drop).map_err(failed)
    }

    fn publish(&self, pipelines: &Pipelines) {
        self.gauges.running.store(pipelines.running(), Ordering::Release);
        self.gauges.cache_bytes.store(pipelines.cache_bytes(), Ordering::Release);
        self.gauges.kept_bytes.store(pipelines.kept_bytes(), Ordering::Release);
    }
}

/// What the requests of a model that is taken away end with.
pub fn unloaded() -> Failure {
    Failure::new(Code::Cancelled, "the model was unloaded")
}

/// After an error on a GPU: its text, or one small computation, tells whether only that request failed or the whole
/// context is lost. A lost one ends the worker.
fn check_device(device: Device, failure: &Failure) {
    let Device::Cuda(index) = device else { return };
    let works = || {
        let canary = guarded(Code::InferenceFailed, || {
            let sum = Tensor::ones([8], (Kind::Float, device)).sum(Kind::Float).double_value(&[]);
            shim::synchronize(index).is_ok() && (sum - 8.0).abs() < 1e-6
        });
        matches!(canary, Ok(true))
    };
    if cuda_errors::is_lost(&failure.message, works) {
        cuda_errors::end_worker(&format!("cuda:{index}"), &failure.message);
    }
}

/// Gives what no job needs back to the device.
fn let_go(pipelines: &mut Pipelines) {
    pipelines.let_go();
    release_cached();
}

/// Gives what libtorch keeps for later back to the device.
fn release_cached() {
    if let Err(error) = shim::empty_cache() {
        tracing::warn!(%error, "the device's cache could not be emptied");
    }
}
