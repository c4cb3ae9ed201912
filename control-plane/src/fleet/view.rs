//! What a worker said last: its status with the deltas applied. Pure but for the instants it is given.

use std::{collections::HashMap, time::Duration};

use proto::{Eviction, Gauges, Residency, ResidencyState, WorkerStatus};
use tokio::time::Instant;

use super::{Link, displaced::Displaced};
use crate::placement::{self, Stage};

/// Why a worker drains that ends by itself, since only a restart gives its memory back.
const WORN_OUT: &str = "baseline_growth";
/// Evictions kept per worker.
const EVICTIONS_KEPT: usize = 1000;

/// The newest status of a worker.
pub struct View {
    /// Absent before the first snapshot.
    pub status: Option<WorkerStatus>,
    pub link: Link,
    /// When the link became what it is.
    pub since: Instant,
    /// Figures that came after the snapshot.
    pub gauges: Option<Gauges>,
    /// When each residency was last told; its ages count from there.
    told: HashMap<String, Instant>,
    /// Models by the model for which they left, for as long as they have not come back.
    displaced: Displaced,
}

impl View {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            status: None,
            link: Link::Connecting,
            since: now,
            gauges: None,
            told: HashMap::new(),
            displaced: Displaced::default(),
        }
    }

    /// Whether the link changed.
    pub(super) fn set_link(&mut self, link: Link, now: Instant) -> bool {
        let changed = self.link != link;
        if changed {
            self.link = link;
            self.since = now;
        }
        changed
    }

    pub(super) fn snapshot(&mut self, status: WorkerStatus, now: Instant) {
        self.told = status.residencies.iter().map(|r| (r.residency_id.clone(), now)).collect();
        self.gauges = None;
        self.displaced = Displaced::default();
        for eviction in &status.evictions {
            self.displaced.note(eviction);
        }
        self.status = Some(status);
    }

    pub(super) fn residency(&mut self, residency: Residency, now: Instant) {
        self.told.insert(residency.residency_id.clone(), now);
        let Some(status) = &mut self.status else { return };
        let same = |known: &&mut Residency| known.residency_id == residency.residency_id;
        match status.residencies.iter_mut().find(same) {
            Some(known) => *known = residency,
            None => status.residencies.push(residency),
        }
    }

    /// The residency that was there.
    pub(super) fn residency_gone(&mut self, residency_id: &str) -> Option<Residency> {
        self.told.remove(residency_id);
        let residencies = &mut self.status.as_mut()?.residencies;
        let place = residencies.iter().position(|known| known.residency_id == residency_id)?;
        Some(residencies.remove(place))
    }

    pub(super) fn gauges(&mut self, gauges: Gauges) {
        if let Some(status) = &mut self.status {
            status.devices.clone_from(&gauges.devices);
            status.draining = gauges.draining;
            status.drain_reason.clone_from(&gauges.drain_reason);
            status.healthy = gauges.healthy;
            status.uptime_ms = gauges.uptime_ms;
        }
        self.gauges = Some(gauges);
    }

    pub(super) fn eviction(&mut self, eviction: Eviction) {
        self.displaced.note(&eviction);
        let Some(status) = &mut self.status else { return };
        status.evictions.push(eviction);
        let surplus = status.evictions.len().saturating_sub(EVICTIONS_KEPT);
        status.evictions.drain(..surplus);
    }

    /// Differs at every start of the worker; empty before the first snapshot.
    pub fn incarnation(&self) -> &str {
        self.status.as_ref().map_or("", |status| &status.incarnation)
    }

    /// The latest generation of a residency, by its id; 0: it is not there.
    pub fn generation(&self, residency_id: &str) -> u64 {
        let mut residencies = self.status.iter().flat_map(|status| &status.residencies);
        let found = residencies.find(|residency| residency.residency_id == residency_id);
        found.map_or(0, |residency| residency.generation)
    }

    /// When the residency was last told.
    pub fn told_at(&self, residency_id: &str) -> Instant {
        self.told.get(residency_id).copied().unwrap_or(self.since)
    }

    pub(super) fn link(&self, grace: Duration) -> placement::Link {
        let expected = if self.since.elapsed() < grace {
            placement::Link::Expected
        } else {
            placement::Link::Down
        };
        match (self.link, &self.status) {
            // It is about to be started anew.
            (Link::Up, Some(status)) if status.draining && status.drain_reason == WORN_OUT => {
                placement::Link::Expected
            }
            (Link::Up, Some(status)) if status.draining => placement::Link::Down,
            (Link::Up, Some(status)) if status.healthy => placement::Link::Up,
            // An unhealthy worker exits, so that its supervisor starts it anew.
            _ => expected,
        }
    }

    /// Requests that execute or wait on the worker.
    pub(super) fn load(&self) -> u32 {
        self.status
            .iter()
            .flat_map(|status| &status.residencies)
            .map(|r| r.in_flight.saturating_add(r.queued))
            .fold(0, u32::saturating_add)
    }

    /// What is taken is summed over the residencies, which are told at once; the devices' own figures come with the
    /// gauges and lag behind them.
    pub(super) fn devices(&self) -> Vec<placement::Device> {
        let Some(status) = &self.status else { return Vec::new() };
        let device = |device: &proto::Device| placement::Device {
            name: device.name.clone(),
            budget: device.budget_bytes,
            taken: status
                .residencies
                .iter()
                .filter(|residency| residency.state() != ResidencyState::Failed)
                .flat_map(|residency| &residency.bytes)
                .filter(|bytes| bytes.device == device.name)
                .map(proto::DeviceBytes::charged)
                .fold(0, u64::saturating_add),
        };
        status.devices.iter().map(device).collect()
    }

    /// The worker said so in an answer; its gauges would tell it a moment later.
    pub fn set_draining(&mut self, draining: bool) {
        if let Some(status) = &mut self.status {
            status.draining = draining;
        }
    }

    /// The worker confirmed a new budget; its gauges would tell it a moment later.
    pub fn set_budget(&mut self, device: &str, bytes: u64) {
        let devices = self.status.iter_mut().flat_map(|status| &mut status.devices);
        for known in devices.filter(|known| known.name == device) {
            known.budget_bytes = bytes;
        }
    }

    /// The residencies, with their ages turned into times on `clock`.
    pub(super) fn residencies(&self, clock: &impl Fn(Instant) -> u64) -> Vec<placement::Residency> {
        let residencies = self.status.iter().flat_map(|status| &status.residencies);
        residencies
            .map(|residency| {
                let told = clock(self.told_at(&residency.residency_id));
                let at = |ago: Option<u64>| told.saturating_sub(ago.unwrap_or(0));
                let loaded_at = at(residency.loaded_ms_ago);
                let bytes = residency.bytes.first();
                placement::Residency {
                    id: residency.residency_id.clone(),
                    generation: residency.generation,
                    model_id: residency.model_id.clone(),
                    revision: residency.revision.clone(),
                    dtype: residency.dtype.clone(),
                    kind: residency.kind.clone(),
                    device: bytes.map(|bytes| bytes.device.clone()).unwrap_or_default(),
                    bytes: bytes.map_or(0, proto::DeviceBytes::charged),
                    stage: stage(residency.state()),
                    busy: residency.in_flight.saturating_add(residency.queued),
                    pinned: residency.pinned,
                    loaded_at,
                    last_used_at: residency.last_used_ms_ago.map_or(loaded_at, |ago| at(Some(ago))),
                    min_residency_ms: residency.min_residency_ms,
                    keep_alive_ms: u64::try_from(residency.keep_alive_ms).ok(),
                    reload_s: residency.load_time_ms.map(|ms| ms / 1e3),
                    requests_per_second: rate(residency),
                    counted_at: told,
                    failed_loads: residency.failed_loads,
                    displaced: self.displaced.by(&residency.model_id),
                }
            })
            .collect()
    }
}

/// A worker that counts none of late has the requests since ready.
fn rate(residency: &Residency) -> f64 {
    let since_s = residency.loaded_ms_ago.unwrap_or(0).max(1_000) as f64 / 1e3;
    residency.requests_per_second.unwrap_or(residency.requests as f64 / since_s)
}

fn stage(state: ResidencyState) -> Stage {
    match state {
        ResidencyState::Ready => Stage::Ready,
        ResidencyState::Queued
        | ResidencyState::Downloading
        | ResidencyState::Loading
        | ResidencyState::Warming => Stage::Coming,
        ResidencyState::Failed => Stage::Failed,
        ResidencyState::Draining | ResidencyState::Releasing | ResidencyState::Unspecified => {
            Stage::Leaving
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(residencies: Vec<Residency>) -> WorkerStatus {
        WorkerStatus { worker_id: "w".into(), healthy: true, residencies, ..Default::default() }
    }

    fn residency(id: &str, generation: u64) -> Residency {
        Residency { residency_id: id.into(), generation, ..Default::default() }
    }

    #[test]
    fn deltas_change_add_and_remove_residencies() {
        let now = Instant::now();
        let mut view = View::new(now);
        view.snapshot(status(vec![residency("a", 1)]), now);
        view.residency(residency("a", 2), now);
        view.residency(residency("b", 1), now);
        assert_eq!(view.residency_gone("a").map(|gone| gone.generation), Some(2));
        assert_eq!(view.status.as_ref().map(|status| status.residencies.len()), Some(1));
        assert!(view.residency_gone("never there").is_none());
    }

    #[test]
    fn only_a_healthy_worker_that_admits_is_up() {
        let now = Instant::now();
        let grace = Duration::from_secs(15);
        let mut view = View::new(now);
        assert_eq!(view.link(grace), placement::Link::Expected);
        view.snapshot(status(Vec::new()), now);
        view.set_link(Link::Up, now);
        assert_eq!(view.link(grace), placement::Link::Up);
        view.gauges(Gauges { healthy: true, draining: true, ..Default::default() });
        assert_eq!(view.link(grace), placement::Link::Down);
        view.set_link(Link::Lost, now);
        assert_eq!(view.link(grace), placement::Link::Expected);
        assert_eq!(view.link(Duration::ZERO), placement::Link::Down);
    }

    #[test]
    fn a_device_is_as_full_as_its_residencies_before_the_gauges_say_so() {
        let now = Instant::now();
        let mut view = View::new(now);
        let device = proto::Device { name: "cpu".into(), budget_bytes: 100, ..Default::default() };
        view.snapshot(WorkerStatus { devices: vec![device], ..status(Vec::new()) }, now);
        let bytes = |weights| {
            vec![proto::DeviceBytes { device: "cpu".into(), weights, ..Default::default() }]
        };
        view.residency(Residency { bytes: bytes(30), ..residency("a", 1) }, now);
        let failed = ResidencyState::Failed.into();
        view.residency(Residency { bytes: bytes(50), state: failed, ..residency("b", 1) }, now);
        view.set_budget("cpu", 70);
        let seen = view.devices();
        assert_eq!((seen[0].taken, seen[0].budget), (30, 70));
    }

    #[test]
    fn ages_become_times_of_the_callers_clock() {
        let now = Instant::now();
        let mut view = View::new(now);
        let used = Residency {
            loaded_ms_ago: Some(500),
            last_used_ms_ago: Some(100),
            state: ResidencyState::Ready.into(),
            ..residency("a", 1)
        };
        view.snapshot(status(vec![used]), now);
        let seen = view.residencies(&|_| 10_000);
        assert_eq!((seen[0].loaded_at, seen[0].last_used_at), (9_500, 9_900));
    }
}
