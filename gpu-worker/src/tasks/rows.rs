//! Rows of tokens as one rectangular batch: which go together, their tensors, and what a model cannot take.

use tch::{Device, Tensor};

use super::{RowAdapter, StepShape, TokenRow};
use crate::{
    failure::{Code, Failure},
    layers::Step,
    models::TextModel,
};

/// Tokens of one step, padding included.
const STEP_TOKENS: usize = 4096;

impl TokenRow {
    /// The smallest there is.
    pub fn smallest() -> Self {
        Self { ids: vec![0], type_ids: vec![0], prompt_tokens: 0 }
    }
}

/// Why the model cannot read these rows. A tokenizer that does not belong to the model must not read beyond its
/// embeddings.
pub fn refusal<'a>(
    model: &(impl TextModel + ?Sized),
    rows: impl IntoIterator<Item = &'a TokenRow>,
) -> Option<Failure> {
    let highest = |ids: &[u32]| ids.iter().max().map_or(0, |&id| i64::from(id) + 1);
    rows.into_iter().find_map(|row| {
        let (tokens, limit) = (row.ids.len() as i64, model.context_length());
        if tokens > limit {
            let message = format!("the input has {tokens} tokens, the model takes {limit}");
            return Some(
                Failure::new(Code::InputTooLong, message)
                    .at("inputs")
                    .number("tokens", row.ids.len() as u64)
                    .number("limit", limit.max(0) as u64),
            );
        }
        let limits = [
            ("token id", model.vocab_size(), highest(&row.ids)),
            ("segment id", model.type_vocab_size(), highest(&row.type_ids)),
        ];
        let (what, limit, needed) = limits.into_iter().find(|(_, limit, needed)| needed > limit)?;
        let message = format!("the tokenizer gives a {what} of {needed}, the model knows {limit}");
        Some(Failure::new(Code::CorruptCheckpoint, message))
    })
}

/// Which of the waiting rows, next in turn first, go into one step.
pub fn choose<'a>(waiting: impl Iterator<Item = &'a TokenRow>) -> Vec<usize> {
    plan(&waiting.map(|row| row.ids.len()).collect::<Vec<_>>(), STEP_TOKENS)
}

/// How large a step with these rows is.
pub fn shape<'a>(rows: impl ExactSizeIterator<Item = &'a TokenRow>) -> StepShape {
    let n_rows = rows.len();
    let tokens = rows.map(|row| row.ids.len()).max().unwrap_or(0) * n_rows;
    StepShape::new(tokens, n_rows, tokens, STEP_TOKENS)
}

/// The tensors of a step, padded at the end.
pub struct Batch {
    /// `[batch, longest]`.
    pub ids: Tensor,
    pub type_ids: Tensor,
    /// True where there is a token; `None`: everywhere.
    mask: Option<Tensor>,
}

impl Batch {
    pub fn new(rows: &[&TokenRow], device: Device) -> Self {
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let shape = [rows.len() as i64, longest as i64];
        let column = |of: fn(&TokenRow) -> &[u32]| {
            let values: Vec<i64> = rows.iter().flat_map(|row| padded(of(row), longest)).collect();
            Tensor::from_slice(&values).view(shape).to_device(device)
        };
        let is_padded = rows.iter().any(|row| row.ids.len() < longest);
        let mask = is_padded.then(|| {
            let present = |row: &&TokenRow| {
                let tokens = row.ids.len();
                (0..longest).map(move |at| at < tokens)
            };
            let values: Vec<bool> = rows.iter().flat_map(present).collect();
            Tensor::from_slice(&values).view(shape).to_device(device)
        });
        Self { ids: column(|row| &row.ids), type_ids: column(|row| &row.type_ids), mask }
    }

    /// The step of the rows, each with its adapter if it has one.
    pub fn step(&self, adapters: &[RowAdapter]) -> Step<'_> {
        self.mask.as_ref().map_or_else(Step::whole, Step::padded).with_adapters(adapters)
    }
}

fn padded(ids: &[u32], length: usize) -> impl Iterator<Item = i64> {
    ids.iter().map(|&id| i64::from(id)).chain(std::iter::repeat(0)).take(length)
}

/// Texts this much longer than others still go with them: the padding between them is left out of nearly all that a step
/// computes.
const NEAR: usize = 48;

/// Those whose length is near that of the first, as many as fit into `budget` tokens.
fn plan(lengths: &[usize], budget: usize) -> Vec<usize> {
    let Some(&first) = lengths.first() else { return Vec::new() };
    let mut chosen = vec![0];
    let mut longest = first;
    for (at, &length) in lengths.iter().enumerate().skip(1) {
        let (short, long) = (first.min(length), first.max(length));
        let is_near = long <= short + (short / 3).max(NEAR);
        if is_near && longest.max(length) * (chosen.len() + 1) <= budget {
            longest = longest.max(length);
            chosen.push(at);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_similar_length_go_together_with_the_oldest() {
        assert_eq!(plan(&[10, 100, 42, 9, 400], 4096), [0, 2, 3]);
    }

    #[test]
    fn a_step_stays_within_its_tokens() {
        assert_eq!(plan(&[100; 10], 450).len(), 4);
        assert_eq!(plan(&[9000, 9000], 4096), [0]);
    }

    #[test]
    fn nothing_waits_nothing_is_chosen() {
        assert!(plan(&[], 10).is_empty());
    }

    #[test]
    fn rows_are_padded_at_their_end_and_masked_there() {
        let row = |ids: &[u32]| TokenRow {
            ids: ids.to_vec(),
            type_ids: vec![1; ids.len()],
            prompt_tokens: 0,
        };
        let (long, short) = (row(&[7, 8, 9]), row(&[5]));
        let batch = Batch::new(&[&long, &short], Device::Cpu);
        let values = |tensor: &Tensor| Vec::<i64>::try_from(tensor.view([-1])).unwrap();
        assert_eq!(values(&batch.ids), [7, 8, 9, 5, 0, 0]);
        assert_eq!(values(&batch.type_ids), [1, 1, 1, 1, 0, 0]);
        let mask = batch.mask.expect("one row is shorter").to_kind(tch::Kind::Int64);
        assert_eq!(values(&mask), [1, 1, 1, 1, 0, 0]);
        assert!(Batch::new(&[&long], Device::Cpu).mask.is_none());
    }
}
