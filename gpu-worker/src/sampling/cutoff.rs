//! Cutoffs that look at how sure a distribution is: locally typical sampling (Meister et al., 2022,
//! <https://arxiv.org/abs/2202.00666>), epsilon and eta sampling (Hewitt et al., 2022,
//! <https://arxiv.org/abs/2210.15191>).
//!
//! Reference: `transformers/generation/logits_process.py`.

use super::{filter::softmax, top::Candidate};

/// Keeps the tokens whose surprise is nearest to the expected one, until they reach this probability together.
pub(super) fn keep_typical(candidates: &mut Vec<Candidate>, mass: f64) {
    let log_probs = log_softmax(candidates);
    let entropy = entropy(&log_probs);
    let distances: Vec<f32> =
        log_probs.iter().map(|log_prob| (-log_prob - entropy).abs()).collect();
    let mut nearest: Vec<usize> = (0..candidates.len()).collect();
    nearest.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
    let probabilities = softmax(candidates);
    let mut sum = 0.0_f64;
    let reached = nearest.iter().position(|&place| {
        sum += f64::from(probabilities[place]);
        sum as f32 >= mass as f32
    });
    let last = reached.unwrap_or(nearest.len().saturating_sub(1));
    let Some(bound) = nearest.get(last).map(|&place| distances[place]) else { return };
    retain(candidates, |place| distances[place] <= bound);
}

/// Removes what is less likely than `epsilon`. The likeliest always stays.
pub(super) fn keep_epsilon(candidates: &mut Vec<Candidate>, epsilon: f64) {
    keep_likely(candidates, epsilon as f32);
}

/// As [`keep_epsilon`], with a bound that falls with the entropy.
pub(super) fn keep_eta(candidates: &mut Vec<Candidate>, epsilon: f64) {
    let epsilon = epsilon as f32;
    let entropy = entropy(&log_softmax(candidates));
    keep_likely(candidates, epsilon.min(epsilon.sqrt() * (-entropy).exp()));
}

fn keep_likely(candidates: &mut Vec<Candidate>, bound: f32) {
    let probabilities = softmax(candidates);
    let max = maximum(candidates);
    let logits: Vec<f32> = candidates.iter().map(|candidate| candidate.logit).collect();
    retain(candidates, |place| probabilities[place] >= bound || logits[place] >= max);
}

fn retain(candidates: &mut Vec<Candidate>, keep: impl Fn(usize) -> bool) {
    let mut place = 0..;
    candidates.retain(|_| place.next().is_some_and(&keep));
}

fn log_softmax(candidates: &[Candidate]) -> Vec<f32> {
    let max = maximum(candidates);
    let sum: f64 =
        candidates.iter().map(|candidate| f64::from((candidate.logit - max).exp())).sum();
    let log_sum = sum.ln() as f32;
    candidates.iter().map(|candidate| candidate.logit - max - log_sum).collect()
}

fn entropy(log_probs: &[f32]) -> f32 {
    // What is impossible contributes nothing, though its logarithm may be infinite.
    let terms = log_probs.iter().map(|&log_prob| f64::from(log_prob) * f64::from(log_prob).exp());
    -terms.filter(|term| term.is_finite()).sum::<f64>() as f32
}

fn maximum(candidates: &[Candidate]) -> f32 {
    candidates.iter().map(|candidate| candidate.logit).fold(f32::NEG_INFINITY, f32::max)
}
