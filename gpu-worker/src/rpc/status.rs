//! `WatchStatus`: a snapshot, then what differs from what this watcher was last told.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::Stream;
use proto::{
    Device, Gauges, Histogram, RequestLimits, Residency, StatusEvent, TaskSupport, WorkerStatus,
    status_event::Change,
};
use tonic::Status;

use super::Shared;
use crate::{models, residency::device, tasks};

/// Gauges are sent this often at most, and also serve as the heartbeat.
const GAUGES_EVERY: Duration = Duration::from_millis(250);
/// Progress of loads can change a thousand times a second; nobody reads that fast.
const SETTLE: Duration = Duration::from_millis(10);

pub fn watch(shared: Arc<Shared>) -> impl Stream<Item = Result<StatusEvent, Status>> + Send {
    async_stream::stream! {
        let mut changes = shared.residencies.changes();
        let mut sequence = 0;
        let mut event = move |change| {
            sequence += 1;
            Ok(StatusEvent { sequence, change: Some(change) })
        };
        changes.mark_unchanged();
        let snapshot = snapshot(&shared);
        let mut told = Told::new(&snapshot);
        yield event(Change::Snapshot(snapshot));
        let mut ticks = tokio::time::interval(GAUGES_EVERY);
        loop {
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    for change in told.update(&shared) {
                        yield event(change);
                    }
                    tokio::time::sleep(SETTLE).await;
                }
                () = shared.ended.cancelled() => return,
                _ = ticks.tick() => {
                    // Counts of running and waiting requests fall without a word from the lane.
                    for change in told.update(&shared) {
                        yield event(change);
                    }
                    yield event(Change::Gauges(gauges(&shared)));
                }
            }
        }
    }
}

/// What a watcher knows.
struct Told {
    residencies: HashMap<String, Residency>,
    newest_eviction: Option<proto::Eviction>,
}

impl Told {
    fn new(snapshot: &WorkerStatus) -> Self {
        let residencies = snapshot
            .residencies
            .iter()
            .map(|residency| (residency.residency_id.clone(), timeless(residency)));
        Self {
            residencies: residencies.collect(),
            newest_eviction: snapshot.evictions.last().cloned(),
        }
    }

    /// The changes since the last call.
    fn update(&mut self, shared: &Shared) -> Vec<Change> {
        let mut changes = Vec::new();
        let now = shared.residencies.list();
        let gone: Vec<String> = self
            .residencies
            .keys()
            .filter(|id| !now.iter().any(|residency| &residency.residency_id == *id))
            .cloned()
            .collect();
        for id in gone {
            self.residencies.remove(&id);
            changes.push(Change::ResidencyGone(id));
        }
        for residency in now {
            let timeless = timeless(&residency);
            if self.residencies.get(&residency.residency_id) != Some(&timeless) {
                self.residencies.insert(residency.residency_id.clone(), timeless);
                changes.push(Change::Residency(residency));
            }
        }
        let evictions = shared.residencies.evictions();
        let known = self
            .newest_eviction
            .as_ref()
            .and_then(|newest| evictions.iter().rposition(|one| one == newest));
        let first_new = known
            .map_or(if self.newest_eviction.is_some() { evictions.len() } else { 0 }, |at| at + 1);
        changes.extend(evictions.iter().skip(first_new).cloned().map(Change::Eviction));
        self.newest_eviction = evictions.last().cloned();
        changes
    }
}

/// The residency without the fields that change by themselves.
fn timeless(residency: &Residency) -> Residency {
    Residency {
        loaded_ms_ago: None,
        retry_in_ms: None,
        last_used_ms_ago: None,
        requests_per_second: None,
        ..residency.clone()
    }
}

pub fn snapshot(shared: &Shared) -> WorkerStatus {
    let Shared { residencies, identity, .. } = shared;
    WorkerStatus {
        worker_id: identity.worker_id.clone(),
        incarnation: identity.incarnation.clone(),
        contract_version: proto::CONTRACT_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        devices: devices(shared),
        tasks: task_support(),
        residencies: residencies.list(),
        draining: residencies.is_draining(),
        healthy: true,
        uptime_ms: identity.started.elapsed().as_millis() as u64,
        evictions: residencies.evictions(),
        learned: residencies.learned(),
        drain_reason: residencies.drain_reason().to_owned(),
        limits: Some(request_limits(shared.limits)),
    }
}

fn request_limits(tasks::Limits { output_pixels, painting }: tasks::Limits) -> RequestLimits {
    RequestLimits {
        output_pixels_limit: output_pixels,
        painting_pixels_limit: painting.pixels,
        painting_images_limit: painting.images,
        painting_steps_limit: painting.steps,
        painting_pixel_steps_limit: painting.pixel_steps,
    }
}

fn gauges(shared: &Shared) -> Gauges {
    let residencies = shared.residencies.list();
    let counters = shared.residencies.counters();
    let cancels = counters.cancels();
    Gauges {
        devices: devices(shared),
        running: residencies.iter().map(|residency| residency.in_flight).sum(),
        waiting: residencies.iter().map(|residency| residency.queued).sum(),
        draining: shared.residencies.is_draining(),
        healthy: true,
        generated_tokens: counters.generated_tokens.load(Ordering::Relaxed),
        cancelled: cancels.count,
        cancel_seconds_sum: cancels.total.as_secs_f64(),
        cancel_seconds_max: cancels.longest.as_secs_f64(),
        steps_after_disconnect: cancels.late_steps,
        steps_after_disconnect_max: cancels.late_steps_max,
        cancel_seconds: Some(Histogram {
            bounds: tasks::CANCEL_BOUNDS.to_vec(),
            counts: cancels.buckets,
            sum: cancels.total.as_secs_f64(),
        }),
        uptime_ms: shared.identity.started.elapsed().as_millis() as u64,
        drain_reason: shared.residencies.drain_reason().to_owned(),
        load_failures: counters.load_failures().into_iter().collect(),
        evictions: counters.evictions().into_iter().collect(),
        age_at_eviction_seconds: Some(counters.ages.message()),
        batch_size: Some(counters.batches.message()),
        prefix_hits: counters.prefix_hits.load(Ordering::Relaxed),
        prefix_tokens: counters.prefix_tokens.load(Ordering::Relaxed),
    }
}

fn devices(shared: &Shared) -> Vec<Device> {
    let residencies = &shared.residencies;
    vec![device::message(residencies.device(), residencies.accounts())]
}

fn task_support() -> Vec<TaskSupport> {
    let support = |task: &tasks::Task| TaskSupport {
        task: task.id.to_owned(),
        architectures: models::supporting(task.kind).map(str::to_owned).collect(),
        kind: task.kind.name().to_owned(),
    };
    tasks::TASKS.iter().map(support).collect()
}
