//! One choice's sampler: penalties, filters, draw, logarithms.
//!
//! Order, as in the reference: repetition penalty, no end before `min_new_tokens`, what else is forbidden or forced, (frequency and presence, which the
//! reference lacks), temperature, top-k, top-p, min-p, typical-p, epsilon, eta. Logarithms are of the raw logits, before all of it.
//!
//! Draws are reproducible: ChaCha with 12 rounds, its key from the seed (`seed_from_u64`), its stream the index of the
//! choice, one 64-bit word per drawn token of which the upper 53 bits are the fraction. Greedy choices draw nothing.

use std::collections::BTreeMap;

use rand_chacha::{
    ChaCha12Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::{
    Constraints, SamplingError, SamplingOptions,
    filter::{filter, likeliest, softmax},
    top::Candidate,
};

/// The tokens so far. Both lists only ever grow.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    pub prompt: &'a [u32],
    pub generated: &'a [u32],
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    pub id: u32,
    /// Natural logarithm of its probability; when `logprobs` was asked for.
    pub logprob: Option<f32>,
    /// The likeliest tokens and their logarithms, best first; fewer than asked for where fewer are possible.
    pub top: Vec<(u32, f32)>,
}

/// Chooses the tokens of one answer.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplingOptions,
    /// Says all that the options say before the temperature, and more.
    constraints: Option<Constraints>,
    random: ChaCha12Rng,
    /// Every token that occurred, and how often it was generated.
    occurred: BTreeMap<u32, u32>,
    n_prompt: usize,
    n_generated: usize,
}

impl Sampler {
    /// `choice` is the index of the answer, so that several answers of one seed differ.
    pub fn new(options: SamplingOptions, seed: u64, choice: u32) -> Self {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(u64::from(choice));
        Self {
            options,
            constraints: None,
            random,
            occurred: BTreeMap::new(),
            n_prompt: 0,
            n_generated: 0,
        }
    }

    /// One that follows constraints, whose repetition penalty and lengths then count instead of the options'.
    #[must_use]
    pub fn constrained(mut self, constraints: Option<Constraints>) -> Self {
        self.constraints = constraints;
        self
    }

    pub fn options(&self) -> &SamplingOptions {
        &self.options
    }

    /// Chooses the next token. `logits` is one row, `[vocab]`; penalties are written into it.
    pub fn sample(
        &mut self,
        logits: &mut [f32],
        history: &History<'_>,
    ) -> Result<Sampled, SamplingError> {
        let raw_max = check(logits)?;
        let raw = self.options.logprobs.map(|n| RawLogits::new(logits, raw_max, n as usize));
        self.penalise(logits, history);
        let id = if self.options.do_sample {
            let candidates = filter(logits, &self.options);
            self.draw(&candidates)?
        } else {
            argmax(logits)?
        };
        let (logprob, top) = match raw {
            Some(raw) => (Some(raw.logprob(id)), raw.top),
            None => (None, Vec::new()),
        };
        Ok(Sampled { id, logprob, top })
    }

    /// The tokens that could be drawn next with their probabilities, by rising id; draws nothing.
    pub fn distribution(
        &mut self,
        logits: &mut [f32],
        history: &History<'_>,
    ) -> Result<Vec<(u32, f32)>, SamplingError> {
        check(logits)?;
        self.penalise(logits, history);
        if !self.options.do_sample {
            return Ok(vec![(argmax(logits)?, 1.0)]);
        }
        let candidates = filter(logits, &self.options);
        let probabilities = softmax(&candidates);
        Ok(candidates
            .iter()
            .zip(probabilities)
            .map(|(candidate, probability)| (candidate.id, probability))
            .collect())
    }

    fn penalise(&mut self, logits: &mut [f32], history: &History<'_>) {
        if let Some(constraints) = &self.constraints {
            constraints.apply(logits, &[history.prompt, history.generated].concat(), &[]);
        }
        let options = &self.options;
        let (repetition, frequency, presence) = (
            options.repetition_penalty as f32,
            options.frequency_penalty as f32,
            options.presence_penalty as f32,
        );
        let is_own = self.constraints.is_none();
        let repetition = if is_own { repetition } else { 1.0 };
        let counts = frequency != 0.0 || presence != 0.0;
        if repetition != 1.0 || counts {
            note(&mut self.occurred, &mut self.n_prompt, history.prompt, 0);
            note(&mut self.occurred, &mut self.n_generated, history.generated, 1);
        }
        if repetition != 1.0 {
            for &id in self.occurred.keys() {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit = if *logit < 0.0 { *logit * repetition } else { *logit / repetition };
                }
            }
        }
        if is_own && history.generated.len() < options.min_new_tokens as usize {
            for &id in &options.eos_token_ids {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        if counts {
            for (&id, &count) in self.occurred.iter().filter(|(_, count)| **count > 0) {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit -= count as f32 * frequency + presence;
                }
            }
        }
        // A penalty may leave the range of a float; what it made impossible or certain stays ordered.
        if repetition != 1.0 {
            for &id in self.occurred.keys() {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit = logit.min(f32::MAX);
                }
            }
        }
    }

    fn draw(&mut self, candidates: &[Candidate]) -> Result<u32, SamplingError> {
        let max =
            candidates.iter().map(|candidate| candidate.logit).fold(f32::NEG_INFINITY, f32::max);
        let weight = |candidate: &Candidate| f64::from((candidate.logit - max).exp());
        let total: f64 = candidates.iter().map(weight).sum();
        let fraction = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = fraction * total;
        let mut last = None;
        for candidate in candidates {
            let weight = weight(candidate);
            if weight > 0.0 {
                last = Some(candidate.id);
                if left < weight {
                    break;
                }
                left -= weight;
            }
        }
        last.ok_or(SamplingError::NothingPossible)
    }
}

/// Counts the tokens beyond the first `n_known`.
fn note(occurred: &mut BTreeMap<u32, u32>, n_known: &mut usize, ids: &[u32], amount: u32) {
    for &id in ids.get(*n_known..).unwrap_or_default() {
        *occurred.entry(id).or_insert(0) += amount;
    }
    *n_known = ids.len();
}

/// The largest logit, if all of them are numbers and one is finite. Minus infinity is an impossible token.
fn check(logits: &[f32]) -> Result<f32, SamplingError> {
    if logits.is_empty() {
        return Err(SamplingError::Empty);
    }
    let usable = |logit: f32| logit < f32::INFINITY;
    if !logits.iter().fold(true, |all, &logit| all & usable(logit)) {
        let id = logits.iter().position(|&logit| !usable(logit)).unwrap_or_default();
        return Err(SamplingError::NotFinite { id });
    }
    let max = maximum(logits);
    if max == f32::NEG_INFINITY { Err(SamplingError::NothingPossible) } else { Ok(max) }
}

/// Of equal values the lowest id, as `torch.argmax`.
fn argmax(logits: &[f32]) -> Result<u32, SamplingError> {
    let max = maximum(logits);
    if max == f32::NEG_INFINITY {
        return Err(SamplingError::NothingPossible);
    }
    let id = logits.iter().position(|&logit| logit == max).ok_or(SamplingError::NothingPossible)?;
    Ok(id as u32)
}

/// In lanes, so that the compiler may use vector instructions.
fn maximum(logits: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = logits.chunks_exact(lanes.len());
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, larger);
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, logit);
        }
    }
    lanes.into_iter().fold(rest, larger)
}

/// The logits before anything was done to them.
struct RawLogits {
    logits: Vec<f32>,
    max: f32,
    /// Logarithm of the sum of the exponentials of the distances to the largest.
    log_sum: f64,
    top: Vec<(u32, f32)>,
}

impl RawLogits {
    fn new(logits: &[f32], max: f32, n_top: usize) -> Self {
        let sum: f64 = logits.iter().map(|&logit| f64::from((logit - max).exp())).sum();
        let mut raw = Self { logits: logits.to_vec(), max, log_sum: sum.ln(), top: Vec::new() };
        raw.top =
            likeliest(logits, n_top).iter().map(|best| (best.id, raw.logprob(best.id))).collect();
        raw
    }

    fn logprob(&self, id: u32) -> f32 {
        (f64::from(self.logits[id as usize]) - f64::from(self.max) - self.log_sum) as f32
    }
}
