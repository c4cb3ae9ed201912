//! Table tests of the placement policy, and what its property tests share with them.

use super::*;

pub(super) const NOW: u64 = 1_000_000;

pub(super) fn residency(id: &str, bytes: u64, last_used_at: u64) -> Residency {
    Residency {
        id: id.to_owned(),
        generation: 1,
        model_id: format!("org/{id}"),
        revision: "c0ffee".to_owned(),
        dtype: "float32".to_owned(),
        kind: "causal_lm".to_owned(),
        device: "cpu".to_owned(),
        bytes,
        stage: Stage::Ready,
        busy: 0,
        pinned: false,
        loaded_at: 0,
        last_used_at,
        min_residency_ms: 30_000,
        keep_alive_ms: None,
        reload_s: Some(1.0),
        requests_per_second: 0.0,
        counted_at: NOW,
        failed_loads: 0,
        displaced: Vec::new(),
    }
}

pub(super) fn worker(index: usize, budget: u64, residencies: Vec<Residency>) -> Worker {
    let taken = residencies.iter().map(|residency| residency.bytes).sum();
    let devices = vec![Device { name: "cpu".to_owned(), budget, taken }];
    Worker { index, link: Link::Up, load: 0, devices, residencies }
}

pub(super) fn fleet(workers: Vec<Worker>) -> Fleet {
    Fleet { workers }
}

pub(super) fn wish(model_id: &str) -> Wish {
    Wish { model_id: model_id.to_owned(), ..Wish::default() }
}

pub(super) fn cost(worker: usize, bytes: u64) -> Cost {
    Cost { worker, device: "cpu".to_owned(), bytes }
}

/// With the default policy.
fn placed(workers: Vec<Worker>, model_id: &str, costs: &[Cost], conflict: Conflict) -> Decision {
    decide(&fleet(workers), &wish(model_id), costs, conflict, &Policy::default(), NOW)
}

fn placed_here(residencies: Vec<Residency>, budget: u64, bytes: u64) -> Decision {
    placed(vec![worker(0, budget, residencies)], "org/new", &[cost(0, bytes)], Conflict::Evict)
}

fn shortage(decision: &Decision) -> &Shortage {
    match decision {
        Decision::Wait(Waiting::Room(shortage)) | Decision::Refuse(Refusal::NoRoom(shortage)) => {
            shortage
        }
        other => panic!("{other:?}"),
    }
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
    let workers = vec![busy, worker(1, 10, vec![residency("a", 4, 0)])];
    assert_eq!(placed(workers, "org/a", &[], Conflict::Evict), Decision::Use { worker: 1 });
}

#[test]
fn joins_a_load_that_is_under_way() {
    let mut coming = residency("a", 4, 0);
    coming.stage = Stage::Coming;
    let workers = vec![worker(0, 10, vec![coming])];
    assert_eq!(placed(workers, "org/a", &[], Conflict::Evict), Decision::Use { worker: 0 });
}

#[test]
fn another_revision_or_data_type_is_another_model() {
    let fleet = fleet(vec![worker(0, 10, vec![residency("a", 4, 0)])]);
    let revision = Wish { revision: Some("beef".to_owned()), ..wish("org/a") };
    let dtype = Wish { dtype: Some("float16".to_owned()), ..wish("org/a") };
    assert_eq!(resident(&fleet, &revision), None);
    assert_eq!(resident(&fleet, &dtype), None);
    let kind = |kind: &str| Wish { kind: Some(kind.to_owned()), ..wish("org/a") };
    assert_eq!(resident(&fleet, &kind("text_encoder")), None);
    assert_eq!(resident(&fleet, &kind("causal_lm")), resident(&fleet, &wish("org/a")));
}

#[test]
fn loads_where_there_is_most_room() {
    let workers = vec![worker(0, 10, vec![residency("a", 4, 0)]), worker(1, 10, Vec::new())];
    let decision = placed(workers, "org/b", &[cost(0, 5), cost(1, 5)], Conflict::Evict);
    assert_eq!(decision, Decision::Load { worker: 1, evict: Vec::new() });
}

#[test]
fn between_equals_the_least_recently_used_leaves() {
    let residencies = vec![
        residency("late", 4, NOW - 1_000),
        residency("old", 4, NOW - 60_000),
        residency("mid", 2, NOW - 30_000),
    ];
    assert_eq!(evicted(&placed_here(residencies, 10, 4)), ["old"]);
}

#[test]
fn evicts_no_more_than_needed() {
    let residencies = vec![residency("small", 1, NOW - 9_000), residency("large", 9, NOW - 1_000)];
    assert_eq!(evicted(&placed_here(residencies, 10, 8)), ["large"]);
}

#[test]
fn what_is_quick_to_load_leaves_before_what_is_slow() {
    let slow = Residency { reload_s: Some(60.0), ..residency("slow", 5, NOW - 60_000) };
    let quick = Residency { reload_s: Some(2.0), ..residency("quick", 5, NOW - 1_000) };
    assert_eq!(evicted(&placed_here(vec![slow, quick], 10, 5)), ["quick"]);
}

#[test]
fn what_is_asked_for_often_stays() {
    let often = Residency { requests_per_second: 0.5, ..residency("often", 5, NOW - 10_000) };
    let once = residency("once", 5, NOW - 9_000);
    assert_eq!(evicted(&placed_here(vec![often, once], 10, 5)), ["once"]);
}

#[test]
fn what_failed_to_load_before_is_missed_less() {
    let shaky = Residency { failed_loads: 3, ..residency("shaky", 5, NOW - 1_000) };
    assert_eq!(
        evicted(&placed_here(vec![residency("a", 5, NOW - 1_000), shaky], 10, 5)),
        ["shaky"]
    );
}

#[test]
fn what_leaves_by_itself_soon_is_missed_less() {
    let ending = Residency { keep_alive_ms: Some(10_000), ..residency("ending", 5, NOW - 9_000) };
    assert_eq!(
        evicted(&placed_here(vec![residency("a", 5, NOW - 60_000), ending], 10, 5)),
        ["ending"]
    );
}

#[test]
fn three_small_warm_models_stay_for_one_large_cold_one() {
    let small = |id| Residency { reload_s: Some(3.0), ..residency(id, 2, NOW - 1_000) };
    let large = Residency { reload_s: Some(5.0), ..residency("large", 6, NOW - 1_000) };
    let decision = placed_here(vec![small("a"), small("b"), small("c"), large], 12, 6);
    assert_eq!(evicted(&decision), ["large"]);
}

#[test]
fn equal_regret_frees_no_more_than_needed() {
    let residencies = vec![residency("nine", 9, NOW - 1_000), residency("five", 5, NOW - 1_000)];
    assert_eq!(evicted(&placed_here(residencies, 14, 4)), ["five"]);
}

#[test]
fn never_evicts_what_is_busy_pinned_young_or_not_ready() {
    type Change = fn(&mut Residency);
    let changes: [(&str, Change); 5] = [
        ("busy", |residency| residency.busy = 1),
        ("pinned", |residency| residency.pinned = true),
        ("young", |residency| residency.loaded_at = NOW - 1),
        ("loading", |residency| residency.stage = Stage::Coming),
        ("leaving", |residency| residency.stage = Stage::Leaving),
    ];
    for (name, change) in changes {
        let mut holder = residency("a", 10, 0);
        change(&mut holder);
        let decision = placed_here(vec![holder], 10, 1);
        let shortage = shortage(&decision);
        let Holder { model_id, bytes, state } = &shortage.holders[0];
        assert_eq!((model_id.as_str(), *bytes, *state), ("org/a", 10, name));
        assert!(shortage.would_leave.is_empty());
    }
}

#[test]
fn a_model_that_is_just_leaving_is_loaded_elsewhere_or_later() {
    let mut leaving = residency("a", 4, 0);
    leaving.stage = Stage::Leaving;
    let workers = vec![worker(0, 10, vec![leaving]), worker(1, 4, vec![residency("b", 3, 0)])];
    let both = placed(workers.clone(), "org/a", &[cost(0, 4), cost(1, 4)], Conflict::Evict);
    assert_eq!(evicted(&both), ["b"]);
    let here = placed(workers, "org/a", &[cost(0, 4)], Conflict::Evict);
    assert_eq!(shortage(&here).wait_s, Some(Policy::default().release_s));
}

#[test]
fn memory_that_is_on_its_way_back_is_waited_for() {
    let mut leaving = residency("leaving", 5, 0);
    leaving.stage = Stage::Leaving;
    let dear = Residency { reload_s: Some(60.0), ..residency("dear", 5, NOW - 1_000) };
    let decision = placed_here(vec![leaving, dear], 10, 5);
    assert_eq!(shortage(&decision).wait_s, Some(Policy::default().release_s));
}

#[test]
fn a_young_model_that_would_be_missed_less_is_waited_for_only_if_that_is_shorter() {
    let young = |left_ms: u64| Residency {
        loaded_at: NOW - 30_000 + left_ms,
        reload_s: Some(1.0),
        ..residency("young", 5, NOW - 1_000)
    };
    let dear = Residency { reload_s: Some(20.0), ..residency("dear", 5, NOW - 1_000) };
    let waits = placed_here(vec![young(5_000), dear.clone()], 10, 5);
    assert_eq!(shortage(&waits).would_leave, ["org/dear"]);
    assert_eq!(evicted(&placed_here(vec![young(29_000), dear], 10, 5)), ["dear"]);
}

#[test]
fn models_that_displace_each_other_take_turns() {
    let displacer = |age_s: u64, idle_s: u64| Residency {
        displaced: vec!["org/new".to_owned()],
        reload_s: Some(20.0),
        loaded_at: NOW - age_s * 1_000,
        ..residency("a", 10, NOW - idle_s * 1_000)
    };
    let in_turn = placed_here(vec![displacer(40, 1)], 10, 5);
    assert_eq!(shortage(&in_turn).holders[0].state, "its turn");
    // The turn ends with four reload times, or with half of one without a request.
    assert_eq!(evicted(&placed_here(vec![displacer(80, 1)], 10, 5)), ["a"]);
    assert_eq!(evicted(&placed_here(vec![displacer(40, 10)], 10, 5)), ["a"]);
    // A third model is not concerned.
    let workers = vec![worker(0, 10, vec![displacer(40, 1)])];
    assert_eq!(evicted(&placed(workers, "org/third", &[cost(0, 5)], Conflict::Evict)), ["a"]);
}

#[test]
fn a_regret_longer_than_any_wait_evicts_nobody() {
    let dear = Residency { reload_s: Some(6_000.0), ..residency("dear", 10, NOW) };
    let decision = placed_here(vec![dear], 10, 5);
    assert_eq!(shortage(&decision).would_leave, ["org/dear"]);
}

#[test]
fn the_conflict_policy_decides_between_waiting_and_refusing() {
    let workers = || vec![worker(0, 10, vec![residency("a", 10, 0)])];
    let waits = placed(workers(), "org/b", &[cost(0, 1)], Conflict::Wait);
    assert!(matches!(waits, Decision::Wait(Waiting::Room(_))));
    let refuses = placed(workers(), "org/b", &[cost(0, 1)], Conflict::Refuse);
    assert!(matches!(refuses, Decision::Refuse(Refusal::NoRoom(_))));
    let numbers = shortage(&refuses);
    assert_eq!((numbers.needed, numbers.free), (1, 0));
    assert_eq!(
        (numbers.would_leave.as_slice(), numbers.holders[0].state),
        (&["org/a".to_owned()][..], "idle")
    );
}

#[test]
fn what_fits_nowhere_even_when_empty_is_refused() {
    let workers = vec![worker(0, 10, Vec::new()), worker(1, 20, Vec::new())];
    let decision = placed(workers, "org/b", &[cost(0, 21), cost(1, 21)], Conflict::Evict);
    assert_eq!(decision, Decision::Refuse(Refusal::TooLarge { needed: 21, budget: 20 }));
}

#[test]
fn without_a_worker_it_waits_only_for_one_that_is_expected() {
    let mut silent = worker(0, 10, Vec::new());
    silent.link = Link::Expected;
    let waits = placed(vec![silent.clone()], "org/b", &[], Conflict::Evict);
    assert_eq!(waits, Decision::Wait(Waiting::Worker));
    silent.link = Link::Down;
    let refuses = placed(vec![silent], "org/b", &[], Conflict::Evict);
    assert_eq!(refuses, Decision::Refuse(Refusal::NoWorker));
}

#[test]
fn a_model_that_no_worker_runs_is_unsupported() {
    let decision = placed(vec![worker(0, 10, Vec::new())], "org/b", &[], Conflict::Evict);
    assert_eq!(decision, Decision::Refuse(Refusal::Unsupported));
}

/// A request that has waited so long for 6 of 10 bytes.
fn waited(waited_s: f64, residencies: Vec<Residency>) -> Decision {
    let wish = Wish { waited_s, ..wish("org/new") };
    let fleet = fleet(vec![worker(0, 10, residencies)]);
    decide(&fleet, &wish, &[cost(0, 6)], Conflict::Evict, &Policy::default(), NOW)
}

fn never_idle(id: &str, bytes: u64) -> Residency {
    Residency { busy: 2, ..residency(id, bytes, NOW) }
}

#[test]
fn a_model_that_is_never_idle_is_drained_for_one_that_waited_long() {
    assert!(matches!(waited(59.0, vec![never_idle("a", 8)]), Decision::Wait(_)));
    let Decision::Load { evict, .. } = waited(60.0, vec![never_idle("a", 8)]) else { panic!() };
    assert_eq!((evict[0].id.as_str(), evict[0].drains), ("a", true));
}

#[test]
fn nothing_is_drained_that_is_pinned_or_young_or_has_its_turn() {
    let pinned = Residency { pinned: true, ..never_idle("a", 8) };
    let young = Residency { loaded_at: NOW - 29_000, ..never_idle("a", 8) };
    let turn = Residency {
        loaded_at: NOW - 100_000,
        reload_s: Some(30.0),
        displaced: vec!["org/new".to_owned()],
        ..never_idle("a", 8)
    };
    let coming = Residency { stage: Stage::Coming, ..never_idle("a", 8) };
    for protected in [pinned, young, turn, coming] {
        assert!(matches!(waited(1e6, vec![protected.clone()]), Decision::Wait(_)), "{protected:?}");
    }
}

#[test]
fn nothing_is_drained_where_the_idle_suffice() {
    let decision = waited(1e6, vec![never_idle("a", 4), residency("b", 6, 0)]);
    assert_eq!(evicted(&decision), ["b"]);
}

#[test]
fn nothing_is_drained_for_one_who_would_rather_wait() {
    let wish = Wish { waited_s: 1e6, ..wish("org/new") };
    let fleet = fleet(vec![worker(0, 10, vec![never_idle("a", 8)])]);
    let costs = [cost(0, 6)];
    let decision = decide(&fleet, &wish, &costs, Conflict::Wait, &Policy::default(), NOW);
    assert!(matches!(decision, Decision::Wait(_)));
}
