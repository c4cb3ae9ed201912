//! Temperature, top-k, top-p, min-p and the cutoffs of `cutoff.rs`, in the reference's order and with its arithmetic.
//!
//! Reference: `_get_logits_processor` in `transformers/generation/utils.py` and the warpers of
//! `transformers/generation/logits_process.py`.

use super::{
    SamplingOptions,
    cutoff::{keep_epsilon, keep_eta, keep_typical},
    top::{Candidate, best_first, largest},
};

/// So many tokens are sorted rather than halved again.
const FEW: usize = 256;

/// What is left to draw from, by rising id; logits are divided by the temperature.
pub(super) fn filter(logits: &[f32], options: &SamplingOptions) -> Vec<Candidate> {
    let temperature = options.temperature as f32;
    let mut candidates = largest(logits, options.top_k as usize);
    if temperature != 1.0 && candidates.len() < logits.len() {
        // The division may make values equal that were not; the reference keeps all that equal the last of the top k.
        let least =
            candidates.iter().map(|candidate| candidate.logit).fold(f32::INFINITY, f32::min)
                / temperature;
        if least.is_finite() {
            let every =
                logits.iter().enumerate().map(|(id, &logit)| Candidate { id: id as u32, logit });
            candidates = every.filter(|candidate| candidate.logit / temperature >= least).collect();
        }
    }
    divide(&mut candidates, temperature);
    if options.top_p < 1.0 {
        keep_top_p(&mut candidates, options.top_p);
    }
    if let Some(min_p) = options.min_p {
        keep_min_p(&mut candidates, min_p);
    }
    if options.typical_p < 1.0 {
        keep_typical(&mut candidates, options.typical_p);
    }
    if options.epsilon_cutoff > 0.0 {
        keep_epsilon(&mut candidates, options.epsilon_cutoff);
    }
    if options.eta_cutoff > 0.0 {
        keep_eta(&mut candidates, options.eta_cutoff);
    }
    candidates
}

fn divide(candidates: &mut [Candidate], temperature: f32) {
    if temperature == 1.0 {
        return;
    }
    let max = maximum(candidates);
    let extent = candidates.iter().map(|candidate| candidate.logit.abs()).fold(0.0, f32::max);
    // A tiny temperature would overflow; a shift changes no probability.
    let shift = if (extent / temperature).is_finite() { 0.0 } else { max };
    for candidate in candidates {
        let distance = candidate.logit - shift;
        candidate.logit = if distance == 0.0 { 0.0 } else { distance / temperature };
    }
}

/// Sums from the least likely; removes while the sum is at most `1 - top_p`. The likeliest always stays. Of equally
/// likely tokens the lower ids go first: the reference's order among them, were its sort a stable one.
///
/// Halves the range where the cut lies until few are left to sort, so the time is linear.
fn keep_top_p(candidates: &mut Vec<Candidate>, top_p: f64) {
    let probabilities = softmax(candidates);
    let total: f64 = probabilities.iter().map(|&probability| f64::from(probability)).sum();
    let is_cut = |above: f64| (total - above) as f32 <= (1.0 - top_p) as f32;
    let probability = |key: &u64| f64::from(probabilities[place(*key)]);

    // The likeliest come to stand first.
    let mut ranked: Vec<u64> =
        (0u32..).zip(candidates.iter()).map(|(place, kept)| key(kept.logit, place)).collect();
    let (mut start, mut end, mut above) = (0, ranked.len(), 0.0);
    while end - start > FEW {
        let half = (end - start) / 2;
        ranked[start..end].select_nth_unstable(half);
        let upper: f64 = ranked[start..start + half].iter().map(probability).sum();
        if is_cut(above + upper) {
            end = start + half;
        } else {
            start += half;
            above += upper;
        }
    }
    ranked[start..end].sort_unstable();
    while start < end && (start == 0 || !is_cut(above)) {
        above += probability(&ranked[start]);
        start += 1;
    }
    let mut places: Vec<usize> = ranked[..start].iter().map(|&key| place(key)).collect();
    places.sort_unstable();
    *candidates = places.into_iter().map(|place| candidates[place]).collect();
}

/// Orders by falling logit, then by falling place; one integer compares faster than both.
fn key(logit: f32, place: u32) -> u64 {
    // The bits of a float rise with it once those of negative ones are turned round; adding 0 makes both zeros one.
    let bits = (logit + 0.0).to_bits();
    let rising = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !(u64::from(rising) << 32 | u64::from(place))
}

fn place(key: u64) -> usize {
    (!key & u64::from(u32::MAX)) as usize
}

/// Removes what is less likely than `min_p` times the likeliest. The likeliest always stays.
fn keep_min_p(candidates: &mut Vec<Candidate>, min_p: f64) {
    let probabilities = softmax(candidates);
    let top = probabilities.iter().copied().fold(0.0, f32::max);
    let bound = top * min_p as f32;
    let mut probability = probabilities.iter();
    candidates.retain(|_| probability.next().is_some_and(|&probability| probability >= bound));
}

/// Probabilities of the candidates, in their order.
pub(super) fn softmax(candidates: &[Candidate]) -> Vec<f32> {
    let max = maximum(candidates);
    let mut probabilities: Vec<f32> =
        candidates.iter().map(|candidate| (candidate.logit - max).exp()).collect();
    let sum = probabilities.iter().map(|&value| f64::from(value)).sum::<f64>() as f32;
    for probability in &mut probabilities {
        *probability /= sum;
    }
    probabilities
}

fn maximum(candidates: &[Candidate]) -> f32 {
    candidates.iter().map(|candidate| candidate.logit).fold(f32::NEG_INFINITY, f32::max)
}

/// The `n` likeliest tokens, best first.
pub(super) fn likeliest(logits: &[f32], n: usize) -> Vec<Candidate> {
    if n == 0 {
        return Vec::new();
    }
    let mut best = largest(logits, n);
    best_first(&mut best);
    best.truncate(n);
    best
}
