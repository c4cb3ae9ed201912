//! A device and its lanes, simulated: what the policy makes of demand over seconds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::policy::{Grant, Policy, Rule};
use crate::tasks::{Ask, Tenant};

const TICK: Duration = Duration::from_millis(1);

/// A lane that runs one kind of step again and again.
#[derive(Clone, Debug)]
struct Lane {
    tenant: Tenant,
    /// Time of a step on one thread, or on the GPU.
    work: Duration,
    /// Between the end of a step and the next wish.
    pause: Duration,
}

fn lane(tenant: &str, work_ms: u64, pause_ms: u64) -> Lane {
    let ms = Duration::from_millis;
    Lane { tenant: tenant.into(), work: ms(work_ms), pause: ms(pause_ms) }
}

enum State {
    Pausing { until: Instant },
    Waiting { since: Instant },
    Running { since: Instant, waited_from: Instant, grant: Grant, left: Duration },
}

/// A step that is over.
#[derive(Clone, Debug)]
struct Step {
    lane: usize,
    waited_from: Instant,
    begun: Instant,
    completed: Instant,
    /// When its lane said how far it is.
    progress: Instant,
}

/// Steps in the order of their ends.
fn simulate(rule: Rule, lanes: &[Lane], time: Duration) -> Vec<Step> {
    let start = Instant::now();
    let mut policy = Policy::new(rule);
    let mut states: Vec<State> = lanes.iter().map(|_| State::Pausing { until: start }).collect();
    let mut steps = Vec::new();
    let mut now = start;
    let mut has_changed = true;
    while now < start + time {
        for (id, state) in states.iter_mut().enumerate() {
            if let State::Pausing { until } = state
                && *until <= now
            {
                let tenants = vec![(lanes[id].tenant.clone(), 1.0)];
                policy.wait(id as u64, Ask { priority: 0, size: 1, tenants }, now);
                *state = State::Waiting { since: now };
                has_changed = true;
            }
        }
        // Until nobody gets anything any more.
        while std::mem::take(&mut has_changed) {
            for (id, state) in states.iter_mut().enumerate() {
                if let State::Waiting { since } = *state
                    && let Some(grant) = policy.grant(id as u64, now)
                {
                    let left = lanes[id].work;
                    *state = State::Running { since: now, waited_from: since, grant, left };
                    has_changed = true;
                }
            }
        }
        let speeds = speeds(rule, &states);
        now += TICK;
        for (id, state) in states.iter_mut().enumerate() {
            let State::Running { since, waited_from, left, .. } = state else { continue };
            *left = left.saturating_sub(TICK.mul_f64(speeds[id]));
            if left.is_zero() {
                steps.push(Step {
                    lane: id,
                    waited_from: *waited_from,
                    begun: *since,
                    completed: now,
                    progress: now,
                });
                policy.release(id as u64, lanes[id].work, now);
                has_changed = true;
                *state = State::Pausing { until: now + lanes[id].pause };
            }
        }
    }
    steps
}

/// How much of its work each lane does per second.
fn speeds(rule: Rule, states: &[State]) -> Vec<f64> {
    let grant = |state: &State| match state {
        State::Running { grant, .. } => Some(*grant),
        _ => None,
    };
    let threads: usize = states.iter().filter_map(grant).map(|grant| grant.threads).sum();
    let is_short_running = states.iter().filter_map(grant).any(|grant| grant.is_short);
    let speed = |state: &State| {
        let Some(grant) = grant(state) else { return 0.0 };
        match rule {
            // Threads beyond the cores share them.
            Rule::Cores(cores) => {
                grant.threads as f64 * (cores as f64 / threads.max(1) as f64).min(1.0)
            }
            // The stream of higher priority takes the device from the other.
            Rule::Streams if grant.is_short || !is_short_running => 1.0,
            Rule::Streams => 0.0,
        }
    };
    states.iter().map(speed).collect()
}

fn served(steps: &[Step], lanes: &[Lane]) -> BTreeMap<Tenant, f64> {
    let mut served = BTreeMap::new();
    for step in steps {
        let Lane { tenant, work, .. } = &lanes[step.lane];
        *served.entry(tenant.clone()).or_default() += work.as_secs_f64();
    }
    served
}

#[track_caller]
fn assert_equal(what: &str, served: &BTreeMap<Tenant, f64>) {
    let mean = served.values().sum::<f64>() / served.len() as f64;
    let is_near = |had: &f64| (had / mean - 1.0).abs() <= 0.1;
    assert!(served.values().all(is_near), "{what}: {served:?}");
}

#[test]
fn three_tenants_with_one_one_and_eight_lanes_have_equal_service() {
    for cores in [1, 2, 6] {
        for work in [20, 150] {
            let mut lanes = vec![lane("a", work, 0), lane("b", work, 0)];
            lanes.extend((0..8).map(|_| lane("c", work, 0)));
            let steps = simulate(Rule::Cores(cores), &lanes, Duration::from_secs(15));
            assert_equal(&format!("{cores} cores, {work} ms"), &served(&steps, &lanes));
        }
    }
    let mut lanes = vec![lane("a", 40, 0), lane("b", 80, 0)];
    lanes.extend((0..8).map(|_| lane("c", 60, 0)));
    let steps = simulate(Rule::Streams, &lanes, Duration::from_secs(30));
    assert_equal("GPU", &served(&steps, &lanes));
}

#[test]
fn light_lanes_beside_heavy_ones_never_wait_for_a_permit_and_heavy_ones_lose_nothing_to_waiting() {
    let lanes = [lane("", 150, 0), lane("", 200, 0), lane("", 10, 40), lane("", 10, 40)];
    let steps = simulate(Rule::Cores(2), &lanes, Duration::from_secs(20));
    let light = steps.iter().filter(|step| step.lane >= 2).skip(4);
    let longest = light.clone().map(|step| step.begun - step.waited_from).max().unwrap();
    assert!(longest <= TICK, "{longest:?}");
    assert!(light.count() > 500);
    // Two cores are busy all the time.
    let work: f64 = served(&steps, &lanes).values().sum();
    assert!(work > 0.98 * 40.0, "{work}");
}

#[test]
fn a_light_flood_does_not_starve_heavy_lanes() {
    let mut lanes = vec![lane("", 150, 0), lane("", 150, 0)];
    lanes.extend((0..6).map(|_| lane("", 10, 0)));
    let steps = simulate(Rule::Cores(2), &lanes, Duration::from_secs(30));
    for (id, lane) in lanes.iter().enumerate() {
        let had =
            steps.iter().filter(|step| step.lane == id).count() as f64 * lane.work.as_secs_f64();
        // Of 60 core-seconds each of eight lanes is due 7.5.
        assert!(had >= 0.6 * 7.5, "lane {id} had {had} s");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever the lanes of a GPU do: a light step waits for at most one heavy step to end, and nobody says that a
    /// step is over before the device has completed it.
    #[test]
    fn on_a_gpu_no_light_step_waits_for_more_than_one_heavy_step(
        heavy in prop::collection::vec((100_u64..400, 0_u64..50), 1..5),
        light in prop::collection::vec((1_u64..20, 0_u64..60), 1..5),
    ) {
        let mut lanes: Vec<Lane> = heavy.iter().map(|&(work, pause)| lane("", work, pause)).collect();
        lanes.extend(light.iter().map(|&(work, pause)| lane("", work, pause)));
        let steps = simulate(Rule::Streams, &lanes, Duration::from_secs(8));
        // What kind of step a lane runs is known from its first one.
        let first = |id: usize| steps.iter().find(|step| step.lane == id).map(|step| step.completed);
        let heavies: Vec<&Step> = steps.iter().filter(|step| step.lane < heavy.len()).collect();
        for step in &steps {
            prop_assert!(step.progress >= step.completed);
            if step.lane < heavy.len() || first(step.lane) == Some(step.completed) {
                continue;
            }
            let ended = |other: &&&Step| step.waited_from < other.completed && other.completed <= step.begun;
            let waited_for = heavies.iter().filter(ended).count();
            prop_assert!(waited_for <= 1, "{step:?} waited for {waited_for}");
        }
        // Long steps never overlap: one permit.
        for pair in heavies.windows(2) {
            prop_assert!(pair[0].completed <= pair[1].begun);
        }
    }
}
