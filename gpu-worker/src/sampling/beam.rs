//! Beam search: keeps the likeliest beginnings of a target and the best of the finished ones. Pure.
//!
//! Reference: `_beam_search` in `transformers/generation/utils.py`, whose single-precision arithmetic it follows.

use super::{Constraints, SamplingError, top::largest};

/// What the reference takes from scores that must not win.
const OUT: f32 = -1.0e9;

/// When to stop though beams could still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyStopping {
    /// When the best beam, as long as it is now, is worse than every finished target.
    Heuristic,
    /// As soon as there are as many finished targets as beams.
    AtOnce,
    /// When no beam could become better than a finished target.
    Never,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BeamOptions {
    /// At least 2.
    pub num_beams: usize,
    /// From 1 to `num_beams`.
    pub num_return_sequences: usize,
    /// A target's score is divided by its length to this power.
    pub length_penalty: f64,
    pub early_stopping: EarlyStopping,
}

/// A finished target.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamTarget {
    /// Without the start token, with the end token where there is one.
    pub ids: Vec<u32>,
    pub score: f32,
}

/// What follows a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeamNext {
    /// Each beam goes on from the beam of this number.
    Continue {
        parents: Vec<usize>,
    },
    Done,
}

#[derive(Clone, Debug)]
struct Beam {
    ids: Vec<u32>,
    score: f32,
}

/// A place for a finished target.
#[derive(Clone, Debug)]
struct Place {
    ids: Vec<u32>,
    score: f32,
    is_finished: bool,
}

/// A possible next beam.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    parent: usize,
    id: u32,
    score: f32,
    /// Nothing can follow.
    ends: bool,
}

/// The search for one source.
#[derive(Clone, Debug)]
pub struct BeamSearch {
    options: BeamOptions,
    /// How many tokens all targets begin with, the start token or a prompt.
    begin: usize,
    running: Vec<Beam>,
    places: Vec<Place>,
    can_improve: bool,
}

impl BeamSearch {
    pub fn new(options: BeamOptions, start: u32) -> Self {
        Self::after(options, &[start])
    }

    /// The search for what follows a prompt.
    pub fn after(options: BeamOptions, prompt: &[u32]) -> Self {
        let n = options.num_beams;
        // All beams are equal at first: only one of them counts.
        let beam = |idx| Beam { ids: prompt.to_vec(), score: if idx == 0 { 0.0 } else { OUT } };
        let place = Place { ids: prompt.to_vec(), score: OUT, is_finished: false };
        Self {
            options,
            begin: prompt.len(),
            running: (0..n).map(beam).collect(),
            places: vec![place; n],
            can_improve: true,
        }
    }

    /// Tokens of each beam, the start token included.
    pub fn len(&self) -> usize {
        self.running.first().map_or(0, |beam| beam.ids.len())
    }

    /// Whether no token was chosen yet: all beams are then the same, and one row of logits is enough.
    pub fn is_empty(&self) -> bool {
        self.len() == self.begin
    }

    /// Tokens of each beam that were chosen, the beginning left out.
    pub fn written(&self) -> impl Iterator<Item = &[u32]> {
        self.running.iter().map(|beam| &beam.ids[self.begin..])
    }

    /// The token of each beam that the model has not seen yet.
    pub fn last_ids(&self) -> impl Iterator<Item = u32> {
        self.running.iter().filter_map(|beam| beam.ids.last().copied())
    }

    /// Takes the logits after every beam, one row after the other, or one row for all while the beams are the same.
    pub fn step(
        &mut self,
        logits: &mut [f32],
        constraints: &Constraints,
        source: &[u32],
    ) -> Result<BeamNext, SamplingError> {
        let rows = if self.is_empty() { 1 } else { self.options.num_beams };
        if logits.is_empty() {
            return Err(SamplingError::Empty);
        }
        let vocabulary = logits.len() / rows;
        for (row, beam) in logits.chunks_mut(vocabulary).zip(&self.running) {
            log_softmax(row)?;
            constraints.apply(row, &beam.ids, source);
            if constraints.renormalize {
                log_softmax(row)?;
            }
        }
        let candidates = self.candidates(logits, vocabulary, constraints);
        let all_end = candidates.iter().all(|candidate| candidate.ends);
        self.finish(&candidates);
        let parents = self.go_on(&candidates);
        self.check_improvement(constraints.max_length);
        let is_full = self.options.early_stopping == EarlyStopping::AtOnce && self.is_full();
        if self.can_improve && !is_full && !all_end {
            Ok(BeamNext::Continue { parents })
        } else {
            Ok(BeamNext::Done)
        }
    }

    /// The best finished targets, best first; there may be fewer than were asked for where fewer are possible.
    pub fn into_targets(self) -> Vec<BeamTarget> {
        self.places
            .into_iter()
            .take(self.options.num_return_sequences)
            .filter(|place| place.is_finished)
            .map(|place| BeamTarget { ids: place.ids[self.begin..].to_vec(), score: place.score })
            .collect()
    }

    fn is_full(&self) -> bool {
        self.places.iter().all(|place| place.is_finished)
    }

    /// The best continuations, so many that enough are left when some of them are ends.
    fn candidates(
        &self,
        log_probs: &[f32],
        vocabulary: usize,
        constraints: &Constraints,
    ) -> Vec<Candidate> {
        let keep = 2.max(1 + constraints.eos_token_ids.len()) * self.options.num_beams;
        let at_limit = self.len() + 1 >= constraints.max_length;
        let mut candidates = Vec::new();
        for (parent, beam) in self.running.iter().enumerate() {
            let row = if log_probs.len() == vocabulary { 0 } else { parent };
            let row = &log_probs[row * vocabulary..(row + 1) * vocabulary];
            candidates.extend(largest(row, keep).into_iter().map(|best| Candidate {
                parent,
                id: best.id,
                score: best.logit + beam.score,
                ends: at_limit || constraints.eos_token_ids.contains(&best.id),
            }));
        }
        // Stable: of equal ones the lower beam, then the lower id.
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        candidates.truncate(keep);
        // Beams of which nothing is possible stand at the end.
        let nothing = Candidate { parent: 0, id: 0, score: f32::NEG_INFINITY, ends: at_limit };
        candidates.resize(keep, nothing);
        candidates
    }

    /// Puts those of the best candidates that are ends among the finished targets.
    fn finish(&mut self, candidates: &[Candidate]) {
        // What all begin with doesn't count, the new token does.
        let divisor =
            ((self.len() + 1 - self.begin) as f64).powf(self.options.length_penalty) as f32;
        let closed = self.options.early_stopping == EarlyStopping::AtOnce && self.is_full();
        for (rank, candidate) in candidates.iter().enumerate() {
            if !candidate.ends || rank >= self.options.num_beams {
                continue;
            }
            let mut score = candidate.score / divisor;
            for is_out in [closed, !self.can_improve] {
                if is_out {
                    score += OUT;
                }
            }
            let mut ids = self.running[candidate.parent].ids.clone();
            ids.push(candidate.id);
            self.places.push(Place { ids, score, is_finished: true });
        }
        self.places.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.places.truncate(self.options.num_beams);
    }

    /// Goes on with the best candidates that are no ends; whose children they are.
    fn go_on(&mut self, candidates: &[Candidate]) -> Vec<usize> {
        let mut open: Vec<Candidate> = candidates.to_vec();
        for candidate in &mut open {
            candidate.score += if candidate.ends { OUT } else { 0.0 };
        }
        open.sort_by(|a, b| b.score.total_cmp(&a.score));
        open.truncate(self.options.num_beams);
        let grown = |candidate: &Candidate| {
            let mut ids = self.running[candidate.parent].ids.clone();
            ids.push(candidate.id);
            Beam { ids, score: candidate.score }
        };
        self.running = open.iter().map(grown).collect();
        open.iter().map(|candidate| candidate.parent).collect()
    }

    fn check_improvement(&mut self, max_length: usize) {
        let BeamOptions { length_penalty, early_stopping, .. } = self.options;
        let length = if early_stopping == EarlyStopping::Never && length_penalty > 0.0 {
            max_length - self.begin
        } else {
            self.len() - self.begin
        };
        let divisor = (length as f64).powf(length_penalty) as f32;
        let best = self.running.first().map_or(OUT, |beam| beam.score / divisor);
        let worst = self.places.iter().map(|place| place.score).fold(f32::INFINITY, f32::min);
        let could_beat = |place: &Place| best > if place.is_finished { worst } else { OUT };
        self.can_improve &= self.places.iter().any(could_beat);
    }
}

/// Logits of one row to the logarithms of their probabilities.
fn log_softmax(row: &mut [f32]) -> Result<(), SamplingError> {
    if let Some(id) = row.iter().position(|logit| logit.is_nan() || *logit == f32::INFINITY) {
        return Err(SamplingError::NotFinite { id });
    }
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return Err(SamplingError::NothingPossible);
    }
    let sum: f64 = row.iter().map(|&logit| f64::from((logit - max).exp())).sum();
    let log_sum = sum.ln() as f32;
    for logit in row {
        *logit = *logit - max - log_sum;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const END: u32 = 0;

    fn constraints(max_length: usize) -> Constraints {
        Constraints {
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            encoder_no_repeat_ngram_size: 0,
            bad_words_ids: Vec::new(),
            begin: 1,
            min_length: 0,
            forced_bos_token_id: None,
            forced_eos_token_ids: Vec::new(),
            max_length,
            length_decay: None,
            suppress_tokens: Vec::new(),
            begin_suppress_tokens: Vec::new(),
            renormalize: false,
            eos_token_ids: vec![END],
        }
    }

    /// A model whose logits depend on the last token alone.
    fn search(table: &[Vec<f32>], options: BeamOptions, max_length: usize) -> Vec<BeamTarget> {
        let mut search = BeamSearch::new(options, 1);
        loop {
            let rows = if search.is_empty() { 1 } else { usize::MAX };
            let mut logits: Vec<f32> = search
                .last_ids()
                .take(rows)
                .flat_map(|id| table[id as usize % table.len()].clone())
                .collect();
            if search.step(&mut logits, &constraints(max_length), &[]).unwrap() == BeamNext::Done {
                return search.into_targets();
            }
        }
    }

    /// Every target there is, with its score, best first.
    fn every_target(table: &[Vec<f32>], max_length: usize) -> Vec<(Vec<u32>, f64)> {
        let mut open = vec![(vec![1_u32], 0.0_f64)];
        let mut all = Vec::new();
        while let Some((ids, score)) = open.pop() {
            let mut row = table[*ids.last().unwrap() as usize % table.len()].clone();
            log_softmax(&mut row).unwrap();
            for (id, log_prob) in row.iter().enumerate() {
                let grown: Vec<u32> = ids.iter().copied().chain([id as u32]).collect();
                let score = score + f64::from(*log_prob);
                if id as u32 == END || grown.len() == max_length {
                    all.push((grown[1..].to_vec(), score));
                } else {
                    open.push((grown, score));
                }
            }
        }
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }

    fn options(num_beams: usize, num_return_sequences: usize) -> BeamOptions {
        BeamOptions {
            num_beams,
            num_return_sequences,
            length_penalty: 0.0,
            early_stopping: EarlyStopping::Never,
        }
    }

    proptest! {
        #[test]
        fn as_many_beams_as_there_are_beginnings_find_the_best_target(
            table in prop::collection::vec(prop::collection::vec(-3.0_f32..3.0, 3), 3),
        ) {
            let found = search(&table, options(27, 3), 4);
            let expected = every_target(&table, 4);
            for (found, (_, score)) in found.iter().zip(&expected) {
                prop_assert!((f64::from(found.score) - score).abs() < 1e-4);
            }
            prop_assert_eq!(found.len(), 3);
        }

        #[test]
        fn targets_come_best_first_and_end_at_the_limit_or_with_an_end(
            table in prop::collection::vec(prop::collection::vec(-3.0_f32..3.0, 5), 5),
            num_beams in 2_usize..5,
            length_penalty in -1.0_f64..2.0,
            early_stopping in prop::sample::select(vec![
                EarlyStopping::Heuristic, EarlyStopping::AtOnce, EarlyStopping::Never,
            ]),
        ) {
            let options = BeamOptions { length_penalty, early_stopping, ..options(num_beams, num_beams) };
            let found = search(&table, options, 7);
            prop_assert!(!found.is_empty());
            prop_assert!(found.is_sorted_by(|a, b| a.score >= b.score));
            for target in found {
                prop_assert!(target.ids.len() == 6 || target.ids.last() == Some(&END));
                let (_, before) = target.ids.split_last().unwrap();
                prop_assert!(!before.contains(&END));
            }
        }
    }

    #[test]
    fn a_logit_that_is_no_number_is_an_error() {
        let mut search = BeamSearch::new(options(2, 1), 1);
        let refused = search.step(&mut [0.0, f32::NAN], &constraints(5), &[]);
        assert_eq!(refused, Err(SamplingError::NotFinite { id: 1 }));
        assert_eq!(search.step(&mut [], &constraints(5), &[]), Err(SamplingError::Empty));
    }
}
