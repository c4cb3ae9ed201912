//! The set of residencies with the least regret that frees enough. Exact, by branch and bound.

use super::{Residency, regret::Terms};

/// Nodes after which the best set found so far is taken. Dozens of models of equal regret could otherwise be combined
/// for longer than a decision may take; the search ends before this in all else.
const MOST_NODES: u32 = 20_000;

/// A residency that may leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) residency: &'a Residency,
    pub(super) terms: Terms,
    /// Milliseconds.
    pub(super) regret: u64,
}

impl Candidate<'_> {
    fn bytes(&self) -> u64 {
        self.residency.bytes
    }

    fn is_equal(&self, other: &Candidate<'_>) -> bool {
        (self.regret, self.bytes()) == (other.regret, other.bytes())
    }
}

/// Residencies that leave together.
#[derive(Clone, Debug, Default)]
pub(super) struct Set<'a> {
    pub(super) members: Vec<Candidate<'a>>,
    /// Milliseconds.
    pub(super) regret: u64,
    pub(super) bytes: u64,
}

/// No set that frees `needed` has a smaller regret, in milliseconds.
pub(super) fn least_regret(candidates: &[Candidate<'_>], needed: u64) -> u64 {
    let per_byte = |candidate: &Candidate<'_>| candidate.regret as f64 / candidate.bytes() as f64;
    let least = candidates.iter().map(per_byte).fold(f64::INFINITY, f64::min);
    // Rounded down, and a little more for the rounding of floats.
    if least.is_finite() { (least * needed as f64 * (1.0 - 1e-9)) as u64 } else { 0 }
}

/// The set that frees at least `needed` bytes: least regret, then fewest bytes, then fewest members, then the least
/// recently used. `None` when all together are too few.
pub(super) fn cheapest_set<'a>(candidates: &[Candidate<'a>], needed: u64) -> Option<Set<'a>> {
    let mut sorted: Vec<Candidate<'a>> =
        candidates.iter().copied().filter(|candidate| candidate.bytes() > 0).collect();
    sorted.sort_by(|a, b| {
        let left = u128::from(a.regret) * u128::from(b.bytes());
        let right = u128::from(b.regret) * u128::from(a.bytes());
        let used = |candidate: &Candidate<'_>| candidate.residency.last_used_at;
        let order = left.cmp(&right).then_with(|| a.bytes().cmp(&b.bytes()));
        order.then_with(|| used(a).cmp(&used(b)))
    });
    let mut left = vec![0_u64; sorted.len() + 1];
    for place in (0..sorted.len()).rev() {
        left[place] = left[place + 1].saturating_add(sorted[place].bytes());
    }
    let mut search = Search { sorted: &sorted, left, needed, best: None, nodes: 0 };
    search.branch(0, &mut Vec::new(), 0, 0);
    let mut set = Set::default();
    for member in search.best?.chosen.into_iter().map(|place| sorted[place]) {
        set.regret += member.regret;
        set.bytes += member.bytes();
        set.members.push(member);
    }
    set.drop_superfluous(needed);
    Some(set)
}

impl Set<'_> {
    /// Keeps who need not leave, the most regretted first. Does something only when the search ended early.
    fn drop_superfluous(&mut self, needed: u64) {
        self.members.sort_by_key(|member| member.regret);
        for place in (0..self.members.len()).rev() {
            if self.bytes - self.members[place].bytes() >= needed {
                let kept = self.members.remove(place);
                self.bytes -= kept.bytes();
                self.regret -= kept.regret;
            }
        }
    }
}

struct Search<'s, 'a> {
    /// By regret per byte.
    sorted: &'s [Candidate<'a>],
    /// Bytes of all from a place on.
    left: Vec<u64>,
    needed: u64,
    best: Option<Best>,
    nodes: u32,
}

struct Best {
    rank: (u64, u64, usize),
    chosen: Vec<usize>,
}

impl Search<'_, '_> {
    fn branch(&mut self, from: usize, chosen: &mut Vec<usize>, regret: u64, bytes: u64) {
        self.nodes += 1;
        if self.nodes > MOST_NODES && self.best.is_some() {
            return;
        }
        if bytes >= self.needed {
            let rank = (regret, bytes, chosen.len());
            if self.best.as_ref().is_none_or(|best| rank < best.rank) {
                self.best = Some(Best { rank, chosen: chosen.clone() });
            }
            return;
        }
        let missing = self.needed - bytes;
        if self.left[from] < missing {
            return;
        }
        // What no completion of this set can undercut.
        let bound = (regret + self.fractional(from, missing), self.needed, chosen.len() + 1);
        if self.best.as_ref().is_some_and(|best| bound >= best.rank) {
            return;
        }
        let candidate = &self.sorted[from];
        chosen.push(from);
        self.branch(from + 1, chosen, regret + candidate.regret, bytes + candidate.bytes());
        chosen.pop();
        // Without this one, taking its equals instead would only lead to the same sets.
        let equals = self.sorted[from..].iter().take_while(|other| other.is_equal(candidate));
        self.branch(from + equals.count(), chosen, regret, bytes);
    }

    /// The least regret that frees `missing` if models could leave in part, rounded up.
    fn fractional(&self, from: usize, missing: u64) -> u64 {
        let (mut regret, mut missing) = (0_u64, missing);
        for candidate in &self.sorted[from..] {
            if candidate.bytes() >= missing {
                let part = u128::from(candidate.regret) * u128::from(missing);
                let part = part.div_ceil(u128::from(candidate.bytes()));
                return regret + u64::try_from(part).unwrap_or(u64::MAX);
            }
            missing -= candidate.bytes();
            regret += candidate.regret;
        }
        regret
    }
}
