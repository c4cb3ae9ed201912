//! A worker under check: its residencies, how admission sees them, and what it tells control planes of them.

use control_plane::placement::{Device, Link, Residency, Stage, Worker};

use crate::admission::Holding;

pub const MODELS: usize = 5;
pub const MIN_RESIDENCY_MS: u64 = 30_000;

pub fn bytes(model: usize) -> u64 {
    [3, 4, 5, 6, 8][model]
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: String,
    pub generation: u64,
    pub model: usize,
    pub stage: Stage,
    pub users: u32,
    pub pinned: bool,
    pub ready_at: u64,
    pub last_used_at: u64,
    /// Victims whose memory it waits for.
    pub awaits: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct FakeWorker {
    pub entries: Vec<Entry>,
    /// Changes so far.
    pub version: u64,
    pub next: u64,
}

impl FakeWorker {
    /// The worker as it tells itself now.
    pub fn status(&self, index: usize, budget: u64, now: u64) -> Worker {
        let entries = &self.entries;
        let residency = |entry: &Entry| Residency {
            id: entry.id.clone(),
            generation: entry.generation,
            model_id: name(entry.model),
            revision: "c0ffee".to_owned(),
            dtype: "float32".to_owned(),
            kind: String::new(),
            device: "cpu".to_owned(),
            bytes: bytes(entry.model),
            stage: entry.stage,
            busy: entry.users,
            pinned: entry.pinned,
            loaded_at: entry.ready_at,
            last_used_at: entry.last_used_at,
            min_residency_ms: MIN_RESIDENCY_MS,
            keep_alive_ms: None,
            reload_s: Some(bytes(entry.model) as f64),
            requests_per_second: 0.0,
            counted_at: now,
            failed_loads: 0,
            displaced: Vec::new(),
        };
        let residencies: Vec<Residency> = entries.iter().map(residency).collect();
        let taken = residencies.iter().map(|residency| residency.bytes).sum();
        let devices = vec![Device { name: "cpu".to_owned(), budget, taken }];
        let load = entries.iter().map(|entry| entry.users).sum();
        Worker { index, link: Link::Up, load, devices, residencies }
    }
}

impl Entry {
    /// As admission sees it.
    pub fn holding(&self, now: u64) -> Holding {
        let held_by = match self.stage {
            _ if self.pinned => Some("pinned"),
            Stage::Coming => Some("loading"),
            Stage::Leaving => Some("releasing"),
            _ if self.users > 0 => Some("busy"),
            _ => (now - self.ready_at < MIN_RESIDENCY_MS).then_some("young"),
        };
        Holding {
            id: self.id.clone(),
            generation: self.generation,
            bytes: bytes(self.model),
            promised: self.stage == Stage::Leaving,
            held_by,
        }
    }
}

pub fn name(model: usize) -> String {
    format!("org/{model}")
}
