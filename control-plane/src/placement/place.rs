//! One device that could hold the model: what is short there, who may leave, and who may leave soon.

use super::{
    Cost, Device, Fleet, Holder, Link, Policy, Residency, Shortage, Stage, Terms, Wish, Worker,
    evict::{self, Candidate, Set},
};

/// Whether a residency may leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// It may leave now.
    Idle,
    /// In this many seconds it may leave, if nobody uses it.
    Young(f64),
    /// It displaced the wanted model and is protected from it for this many seconds.
    Turn(f64),
    /// Its memory is expected back in this many seconds.
    Leaving(f64),
    Busy,
    Pinned,
    Loading,
    /// It takes no room.
    Absent,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Young(_) => "young",
            Self::Turn(_) => "its turn",
            Self::Leaving(_) => "leaving",
            Self::Busy => "busy",
            Self::Pinned => "pinned",
            Self::Loading => "loading",
            Self::Absent => "absent",
        }
    }
}

/// Whether the residency may leave for the wish.
pub fn standing(residency: &Residency, wish: &Wish, policy: &Policy, now: u64) -> Standing {
    if residency.bytes == 0 || residency.stage == Stage::Failed {
        return Standing::Absent;
    }
    match residency.stage {
        Stage::Leaving => return Standing::Leaving(policy.release_s),
        _ if residency.pinned => return Standing::Pinned,
        Stage::Coming => return Standing::Loading,
        _ if residency.busy > 0 => return Standing::Busy,
        _ => {}
    }
    unprotected(residency, wish, policy, now)
}

/// Whether a residency that is never idle may be drained for the wish: it had its time, and the wish has waited.
fn may_drain(residency: &Residency, wish: &Wish, policy: &Policy, now: u64) -> bool {
    wish.waited_s >= policy.drain_after_s
        && standing(residency, wish, policy, now) == Standing::Busy
        && residency.stage == Stage::Ready
        && unprotected(residency, wish, policy, now) == Standing::Idle
}

/// By its age and its turn alone.
fn unprotected(residency: &Residency, wish: &Wish, policy: &Policy, now: u64) -> Standing {
    let age = now.saturating_sub(residency.loaded_at);
    let young_s = residency.min_residency_ms.saturating_sub(age) as f64 / 1e3;
    let turn_s = turn_left_s(residency, wish, policy, now);
    if turn_s > young_s {
        Standing::Turn(turn_s)
    } else if young_s > 0.0 {
        Standing::Young(young_s)
    } else {
        Standing::Idle
    }
}

/// Two models that displace each other take turns, so that most of the time is spent running and not loading. A turn
/// that nobody uses ends early.
fn turn_left_s(residency: &Residency, wish: &Wish, policy: &Policy, now: u64) -> f64 {
    if !residency.displaced.contains(&wish.model_id) {
        return 0.0;
    }
    let since = |at: u64| now.saturating_sub(at) as f64 / 1e3;
    let reload_s = Terms::of(residency, policy, now).reload_s;
    let turn_s = (policy.turn * reload_s).min(policy.longest_turn_s);
    let idle_s = (policy.turn_idle * reload_s).min(turn_s);
    let by_turn = turn_s - since(residency.loaded_at);
    let by_idleness = idle_s - since(residency.last_used_at);
    by_turn.min(by_idleness).max(0.0)
}

/// A device that could hold the model.
pub(super) struct Place<'a> {
    pub(super) worker: &'a Worker,
    pub(super) device: &'a Device,
    pub(super) cost: &'a Cost,
    /// Who may leave now.
    candidates: Vec<Candidate<'a>>,
    /// Who is busy and may leave once it is drained.
    drainable: Vec<Candidate<'a>>,
    /// Who may leave in so many seconds, the soonest first.
    soon: Vec<(f64, Candidate<'a>)>,
}

impl<'a> Place<'a> {
    pub(super) fn find(fleet: &'a Fleet, cost: &'a Cost) -> Option<Self> {
        // Usually a worker's index is its place.
        let at_index = fleet.workers.get(cost.worker).filter(|worker| worker.index == cost.worker);
        let worker =
            at_index.or_else(|| fleet.workers.iter().find(|worker| worker.index == cost.worker))?;
        let device = worker.devices.iter().find(|device| device.name == cost.device)?;
        let place = Self {
            worker,
            device,
            cost,
            candidates: Vec::new(),
            drainable: Vec::new(),
            soon: Vec::new(),
        };
        (worker.link == Link::Up).then_some(place)
    }

    pub(super) fn free(&self) -> u64 {
        self.device.budget.saturating_sub(self.device.taken)
    }

    pub(super) fn shortage(&self) -> u64 {
        self.device.taken.saturating_add(self.cost.bytes).saturating_sub(self.device.budget)
    }

    fn here(&self) -> impl Iterator<Item = &'a Residency> + use<'a> {
        let device = self.device;
        self.worker.residencies.iter().filter(move |residency| residency.device == device.name)
    }

    /// Looks who may leave, now or soon.
    pub(super) fn weigh(&mut self, wish: &Wish, policy: &Policy, now: u64) {
        for residency in self.here() {
            let later = |regret: fn(Terms) -> u64| {
                let terms = Terms::of(residency, policy, now);
                Candidate { residency, terms, regret: regret(terms) }
            };
            let regretted = |terms: Terms| terms.regret_ms();
            match standing(residency, wish, policy, now) {
                Standing::Idle => self.candidates.push(later(regretted)),
                Standing::Young(in_s) | Standing::Turn(in_s) => {
                    self.soon.push((in_s, later(regretted)));
                }
                // It leaves whatever is decided.
                Standing::Leaving(in_s) => self.soon.push((in_s, later(|_| 0))),
                Standing::Busy if may_drain(residency, wish, policy, now) => {
                    self.drainable.push(later(regretted));
                }
                Standing::Busy | Standing::Pinned | Standing::Loading | Standing::Absent => {}
            }
        }
        self.soon.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    }

    fn could_suffice(&self) -> bool {
        let bytes = |candidate: &Candidate<'_>| candidate.residency.bytes;
        self.candidates.iter().map(bytes).fold(0, u64::saturating_add) >= self.shortage()
    }

    /// No set of victims here has a smaller regret, in milliseconds; `None` when all that may leave are too few.
    pub(super) fn bound(&self) -> Option<u64> {
        if self.cost.bytes > self.device.budget || !self.could_suffice() {
            return None;
        }
        Some(evict::least_regret(&self.candidates, self.shortage()))
    }

    pub(super) fn victims(&self) -> Option<Set<'a>> {
        evict::cheapest_set(&self.candidates, self.shortage())
    }

    /// The victims when models that are busy may be drained, too; `None` when even they are too few.
    pub(super) fn drained(&self) -> Option<Set<'a>> {
        if self.cost.bytes > self.device.budget || self.drainable.is_empty() {
            return None;
        }
        let all: Vec<Candidate<'a>> =
            self.candidates.iter().chain(&self.drainable).copied().collect();
        evict::cheapest_set(&all, self.shortage())
    }

    /// What the regret would be after some waiting: pairs of seconds and milliseconds of regret. Only what is within
    /// `within_s` seconds and below `below` milliseconds.
    pub(super) fn later(&self, within_s: f64, below: u64) -> impl Iterator<Item = (f64, u64)> {
        let fits = self.cost.bytes <= self.device.budget;
        let in_time = self.soon.iter().take_while(move |(in_s, _)| fits && *in_s < within_s);
        in_time.enumerate().filter_map(move |(last, (in_s, _))| {
            let soon = self.soon[..=last].iter().map(|(_, candidate)| *candidate);
            let candidates: Vec<Candidate<'a>> =
                self.candidates.iter().copied().chain(soon).collect();
            if evict::least_regret(&candidates, self.shortage()) >= below {
                return None;
            }
            let set = evict::cheapest_set(&candidates, self.shortage())?;
            (set.regret < below).then_some((*in_s, set.regret))
        })
    }

    pub(super) fn explain(&self, wish: &Wish, policy: &Policy, now: u64) -> Shortage {
        let holders = self.here().filter_map(|residency| {
            let standing = standing(residency, wish, policy, now);
            let Residency { model_id, bytes, .. } = residency;
            (standing != Standing::Absent).then(|| Holder {
                model_id: model_id.clone(),
                bytes: *bytes,
                state: standing.name(),
            })
        });
        let victims = self.victims().map(|set| set.members).unwrap_or_default();
        Shortage {
            worker: self.worker.index,
            needed: self.cost.bytes,
            free: self.free(),
            holders: holders.collect(),
            would_leave: victims.iter().map(|victim| victim.residency.model_id.clone()).collect(),
            wait_s: self.later(f64::INFINITY, u64::MAX).next().map(|(in_s, _)| in_s),
        }
    }
}
