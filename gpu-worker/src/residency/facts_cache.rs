//! Facts by name, so that a request for a resident model asks neither the disk nor the Hub.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{adapters::AdapterFacts, facts::Facts};
use crate::{
    failure::Failure,
    hub::{Hub, Repository},
    tasks::adapters::{CONTROL_NET_FIELD, FIELD},
};

/// For how long an id resolves to the same facts without another look.
const TTL: Duration = Duration::from_secs(2);

/// Facts of models and of adapters by id and revision, read once per commit.
pub struct FactsCache {
    hub: Hub,
    models: ByName<Facts>,
    adapters: ByName<AdapterFacts>,
    control_nets: ByName<AdapterFacts>,
}

impl FactsCache {
    pub fn new(hub: Hub) -> Self {
        Self {
            hub,
            models: ByName::default(),
            adapters: ByName::default(),
            control_nets: ByName::default(),
        }
    }

    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The facts of `model_id@revision`; an id that contains `@revision` itself works too.
    pub async fn get(&self, model_id: &str, revision: &str) -> Result<Arc<Facts>, Failure> {
        let name = Name::of(model_id, revision);
        if name.id.is_empty() {
            return Err(Failure::invalid("model_id", "is empty"));
        }
        if let Some(facts) = self.models.fresh(&name) {
            return Ok(facts);
        }
        let repository = self.hub.resolve(&name.id, &name.revision).await?;
        let facts = match self.models.of_commit(&name, &repository, Facts::revision) {
            Some(facts) => facts,
            None => Arc::new(Facts::read(repository).await?),
        };
        Ok(self.models.keep(name, facts))
    }

    /// The facts of the adapter that a request names as `id` or `id@revision`.
    pub async fn adapter(&self, named: &str) -> Result<Arc<AdapterFacts>, Failure> {
        let read = AdapterFacts::read;
        self.addition(&self.adapters, named, FIELD, read).await
    }

    /// The facts of the ControlNet that a request names as `id` or `id@revision` beside its pipeline.
    pub async fn control_net(&self, named: &str) -> Result<Arc<AdapterFacts>, Failure> {
        let read = AdapterFacts::read_control_net;
        self.addition(&self.control_nets, named, CONTROL_NET_FIELD, read).await
    }

    async fn addition<R>(
        &self,
        known: &ByName<AdapterFacts>,
        named: &str,
        field: &'static str,
        read: impl FnOnce(Repository) -> R,
    ) -> Result<Arc<AdapterFacts>, Failure>
    where
        R: Future<Output = Result<AdapterFacts, Failure>>,
    {
        let name = Name::of(named, "");
        if name.id.is_empty() {
            return Err(Failure::invalid(field, "is empty"));
        }
        if let Some(facts) = known.fresh(&name) {
            return Ok(facts);
        }
        let repository = self.hub.resolve(&name.id, &name.revision).await;
        let repository = repository.map_err(|error| Failure::from(error).at(field))?;
        let facts = match known.of_commit(&name, &repository, AdapterFacts::revision) {
            Some(facts) => facts,
            None => Arc::new(read(repository).await.map_err(|failure| failure.at(field))?),
        };
        Ok(known.keep(name, facts))
    }

    /// Forgets what no request has named for a moment: facts hold tokenizers.
    pub fn forget_unused(&self) {
        self.models.forget_unused();
        self.adapters.forget_unused();
        self.control_nets.forget_unused();
    }
}

/// An id and a revision as a request says them; an empty revision is the default one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Name {
    id: String,
    revision: String,
}

impl Name {
    fn of(id: &str, revision: &str) -> Self {
        let (id, revision) = match id.split_once('@') {
            Some((id, inner)) if revision.is_empty() => (id, inner),
            _ => (id, revision),
        };
        Self { id: id.to_owned(), revision: revision.to_owned() }
    }
}

/// When names were last resolved, and to what.
struct ByName<T>(Mutex<HashMap<Name, (Instant, Arc<T>)>>);

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> ByName<T> {
    /// What the name was a moment ago.
    fn fresh(&self, name: &Name) -> Option<Arc<T>> {
        let known = self.lock();
        let (at, facts) = known.get(name)?;
        (at.elapsed() < TTL).then(|| Arc::clone(facts))
    }

    /// What the name was when it was looked at last, if it is the same commit still.
    fn of_commit(&self, name: &Name, now: &Repository, revision: fn(&T) -> &str) -> Option<Arc<T>> {
        let known = self.lock();
        let (_, facts) = known.get(name)?;
        (revision(facts) == now.revision()).then(|| Arc::clone(facts))
    }

    fn keep(&self, name: Name, facts: Arc<T>) -> Arc<T> {
        let mut known = self.lock();
        // Names are cheap to find again; facts hold tokenizers.
        if known.len() > 256 {
            known.retain(|_, (at, _)| at.elapsed() < TTL);
        }
        known.insert(name, (Instant::now(), Arc::clone(&facts)));
        facts
    }

    fn forget_unused(&self) {
        self.lock().retain(|_, (at, _)| at.elapsed() < TTL);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, (Instant, Arc<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
