//! What the records of a state file add up to. Pure.

use std::collections::{BTreeMap, VecDeque};

use proto::Eviction;

use super::record::{KeptEviction, Record, VERSION};
use crate::residency::{
    EVICTIONS_KEPT,
    learned::{CostKey, LearnedCost},
    policy::ModelPolicy,
};

/// Everything that outlives a worker's process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    pub policies: BTreeMap<String, ModelPolicy>,
    pub budget: Option<KeptBudget>,
    /// Newest last.
    pub evictions: VecDeque<Eviction>,
    pub costs: BTreeMap<CostKey, LearnedCost>,
}

/// A budget that was set at run time; bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBudget {
    pub bytes: u64,
    /// What the flag said then.
    pub flag: u64,
}

impl KeptBudget {
    /// The budget of a worker whose flag says `flag`: an operator who has changed the flag since means the flag.
    pub fn in_force(kept: Option<Self>, flag: u64) -> u64 {
        kept.filter(|kept| kept.flag == flag).map_or(flag, |kept| kept.bytes)
    }
}

impl Kept {
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::File { .. } => {}
            Record::Policy { model_id, policy } if policy == ModelPolicy::default() => {
                self.policies.remove(&model_id);
            }
            Record::Policy { model_id, policy } => {
                self.policies.insert(model_id, policy);
            }
            Record::Budget { bytes, flag } => self.budget = Some(KeptBudget { bytes, flag }),
            Record::Eviction(kept) => {
                self.evictions.extend(kept.message());
                while self.evictions.len() > EVICTIONS_KEPT {
                    self.evictions.pop_front();
                }
            }
            Record::Cost(cost) => {
                self.costs.insert(cost.key(), cost);
            }
        }
    }

    /// The shortest list of records that says all this.
    pub fn records(&self, worker: &str) -> Vec<Record> {
        let mut records = vec![Record::File { version: VERSION, worker: worker.to_owned() }];
        records.extend(
            self.policies
                .iter()
                .map(|(id, &policy)| Record::Policy { model_id: id.clone(), policy }),
        );
        records
            .extend(self.budget.map(|KeptBudget { bytes, flag }| Record::Budget { bytes, flag }));
        records.extend(self.costs.values().cloned().map(Record::Cost));
        records.extend(
            self.evictions.iter().map(|eviction| Record::Eviction(KeptEviction::of(eviction))),
        );
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eviction(at_unix_ms: u64) -> Record {
        Record::Eviction(KeptEviction::of(&Eviction { at_unix_ms, ..Eviction::default() }))
    }

    #[test]
    fn its_own_records_add_up_to_the_same() {
        let mut kept = Kept::default();
        let policy = ModelPolicy { keep_alive_ms: Some(-1), ..ModelPolicy::default() };
        kept.apply(Record::Policy { model_id: "a".to_owned(), policy });
        kept.apply(Record::Budget { bytes: 5, flag: 9 });
        kept.apply(eviction(3));
        kept.apply(Record::Cost(LearnedCost {
            model_id: "a".to_owned(),
            ..LearnedCost::default()
        }));
        let mut again = Kept::default();
        kept.records("w").into_iter().for_each(|record| again.apply(record));
        assert_eq!(again, kept);
    }

    #[test]
    fn the_last_thousand_evictions_and_the_last_word_on_a_model_are_kept() {
        let mut kept = Kept::default();
        (0..1500).for_each(|at| kept.apply(eviction(at)));
        assert_eq!(kept.evictions.len(), EVICTIONS_KEPT);
        assert_eq!(kept.evictions.back().map(|last| last.at_unix_ms), Some(1499));
        for pinned in [true, false] {
            let policy = ModelPolicy { pinned: Some(pinned), ..ModelPolicy::default() };
            kept.apply(Record::Policy { model_id: "a".to_owned(), policy });
        }
        assert_eq!(kept.policies["a"].pinned, Some(false));
    }

    #[test]
    fn a_changed_flag_is_stronger_than_a_kept_budget() {
        let kept = Some(KeptBudget { bytes: 5, flag: 9 });
        assert_eq!(KeptBudget::in_force(kept, 9), 5);
        assert_eq!(KeptBudget::in_force(kept, 8), 8);
        assert_eq!(KeptBudget::in_force(None, 8), 8);
    }
}
