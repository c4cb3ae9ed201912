//! The largest of many values without sorting them all.

/// A token and its logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub id: u32,
    pub logit: f32,
}

/// Every candidate at least as large as the `k`-th largest (so more than `k` where values are equal), by rising id.
/// `k` of 0 or beyond the length: all. Values of minus infinity never come out.
///
/// One pass with a bound that rises whenever the buffer is full: near linear for any `k`.
pub(super) fn largest(logits: &[f32], k: usize) -> Vec<Candidate> {
    let every = logits.iter().enumerate().map(|(id, &logit)| Candidate { id: id as u32, logit });
    if k == 0 || k >= logits.len() {
        return every.filter(|candidate| candidate.logit > f32::NEG_INFINITY).collect();
    }
    let mut capacity = k.saturating_mul(4).max(1024);
    let mut kept: Vec<Candidate> = Vec::with_capacity(capacity.min(logits.len()));
    let mut bound = f32::NEG_INFINITY;
    for candidate in every {
        // Not `>=` while the bound is minus infinity: impossible tokens stay out.
        if candidate.logit < bound || candidate.logit == f32::NEG_INFINITY {
            continue;
        }
        kept.push(candidate);
        if kept.len() == capacity {
            bound = raise(&mut kept, k);
            capacity = capacity.max(kept.len() * 2);
        }
    }
    if kept.len() > k {
        raise(&mut kept, k);
    }
    kept
}

/// Drops what is below the `k`-th largest and returns that value. The order of ids stays.
fn raise(kept: &mut Vec<Candidate>, k: usize) -> f32 {
    let mut values: Vec<f32> = kept.iter().map(|candidate| candidate.logit).collect();
    let (_, &mut bound, _) = values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    // Compared as numbers, so that both zeros are one value.
    kept.retain(|candidate| candidate.logit >= bound);
    bound
}

/// Best first; of equal values the lower id.
pub(super) fn best_first(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(|a, b| b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_what_a_sort_would_keep(
            values in prop::collection::vec((-40i8..40).prop_map(f32::from), 1..4000),
            k in 1usize..60,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let bound = sorted[k.min(values.len()) - 1];
            let expected: Vec<u32> = (0..values.len() as u32).filter(|&id| values[id as usize] >= bound).collect();
            let found: Vec<u32> = largest(&values, k).iter().map(|candidate| candidate.id).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn impossible_tokens_never_come_out() {
        let logits = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY, 0.5];
        assert_eq!(largest(&logits, 3).len(), 2);
        assert_eq!(largest(&logits, 0).len(), 2);
    }
}
