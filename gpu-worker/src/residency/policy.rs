//! What operators decide about one model: it outlives the model's residencies and the worker's process.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use tch::Kind;

use super::{
    MOST_POLICIES, Residencies, State,
    entry::{Entry, Phase},
    journal::Record,
    precision,
    release::Leaving,
};

/// Policy of a model; absent fields leave it to the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelPolicy {
    pub pinned: Option<bool>,
    /// After the last use; -1: until evicted.
    pub keep_alive_ms: Option<i64>,
    pub min_residency_ms: Option<u64>,
    pub dtype: Option<Dtype>,
}

/// The data type of a model's later loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// What the worker's rule says.
    Rule,
    Of(Kind),
}

impl Dtype {
    pub fn kind(self) -> Option<Kind> {
        match self {
            Self::Rule => None,
            Self::Of(kind) => Some(kind),
        }
    }
}

impl Serialize for Dtype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.kind().map_or("", precision::name))
    }
}

impl<'de> Deserialize<'de> for Dtype {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "" => Ok(Self::Rule),
            name => precision::parse(name).map(Self::Of).map_err(D::Error::custom),
        }
    }
}

impl ModelPolicy {
    /// This policy after a change, of which absent fields change nothing.
    pub fn changed(self, change: Self) -> Self {
        Self {
            pinned: change.pinned.or(self.pinned),
            keep_alive_ms: change.keep_alive_ms.or(self.keep_alive_ms),
            min_residency_ms: change.min_residency_ms.or(self.min_residency_ms),
            dtype: change.dtype.or(self.dtype),
        }
    }

    /// The data type that loads get, where the policy names one.
    pub fn kind(self) -> Option<Kind> {
        self.dtype.and_then(Dtype::kind)
    }

    pub(super) fn apply(self, entry: &mut Entry) {
        if let Some(pinned) = self.pinned {
            entry.pinned = pinned;
        }
        if let Some(ms) = self.keep_alive_ms {
            entry.keep_alive = u64::try_from(ms).ok().map(Duration::from_millis);
        }
        if let Some(ms) = self.min_residency_ms {
            entry.min_residency = Duration::from_millis(ms);
        }
    }
}

impl State {
    /// Changes the policy of a model; answers the whole one.
    pub(super) fn change_policy(&mut self, model_id: &str, change: ModelPolicy) -> ModelPolicy {
        let policy = self.policies.entry(model_id.to_owned()).or_default();
        *policy = policy.changed(change);
        *policy
    }
}

impl Residencies {
    /// Whether a model may get a policy: there is a bound on their number.
    pub fn may_set_policy(&self, model_id: &str) -> bool {
        let state = self.lock();
        state.policies.len() < MOST_POLICIES || state.policies.contains_key(model_id)
    }

    /// Changes the policy of a model, now and for its later loads, over restarts too. Idle residencies of another
    /// data type than a new one leave, so that the next request gets what was asked for.
    pub fn set_policy(&self, model_id: &str, change: ModelPolicy) {
        let mut state = self.lock();
        let policy = state.change_policy(model_id, change);
        self.0.journal.append(Record::Policy { model_id: model_id.to_owned(), policy });
        let generation = state.generation();
        for entry in state.entries.iter_mut().filter(|entry| entry.key.model_id == model_id) {
            entry.generation = generation;
            policy.apply(entry);
        }
        drop(state);
        if change.dtype.is_some() {
            self.release_other_dtypes(model_id, policy);
        }
        self.notify();
    }

    /// Copies in another data type than the policy's leave: idle ones now, busy ones as soon as they are idle.
    fn release_other_dtypes(&self, model_id: &str, policy: ModelPolicy) {
        let mut state = self.lock();
        let budget = state.budget;
        let mut idle = Vec::new();
        for entry in state.entries.iter_mut().filter(|entry| entry.key.model_id == model_id) {
            let wanted = policy.kind().unwrap_or_else(|| self.rule_for(&entry.facts, budget));
            if entry.key.dtype == wanted || !matches!(entry.phase, Phase::Ready(_)) {
                continue;
            }
            if entry.is_busy() {
                entry.pinned = false;
                entry.keep_alive = Some(Duration::ZERO);
            } else {
                idle.push(entry.number);
            }
        }
        let leaving: Vec<Leaving> =
            idle.into_iter().map(|number| self.begin_release(&mut state, number)).collect();
        drop(state);
        for leaving in leaving {
            let residencies = self.clone();
            tokio::spawn(async move { residencies.finish_release(leaving, "unload", "").await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let before =
            ModelPolicy { pinned: Some(true), keep_alive_ms: Some(5), ..ModelPolicy::default() };
        let change = ModelPolicy { keep_alive_ms: Some(-1), ..ModelPolicy::default() };
        let after = before.changed(change);
        assert_eq!((after.pinned, after.keep_alive_ms), (Some(true), Some(-1)));
    }

    #[test]
    fn a_data_type_is_written_by_its_name_and_can_be_taken_back() {
        let policy =
            ModelPolicy { dtype: Some(Dtype::Of(Kind::BFloat16)), ..ModelPolicy::default() };
        let text = serde_json::to_string(&policy).unwrap();
        assert!(text.contains("\"bfloat16\""), "{text}");
        assert_eq!(serde_json::from_str::<ModelPolicy>(&text).unwrap(), policy);
        let back =
            policy.changed(ModelPolicy { dtype: Some(Dtype::Rule), ..ModelPolicy::default() });
        assert_eq!(back.kind(), None);
        assert!(serde_json::from_str::<ModelPolicy>(r#"{"dtype": "int3"}"#).is_err());
    }
}
