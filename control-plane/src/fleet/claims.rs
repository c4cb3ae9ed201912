//! Loads that requests of this control plane have just begun: until the worker's status tells of one, other requests for
//! the same model follow it instead of loading the model elsewhere too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Model id, revision and data type as they were asked for, and the kind of model.
pub(super) type Key = (String, String, String, String);

#[derive(Default)]
pub(super) struct Claims(Arc<Mutex<HashMap<Key, usize>>>);

/// The first one's word that the model comes to its worker; holds until it is dropped.
pub(super) struct Claim {
    claims: Arc<Mutex<HashMap<Key, usize>>>,
    key: Key,
    worker: usize,
}

/// Who else loads the model.
pub(super) enum Claimed {
    /// Nobody: it is ours to load.
    Ours(Claim),
    /// It comes to this worker.
    By(usize),
}

impl Claims {
    /// `is_up` says whether a worker can still be followed; the claim of another is passed over.
    pub(super) fn claim(
        &self,
        key: Key,
        worker: usize,
        is_up: impl FnOnce(usize) -> bool,
    ) -> Claimed {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&other) = claims.get(&key)
            && is_up(other)
        {
            return Claimed::By(other);
        }
        claims.insert(key.clone(), worker);
        Claimed::Ours(Claim { claims: Arc::clone(&self.0), key, worker })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        // Another one may have passed it over.
        if claims.get(&self.key) == Some(&self.worker) {
            claims.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kind(kind: &str) -> Key {
        ("org/model".to_owned(), String::new(), String::new(), kind.to_owned())
    }

    #[test]
    fn the_second_follows_the_first_until_it_is_over() {
        let claims = Claims::default();
        let key = || of_kind("causal_lm");
        let another = of_kind("text_encoder");
        let first = claims.claim(key(), 3, |_| true);
        assert!(matches!(first, Claimed::Ours(_)));
        assert!(matches!(claims.claim(key(), 5, |_| true), Claimed::By(3)));
        assert!(matches!(claims.claim(another.clone(), 5, |_| true), Claimed::Ours(_)));
        drop(first);
        assert!(matches!(claims.claim(key(), 5, |_| true), Claimed::Ours(_)));
    }

    #[test]
    fn nobody_follows_to_a_worker_that_is_gone() {
        let claims = Claims::default();
        let key = || of_kind("causal_lm");
        let _first = claims.claim(key(), 3, |_| true);
        let second = claims.claim(key(), 5, |worker| worker != 3);
        assert!(matches!(second, Claimed::Ours(_)));
        assert!(matches!(claims.claim(key(), 6, |_| true), Claimed::By(5)));
    }
}
