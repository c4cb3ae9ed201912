//! Which models left for which, as the evictions of a worker tell it.

use std::collections::HashMap;

use proto::Eviction;

/// Models by the model for which they left, for as long as that one stays.
#[derive(Default)]
pub(super) struct Displaced(HashMap<String, Vec<String>>);

impl Displaced {
    /// Evictions in the order in which they happened.
    pub(super) fn note(&mut self, eviction: &Eviction) {
        // Whoever left for it may come without taking turns with it.
        self.0.remove(&eviction.model_id);
        if eviction.made_room_for.is_empty() || eviction.made_room_for == eviction.model_id {
            return;
        }
        let by = self.0.entry(eviction.made_room_for.clone()).or_default();
        if !by.contains(&eviction.model_id) {
            by.push(eviction.model_id.clone());
        }
    }

    /// Who left for that model.
    pub(super) fn by(&self, model_id: &str) -> Vec<String> {
        self.0.get(model_id).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_left_for_a_model_is_known_until_that_model_leaves() {
        let left = |model: &str, for_whom: &str| Eviction {
            model_id: model.into(),
            made_room_for: for_whom.into(),
            ..Default::default()
        };
        let mut displaced = Displaced::default();
        displaced.note(&left("a", "b"));
        displaced.note(&left("c", "b"));
        displaced.note(&left("d", ""));
        assert_eq!(displaced.by("b"), ["a", "c"]);
        displaced.note(&left("b", "a"));
        assert_eq!((displaced.by("b"), displaced.by("a")), (vec![], vec!["b".to_owned()]));
    }
}
