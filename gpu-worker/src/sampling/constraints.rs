//! What a target may not or must contain: rules on the scores of the next token, in the reference's order.
//!
//! Reference: `_get_logits_processor` in `transformers/generation/utils.py` and `transformers/generation/logits_process.py`.

/// The rules of one request. They hold for logits and for their logarithms alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraints {
    /// Divides positive and multiplies negative scores of tokens of the target; 1: none.
    pub repetition_penalty: f64,
    /// No run of so many tokens comes twice; 0: no rule.
    pub no_repeat_ngram_size: usize,
    /// No run of so many tokens of the source comes in the target; 0: no rule.
    pub encoder_no_repeat_ngram_size: usize,
    /// Runs of tokens that never come.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// How long the target is before anything is written: 1, its start token, or a prompt.
    pub begin: usize,
    /// No end before the target has so many tokens, its first included.
    pub min_length: usize,
    /// The target's second token.
    pub forced_bos_token_id: Option<u32>,
    /// What stands at the end of a target of the largest length.
    pub forced_eos_token_ids: Vec<u32>,
    /// The largest length of a target, its first token included.
    pub max_length: usize,
    /// Beyond so many written tokens an end becomes likelier with each, by this factor.
    pub length_decay: Option<(usize, f64)>,
    /// Tokens that never come.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that don't come first (after a forced one, where there is one).
    pub begin_suppress_tokens: Vec<u32>,
    /// Whether beams compare what is left of a row as probabilities again.
    pub renormalize: bool,
    /// Tokens that end the target.
    pub eos_token_ids: Vec<u32>,
}

impl Constraints {
    /// Changes one row of scores, `[vocab]`, of what follows `target`, which begins with its start token. Tokens that
    /// the row doesn't have are no fault.
    pub fn apply(&self, scores: &mut [f32], target: &[u32], source: &[u32]) {
        self.penalise(scores, target);
        ban_repeated(scores, self.no_repeat_ngram_size, target, target);
        ban_repeated(scores, self.encoder_no_repeat_ngram_size, target, source);
        self.ban_words(scores, target);
        if target.len() < self.min_length {
            ban(scores, &self.eos_token_ids);
        }
        if let (1, Some(bos)) = (target.len(), self.forced_bos_token_id) {
            force(scores, &[bos]);
        }
        if target.len() + 1 == self.max_length && !self.forced_eos_token_ids.is_empty() {
            force(scores, &self.forced_eos_token_ids);
        }
        self.decay(scores, target.len());
        ban(scores, &self.suppress_tokens);
        let after_forced = self.begin <= 1 && self.forced_bos_token_id.is_some();
        if target.len() == self.begin + usize::from(after_forced) {
            ban(scores, &self.begin_suppress_tokens);
        }
    }

    fn penalise(&self, scores: &mut [f32], target: &[u32]) {
        let penalty = self.repetition_penalty as f32;
        if penalty == 1.0 {
            return;
        }
        let mut seen = target.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(score) = scores.get_mut(id as usize) {
                let penalised = if *score < 0.0 { *score * penalty } else { *score / penalty };
                // What leaves the range of a float stays ordered.
                *score = penalised.min(f32::MAX);
            }
        }
    }

    fn decay(&self, scores: &mut [f32], length: usize) {
        let Some((start, factor)) = self.length_decay else { return };
        let beyond = length.saturating_sub(start + self.begin);
        if beyond == 0 {
            return;
        }
        let growth = (factor.powf(beyond as f64) - 1.0) as f32;
        let growth = growth.min(f32::MAX);
        for &id in &self.eos_token_ids {
            if let Some(score) = scores.get_mut(id as usize)
                && score.is_finite()
            {
                *score = (*score + score.abs() * growth).clamp(f32::MIN, f32::MAX);
            }
        }
    }

    fn ban_words(&self, scores: &mut [f32], target: &[u32]) {
        for word in &self.bad_words_ids {
            let Some((&last, before)) = word.split_last() else { continue };
            let is_end = before.is_empty() && self.eos_token_ids.contains(&last);
            if !is_end && target.ends_with(before) {
                ban(scores, &[last]);
            }
        }
    }
}

/// Bans what would complete a run of `size` tokens that `text` has.
fn ban_repeated(scores: &mut [f32], size: usize, target: &[u32], text: &[u32]) {
    if size == 0 || target.len() + 1 < size {
        return;
    }
    let begun = &target[target.len() + 1 - size..];
    for run in text.windows(size) {
        if run.starts_with(begun) {
            ban(scores, &run[size - 1..]);
        }
    }
}

fn ban(scores: &mut [f32], ids: &[u32]) {
    for &id in ids {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

fn force(scores: &mut [f32], ids: &[u32]) {
    scores.fill(f32::NEG_INFINITY);
    for &id in ids {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Constraints {
        Constraints {
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            encoder_no_repeat_ngram_size: 0,
            bad_words_ids: Vec::new(),
            begin: 1,
            min_length: 0,
            forced_bos_token_id: None,
            forced_eos_token_ids: Vec::new(),
            max_length: 100,
            length_decay: None,
            suppress_tokens: Vec::new(),
            begin_suppress_tokens: Vec::new(),
            renormalize: false,
            eos_token_ids: vec![0],
        }
    }

    /// The tokens that stay possible.
    fn possible(constraints: &Constraints, target: &[u32], source: &[u32]) -> Vec<usize> {
        let mut scores = [-1.0; 6];
        constraints.apply(&mut scores, target, source);
        (0..6).filter(|&id| scores[id].is_finite()).collect()
    }

    #[test]
    fn a_run_that_came_is_not_completed_again() {
        let constraints = Constraints { no_repeat_ngram_size: 2, ..none() };
        assert_eq!(possible(&constraints, &[5, 1, 2, 1], &[]), [0, 1, 3, 4, 5]);
        let constraints = Constraints { encoder_no_repeat_ngram_size: 3, ..none() };
        assert_eq!(possible(&constraints, &[5, 1, 2], &[9, 1, 2, 3]), [0, 1, 2, 4, 5]);
        assert_eq!(possible(&constraints, &[5], &[5, 1, 2]), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_bad_word_is_never_completed_but_the_end_stays() {
        let constraints =
            Constraints { bad_words_ids: vec![vec![3], vec![1, 2], vec![0], vec![]], ..none() };
        assert_eq!(possible(&constraints, &[5, 1], &[]), [0, 1, 4, 5]);
        assert_eq!(possible(&constraints, &[5], &[]), [0, 1, 2, 4, 5]);
    }

    #[test]
    fn beginning_and_end_are_forced_where_they_belong() {
        let constraints = Constraints {
            forced_bos_token_id: Some(4),
            forced_eos_token_ids: vec![0],
            begin_suppress_tokens: vec![1],
            max_length: 4,
            ..none()
        };
        assert_eq!(possible(&constraints, &[5], &[]), [4]);
        assert_eq!(possible(&constraints, &[5, 4], &[]), [0, 2, 3, 4, 5]);
        assert_eq!(possible(&constraints, &[5, 4, 2], &[]), [0]);
    }

    #[test]
    fn ids_beyond_the_vocabulary_do_nothing() {
        let constraints = Constraints {
            suppress_tokens: vec![99],
            bad_words_ids: vec![vec![99]],
            repetition_penalty: 2.0,
            ..none()
        };
        assert_eq!(possible(&constraints, &[99], &[99]), [0, 1, 2, 3, 4, 5]);
    }
}
