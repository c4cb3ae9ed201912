//! Learned costs in the life of residencies: what is charged, and what is measured while they load and run.

use std::{sync::Arc, time::Duration};

use tch::Kind;

use super::{
    Residencies, State,
    device::{self, DeviceInfo},
    entry::{Bytes, Entry},
    facts::Facts,
    journal::Record,
    learned::LearnedCost,
    precision, room,
};
use crate::{lane::Measured, models::ModelKind, tasks::StepShape};

/// What a model costs here.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    pub weights: u64,
    /// Keys, values and intermediate tensors.
    pub working: u64,
    /// Of the intermediate tensors: they were measured here, not estimated.
    pub is_learned: bool,
    /// Of the last load, downloads left out.
    pub load: Option<Duration>,
}

impl State {
    /// Bytes to charge a model, and what is known of its costs.
    pub(super) fn cost(
        &self,
        facts: &Facts,
        kind: ModelKind,
        dtype: Kind,
        device: &DeviceInfo,
    ) -> (Bytes, LearnedCost) {
        let estimate = room::estimate(facts, kind, dtype, device.torch);
        let fresh = LearnedCost {
            model_id: facts.model_id().to_owned(),
            kind: kind.name().to_owned(),
            dtype: precision::name(dtype).to_owned(),
            device: device.name.clone(),
            revision: facts.revision().to_owned(),
            estimated_workspace: estimate.workspace,
            ..LearnedCost::default()
        };
        let known = self.costs.get(&fresh.key()).filter(|cost| cost.revision == fresh.revision);
        let cost = LearnedCost {
            estimated_workspace: estimate.workspace,
            ..known.cloned().unwrap_or(fresh)
        };
        (Bytes { workspace: cost.workspace(), ..estimate }, cost)
    }
}

impl Residencies {
    /// What a model would cost here.
    pub fn cost(&self, facts: &Facts, kind: ModelKind, dtype: Kind) -> Cost {
        let (bytes, cost) = self.lock().cost(facts, kind, dtype, &self.0.device);
        Cost {
            weights: bytes.weights,
            working: bytes.cache.saturating_add(bytes.workspace),
            is_learned: cost.steps.of_full_step().is_some(),
            load: cost.load_ms.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1e3)),
        }
    }

    /// Everything that was learned, for the status.
    pub fn learned(&self) -> Vec<proto::LearnedCost> {
        self.lock().costs.values().map(LearnedCost::message).collect()
    }

    /// Keeps what a load has cost; the caller holds the lock.
    pub(super) fn learn_load(&self, entry: &mut Entry, grown: u64, took: Duration) -> LearnedCost {
        entry.cost.load_bytes = Some(grown);
        entry.cost.load_ms = Some(took.as_secs_f64() * 1e3);
        self.0.journal.append(Record::Cost(entry.cost.clone()));
        entry.cost.clone()
    }

    /// For the lane of a residency: steps that need more than is charged are charged at once.
    pub(super) fn measured(&self, number: u64) -> Measured {
        // A lane must not keep alive what keeps it alive.
        let shared = Arc::downgrade(&self.0);
        Arc::new(move |shape: StepShape, bytes| {
            let Some(shared) = shared.upgrade() else { return };
            let residencies = Self(shared);
            let mut state = residencies.lock();
            let Some(entry) = state.by_number(number) else { return };
            if !entry.cost.steps.see(shape, bytes) {
                return;
            }
            entry.bytes.workspace = entry.cost.workspace();
            let cost = entry.cost.clone();
            residencies.0.journal.append(Record::Cost(cost.clone()));
            state.costs.insert(cost.key(), cost);
            drop(state);
            residencies.notify();
        })
    }

    /// Measures the idle worker, now that its last model has left, and drains it when it has grown too much.
    pub(super) async fn measure_idle(&self) {
        self.0.facts.forget_unused();
        let loads = self.lock().next_number;
        let device = self.0.device.clone();
        // Takes tens of milliseconds.
        let measured = tokio::task::spawn_blocking(move || device::idle(&device)).await;
        let Ok(measured) = measured else { return };
        let held = self.0.held.get().map_or(0, |held| held());
        let limit = self.0.settings.baseline_growth_limit;
        let mut state = self.lock();
        if state.next_number != loads || !state.is_empty() {
            // A load began meanwhile: what was measured is not the idle worker.
            return;
        }
        state.baseline.see(measured.saturating_sub(held));
        let baseline = state.baseline;
        let is_worn_out = baseline.is_beyond(limit) && !state.is_worn_out;
        if is_worn_out {
            state.is_worn_out = true;
            state.draining = true;
            state.drain_reason = "baseline_growth";
        }
        drop(state);
        if is_worn_out {
            tracing::error!(
                baseline = baseline.bytes(),
                growth = baseline.growth(),
                limit,
                "the idle worker has grown beyond its bound; it drains and ends, so that its supervisor starts another"
            );
            metrics::counter!("worker_worn_out_total").increment(1);
        }
        self.notify();
    }

    /// Resolves when this worker should end because only that gives its memory back.
    pub async fn worn_out(&self) {
        let mut changes = self.changes();
        while !self.is_worn_out() && changes.changed().await.is_ok() {}
    }

    pub fn is_worn_out(&self) -> bool {
        self.lock().is_worn_out
    }

    /// Bytes that are held for something else than models, and are no growth of the idle worker.
    pub fn hold(&self, held: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.0.held.set(Box::new(held));
    }
}

impl LearnedCost {
    pub fn message(&self) -> proto::LearnedCost {
        let steps = self.steps.iter().map(|peak| proto::StepWorkspace {
            tokens: peak.tokens,
            rows: peak.rows,
            bytes: peak.bytes,
        });
        proto::LearnedCost {
            model_id: self.model_id.clone(),
            revision: self.revision.clone(),
            dtype: self.dtype.clone(),
            device: self.device.clone(),
            load_bytes: self.load_bytes,
            load_seconds: self.load_ms.map(|ms| ms / 1e3),
            workspace_bytes: self.steps.of_full_step(),
            estimated_workspace_bytes: self.estimated_workspace,
            estimate_error_ratio: self.estimate_error(),
            steps: steps.collect(),
            kind: self.kind.clone(),
        }
    }
}
