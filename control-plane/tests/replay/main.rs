//! Replays request traces through the real placement policy and through three plain ones, and compares the seconds spent
//! loading models again. The table of `benchmarks/placement.md` is what this test prints.

#[path = "../../../gpu-worker/src/residency/demand.rs"]
#[allow(dead_code)]
mod demand;
mod policies;
mod simulator;
mod traces;

use simulator::{Outcome, replay};

/// Traces are drawn anew for each of these.
const SEEDS: [u64; 3] = [11, 12, 13];

/// One trace by every policy, summed over the seeds.
fn row(name: &str) -> Vec<Outcome> {
    let sums = policies::ALL.iter().map(|(_, choose)| {
        let of_seed = |&seed: &u64| replay(&traces::draw(name, seed), choose.as_ref());
        SEEDS.iter().map(of_seed).fold(Outcome::default(), Outcome::plus)
    });
    sums.collect()
}

#[test]
fn fewer_reload_seconds_in_total_and_nearly_the_fewest_on_every_trace() {
    let mut total = vec![Outcome::default(); policies::ALL.len()];
    let names: Vec<&str> = policies::ALL.iter().map(|(name, _)| *name).collect();
    println!("| Trace | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    let mut missed = Vec::new();
    for name in traces::NAMES {
        let row = row(name);
        println!("| {name} | {} |", cells(&row));
        let fewest = row.iter().map(|outcome| outcome.reload_s).fold(f64::INFINITY, f64::min);
        if row[0].reload_s > 1.1 * fewest + 1e-9 {
            missed.push(*name);
        }
        for (sum, outcome) in total.iter_mut().zip(row) {
            assert_eq!(outcome.unanswered, 0, "{name}");
            *sum = sum.plus(outcome);
        }
    }
    println!("| **all** | {} |", cells(&total));
    assert!(missed.is_empty(), "more than 1.1 times the fewest on {missed:?}");
    for (policy, others) in names.iter().zip(&total).skip(1) {
        assert!(total[0].reload_s < others.reload_s, "{policy} reloads less in total");
    }
}

/// Seconds of reloading, loads in all, and the mean wait.
fn cells(row: &[Outcome]) -> String {
    let cell = |outcome: &Outcome| {
        let mean = outcome.waited_s / outcome.answered.max(1) as f64;
        format!("{:.0} s ({} loads, {mean:.1} s)", outcome.reload_s, outcome.loads)
    };
    row.iter().map(cell).collect::<Vec<_>>().join(" | ")
}
