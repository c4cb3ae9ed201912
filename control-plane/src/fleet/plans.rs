//! Plans that workers made a moment ago, so that a stream of requests for one model asks once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::{ModelPlan, PlanModelRequest};
use tokio::time::Instant;
use tonic::Status;

use super::Worker;

const KEPT_FOR: Duration = Duration::from_secs(30);
const MOST_KEPT: usize = 4096;

/// Incarnation, model id, revision, task, data type.
type Key = (String, String, String, String, String);

#[derive(Default)]
pub(super) struct Plans {
    kept: Mutex<HashMap<Key, (Instant, ModelPlan)>>,
}

impl Plans {
    /// The worker's plan; failures are not kept.
    pub(super) async fn get(
        &self,
        worker: &Arc<Worker>,
        request: PlanModelRequest,
    ) -> Result<ModelPlan, Status> {
        let model = request.model.clone().unwrap_or_default();
        let incarnation = worker.view().incarnation().to_owned();
        let key = (
            incarnation,
            model.model_id,
            model.revision,
            request.task.clone(),
            request.dtype.clone(),
        );
        if let Some(plan) = self.kept(&key) {
            return Ok(plan);
        }
        let mut client = worker.client();
        let plan = worker.while_up(client.plan_model(request)).await?.into_inner();
        // What cannot run may be mended on disk at any moment, and asking again is cheap.
        if plan.unsupported.is_none() {
            self.keep(key, plan.clone());
        }
        Ok(plan)
    }

    fn kept(&self, key: &Key) -> Option<ModelPlan> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, plan) = kept.get(key)?;
        (at.elapsed() < KEPT_FOR).then(|| plan.clone())
    }

    fn keep(&self, key: Key, plan: ModelPlan) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, (at, _)| at.elapsed() < KEPT_FOR);
        }
        if kept.len() < MOST_KEPT {
            kept.insert(key, (Instant::now(), plan));
        }
    }
}
