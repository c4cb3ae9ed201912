//! The policy, step by step.

use std::time::{Duration, Instant};

use super::policy::{ACTIVE_WINDOW, Grant, LaneId, Policy, Rule};
use crate::tasks::Ask;

const MS: Duration = Duration::from_millis(1);

fn ask(priority: i32) -> Ask {
    Ask { priority, size: 1, tenants: vec![("".into(), 1.0)] }
}

fn cores(n: usize) -> Policy {
    Policy::new(Rule::Cores(n))
}

fn threads(policy: &mut Policy, lane: LaneId, now: Instant) -> Option<usize> {
    policy.grant(lane, now).map(|grant| grant.threads)
}

/// A whole step of that much work.
fn run(policy: &mut Policy, lane: LaneId, work: Duration, now: Instant) {
    policy.wait(lane, ask(0), now);
    policy.grant(lane, now).expect("nobody else wants it");
    policy.release(lane, work, now);
}

#[test]
fn one_lane_on_an_idle_machine_gets_every_core() {
    let (mut policy, now) = (cores(8), Instant::now());
    policy.wait(1, ask(0), now);
    assert_eq!(threads(&mut policy, 1, now), Some(8));
}

#[test]
fn two_busy_lanes_share_the_cores_and_never_oversubscribe() {
    let (mut policy, now) = (cores(8), Instant::now());
    policy.wait(1, ask(0), now);
    policy.wait(2, ask(0), now);
    assert_eq!(threads(&mut policy, 1, now), Some(4));
    assert_eq!(threads(&mut policy, 2, now), Some(4));
    policy.wait(3, ask(0), now);
    assert_eq!(threads(&mut policy, 3, now), None);
}

#[test]
fn a_lane_between_two_steps_still_counts() {
    let (mut policy, now) = (cores(2), Instant::now());
    run(&mut policy, 1, MS, now);
    policy.wait(2, ask(0), now);
    assert_eq!(threads(&mut policy, 2, now), Some(1));
    policy.release(2, MS, now);
    policy.wait(2, ask(0), now);
    assert_eq!(threads(&mut policy, 2, now + ACTIVE_WINDOW), Some(2));
}

#[test]
fn the_lane_that_had_less_goes_first() {
    let (mut policy, now) = (cores(1), Instant::now());
    policy.wait(2, ask(0), now);
    policy.wait(1, ask(0), now);
    assert_eq!(threads(&mut policy, 1, now), Some(1));
    policy.release(1, 100 * MS, now);
    policy.wait(1, ask(0), now);
    assert_eq!(threads(&mut policy, 1, now), None);
    assert_eq!(threads(&mut policy, 2, now), Some(1));
}

#[test]
fn higher_priority_goes_first_whatever_it_had() {
    let (mut policy, now) = (cores(1), Instant::now());
    policy.wait(2, ask(0), now);
    policy.wait(1, ask(0), now);
    assert_eq!(threads(&mut policy, 1, now), Some(1));
    policy.release(1, 100 * MS, now);
    policy.wait(1, ask(1), now);
    assert_eq!(threads(&mut policy, 1, now), Some(1));
}

#[test]
fn the_tenant_that_had_less_goes_before_the_lane_that_had_less() {
    let of = |tenant: &str| Ask { priority: 0, size: 1, tenants: vec![(tenant.into(), 1.0)] };
    let (mut policy, now) = (cores(1), Instant::now());
    for (lane, tenant) in [(1, "a"), (2, "b"), (3, "b")] {
        policy.wait(lane, of(tenant), now);
    }
    for (lane, tenant, work) in [(1, "a", 60), (2, "b", 40)] {
        assert_eq!(threads(&mut policy, lane, now), Some(1));
        policy.release(lane, work * MS, now);
        policy.wait(lane, of(tenant), now);
    }
    assert_eq!(threads(&mut policy, 3, now), Some(1));
    policy.release(3, 40 * MS, now);
    policy.wait(3, of("b"), now);
    // "b" had 80 ms on two lanes, "a" 60 ms on one.
    assert_eq!(threads(&mut policy, 2, now), None);
    assert_eq!(threads(&mut policy, 1, now), Some(1));
}

#[test]
fn a_short_step_runs_beside_long_ones_and_a_long_one_waits() {
    let (mut policy, now) = (cores(2), Instant::now());
    for (lane, work) in [(1, 150), (2, 150), (3, 10), (4, 100)] {
        run(&mut policy, lane, work * MS, now);
    }
    let later = now + 10 * ACTIVE_WINDOW;
    policy.wait(1, ask(0), later);
    policy.wait(2, ask(0), later);
    assert_eq!(threads(&mut policy, 1, later), Some(1));
    assert_eq!(threads(&mut policy, 2, later), Some(1));
    policy.wait(3, ask(0), later);
    policy.wait(4, ask(0), later);
    assert_eq!(policy.grant(3, later), Some(Grant { threads: 1, is_short: true }));
    assert_eq!(policy.grant(4, later), None);
}

#[test]
fn a_long_step_does_not_leave_cores_to_lanes_whose_steps_are_short_beside_it() {
    let (mut policy, now) = (cores(2), Instant::now());
    run(&mut policy, 1, 150 * MS, now);
    run(&mut policy, 2, 10 * MS, now);
    policy.wait(1, ask(0), now);
    assert_eq!(threads(&mut policy, 1, now), Some(2));
}

#[test]
fn no_more_short_steps_run_beside_long_ones_than_there_are_cores() {
    let (mut policy, now) = (cores(1), Instant::now());
    for (lane, work) in [(1, 150), (2, 10), (3, 10)] {
        run(&mut policy, lane, work * MS, now);
    }
    policy.wait(1, ask(1), now);
    assert_eq!(threads(&mut policy, 1, now), Some(1));
    policy.wait(2, ask(0), now);
    policy.wait(3, ask(0), now);
    assert_eq!([2, 3].map(|lane| policy.grant(lane, now).is_some()), [true, false]);
}

#[test]
fn a_gpu_lends_one_long_and_one_short_permit() {
    let (mut policy, now) = (Policy::new(Rule::Streams), Instant::now());
    for (lane, work) in [(1, 100), (2, 100), (3, 5), (4, 5)] {
        run(&mut policy, lane, work * MS, now);
    }
    (1..=4).for_each(|lane| policy.wait(lane, ask(0), now));
    let granted: Vec<Option<bool>> =
        (1..=4).map(|lane| policy.grant(lane, now).map(|grant| grant.is_short)).collect();
    assert_eq!(granted, [Some(false), None, Some(true), None]);
}
