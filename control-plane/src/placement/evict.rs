//! Which residencies leave a device so that a new one fits: the least recently used, and no more than needed.

use super::{Residency, Stage};

/// The residencies that free at least `needed` bytes; `None` if all that may leave are too few.
///
/// Least recently used first. One that later turned out unnecessary stays.
pub fn victims<'a>(
    residencies: impl Iterator<Item = &'a Residency>,
    needed: u64,
    now: u64,
) -> Option<Vec<&'a Residency>> {
    let mut candidates: Vec<&Residency> =
        residencies.filter(|residency| may_leave(residency, now)).collect();
    candidates.sort_by_key(|residency| (residency.last_used_at, residency.loaded_at));

    let mut chosen = Vec::new();
    let mut freed = 0_u64;
    for candidate in candidates {
        if freed >= needed {
            break;
        }
        freed = freed.saturating_add(candidate.bytes);
        chosen.push(candidate);
    }
    if freed < needed {
        return None;
    }
    // From the most recently used back: keep whatever the others make unnecessary.
    for place in (0..chosen.len()).rev() {
        let without = freed - chosen[place].bytes;
        if without >= needed {
            freed = without;
            chosen.remove(place);
        }
    }
    Some(chosen)
}

/// Idle, unpinned, past its minimum residency, and with bytes that come back.
fn may_leave(residency: &Residency, now: u64) -> bool {
    residency.stage == Stage::Ready
        && residency.busy == 0
        && !residency.pinned
        && residency.bytes > 0
        && now.saturating_sub(residency.loaded_at) >= residency.min_residency_ms
}
