//! Model check: two or three control planes with views that lag behind decide by the real policy, and workers admit by
//! their real rule, in random interleavings.

#[path = "../../../gpu-worker/src/residency/admission.rs"]
#[allow(dead_code)]
mod admission;
mod system;
mod worker;

use proptest::{collection::vec, prelude::*};
use system::{Action, System};

fn any_action(planes: usize, workers: usize) -> impl Strategy<Value = Action> {
    let model = || 0..worker::MODELS;
    prop_oneof![
        3 => (0..planes, 0..workers).prop_map(|(plane, worker)| Action::See { plane, worker }),
        3 => (0..planes, model()).prop_map(|(plane, model)| Action::Decide { plane, model }),
        3 => (0..planes).prop_map(|plane| Action::Deliver { plane }),
        2 => (0..workers).prop_map(|worker| Action::Loaded { worker }),
        2 => (0..workers).prop_map(|worker| Action::Released { worker }),
        2 => (0..workers, model()).prop_map(|(worker, model)| Action::Done { worker, model }),
        1 => (0..workers, model()).prop_map(|(worker, model)| Action::Pin { worker, model }),
        2 => (1_u64..40).prop_map(|seconds| Action::Pass { seconds }),
    ]
}

/// How many control planes and workers, their budget, and what happens.
fn any_run() -> impl Strategy<Value = (usize, usize, u64, Vec<Action>)> {
    (2_usize..4, 1_usize..3, 8_u64..20).prop_flat_map(|(planes, workers, budget)| {
        let actions = vec(any_action(planes, workers), 0..120);
        (Just(planes), Just(workers), Just(budget), actions)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Every step checks: never over budget, no victim that was busy, pinned, young or another, no victim without the
    /// start of the load for which it left, no model twice on a worker, no rejection without a reason.
    #[test]
    fn nothing_is_lost_or_overbooked_however_the_control_planes_interleave(
        (planes, workers, budget, actions) in any_run(),
    ) {
        let mut system = System::new(planes, workers, budget);
        for action in actions {
            system.act(&action);
            system.check();
        }
        prop_assert!(system.duplicates_only_from_old_views());
    }

    /// From any state every control plane gets its model. In each round all see, all decide and only then all send, which
    /// is the worst there is: one of them wins, the others are rejected.
    #[test]
    fn every_load_settles_after_few_rejections(
        (planes, workers, budget, actions) in any_run(),
        wanted in vec(0..worker::MODELS, 3),
    ) {
        let mut system = System::new(planes, workers, budget);
        for action in actions {
            system.act(&action);
        }
        let rejections = system.settle(&wanted[..planes]);
        prop_assert!(rejections.iter().all(|&count| count < planes), "{rejections:?}");
    }
}
