//! Scores of tokens as beginnings and ends become the likeliest parts of a text.
//!
//! Reference: `decode_spans` and `select_starts_ends` in `transformers/pipelines/document_question_answering.py`.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::tasks::labels::Function;

/// From the first to the last token, and how likely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub score: f64,
    pub first: usize,
    pub last: usize,
}

impl Eq for Span {}

impl Ord for Span {
    /// The likelier is greater; of equal ones that which comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then_with(|| (other.first, other.last).cmp(&(self.first, self.last)))
    }
}

impl PartialOrd for Span {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How likely each token of a window begins and ends the answer.
pub struct Ends {
    starts: Vec<f64>,
    ends: Vec<f64>,
    /// How likely there is no answer: that the first token is both.
    pub null: f64,
}

impl Ends {
    /// `logits` has two values per token; only tokens that count share the probability.
    pub fn new(logits: &[f32], counts: &[bool]) -> Self {
        let column = |at: usize| {
            let counted = counts.iter().zip(logits.chunks(2)).filter(|(counts, _)| **counts);
            let counted: Vec<f32> = counted.map(|(_, pair)| pair[at]).collect();
            let mut shares = Function::Softmax.apply(&counted).into_iter();
            let share = |&counts: &bool| if counts { shares.next().unwrap_or(0.0) } else { 0.0 };
            counts.iter().map(share).collect::<Vec<f64>>()
        };
        let (starts, ends) = (column(0), column(1));
        let first = |column: &[f64]| column.first().copied().unwrap_or(0.0);
        Self { null: first(&starts) * first(&ends), starts, ends }
    }

    /// The `top_k` likeliest spans of at most `longest` tokens, all of which `may_answer`, best first.
    pub fn best(
        &self,
        top_k: usize,
        longest: usize,
        may_answer: impl Fn(usize) -> bool,
    ) -> Vec<Span> {
        let mut best = BinaryHeap::with_capacity(top_k + 1);
        for (first, start) in self.starts.iter().enumerate().filter(|&(at, _)| may_answer(at)) {
            let lasts = self.ends.iter().enumerate().skip(first).take(longest);
            for (last, end) in lasts.take_while(|&(at, _)| may_answer(at)) {
                best.push(Reverse(Span { score: start * end, first, last }));
                if best.len() > top_k {
                    best.pop();
                }
            }
        }
        best.into_sorted_vec().into_iter().map(|Reverse(span)| span).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of these probabilities.
    fn ends(starts: &[f32], ends: &[f32]) -> Ends {
        let logits: Vec<f32> =
            starts.iter().zip(ends).flat_map(|(start, end)| [start.ln(), end.ln()]).collect();
        Ends::new(&logits, &vec![true; starts.len()])
    }

    fn found(spans: &[Span]) -> Vec<(usize, usize)> {
        spans.iter().map(|span| (span.first, span.last)).collect()
    }

    #[test]
    fn a_span_never_ends_before_it_begins_nor_grows_too_long() {
        let ends = ends(&[0.1, 0.1, 0.7, 0.1], &[0.1, 0.6, 0.1, 0.2]);
        assert_eq!(found(&ends.best(2, 4, |at| at > 0)), [(2, 3), (2, 2)]);
        assert_eq!(found(&ends.best(3, 1, |at| at > 0)), [(2, 2), (1, 1), (3, 3)]);
        assert!((ends.null - 0.01).abs() < 1e-6);
    }

    #[test]
    fn tokens_that_do_not_count_take_no_share() {
        let logits = [0.0, 0.0, 9.0, 9.0, 0.0, 0.0];
        let ends = Ends::new(&logits, &[true, false, true]);
        let best = ends.best(5, 9, |at| at == 2);
        assert_eq!((found(&best), best[0].score), (vec![(2, 2)], 0.25));
    }
}
