//! Whose step is next and what it gets: pure, with the time as an argument.
//!
//! Among those that wait, higher priority goes first, then the tenant that has had least of the device, then the
//! lane that has had least. What a step gets is the rule of its device, see [`Rule`].

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{costs::Costs, crowding::Crowding};
use crate::tasks::{Ask, Tenant, shares::Shares};

/// How long after its last step a lane still counts as active.
pub(super) const ACTIVE_WINDOW: Duration = Duration::from_millis(50);
/// No step of more work than this is short.
const SHORT: Duration = Duration::from_millis(25);
/// A step is short beside another that has at least this many times its work.
const SHORTER_BY: u32 = 4;

pub type LaneId = u64;

/// What a device lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A CPU: so many permits as cores. A step takes its threads as permits: alone it has all cores, busy lanes have
    /// equal parts, and never more threads run than there are cores; beside other processes fewer, see
    /// [`Crowding`]. The one exception: a step that is short beside
    /// one that holds permits does not wait for that one's end, but runs beside it on one thread; at most as many do
    /// as there are cores, and the operating system shares the cores among them.
    Cores(usize),
    /// A GPU: one permit for long work, and one for short work on a stream of higher priority.
    Streams,
}

/// The right to run one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Intra-op threads.
    pub threads: usize,
    /// It is short: beside long steps, or on the stream of higher priority.
    pub is_short: bool,
}

#[derive(Debug)]
pub(super) struct Policy {
    pub(super) rule: Rule,
    lanes: BTreeMap<LaneId, LaneState>,
    by_lane: Shares<LaneId>,
    by_tenant: Shares<Tenant>,
    pub(super) crowding: Crowding,
}

#[derive(Debug)]
struct LaneState {
    ask: Ask,
    is_waiting: bool,
    holds: Option<Grant>,
    /// Work of the step that it asks for or runs.
    expected: Option<Duration>,
    last_step: Option<Instant>,
    costs: Costs,
}

impl LaneState {
    fn is_active(&self, now: Instant) -> bool {
        self.is_waiting
            || self.holds.is_some()
            || self.last_step.is_some_and(|last| now.duration_since(last) < ACTIVE_WINDOW)
    }

    fn is_short(&self) -> bool {
        self.expected.is_some_and(|work| work <= SHORT)
    }

    /// What is not known yet counts as long.
    fn is_short_beside(&self, other: &Self) -> bool {
        self.is_short()
            && self.expected.zip(other.expected).is_none_or(|(own, its)| own * SHORTER_BY <= its)
    }
}

impl Policy {
    pub(super) fn new(rule: Rule) -> Self {
        let cores = match rule {
            Rule::Cores(cores) => cores,
            Rule::Streams => 1,
        };
        Self {
            rule,
            lanes: BTreeMap::new(),
            by_lane: Shares::default(),
            by_tenant: Shares::default(),
            crowding: Crowding::new(cores),
        }
    }

    /// The lane wants to run a step.
    pub(super) fn wait(&mut self, lane: LaneId, ask: Ask, now: Instant) {
        // Whoever is at work keeps the account, however long the step.
        for (id, state) in self.lanes.iter().filter(|(_, state)| state.is_active(now)) {
            self.by_lane.arrive(id, now);
            state.ask.tenants.iter().for_each(|(tenant, _)| self.by_tenant.arrive(tenant, now));
        }
        self.by_lane.arrive(&lane, now);
        ask.tenants.iter().for_each(|(tenant, _)| self.by_tenant.arrive(tenant, now));
        let state = self.lanes.entry(lane).or_insert_with(|| LaneState {
            ask: Ask { priority: 0, size: 0, tenants: Vec::new() },
            is_waiting: false,
            holds: None,
            expected: None,
            last_step: None,
            costs: Costs::default(),
        });
        state.expected = state.costs.expect(ask.size);
        state.ask = ask;
        state.is_waiting = true;
    }

    /// What the lane gets, if it is its turn now.
    pub(super) fn grant(&mut self, lane: LaneId, now: Instant) -> Option<Grant> {
        let order = self.order();
        let grant = match self.rule {
            Rule::Cores(cores) => self.of_cores(lane, &order, cores, now),
            Rule::Streams => self.of_streams(lane, &order),
        }?;
        let state = self.lanes.get_mut(&lane)?;
        state.is_waiting = false;
        state.holds = Some(grant);
        let expected = state.expected.unwrap_or_default();
        self.charge(lane, expected.as_secs_f64(), now);
        Some(grant)
    }

    /// The step has ended: the device has completed it. `work` is the time that one thread would have taken for it.
    pub(super) fn release(&mut self, lane: LaneId, work: Duration, now: Instant) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        state.holds = None;
        state.last_step = Some(now);
        let charged = state.expected.unwrap_or_default();
        state.costs.learn(state.ask.size, work);
        state.expected = state.costs.expect(state.ask.size);
        self.charge(lane, work.as_secs_f64() - charged.as_secs_f64(), now);
    }

    pub(super) fn forget(&mut self, lane: LaneId) {
        self.lanes.remove(&lane);
        self.by_lane.forget(&lane);
    }

    fn charge(&mut self, lane: LaneId, seconds: f64, now: Instant) {
        self.by_lane.charge(&lane, seconds, now);
        if let Some(state) = self.lanes.get(&lane) {
            for (tenant, share) in &state.ask.tenants {
                self.by_tenant.charge(tenant, seconds * share, now);
            }
        }
    }

    /// The lanes that wait, next in turn first.
    fn order(&self) -> Vec<LaneId> {
        let key = |id: LaneId, state: &LaneState| {
            let tenants = state.ask.tenants.iter().map(|(tenant, _)| self.by_tenant.served(tenant));
            let neediest = tenants.reduce(f64::min).unwrap_or(0.0);
            (state.ask.priority, neediest, self.by_lane.served(&id))
        };
        let waiting = self.lanes.iter().filter(|(_, state)| state.is_waiting);
        let mut waiting: Vec<_> = waiting.map(|(&id, state)| (key(id, state), id)).collect();
        waiting.sort_by(|((a_priority, a_tenant, a_lane), _), ((priority, tenant, lane), _)| {
            let by_priority = priority.cmp(a_priority);
            by_priority.then(a_tenant.total_cmp(tenant)).then(a_lane.total_cmp(lane))
        });
        waiting.into_iter().map(|(_, id)| id).collect()
    }

    fn of_streams(&self, lane: LaneId, order: &[LaneId]) -> Option<Grant> {
        let is_short = self.lanes.get(&lane)?.is_short();
        let of_class = |id: &&LaneId| self.lanes.get(id).is_some_and(|s| s.is_short() == is_short);
        let is_taken = self.holders().any(|(_, grant)| grant.is_short == is_short);
        let is_next = order.iter().find(of_class) == Some(&lane);
        (is_next && !is_taken).then_some(Grant { threads: 1, is_short })
    }

    fn of_cores(
        &self,
        lane: LaneId,
        order: &[LaneId],
        cores: usize,
        now: Instant,
    ) -> Option<Grant> {
        let regular = self.holders().filter(|(_, grant)| !grant.is_short);
        let taken: usize = regular.map(|(_, grant)| grant.threads).sum();
        let free = cores.saturating_sub(taken);
        let next = order.iter().find(|&&id| self.is_within_its_part(id, cores, now));
        if free > 0 && next == Some(&lane) {
            let threads = self.part(lane, cores, now).min(free).min(self.crowding.limit(now));
            return Some(Grant { threads, is_short: false });
        }
        let beside = self.holders().filter(|(_, grant)| grant.is_short).count();
        let is_beside = |id: &&LaneId| {
            let state = self.lanes.get(id);
            state.is_some_and(|state| self.holders().any(|(held, _)| state.is_short_beside(held)))
        };
        let is_next = order.iter().find(is_beside) == Some(&lane);
        (is_next && beside < cores).then_some(Grant { threads: 1, is_short: true })
    }

    fn holders(&self) -> impl Iterator<Item = (&LaneState, Grant)> {
        self.lanes.values().filter_map(|state| state.holds.map(|grant| (state, grant)))
    }

    /// The lanes with which this one has to share: those at work whose steps are not known to be short beside its own.
    fn peers<'a>(
        &'a self,
        of: &'a LaneState,
        now: Instant,
    ) -> impl Iterator<Item = &'a LaneState> + 'a {
        let is_peer = move |state: &&LaneState| {
            let is_short = of.expected.is_some() && state.is_short_beside(of);
            state.is_active(now) && !is_short
        };
        self.lanes.values().filter(is_peer)
    }

    /// How many lanes each tenant works on, beside this one and with it.
    fn lanes_by_tenant<'a>(
        &'a self,
        of: &'a LaneState,
        now: Instant,
    ) -> BTreeMap<&'a Tenant, usize> {
        let mut lanes = BTreeMap::new();
        for (tenant, _) in self.peers(of, now).flat_map(|state| &state.ask.tenants) {
            *lanes.entry(tenant).or_default() += 1;
        }
        lanes
    }

    /// The lane's part of the cores: tenants have equal parts, and so have the lanes of one tenant.
    fn part(&self, lane: LaneId, cores: usize, now: Instant) -> usize {
        let Some(state) = self.lanes.get(&lane) else { return 1 };
        let lanes = self.lanes_by_tenant(state, now);
        let of_tenant = cores as f64 / lanes.len().max(1) as f64;
        let tenants = state.ask.tenants.iter().filter_map(|(tenant, _)| lanes.get(tenant));
        let part: f64 = tenants.map(|&n_lanes| of_tenant / n_lanes as f64).sum();
        (part.round() as usize).clamp(1, cores)
    }

    /// Whether one of its tenants has fewer cores now than its part of them.
    fn is_within_its_part(&self, lane: LaneId, cores: usize, now: Instant) -> bool {
        let Some(state) = self.lanes.get(&lane) else { return false };
        let tenants = self.lanes_by_tenant(state, now).len().max(1);
        let limit = cores.div_ceil(tenants) as f64;
        let holds = |tenant: &Tenant| -> f64 {
            let regular = self.holders().filter(|(_, grant)| !grant.is_short);
            regular
                .flat_map(|(state, grant)| state.ask.tenants.iter().map(move |one| (one, grant)))
                .filter(|((known, _), _)| known == tenant)
                .map(|((_, share), grant)| share * grant.threads as f64)
                .sum()
        };
        tenants == 1 || state.ask.tenants.iter().any(|(tenant, _)| holds(tenant) < limit)
    }
}
