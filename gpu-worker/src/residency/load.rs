//! One load, from its place in the queue to a lane that answers.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proto::ResidencyState;
use tokio::sync::watch;

use super::{
    Lease, Residencies, State, Wanted, device,
    entry::{Entry, LoadState, Phase},
    facts::Facts,
    release::Leaving,
};
use crate::{
    failure::{Code, Failure},
    hub::Source,
    lane::{self, Lane, LoadSpec, LoadStage, Loaded},
    tasks::Bounds,
    weights::{Access, LoadProgress},
};

/// First pause after a failed load; doubles with every failure in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Progress reaches watchers at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What the load task needs besides the registry.
struct LoadJob {
    number: u64,
    facts: Arc<Facts>,
    spec: SpecParts,
    progress: Arc<watch::Sender<LoadState>>,
    users: Arc<AtomicUsize>,
    leaving: Vec<Leaving>,
}

/// A load that succeeded.
struct Came {
    lane: Lane,
    loaded: Loaded,
    /// Bytes by which the process or the device grew.
    grown: u64,
    /// Without queue and download.
    took: Duration,
}

impl LoadJob {
    /// Resolves when nobody waits for the load any more.
    async fn abandoned(&self) {
        while self.users.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(PROGRESS_EVERY).await;
        }
    }
}

struct SpecParts {
    architecture: &'static crate::models::Architecture,
    kind: crate::models::ModelKind,
    dtype: tch::Kind,
    bounds: Bounds,
}

impl Residencies {
    /// Registers the entry as loading and starts the load; the caller holds the lock.
    pub(super) fn start_load(
        &self,
        mut entry: Entry,
        wanted: &Wanted,
        state: &mut State,
        leaving: Vec<Leaving>,
    ) -> Lease {
        let first = LoadState {
            state: ResidencyState::Queued,
            bytes_total: entry.bytes.weights,
            evicting: leaving.iter().map(|leaving| leaving.model_id.clone()).collect(),
            ..LoadState::default()
        };
        let (progress, receiver) = watch::channel(first);
        entry.phase = Phase::Loading(receiver);
        let job = LoadJob {
            number: entry.number,
            facts: Arc::clone(&entry.facts),
            spec: SpecParts {
                architecture: wanted.architecture,
                kind: entry.key.kind,
                dtype: entry.key.dtype,
                bounds: Bounds {
                    cache_bytes: entry.bytes.cache,
                    decoding_bytes: self.0.settings.decoding_bytes,
                },
            },
            progress: Arc::new(progress),
            users: Arc::clone(&entry.users),
            leaving,
        };
        let lease = self.lease(&mut entry, wanted);
        state.entries.push(entry);
        tokio::spawn(self.clone().run_load(job));
        lease
    }

    async fn run_load(self, mut job: LoadJob) {
        let number = job.number;
        let progress = Arc::clone(&job.progress);
        let made_room_for = job.facts.model_id().to_owned();
        for leaving in job.leaving.drain(..) {
            self.finish_release(leaving, "room", &made_room_for).await;
        }
        let outcome = self.load(job).await;
        self.settle(number, outcome, &progress);
    }

    async fn load(&self, job: LoadJob) -> Result<Came, Failure> {
        let place = self.0.load_queue.enter(job.number, &job.progress);
        self.notify();
        let slot = tokio::select! {
            slot = self.0.load_slots.acquire() => slot,
            // Whom nobody waits for leaves the queue.
            () = job.abandoned() => return Err(abandoned()),
        };
        drop(place);
        let _slot =
            slot.map_err(|_| Failure::new(Code::Draining, "this worker loads nothing new"))?;

        let files = self.download(&job).await?;
        let is_wanted = Arc::clone(&job.users);
        if is_wanted.load(Ordering::Acquire) == 0 {
            return Err(abandoned());
        }
        let before = device::measure(&self.0.device);
        let begun = Instant::now();
        let report = Reporter::new(Arc::clone(&job.progress), self.clone());
        let spec = LoadSpec {
            architecture: job.spec.architecture,
            kind: job.spec.kind,
            config: job.facts.config.clone(),
            parts: job.facts.parts(files),
            access: if job.facts.repository.is_immutable() { Access::Map } else { Access::Read },
            device: self.0.device.torch,
            dtype: job.spec.dtype,
            bounds: job.spec.bounds,
            measured: self.measured(job.number),
            coming: Arc::clone(&job.facts.coming),
            progress: Arc::new(move |stage| {
                report.stage(stage);
                if is_wanted.load(Ordering::Acquire) == 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }),
        };
        let (lane, loaded) = Lane::spawn(job.number, spec, self.0.scheduler.clone());
        match loaded.await {
            Ok(Ok(loaded)) => {
                let grown = device::measure(&self.0.device).saturating_sub(before);
                Ok(Came { lane, loaded, grown, took: begun.elapsed() })
            }
            Ok(Err(failure)) => {
                lane.close(lane::unloaded()).await;
                Err(failure)
            }
            Err(_) => Err(Failure::new(Code::LoadFailed, "the model's lane ended while it loaded")),
        }
    }

    /// The checkpoint's files on this machine, downloaded first where they are not there yet.
    async fn download(&self, job: &LoadJob) -> Result<Vec<PathBuf>, Failure> {
        let repository = &job.facts.repository;
        let is_here = repository.source() == Source::Local
            || repository.missing_bytes(&job.facts.weight_files) == 0;
        if !is_here {
            job.progress.send_modify(|state| {
                state.state = ResidencyState::Downloading;
                state.bytes_done = 0;
            });
            self.notify();
        }
        let progress = Arc::clone(&job.progress);
        let residencies = self.clone();
        let report = move |download: crate::hub::DownloadProgress| {
            progress.send_modify(|state| {
                state.bytes_done = download.done_bytes;
                state.bytes_total = download.total_bytes;
                state.bytes_per_second = download.bytes_per_second;
            });
            residencies.notify();
        };
        let report: &(dyn Fn(crate::hub::DownloadProgress) + Send + Sync) =
            if is_here { &|_| {} } else { &report };
        tokio::select! {
            files = repository.fetch_all(&job.facts.weight_files, report) => Ok(files?),
            () = job.abandoned() => Err(abandoned()),
        }
    }

    /// Writes down how the load ended.
    fn settle(
        &self,
        number: u64,
        outcome: Result<Came, Failure>,
        progress: &watch::Sender<LoadState>,
    ) {
        let mut state = self.lock();
        let generation = state.generation();
        let Some(entry) = state.by_number(number) else { return };
        entry.generation = generation;
        let now = Instant::now();
        let ended = match outcome {
            Ok(Came { lane, loaded, grown, took }) => {
                entry.bytes.weights = loaded.weight_bytes;
                entry.bytes.mapped = loaded.mapped_bytes;
                entry.measured = Some(grown);
                entry.load_time = Some(now.duration_since(entry.load_started));
                entry.ready_at = Some(now);
                entry.last_used = Some(now);
                entry.failed_before = std::mem::take(&mut entry.failures);
                entry.phase = Phase::Ready(lane);
                let cost = self.learn_load(entry, grown, took);
                tracing::info!(
                    model = entry.key.model_id,
                    ms = entry.load_time.map(|t| t.as_millis() as u64),
                    "ready"
                );
                state.costs.insert(cost.key(), cost);
                Ok(())
            }
            Err(failure) => {
                tracing::warn!(model = entry.key.model_id, %failure, "a load failed");
                self.0.counters.load_failed(failure.code.name());
                let is_short = failure.code == Code::OutOfMemory;
                if failure.code == Code::Cancelled {
                    state.entries.retain(|entry| entry.number != number);
                } else {
                    let pause =
                        FIRST_PAUSE.saturating_mul(1 << entry.failures.min(16)).min(LONGEST_PAUSE);
                    entry.failures += 1;
                    entry.phase = Phase::Failed { failure: failure.clone(), retry_at: now + pause };
                }
                if is_short {
                    state.let_go();
                }
                Err(failure)
            }
        };
        drop(state);
        progress.send_modify(|state| {
            state.state =
                if ended.is_ok() { ResidencyState::Ready } else { ResidencyState::Failed };
            state.outcome = Some(ended);
        });
        self.notify();
    }
}

fn abandoned() -> Failure {
    Failure::new(Code::Cancelled, "nobody waits for this load any more")
}

/// Passes the lane's progress on, not more often than anyone can look.
struct Reporter {
    progress: Arc<watch::Sender<LoadState>>,
    residencies: Residencies,
    last: std::sync::Mutex<Option<Told>>,
}

/// What was passed on last.
#[derive(Clone, Copy)]
struct Told {
    at: Instant,
    bytes: u64,
    /// Bytes a second, smoothed.
    rate: Option<f64>,
}

impl Told {
    /// Weight of the newest stretch in the rate.
    const NEWEST: f64 = 0.3;

    fn next(last: Option<Self>, bytes: u64, at: Instant) -> Self {
        let stretch = last.map(|last| {
            let seconds = at.saturating_duration_since(last.at).as_secs_f64();
            (last.rate, bytes.saturating_sub(last.bytes) as f64, seconds)
        });
        let rate = match stretch {
            Some((before, bytes, seconds)) if seconds > 0.0 => {
                let newest = bytes / seconds;
                Some(before.map_or(newest, |known| known + Self::NEWEST * (newest - known)))
            }
            Some((before, ..)) => before,
            None => None,
        };
        Self { at, bytes, rate }
    }
}

impl Reporter {
    fn new(progress: Arc<watch::Sender<LoadState>>, residencies: Residencies) -> Self {
        Self { progress, residencies, last: std::sync::Mutex::default() }
    }

    fn stage(&self, stage: LoadStage) {
        match stage {
            LoadStage::Reading(progress) => self.reading(progress),
            LoadStage::Warming => {
                self.progress.send_modify(|state| {
                    state.state = ResidencyState::Warming;
                    state.bytes_done = state.bytes_total;
                });
                self.residencies.notify();
            }
        }
    }

    fn reading(&self, progress: LoadProgress) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_edge = last.is_none() || progress.bytes_done >= progress.bytes_total;
        if !is_edge && last.is_some_and(|told| told.at.elapsed() < PROGRESS_EVERY) {
            return;
        }
        let told = Told::next(*last, progress.bytes_done, Instant::now());
        *last = Some(told);
        self.progress.send_modify(|state| {
            state.state = ResidencyState::Loading;
            state.bytes_done = progress.bytes_done;
            state.bytes_total = progress.bytes_total;
            state.tensors_done = progress.tensors_done;
            state.tensors_total = progress.tensors_total;
            state.bytes_per_second = told.rate;
        });
        self.residencies.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_stretches() {
        let start = Instant::now();
        let mut told = Told::next(None, 0, start);
        assert_eq!(told.rate, None);
        for second in 1..20 {
            told = Told::next(Some(told), second * 1_000, start + Duration::from_secs(second));
        }
        assert!((told.rate.unwrap() - 1_000.0).abs() < 1e-6);
        let still = Told::next(Some(told), told.bytes, told.at + Duration::from_secs(1));
        assert!(still.rate.unwrap() < 1_000.0);
    }
}
