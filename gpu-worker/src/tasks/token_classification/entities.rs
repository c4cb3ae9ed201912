//! Labelled tokens become words and entities.
//!
//! Reference: `transformers/pipelines/token_classification.py`.

use super::Aggregation;
use crate::text::{TextError, Tokenizer};

/// A token of the text and how likely each label is.
#[derive(Clone, Debug)]
pub struct Token {
    pub word: String,
    /// One probability per label; there is at least one.
    pub scores: Vec<f64>,
    pub start: usize,
    pub end: usize,
    /// It goes on with the word of the token before it.
    pub is_subword: bool,
}

/// A token, a word or several of them with one label.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    pub label: String,
    pub score: f64,
    pub word: String,
    pub start: usize,
    pub end: usize,
}

/// What the tokens say, in their order; labels that are to be ignored are still there.
pub fn aggregate(
    tokens: &[Token],
    aggregation: Aggregation,
    label: impl Fn(usize) -> String,
    tokenizer: &Tokenizer,
) -> Result<Vec<Labelled>, TextError> {
    let words = match aggregation {
        Aggregation::None | Aggregation::Simple => {
            let alone = |token: &Token| {
                let (best, score) = highest(&token.scores);
                let (label, word) = (label(best), token.word.clone());
                Labelled { label, score, word, start: token.start, end: token.end }
            };
            tokens.iter().map(alone).collect()
        }
        Aggregation::First | Aggregation::Average | Aggregation::Max => tokens
            .chunk_by(|_, next| next.is_subword)
            .map(|word| whole_word(word, aggregation, &label, tokenizer))
            .collect::<Result<_, _>>()?,
    };
    if aggregation == Aggregation::None {
        return Ok(words);
    }
    words
        .chunk_by(|last, next| continues(&last.label, &next.label))
        .map(|group| one(group, tokenizer))
        .collect()
}

/// All tokens of a word under one label.
fn whole_word(
    tokens: &[Token],
    aggregation: Aggregation,
    label: impl Fn(usize) -> String,
    tokenizer: &Tokenizer,
) -> Result<Labelled, TextError> {
    let (first, last) = (&tokens[0], &tokens[tokens.len() - 1]);
    let (best, score) = match aggregation {
        Aggregation::Average => {
            let mean = |id: usize| {
                tokens.iter().map(|token| token.scores[id]).sum::<f64>() / tokens.len() as f64
            };
            highest(&(0..first.scores.len()).map(mean).collect::<Vec<_>>())
        }
        Aggregation::Max => {
            let of_each: Vec<_> = tokens.iter().map(|token| highest(&token.scores)).collect();
            let (surest, _) = highest(&of_each.iter().map(|&(_, score)| score).collect::<Vec<_>>());
            of_each[surest]
        }
        _ => highest(&first.scores),
    };
    let word = tokenizer.join(tokens.iter().map(|token| token.word.clone()).collect())?;
    Ok(Labelled { label: label(best), score, word, start: first.start, end: last.end })
}

/// Neighbours as one entity, named without `B-` or `I-`.
fn one(group: &[Labelled], tokenizer: &Tokenizer) -> Result<Labelled, TextError> {
    let (first, last) = (&group[0], &group[group.len() - 1]);
    let label = first.label.split_once('-').map_or(first.label.as_str(), |(_, tag)| tag);
    Ok(Labelled {
        label: label.to_owned(),
        score: group.iter().map(|part| part.score).sum::<f64>() / group.len() as f64,
        word: tokenizer.join(group.iter().map(|part| part.word.clone()).collect())?,
        start: first.start,
        end: last.end,
    })
}

/// Whether the next label goes on with the entity of the last one. Labels without `B-` and `I-` go on.
fn continues(last: &str, next: &str) -> bool {
    let tag = |label: &str| -> String {
        let bare = label.strip_prefix("B-").or_else(|| label.strip_prefix("I-"));
        bare.unwrap_or(label).to_owned()
    };
    tag(last) == tag(next) && !next.starts_with("B-")
}

/// The first highest score and its place.
fn highest(scores: &[f64]) -> (usize, f64) {
    let first = (0, scores.first().copied().unwrap_or(0.0));
    let pick = |best: (usize, f64), (id, &score): (usize, &f64)| {
        if score > best.1 { (id, score) } else { best }
    };
    scores.iter().enumerate().fold(first, pick)
}

/// What several windows found: of entities that begin inside another the longer one stays, of equally long ones the
/// surer one.
pub fn merge_windows(mut entities: Vec<Labelled>) -> Vec<Labelled> {
    entities.sort_by_key(|entity| entity.start);
    let mut merged: Vec<Labelled> = Vec::with_capacity(entities.len());
    for entity in entities {
        match merged.last_mut() {
            Some(last) if (last.start..last.end).contains(&entity.start) => {
                let (length, last_length) = (entity.end - entity.start, last.end - last.start);
                if length > last_length || length == last_length && entity.score > last.score {
                    *last = entity;
                }
            }
            _ => merged.push(entity),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_never_a_continuation() {
        assert!(continues("B-PER", "I-PER") && continues("I-PER", "I-PER"));
        assert!(continues("PER", "PER") && continues("PER", "I-PER"));
        assert!(
            !continues("B-PER", "B-PER") && !continues("I-PER", "I-LOC") && !continues("O", "I-O-")
        );
    }

    #[test]
    fn of_equal_scores_the_first_is_highest() {
        assert_eq!(highest(&[0.25, 0.5, 0.5]), (1, 0.5));
    }

    fn found(start: usize, end: usize, score: f64) -> Labelled {
        Labelled { label: "PER".into(), score, word: String::new(), start, end }
    }

    #[test]
    fn windows_that_see_the_same_entity_give_it_once() {
        let merged = merge_windows(vec![found(10, 14, 0.5), found(0, 4, 0.9), found(10, 16, 0.4)]);
        assert_eq!(merged, [found(0, 4, 0.9), found(10, 16, 0.4)]);
        assert_eq!(merge_windows(vec![found(0, 4, 0.5), found(0, 4, 0.9)]), [found(0, 4, 0.9)]);
        assert!(merge_windows(Vec::new()).is_empty());
    }
}
