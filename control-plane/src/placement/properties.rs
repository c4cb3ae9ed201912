//! Property tests of the placement policy against brute force over every set of residencies.

use proptest::{collection::vec, prelude::*};

use super::{
    tests::{NOW, cost, fleet, residency, wish, worker},
    *,
};

/// What brute force finds: milliseconds of regret, bytes, and how many.
type Rank = (u64, u64, usize);

fn any_residency() -> impl Strategy<Value = Residency> {
    let figures = (0_u64..8, 0_u64..100_000, 0_u64..60_000, 1_u32..400, 0_u32..40);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), 0_u32..8, any::<bool>());
    (figures, flags).prop_map(|((bytes, idle, age, reload, rate), (busy, pinned, stage, rival))| {
        Residency {
            busy: u32::from(busy),
            pinned,
            stage: match stage {
                0 => Stage::Leaving,
                1 => Stage::Coming,
                2 => Stage::Failed,
                _ => Stage::Ready,
            },
            loaded_at: NOW - age,
            reload_s: Some(f64::from(reload) / 10.0),
            requests_per_second: f64::from(rate) / 40.0,
            displaced: if rival { vec!["org/new".to_owned()] } else { Vec::new() },
            ..residency("r", bytes, NOW - idle)
        }
    })
}

/// Workers with distinct residencies, and what the new model costs on each.
fn any_fleet() -> impl Strategy<Value = (Fleet, Vec<Cost>)> {
    (vec(vec(any_residency(), 0..8), 1..4), 1_u64..30, 0_u64..8).prop_map(
        |(places, bytes, spare)| {
            let mut workers = Vec::new();
            for (index, mut residencies) in places.into_iter().enumerate() {
                for (place, residency) in residencies.iter_mut().enumerate() {
                    residency.id = format!("{index}.{place}");
                    residency.model_id = format!("org/{index}.{place}");
                }
                let taking = residencies.iter().filter(|r| r.stage != Stage::Failed);
                let taken: u64 = taking.map(|residency| residency.bytes).sum();
                let mut worker = worker(index, taken + spare, residencies);
                worker.devices[0].taken = taken;
                workers.push(worker);
            }
            let costs = (0..workers.len()).map(|index| cost(index, bytes)).collect();
            (fleet(workers), costs)
        },
    )
}

fn decided(fleet: &Fleet, costs: &[Cost]) -> Decision {
    decide(fleet, &wish("org/new"), costs, Conflict::Evict, &Policy::default(), NOW)
}

/// Seconds until the residency may leave, and the regret then.
fn may_leave(residency: &Residency) -> Option<(f64, u64)> {
    let policy = Policy::default();
    let regret = (Terms::of(residency, &policy, NOW).regret_s() * 1e3).round() as u64;
    match standing(residency, &wish("org/new"), &policy, NOW) {
        Standing::Idle => Some((0.0, regret)),
        Standing::Young(in_s) | Standing::Turn(in_s) => Some((in_s, regret)),
        Standing::Leaving(in_s) => Some((in_s, 0)),
        Standing::Busy | Standing::Pinned | Standing::Loading | Standing::Absent => None,
    }
}

/// Every set that frees enough on one of the workers, as seconds until all may leave and its rank.
fn sets(fleet: &Fleet, costs: &[Cost]) -> Vec<(f64, Rank)> {
    let mut found = Vec::new();
    for (worker, cost) in fleet.workers.iter().zip(costs) {
        let device = &worker.devices[0];
        if cost.bytes > device.budget {
            continue;
        }
        for mask in 1_u32..1 << worker.residencies.len() {
            let chosen = worker.residencies.iter().enumerate();
            let chosen: Vec<_> =
                chosen.filter(|(place, _)| mask & (1 << place) != 0).map(|(_, r)| r).collect();
            let terms: Option<Vec<_>> = chosen.iter().map(|r| may_leave(r)).collect();
            let Some(terms) = terms else { continue };
            let bytes = chosen.iter().map(|r| r.bytes).sum::<u64>();
            if device.taken - bytes + cost.bytes <= device.budget {
                let wait_s = terms.iter().map(|(in_s, _)| *in_s).fold(0.0, f64::max);
                let regret = terms.iter().map(|(_, regret)| regret).sum();
                found.push((wait_s, (regret, bytes, chosen.len())));
            }
        }
    }
    found
}

fn of<'a>(fleet: &'a Fleet, victim: &Victim) -> &'a Residency {
    let all = fleet.workers.iter().flat_map(|worker| &worker.residencies);
    all.into_iter().find(|residency| residency.id == victim.id).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn victims_suffice_may_leave_and_none_could_stay((fleet, costs) in any_fleet()) {
        if let Decision::Load { worker, evict } = decided(&fleet, &costs) {
            let device = &fleet.workers[worker].devices[0];
            let freed: u64 = evict.iter().map(|victim| victim.bytes).sum();
            let after = device.taken - freed + costs[worker].bytes;
            prop_assert!(after <= device.budget);
            for victim in &evict {
                prop_assert!(after + victim.bytes > device.budget, "{} could stay", victim.id);
                let residency = of(&fleet, victim);
                prop_assert!(residency.busy == 0 && !residency.pinned);
                prop_assert_eq!(residency.stage, Stage::Ready);
                prop_assert!(NOW - residency.loaded_at >= residency.min_residency_ms);
                let here = &fleet.workers[worker].residencies;
                prop_assert!(here.iter().any(|residency| residency.id == victim.id));
            }
        }
    }

    #[test]
    fn no_other_set_is_cheaper_and_no_wait_is((fleet, costs) in any_fleet()) {
        let policy = Policy::default();
        let all = sets(&fleet, &costs);
        let best_now = all.iter().filter(|(wait_s, _)| *wait_s == 0.0).map(|(_, rank)| *rank).min();
        // Waiting is cheaper when it takes less time than the regret that it spares, and some.
        let is_spared = |best: Rank| all.iter().any(|(wait_s, rank)| {
            let more_s = best.0.saturating_sub(rank.0) as f64 / 1e3;
            *wait_s < more_s * (1.0 + policy.hysteresis) / policy.waiting_weight
        });
        let has_room = fleet.workers.iter().zip(&costs).any(|(worker, cost)| {
            worker.devices[0].taken + cost.bytes <= worker.devices[0].budget
        });
        match (decided(&fleet, &costs), best_now) {
            (Decision::Load { evict, .. }, _) if has_room => prop_assert!(evict.is_empty()),
            (Decision::Load { evict, .. }, Some(best)) => {
                let regret = |victim: &Victim| may_leave(of(&fleet, victim)).unwrap().1;
                let chosen = (
                    evict.iter().map(regret).sum(),
                    evict.iter().map(|victim| victim.bytes).sum(),
                    evict.len(),
                );
                prop_assert_eq!(chosen, best);
                prop_assert!(!is_spared(best), "waiting would have been cheaper");
            }
            (Decision::Wait(_), Some(best)) => prop_assert!(is_spared(best)),
            (Decision::Wait(_) | Decision::Refuse(Refusal::TooLarge { .. }), None) => {}
            (decision, best) => prop_assert!(false, "{decision:?} {best:?}"),
        }
    }

    #[test]
    fn who_is_regretted_more_is_not_newly_evicted(
        (fleet, costs) in any_fleet(),
        which in any::<prop::sample::Index>(),
        more in 1.0_f64..20.0,
    ) {
        let ids: Vec<String> = fleet.workers.iter()
            .flat_map(|worker| &worker.residencies).map(|residency| residency.id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let id = which.get(&ids);
        let leaves = |decision: Decision| match decision {
            Decision::Load { evict, .. } => evict.iter().any(|victim| victim.id == *id),
            _ => false,
        };
        let before = leaves(decided(&fleet, &costs));
        let mut raised = fleet.clone();
        // Its turn would end later too, but that only protects it.
        for residency in raised.workers.iter_mut().flat_map(|worker| &mut worker.residencies) {
            if residency.id == *id {
                residency.reload_s = residency.reload_s.map(|reload_s| reload_s * more);
            }
        }
        prop_assert!(before || !leaves(decided(&raised, &costs)));
    }

    #[test]
    fn only_what_had_its_time_is_drained_and_only_where_the_idle_are_too_few((fleet, costs) in any_fleet()) {
        let wish = Wish { waited_s: 1e6, ..wish("org/new") };
        let policy = Policy::default();
        let decision = decide(&fleet, &wish, &costs, Conflict::Evict, &policy, NOW);
        let Decision::Load { worker, evict } = decision else { return Ok(()) };
        let device = &fleet.workers[worker].devices[0];
        let freed: u64 = evict.iter().map(|victim| victim.bytes).sum();
        prop_assert!(device.taken - freed + costs[worker].bytes <= device.budget);
        let drained: Vec<&Victim> = evict.iter().filter(|victim| victim.drains).collect();
        for victim in &drained {
            let residency = of(&fleet, victim);
            prop_assert!(residency.busy > 0 && !residency.pinned && residency.stage == Stage::Ready);
            let idle = Residency { busy: 0, ..residency.clone() };
            prop_assert_eq!(standing(&idle, &wish, &policy, NOW), Standing::Idle);
        }
        let idle_suffice = sets(&fleet, &costs).iter().any(|(wait_s, _)| *wait_s == 0.0);
        prop_assert!(drained.is_empty() || !idle_suffice);
    }

    #[test]
    fn a_regret_is_a_finite_number_and_never_negative(
        residency in any_residency(),
        reload_s in prop::num::f64::ANY,
        rate in prop::num::f64::ANY,
        keep_alive_ms in prop::option::of(any::<u64>()),
    ) {
        let residency =
            Residency { reload_s: Some(reload_s), requests_per_second: rate, keep_alive_ms, ..residency };
        let terms = Terms::of(&residency, &Policy::default(), NOW);
        prop_assert!(terms.regret_s() >= 0.0);
        prop_assert!((0.0..=1.0).contains(&terms.reuse_probability), "{terms:?}");
    }
}
