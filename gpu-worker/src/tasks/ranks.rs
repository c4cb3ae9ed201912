//! A query and candidates in, the candidates best first out: what `text-ranking` and `text-retrieval` share.

use proto::{RankedText, RankingInputs, RankingOutput};

use super::{
    labels::{best_first, top_k},
    texts::{check_pairs, check_texts},
};
use crate::failure::Failure;

pub struct Candidates {
    pub query: String,
    pub candidates: Vec<String>,
}

impl Candidates {
    pub fn of(inputs: Option<RankingInputs>) -> Result<Self, Failure> {
        let RankingInputs { query, candidates } = inputs.unwrap_or_default();
        let query = query.ok_or_else(|| Failure::invalid("inputs.query", "is missing"))?;
        check_texts("inputs.query", std::slice::from_ref(&query))?;
        check_texts("inputs.candidates", &candidates)?;
        let bytes: usize = candidates.iter().map(|text| text.len() + query.len()).sum();
        check_pairs("inputs.candidates", candidates.len(), bytes)?;
        Ok(Self { query, candidates })
    }
}

/// What of the ranking is to be answered.
pub struct Wanted {
    top_k: usize,
    texts: bool,
}

impl Wanted {
    pub fn new(top_k_asked: Option<u32>, return_text: Option<bool>) -> Result<Self, Failure> {
        let top_k = top_k(top_k_asked)?.unwrap_or(usize::MAX);
        Ok(Self { top_k, texts: return_text.unwrap_or(false) })
    }

    /// One score per candidate.
    pub fn rank(self, scores: &[f64], candidates: Vec<String>) -> Result<RankingOutput, Failure> {
        let mut texts: Vec<Option<String>> = candidates.into_iter().map(Some).collect();
        let ranked = |at: usize| RankedText {
            index: u32::try_from(at).unwrap_or(u32::MAX),
            score: scores[at],
            text: texts.get_mut(at).and_then(Option::take).filter(|_| self.texts),
        };
        let order = best_first(scores)?.into_iter().take(self.top_k);
        Ok(RankingOutput { results: order.map(ranked).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_equal_ones_in_order() {
        let candidates: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let scores = [0.1, 0.7, 0.1, 0.9];
        let wanted = Wanted::new(None, None).unwrap();
        let ranked = wanted.rank(&scores, candidates.clone()).unwrap().results;
        assert_eq!(ranked.iter().map(|one| one.index).collect::<Vec<_>>(), [3, 1, 0, 2]);
        assert!(ranked.iter().all(|one| one.text.is_none()));
        let two = Wanted::new(Some(2), Some(true)).unwrap().rank(&scores, candidates).unwrap();
        let texts: Vec<&str> = two.results.iter().filter_map(|one| one.text.as_deref()).collect();
        assert_eq!(texts, ["d", "b"]);
        assert!(Wanted::new(Some(0), None).is_err());
    }
}
