//! A lane: the one OS thread that owns a residency, its tensors and its pipelines.
//!
//! It loads, then runs steps while there is work, and sleeps on its command queue while there is none.
//! Every panic of libtorch is caught here, in [`guarded`], and nowhere else.

mod load;
mod peaks;
pub mod scheduler;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use tch::{Device, Kind, Tensor};
use tokio::sync::oneshot;

use self::scheduler::{LaneId, Scheduler, Want};
pub use self::{
    load::{LoadSpec, LoadStage, Loaded, Measured},
    peaks::{StepPeak, StepPeaks},
};
use crate::{
    failure::{Code, Failure},
    memory::{allocator, peak::Peak, shim},
    tasks::{Job, JobCount, Pipeline, Pipelines},
};

/// How many jobs may wait at one lane before a new one is refused.
pub const QUEUE_BOUND: usize = 256;

/// How long a lane rests whose requests all wait for their readers.
const PARKED_PAUSE: Duration = Duration::from_millis(5);

enum Command {
    Run(Box<Job>),
    /// Cancel what runs, drop everything and say so.
    Close,
}

/// What others may read while the lane works.
#[derive(Debug, Default)]
pub struct LaneGauges {
    /// Jobs that were handed over and have not ended.
    pub jobs: Arc<AtomicUsize>,
    /// Of these, the ones whose first step has begun.
    pub running: AtomicUsize,
    /// Bytes of caches in use.
    pub cache_bytes: AtomicU64,
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
        let (commands, inbox) = channel();
        let (loaded_sender, loaded) = oneshot::channel();
        let (closed_sender, closed) = oneshot::channel();
        let gauges = Arc::new(LaneGauges::default());
        let body = LaneBody { id, scheduler, gauges: Arc::clone(&gauges), inbox };
        let spawned = thread::Builder::new().name(format!("lane-{id}")).spawn(move || {
            body.run(spec, loaded_sender);
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
    pub async fn close(self) {
        let _ = self.handle.commands.send(Command::Close);
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
                .retry_after(Duration::from_secs(1)));
        }
        Ok(count)
    }

    /// Bytes of keys and values in use.
    pub fn cache_bytes(&self) -> u64 {
        self.gauges.cache_bytes.load(Ordering::Acquire)
    }

    /// Hands a job over. When the lane has ended, the job's outbox closes without a result.
    pub fn submit(&self, job: Job) {
        let _ = self.commands.send(Command::Run(Box::new(job)));
    }
}

struct LaneBody {
    id: LaneId,
    scheduler: Scheduler,
    gauges: Arc<LaneGauges>,
    inbox: Receiver<Command>,
}

impl LaneBody {
    fn run(self, spec: LoadSpec, report: oneshot::Sender<Result<Loaded, Failure>>) {
        let _inference_mode = match shim::InferenceMode::enter() {
            Ok(guard) => guard,
            Err(error) => {
                let _ = report.send(Err(Failure::new(Code::LoadFailed, error)));
                return;
            }
        };
        // Layers choose how they compute by the threads they will have at most.
        set_threads(self.scheduler.permits());
        let device = spec.device;
        let mut watch = Watch { peaks: StepPeaks::default(), tell: Arc::clone(&spec.measured) };
        let loaded = guarded(Code::LoadFailed, || load::load(&spec)).and_then(|result| result);
        drop(spec);
        match loaded {
            Ok((mut pipelines, loaded)) => {
                if report.send(Ok(loaded)).is_ok() {
                    // Outside of a step there is little that can panic; if it does, the lane goes on without its jobs.
                    while let Err(failure) = guarded(Code::InferenceFailed, || {
                        self.serve(&mut pipelines, &mut watch, device)
                    }) {
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

    fn serve(&self, pipelines: &mut Pipelines, watch: &mut Watch, device: Device) {
        loop {
            if pipelines.is_idle() {
                match self.inbox.recv() {
                    Ok(Command::Run(job)) => pipelines.admit(*job),
                    Ok(Command::Close) | Err(_) => return,
                }
            }
            loop {
                match self.inbox.try_recv() {
                    Ok(Command::Run(job)) => pipelines.admit(*job),
                    Ok(Command::Close) | Err(TryRecvError::Disconnected) => {
                        pipelines
                            .abort_all(&Failure::new(Code::Cancelled, "the model was unloaded"));
                        return;
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
            let mut has_stepped = false;
            for pipeline in pipelines.iter_mut() {
                has_stepped |= self.step(pipeline, watch, device);
            }
            self.publish(pipelines);
            if !has_stepped && !pipelines.is_idle() {
                // Everyone waits for a slow reader.
                thread::sleep(PARKED_PAUSE);
            }
        }
    }

    /// Runs one step, if there is something to do.
    fn step(&self, pipeline: &mut dyn Pipeline, watch: &mut Watch, device: Device) -> bool {
        let Some(priority) = pipeline.prepare_step(Instant::now()) else { return false };
        let permit = self.scheduler.acquire(self.id, Want { priority, max_threads: usize::MAX });
        set_threads(permit.threads);
        let shape = pipeline.shape();
        let peak = Peak::start(device);
        let stepped = guarded(Code::InferenceFailed, || pipeline.step());
        let bytes = peak.bytes();
        if let Err(failure) = stepped {
            tracing::error!(lane = self.id, %failure, "a step failed");
            pipeline.abort_step(&failure);
            release_cached();
            check_device(device);
        } else if shape.tokens > 0 && bytes > 0 && watch.peaks.see(shape, bytes) {
            (watch.tell)(shape, bytes);
        }
        drop(permit);
        true
    }

    fn publish(&self, pipelines: &Pipelines) {
        self.gauges.running.store(pipelines.running(), Ordering::Release);
        self.gauges.cache_bytes.store(pipelines.cache_bytes(), Ordering::Release);
    }
}

/// What the lane has seen its steps need, and whom it tells of more.
struct Watch {
    peaks: StepPeaks,
    tell: Measured,
}

/// Intra-op threads of this OS thread, set only when they change.
fn set_threads(threads: usize) {
    let threads = i32::try_from(threads).unwrap_or(i32::MAX);
    if tch::get_num_threads() != threads {
        tch::set_num_threads(threads);
    }
}

/// Exit status of a worker whose GPU can no longer be used by this process.
const POISONED_DEVICE: i32 = 76;

/// After an error on a GPU: one small computation tells whether only that request failed or the whole context is lost.
/// A lost one does not come back in this process, so the worker ends and its supervisor starts another.
fn check_device(device: Device) {
    let Device::Cuda(index) = device else { return };
    let canary = guarded(Code::InferenceFailed, || {
        let sum = Tensor::ones([8], (Kind::Float, device)).sum(Kind::Float).double_value(&[]);
        shim::synchronize(index).is_ok() && (sum - 8.0).abs() < 1e-6
    });
    if !matches!(canary, Ok(true)) {
        tracing::error!(index, "the CUDA context is lost; the worker ends");
        std::process::exit(POISONED_DEVICE);
    }
}

/// Gives what libtorch keeps for later back to the device.
fn release_cached() {
    if let Err(error) = shim::empty_cache() {
        tracing::warn!(%error, "the device's cache could not be emptied");
    }
}

/// Runs libtorch code and turns its panic into a failure: out of memory, or `otherwise`.
fn guarded<T>(otherwise: Code, run: impl FnOnce() -> T) -> Result<T, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_first_line() {
        let failure =
            guarded(Code::InferenceFailed, || panic!("shapes differ\nframe #0: c10::Error"))
                .unwrap_err();
        assert_eq!(
            (failure.code, failure.message.as_str()),
            (Code::InferenceFailed, "shapes differ")
        );
    }

    #[test]
    fn an_allocation_that_fails_is_out_of_memory() {
        let failure =
            guarded(Code::InferenceFailed, || panic!("[enforce fail] DefaultCPUAllocator: can't"))
                .unwrap_err();
        assert_eq!(failure.code, Code::OutOfMemory);
    }
}
