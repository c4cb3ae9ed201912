//! The beams of one request: sequences that share what they begin with, and follow one another as the search goes on.

use proto::GeneratedText;

use super::{
    cached::Cached,
    sequence::{Finish, NextError, Sequence, detokenizer},
};
use crate::{
    layers::{KvSlot, reorder},
    sampling::{BeamNext, BeamOptions, BeamSearch, BeamTarget, SamplingError},
    tasks::Generate,
};

pub struct Beams {
    search: BeamSearch,
    /// Room for the beams that the first one becomes once the prompt is read.
    spare: Vec<KvSlot>,
}

impl Beams {
    /// The search, and the sequence that reads the prompt for all.
    pub fn new(
        options: &BeamOptions,
        work: &Generate,
        mut slots: Vec<KvSlot>,
    ) -> (Self, Vec<Sequence>) {
        let first = slots.pop().map(|slot| Sequence::beam(slot, Cached::default(), Vec::new()));
        let search = BeamSearch::after(options.clone(), &work.prompt_ids);
        (Self { search, spare: slots }, first.into_iter().collect())
    }

    /// Tokens that each beam has written.
    pub fn written(&self) -> usize {
        self.search.written().next().map_or(0, <[u32]>::len)
    }

    /// Takes the logits of all beams, one row after the other, and moves the sequences to where the search goes on; the
    /// answers when it is done. `cached_tokens` of the prompt were not read for them.
    pub fn next(
        &mut self,
        logits: &mut [f32],
        sequences: &mut Vec<Sequence>,
        work: &Generate,
        cached_tokens: usize,
    ) -> Result<Option<Vec<GeneratedText>>, NextError> {
        let Some(constraints) = &work.constraints else {
            return Err(SamplingError::NothingPossible.into());
        };
        match self.search.step(logits, constraints, &[])? {
            BeamNext::Continue { parents } => {
                // The cache holds what the beams had before this token, of each as much.
                let cached = sequences.first().map(Sequence::cached).unwrap_or_default();
                let slots = std::mem::take(sequences).into_iter().map(Sequence::into_slot);
                let slots: Vec<KvSlot> = slots.chain(std::mem::take(&mut self.spare)).collect();
                *sequences = reorder(slots, &parents, cached.tokens() as i64)
                    .into_iter()
                    .zip(self.search.written())
                    .map(|(slot, ids)| Sequence::beam(slot, cached, ids.to_vec()))
                    .collect();
                Ok(None)
            }
            BeamNext::Done => {
                // Their own texts are no answers, but another text may begin like one of them.
                sequences.truncate(1);
                sequences.iter_mut().for_each(|sequence| sequence.finish = Some(Finish::Length));
                let targets = self.search.clone().into_targets();
                if targets.is_empty() {
                    return Err(SamplingError::NothingPossible.into());
                }
                let texts = targets.iter().map(|target| text(target, work, cached_tokens));
                texts.collect::<Result<_, _>>().map(Some)
            }
        }
    }
}

fn text(
    target: &BeamTarget,
    work: &Generate,
    cached_tokens: usize,
) -> Result<GeneratedText, NextError> {
    let ends = &work.options.eos_token_ids;
    let (mut ids, mut finish) = (target.ids.as_slice(), Finish::Length);
    if let Some((last, before)) = ids.split_last()
        && ends.contains(last)
    {
        (ids, finish) = (before, Finish::Stop);
    }
    let mut detokenizer = detokenizer(work)?;
    let mut text = String::new();
    for &id in ids {
        text.push_str(&detokenizer.push(id)?);
    }
    text.push_str(&detokenizer.finish()?);
    Ok(GeneratedText {
        text,
        finish_reason: finish.name().to_owned(),
        prompt_tokens: work.prompt_ids.len() as u32,
        cached_tokens: Some(cached_tokens as u32),
        generated_tokens: target.ids.len() as u32,
        logprobs: Vec::new(),
    })
}
