//! How many tokens of the prompts that are being read go into one step, and whose.

use tch::Device;

/// Prompt tokens of one step at most.
pub(super) const PREFILL_TOKENS: usize = 512;

/// Prompt tokens of one step: nobody waits longer than for such a step. On a CPU, whose time goes with the tokens, less
/// is read at once, above all while somebody else waits for the end of the step; fewer than 128 would cost throughput.
pub(super) fn prefill_tokens(device: Device, is_alone: bool) -> usize {
    match (device, is_alone) {
        (Device::Cpu, true) => 256,
        (Device::Cpu, false) => 128,
        _ => PREFILL_TOKENS,
    }
}

/// Shares out `budget` tokens among prompts of which `lefts` tokens are left, in order of arrival: half is for the first, so
/// that no short ones keep it from its end, the rest for whoever has least left.
pub(super) fn shares(lefts: &[usize], budget: usize) -> Vec<usize> {
    let mut shares = vec![0; lefts.len()];
    let mut rest = budget;
    let mut give = |at: usize, most: usize| {
        let share = (lefts[at] - shares[at]).min(most).min(rest);
        shares[at] += share;
        rest -= share;
    };
    if !lefts.is_empty() {
        give(0, budget.div_ceil(2));
    }
    let mut shortest_first: Vec<usize> = (0..lefts.len()).collect();
    shortest_first.sort_by_key(|&at| lefts[at]);
    for at in shortest_first {
        give(at, usize::MAX);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_prompt_does_not_wait_for_a_long_one_nor_keeps_it_from_going_on() {
        assert_eq!(shares(&[], 128), Vec::<usize>::new());
        assert_eq!(shares(&[900], 128), [128]);
        assert_eq!(shares(&[900, 32], 128), [96, 32]);
        assert_eq!(shares(&[900, 60, 32], 128), [64, 32, 32]);
        assert_eq!(shares(&[900, 100, 100], 128), [64, 64, 0]);
        assert_eq!(shares(&[10, 900], 128), [10, 118]);
        assert_eq!(shares(&[10, 20], 128), [10, 20]);
    }
}
