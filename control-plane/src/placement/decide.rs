//! The decision: use what is there; else load where there is room; else evict whom it costs least; else wait.

use std::cmp::Reverse;

use super::{
    Conflict, Cost, Decision, Fleet, Link, Policy, Refusal, Residency, Shortage, Stage, Victim,
    Waiting, Wish, Worker, evict::Set, place::Place,
};

/// A worker that has the model ready, or the one that is loading it.
pub fn resident(fleet: &Fleet, wish: &Wish) -> Option<usize> {
    let holder = |stage: Stage| {
        let holds = |worker: &&Worker| {
            let wanted =
                |residency: &Residency| residency.stage == stage && matches(residency, wish);
            worker.link == Link::Up && worker.residencies.iter().any(wanted)
        };
        fleet.workers.iter().filter(holds).min_by_key(|worker| (worker.load, worker.index))
    };
    holder(Stage::Ready).or_else(|| holder(Stage::Coming)).map(|worker| worker.index)
}

fn matches(residency: &Residency, wish: &Wish) -> bool {
    residency.model_id == wish.model_id
        && wish.revision.as_ref().is_none_or(|revision| *revision == residency.revision)
        && wish.dtype.as_ref().is_none_or(|dtype| *dtype == residency.dtype)
        && (residency.kind.is_empty()
            || wish.kind.as_ref().is_none_or(|kind| *kind == residency.kind))
}

/// Where the model goes, and who leaves for it.
///
/// `costs` has one entry per worker that can run the model; `now` is on the clock of the residencies.
pub fn decide(
    fleet: &Fleet,
    wish: &Wish,
    costs: &[Cost],
    conflict: Conflict,
    policy: &Policy,
    now: u64,
) -> Decision {
    if let Some(worker) = resident(fleet, wish) {
        return Decision::Use { worker };
    }
    if !fleet.workers.iter().any(|worker| worker.link == Link::Up) {
        return without_workers(fleet);
    }
    let mut places: Vec<Place> = costs.iter().filter_map(|cost| Place::find(fleet, cost)).collect();
    // A worker that is just releasing the model would not load it: its memory is waited for, here or elsewhere.
    let known = places.len();
    places.retain(|place| !is_leaving(place.worker, wish));
    if places.is_empty() && known > 0 {
        let wait_s = Some(policy.release_s);
        return Decision::Wait(Waiting::Room(Shortage { wait_s, ..Shortage::default() }));
    }
    let Some(largest) = places.iter().max_by_key(|place| place.device.budget) else {
        return Decision::Refuse(Refusal::Unsupported);
    };
    if places.iter().all(|place| place.cost.bytes > place.device.budget) {
        let (needed, budget) = (largest.cost.bytes, largest.device.budget);
        return Decision::Refuse(Refusal::TooLarge { needed, budget });
    }
    // The emptiest place that has the room; between equals the less busy worker.
    let roomy = places
        .iter()
        .filter(|place| place.shortage() == 0)
        .max_by_key(|place| (place.free(), Reverse(place.worker.load)));
    if let Some(place) = roomy {
        return Decision::Load { worker: place.worker.index, evict: Vec::new() };
    }
    for place in &mut places {
        place.weigh(wish, policy, now);
    }
    if conflict == Conflict::Evict
        && let Some((place, set)) = cheapest(&places)
        && is_worth_it(&places, &set, wish, policy)
    {
        let evict = set.members.into_iter().map(Victim::from).collect();
        return Decision::Load { worker: place.worker.index, evict };
    }
    if conflict == Conflict::Evict
        && let Some((place, set)) = drained(&places)
    {
        let evict = set.members.into_iter().map(Victim::from).collect();
        return Decision::Load { worker: place.worker.index, evict };
    }
    // The numbers of the place where least is short, of those that are large enough.
    let nearest = places
        .iter()
        .filter(|place| place.cost.bytes <= place.device.budget)
        .min_by_key(|place| (place.shortage(), place.worker.index));
    let shortage = nearest.map(|place| place.explain(wish, policy, now)).unwrap_or_default();
    match conflict {
        Conflict::Refuse => Decision::Refuse(Refusal::NoRoom(shortage)),
        Conflict::Evict | Conflict::Wait => Decision::Wait(Waiting::Room(shortage)),
    }
}

fn is_leaving(worker: &Worker, wish: &Wish) -> bool {
    let leaves =
        |residency: &Residency| residency.stage == Stage::Leaving && matches(residency, wish);
    worker.residencies.iter().any(leaves)
}

fn without_workers(fleet: &Fleet) -> Decision {
    if fleet.workers.iter().any(|worker| worker.link == Link::Expected) {
        return Decision::Wait(Waiting::Worker);
    }
    Decision::Refuse(Refusal::NoWorker)
}

/// The place whose victims are regretted least; then fewest bytes, then fewest victims, then the less busy worker.
///
/// Places are looked at in the order of a bound that is cheap to compute, until the bound says that no better one comes.
fn cheapest<'p, 'a>(places: &'p [Place<'a>]) -> Option<(&'p Place<'a>, Set<'a>)> {
    let mut bounded: Vec<(u64, &Place)> =
        places.iter().filter_map(|place| Some((place.bound()?, place))).collect();
    bounded.sort_unstable_by_key(|(bound, place)| (*bound, place.worker.index));
    let rank = |place: &Place, set: &Set| {
        (set.regret, set.bytes, set.members.len(), place.worker.load, place.worker.index)
    };
    let mut best: Option<(&Place, Set)> = None;
    for (bound, place) in bounded {
        if best.as_ref().is_some_and(|(_, set)| bound > set.regret) {
            break;
        }
        let Some(set) = place.victims() else { continue };
        if best.as_ref().is_none_or(|(other, known)| rank(place, &set) < rank(other, known)) {
            best = Some((place, set));
        }
    }
    best
}

/// The place where those who leave are regretted least when busy models may be drained for a wish that has waited long.
/// Only where the idle ones alone are too few.
fn drained<'p, 'a>(places: &'p [Place<'a>]) -> Option<(&'p Place<'a>, Set<'a>)> {
    if places.iter().any(|place| place.bound().is_some()) {
        return None;
    }
    let sets = places.iter().filter_map(|place| Some((place, place.drained()?)));
    sets.min_by_key(|(place, set)| {
        (set.regret, set.bytes, set.members.len(), place.worker.load, place.worker.index)
    })
}

/// Whether evicting now costs less than waiting until fewer, or others, have to leave.
fn is_worth_it(places: &[Place], now: &Set, wish: &Wish, policy: &Policy) -> bool {
    let a_second = f64::from(wish.waiting.max(1)) * policy.waiting_weight;
    // Seconds of waiting that would be better than this much more regret, in milliseconds.
    let worth_s = |more: u64| more as f64 / 1e3 * (1.0 + policy.hysteresis) / a_second;
    // Without any victim the wait would be long, but it would end.
    if worth_s(now.regret) > policy.longest_wait_s {
        return false;
    }
    let mut later = places.iter().flat_map(|place| place.later(worth_s(now.regret), now.regret));
    !later.any(|(wait_s, regret)| wait_s < worth_s(now.regret - regret))
}
