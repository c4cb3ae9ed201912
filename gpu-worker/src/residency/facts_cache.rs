//! Facts by name, so that a request for a resident model asks neither the disk nor the Hub.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::facts::Facts;
use crate::{failure::Failure, hub::Hub};

/// For how long a model id resolves to the same facts without another look.
const TTL: Duration = Duration::from_secs(2);

/// Facts by model id and revision, read once per commit.
pub struct FactsCache {
    hub: Hub,
    by_name: Mutex<ByName>,
}

/// When a model id and revision were last resolved, and to what.
type ByName = HashMap<(String, String), (Instant, Arc<Facts>)>;

impl FactsCache {
    pub fn new(hub: Hub) -> Self {
        Self { hub, by_name: Mutex::default() }
    }

    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The facts of `model_id@revision`; an id that contains `@revision` itself works too.
    pub async fn get(&self, model_id: &str, revision: &str) -> Result<Arc<Facts>, Failure> {
        let (model_id, revision) = match model_id.split_once('@') {
            Some((id, inner)) if revision.is_empty() => (id, inner),
            _ => (model_id, revision),
        };
        if model_id.is_empty() {
            return Err(Failure::invalid("model_id", "is empty"));
        }
        let name = (model_id.to_owned(), revision.to_owned());
        let known = self.lock().get(&name).map(|(at, facts)| (*at, Arc::clone(facts)));
        if let Some((at, facts)) = &known
            && at.elapsed() < TTL
        {
            return Ok(Arc::clone(facts));
        }
        let repository = self.hub.resolve(model_id, revision).await?;
        let facts = match known {
            Some((_, facts)) if facts.revision() == repository.revision() => facts,
            _ => Arc::new(Facts::read(repository).await?),
        };
        let mut by_name = self.lock();
        // Names are cheap to find again; facts hold tokenizers.
        if by_name.len() > 256 {
            by_name.retain(|_, (at, _)| at.elapsed() < TTL);
        }
        by_name.insert(name, (Instant::now(), Arc::clone(&facts)));
        Ok(facts)
    }

    /// Forgets what no request has named for a moment: facts hold tokenizers.
    pub fn forget_unused(&self) {
        self.lock().retain(|_, (at, _)| at.elapsed() < TTL);
    }

    fn lock(&self) -> MutexGuard<'_, ByName> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
