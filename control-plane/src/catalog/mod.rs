//! The models of the local hubs, and whether this server can run them.

mod scan;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use futures::{StreamExt, stream};
use proto::{ModelPlan, ModelRef};

use crate::{failure::Failure, fleet::Fleet};

pub use scan::{Found, scan};

/// Plans asked for at the same time.
const PLANS_AT_ONCE: usize = 8;

/// A model of a local hub.
#[derive(Clone, Debug)]
pub struct Entry {
    pub model_id: String,
    /// What a worker said; the failure when it could not tell.
    pub plan: Result<Arc<ModelPlan>, Failure>,
}

type Kept = HashMap<String, (Option<SystemTime>, Arc<ModelPlan>)>;

/// The local hubs.
#[derive(Default)]
pub struct Catalog {
    hubs: Vec<PathBuf>,
    /// Plans by model id; good for as long as the config file is unchanged.
    kept: Mutex<Kept>,
}

impl Catalog {
    pub fn new(hubs: Vec<PathBuf>) -> Self {
        Self { hubs, kept: Mutex::default() }
    }

    /// Every model of the hubs, by name.
    pub async fn list(&self, fleet: &Fleet) -> Vec<Entry> {
        let hubs = self.hubs.clone();
        // A folder on a slow disk must not hold up the async threads.
        let found = tokio::task::spawn_blocking(move || scan(&hubs)).await.unwrap_or_default();
        stream::iter(found)
            .map(|found| self.entry(fleet, found))
            .buffered(PLANS_AT_ONCE)
            .collect()
            .await
    }

    async fn entry(&self, fleet: &Fleet, found: Found) -> Entry {
        if let Some(plan) = self.kept(&found) {
            return Entry { model_id: found.model_id, plan: Ok(plan) };
        }
        let model = ModelRef { model_id: found.model_id.clone(), revision: String::new() };
        let plan = match fleet.plans(&model, "", "").await {
            Ok(plans) => {
                // The one worker that can run it decides.
                let best = plans
                    .into_iter()
                    .map(|(_, plan)| plan)
                    .min_by_key(|plan| plan.unsupported.is_some());
                let plan = Arc::new(best.unwrap_or_default());
                // What cannot run may be mended without a change of its config.
                if plan.unsupported.is_none() {
                    let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.insert(found.model_id.clone(), (found.modified, plan.clone()));
                }
                Ok(plan)
            }
            Err(failure) => Err(failure),
        };
        Entry { model_id: found.model_id, plan }
    }

    fn kept(&self, found: &Found) -> Option<Arc<ModelPlan>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (modified, plan) = kept.get(&found.model_id)?;
        (*modified == found.modified && found.modified.is_some()).then(|| plan.clone())
    }
}
