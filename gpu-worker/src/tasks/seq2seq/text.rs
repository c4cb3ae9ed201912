//! One source and what is being written for it: its place in the cache, and its answers in the making.

use proto::{GeneratedText, TokenEvent};

use super::answer::{Answer, NextError};
use crate::{
    layers::{KvArena, KvSlot, reorder},
    sampling::{BeamNext, BeamSearch, SamplingError},
    tasks::Write,
};

/// One source and its answers.
pub struct Text {
    /// Where the source's keys and values are.
    pub source_slot: KvSlot,
    pub source_tokens: usize,
    pub is_encoded: bool,
    answers: Answers,
}

enum Answers {
    /// Each by itself, token by token.
    Apart(Vec<Answer>),
    /// Together, as beams.
    Beams { search: Box<BeamSearch>, slots: Vec<KvSlot> },
}

/// A row of the next pass over targets.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub slot: &'a KvSlot,
    /// Tokens in the slot.
    pub cached: usize,
    pub id: u32,
}

impl Text {
    /// Takes the room that the text may need at most; `None` while there isn't enough.
    pub fn open(work: &Write, source_tokens: usize, arena: &KvArena) -> Option<Self> {
        let source_slot = arena.reserve(source_tokens as i64)?;
        let max_length = work.decoding.constraints.max_length as i64;
        let slots = (0..work.rows()).map(|_| arena.reserve(max_length));
        let slots = slots.collect::<Option<Vec<_>>>()?;
        let answers = match &work.decoding.beams {
            Some(options) => Answers::Beams {
                search: Box::new(BeamSearch::new(options.clone(), work.decoding.start)),
                slots,
            },
            None => Answers::Apart(
                slots
                    .into_iter()
                    .zip(0..)
                    .map(|(slot, choice)| Answer::new(work, choice, slot))
                    .collect(),
            ),
        };
        Some(Self { source_slot, source_tokens, is_encoded: false, answers })
    }

    /// The tokens that the model has to see next. Beams that are still the same are one row.
    pub fn rows(&self) -> Vec<Row<'_>> {
        match &self.answers {
            Answers::Apart(answers) => answers.iter().filter_map(Answer::row).collect(),
            Answers::Beams { search, slots } => {
                let n = if search.is_empty() { 1 } else { slots.len() };
                let cached = search.len() - 1;
                let rows = slots.iter().zip(search.last_ids()).take(n);
                rows.map(|(slot, id)| Row { slot, cached, id }).collect()
            }
        }
    }

    /// Tokens of the longest answer so far.
    pub fn written(&self) -> usize {
        match &self.answers {
            Answers::Apart(answers) => {
                answers.iter().map(Answer::generated_tokens).max().unwrap_or(0)
            }
            Answers::Beams { search, .. } => search.len() - 1,
        }
    }

    /// Takes the logits of [`Self::rows`], one row after the other; `emit` hears of every token that is certain.
    /// The answers once all are complete.
    pub fn next(
        &mut self,
        logits: &mut [f32],
        work: &Write,
        source: &[u32],
        mut emit: impl FnMut(Option<TokenEvent>),
    ) -> Result<Option<Vec<GeneratedText>>, NextError> {
        match &mut self.answers {
            Answers::Apart(answers) => {
                let open: Vec<&mut Answer> =
                    answers.iter_mut().filter(|answer| answer.row().is_some()).collect();
                let vocabulary = logits.len() / open.len().max(1);
                for (answer, row) in open.into_iter().zip(logits.chunks_mut(vocabulary.max(1))) {
                    emit(answer.next(row, work, source)?);
                }
                if answers.iter().any(|answer| answer.row().is_some()) {
                    return Ok(None);
                }
                Ok(Some(answers.iter_mut().map(|answer| answer.take_text(source.len())).collect()))
            }
            Answers::Beams { search, slots } => {
                match search.step(logits, &work.decoding.constraints, source)? {
                    BeamNext::Continue { parents } => {
                        // The cache holds what the beams had before this token.
                        let cached = search.len() as i64 - 1;
                        *slots = reorder(std::mem::take(slots), &parents, cached);
                        Ok(None)
                    }
                    BeamNext::Done => beam_texts(search, work, source.len()).map(Some),
                }
            }
        }
    }
}

fn beam_texts(
    search: &BeamSearch,
    work: &Write,
    source_tokens: usize,
) -> Result<Vec<GeneratedText>, NextError> {
    let targets = search.clone().into_targets();
    if targets.is_empty() {
        return Err(SamplingError::NothingPossible.into());
    }
    let text = |target: &crate::sampling::BeamTarget| {
        let ends = &work.decoding.constraints.eos_token_ids;
        let is_end = target.ids.last().is_some_and(|id| ends.contains(id));
        Ok(GeneratedText {
            text: work.tokenizer.decode(&target.ids, true)?,
            finish_reason: if is_end { "stop" } else { "length" }.to_owned(),
            prompt_tokens: source_tokens as u32,
            cached_tokens: None,
            generated_tokens: target.ids.len() as u32,
            logprobs: Vec::new(),
        })
    };
    targets.iter().map(text).collect()
}

impl Write {
    /// Answers that are in the making at the same time for each source.
    pub fn rows(&self) -> usize {
        match &self.decoding.beams {
            Some(beams) => beams.num_beams,
            None => self.decoding.num_return_sequences,
        }
    }

    /// Tokens of the cache that a source of so many tokens needs at most.
    pub fn cache_tokens(&self, source_tokens: usize) -> usize {
        source_tokens + self.rows() * self.decoding.constraints.max_length
    }
}
