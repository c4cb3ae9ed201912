//! Table and property tests of the placement policy.

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_000_000;

fn residency(id: &str, bytes: u64, last_used_at: u64) -> Residency {
    Residency {
        id: id.to_owned(),
        generation: 1,
        model_id: format!("org/{id}"),
        revision: "c0ffee".to_owned(),
        dtype: "float32".to_owned(),
        device: "cpu".to_owned(),
        bytes,
        stage: Stage::Ready,
        busy: 0,
        pinned: false,
        loaded_at: 0,
        last_used_at,
        min_residency_ms: 30_000,
    }
}

fn worker(index: usize, budget: u64, residencies: Vec<Residency>) -> Worker {
    let taken = residencies.iter().map(|residency| residency.bytes).sum();
    let devices = vec![Device { name: "cpu".to_owned(), budget, taken }];
    Worker { index, link: Link::Up, load: 0, devices, residencies }
}

fn fleet(workers: Vec<Worker>) -> Fleet {
    Fleet { workers }
}

fn wish(model_id: &str) -> Wish {
    Wish { model_id: model_id.to_owned(), ..Wish::default() }
}

fn cost(worker: usize, bytes: u64) -> Cost {
    Cost { worker, device: "cpu".to_owned(), bytes }
}

fn evicted(decision: &Decision) -> Vec<&str> {
    match decision {
        Decision::Load { evict, .. } => evict.iter().map(|victim| victim.id.as_str()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn uses_a_ready_model_on_the_less_busy_worker() {
    let mut busy = worker(0, 10, vec![residency("a", 4, 0)]);
    busy.load = 3;
    let fleet = fleet(vec![busy, worker(1, 10, vec![residency("a", 4, 0)])]);
    let decision = decide(&fleet, &wish("org/a"), &[], Conflict::Evict, NOW);
    assert_eq!(decision, Decision::Use { worker: 1 });
}

#[test]
fn joins_a_load_that_is_under_way() {
    let mut coming = residency("a", 4, 0);
    coming.stage = Stage::Coming;
    let fleet = fleet(vec![worker(0, 10, vec![coming])]);
    let decision = decide(&fleet, &wish("org/a"), &[], Conflict::Evict, NOW);
    assert_eq!(decision, Decision::Use { worker: 0 });
}

#[test]
fn another_revision_or_data_type_is_another_model() {
    let fleet = fleet(vec![worker(0, 10, vec![residency("a", 4, 0)])]);
    let revision = Wish { revision: Some("beef".to_owned()), ..wish("org/a") };
    let dtype = Wish { dtype: Some("float16".to_owned()), ..wish("org/a") };
    assert_eq!(resident(&fleet, &revision), None);
    assert_eq!(resident(&fleet, &dtype), None);
}

#[test]
fn loads_where_there_is_most_room() {
    let fleet = fleet(vec![worker(0, 10, vec![residency("a", 4, 0)]), worker(1, 10, Vec::new())]);
    let decision = decide(&fleet, &wish("org/b"), &[cost(0, 5), cost(1, 5)], Conflict::Evict, NOW);
    assert_eq!(decision, Decision::Load { worker: 1, evict: Vec::new() });
}

#[test]
fn evicts_the_least_recently_used_first() {
    let residencies =
        vec![residency("new", 4, 300), residency("old", 4, 100), residency("mid", 2, 200)];
    let fleet = fleet(vec![worker(0, 10, residencies)]);
    let decision = decide(&fleet, &wish("org/b"), &[cost(0, 4)], Conflict::Evict, NOW);
    assert_eq!(evicted(&decision), ["old"]);
}

#[test]
fn evicts_no_more_than_needed() {
    let residencies = vec![residency("small", 1, 100), residency("large", 9, 200)];
    let fleet = fleet(vec![worker(0, 10, residencies)]);
    let decision = decide(&fleet, &wish("org/b"), &[cost(0, 8)], Conflict::Evict, NOW);
    assert_eq!(evicted(&decision), ["large"]);
}

#[test]
fn never_evicts_what_is_busy_pinned_young_or_not_ready() {
    type Change = fn(&mut Residency);
    let changes: [(&str, Change); 5] = [
        ("busy", |residency| residency.busy = 1),
        ("pinned", |residency| residency.pinned = true),
        ("young", |residency| residency.loaded_at = NOW - 1),
        ("coming", |residency| residency.stage = Stage::Coming),
        ("leaving", |residency| residency.stage = Stage::Leaving),
    ];
    for (name, change) in changes {
        let mut holder = residency("a", 10, 0);
        change(&mut holder);
        let fleet = fleet(vec![worker(0, 10, vec![holder])]);
        let decision = decide(&fleet, &wish("org/b"), &[cost(0, 1)], Conflict::Evict, NOW);
        assert_eq!(decision, Decision::Wait(Waiting::Room), "{name}");
    }
}

#[test]
fn the_conflict_policy_decides_between_waiting_and_refusing() {
    let fleet = fleet(vec![worker(0, 10, vec![residency("a", 10, 0)])]);
    let waits = decide(&fleet, &wish("org/b"), &[cost(0, 1)], Conflict::Wait, NOW);
    assert_eq!(waits, Decision::Wait(Waiting::Room));
    let refuses = decide(&fleet, &wish("org/b"), &[cost(0, 1)], Conflict::Refuse, NOW);
    let holders = vec!["org/a".to_owned()];
    assert_eq!(refuses, Decision::Refuse(Refusal::NoRoom { needed: 1, holders }));
}

#[test]
fn what_fits_nowhere_even_when_empty_is_refused() {
    let fleet = fleet(vec![worker(0, 10, Vec::new()), worker(1, 20, Vec::new())]);
    let decision =
        decide(&fleet, &wish("org/b"), &[cost(0, 21), cost(1, 21)], Conflict::Evict, NOW);
    assert_eq!(decision, Decision::Refuse(Refusal::TooLarge { needed: 21, budget: 20 }));
}

#[test]
fn without_a_worker_it_waits_only_for_one_that_is_expected() {
    let mut silent = worker(0, 10, Vec::new());
    silent.link = Link::Expected;
    let waits = decide(&fleet(vec![silent.clone()]), &wish("org/b"), &[], Conflict::Evict, NOW);
    assert_eq!(waits, Decision::Wait(Waiting::Worker));
    silent.link = Link::Down;
    let refuses = decide(&fleet(vec![silent]), &wish("org/b"), &[], Conflict::Evict, NOW);
    assert_eq!(refuses, Decision::Refuse(Refusal::NoWorker));
}

#[test]
fn a_model_that_no_worker_runs_is_unsupported() {
    let decision =
        decide(&fleet(vec![worker(0, 10, Vec::new())]), &wish("org/b"), &[], Conflict::Evict, NOW);
    assert_eq!(decision, Decision::Refuse(Refusal::Unsupported));
}

fn any_residency() -> impl Strategy<Value = Residency> {
    (0_u64..8, 0_u64..100, 0_u32..2, any::<bool>(), 0_u64..60_000).prop_map(
        |(bytes, last_used_at, busy, pinned, age)| Residency {
            busy,
            pinned,
            loaded_at: NOW - age,
            ..residency("r", bytes, last_used_at)
        },
    )
}

proptest! {
    #[test]
    fn victims_suffice_are_allowed_and_none_is_superfluous(
        mut residencies in proptest::collection::vec(any_residency(), 0..8),
        needed in 1_u64..24,
    ) {
        for (index, residency) in residencies.iter_mut().enumerate() {
            residency.id = index.to_string();
        }
        let allowed = |residency: &Residency| {
            residency.busy == 0 && !residency.pinned && NOW - residency.loaded_at >= residency.min_residency_ms
        };
        let possible: u64 = residencies.iter().filter(|r| allowed(r)).map(|r| r.bytes).sum();
        match victims(residencies.iter(), needed, NOW) {
            None => prop_assert!(possible < needed),
            Some(chosen) => {
                let freed: u64 = chosen.iter().map(|residency| residency.bytes).sum();
                prop_assert!(freed >= needed);
                for victim in chosen {
                    prop_assert!(allowed(victim));
                    prop_assert!(freed - victim.bytes < needed);
                }
            }
        }
    }

    #[test]
    fn a_load_never_exceeds_the_budget(
        residencies in proptest::collection::vec(any_residency(), 0..8),
        budget in 1_u64..40,
        bytes in 1_u64..40,
    ) {
        let fleet = fleet(vec![worker(0, budget, residencies)]);
        let taken = fleet.workers[0].devices[0].taken;
        if let Decision::Load { evict, .. } =
            decide(&fleet, &wish("org/other"), &[cost(0, bytes)], Conflict::Evict, NOW)
        {
            let freed: u64 = evict.iter().map(|victim| victim.bytes).sum();
            prop_assert!(taken - freed + bytes <= budget || evict.is_empty() && taken + bytes <= budget);
        }
    }
}
