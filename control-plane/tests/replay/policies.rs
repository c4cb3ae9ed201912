//! The policies that are compared: the server's own, and three that rank the models that may leave by one figure.

use control_plane::placement::{
    self, Conflict, Cost, Decision, Fleet, Policy, Residency, Standing, Terms, Victim, Waiting,
    Wish,
};

/// A decision at a time in milliseconds.
pub type Choose = dyn Fn(&Fleet, &Wish, &[Cost], u64) -> Decision + Sync + Send;

pub static ALL: std::sync::LazyLock<Vec<(&'static str, Box<Choose>)>> =
    std::sync::LazyLock::new(|| {
        vec![
            (
                "ours",
                Box::new(|fleet, wish, costs, now| {
                    placement::decide(fleet, wish, costs, Conflict::Evict, &Policy::default(), now)
                }),
            ),
            ("least recently used", ranked(|residency| residency.last_used_at)),
            ("largest first", ranked(|residency| u64::MAX - residency.bytes)),
            // Those that would leave soonest by themselves; those without end last, the least recently used first.
            (
                "keep-alive order",
                ranked(|residency| match residency.keep_alive_ms {
                    Some(keep) => residency.last_used_at + keep,
                    None => u64::MAX / 2 + residency.last_used_at,
                }),
            ),
        ]
    });

/// Evicts whoever has the smallest figure first, and no more than needed.
fn ranked(figure: fn(&Residency) -> u64) -> Box<Choose> {
    Box::new(move |fleet, wish, costs, now| {
        if let Some(worker) = placement::resident(fleet, wish) {
            return Decision::Use { worker };
        }
        let places = costs.iter().filter_map(|cost| {
            let victims = victims(fleet, cost, wish, figure, now)?;
            let last = victims.iter().map(|victim| figure(victim)).max();
            Some((last, cost.worker, victims))
        });
        // Where the room is free, else where the one that would be missed most is missed least.
        match places.min_by_key(|(last, worker, _)| (*last, *worker)) {
            Some((_, worker, victims)) => {
                Decision::Load { worker, evict: victims.into_iter().map(victim).collect() }
            }
            None => Decision::Wait(Waiting::Room(placement::Shortage::default())),
        }
    })
}

fn victims<'a>(
    fleet: &'a Fleet,
    cost: &Cost,
    wish: &Wish,
    figure: fn(&Residency) -> u64,
    now: u64,
) -> Option<Vec<&'a Residency>> {
    let worker = &fleet.workers[cost.worker];
    let device = &worker.devices[0];
    let mut missing = (device.taken + cost.bytes).saturating_sub(device.budget);
    // The same rule of who may leave, without turns.
    let policy = Policy { turn: 0.0, ..Policy::default() };
    let may_leave = |r: &&Residency| placement::standing(r, wish, &policy, now) == Standing::Idle;
    let mut candidates: Vec<&Residency> = worker.residencies.iter().filter(may_leave).collect();
    candidates.sort_by_key(|residency| figure(residency));
    let mut chosen = Vec::new();
    let mut surplus = 0;
    for candidate in candidates {
        if missing == 0 {
            break;
        }
        surplus = candidate.bytes.saturating_sub(missing);
        missing = missing.saturating_sub(candidate.bytes);
        chosen.push(candidate);
    }
    if missing > 0 {
        return None;
    }
    for place in (0..chosen.len()).rev() {
        if chosen[place].bytes <= surplus {
            surplus -= chosen.remove(place).bytes;
        }
    }
    Some(chosen)
}

fn victim(residency: &Residency) -> Victim {
    Victim {
        id: residency.id.clone(),
        generation: residency.generation,
        model_id: residency.model_id.clone(),
        bytes: residency.bytes,
        drains: false,
        terms: Terms::default(),
    }
}
