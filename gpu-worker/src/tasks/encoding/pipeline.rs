//! The lane's side of encoding: batches of similar length, one forward pass, pooled rows.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::pooling;
use crate::{
    failure::{Code, Failure},
    layers::Step,
    models::TextEncoder,
    tasks::{
        Encode, Made, Pooling, Scaling, StepShape, TokenRow, Vectors, Work,
        batched::{BatchPipeline, Batched},
    },
};

/// Tokens of one step, padding included.
const STEP_TOKENS: usize = 4096;

pub type EncodingPipeline = BatchPipeline<Encoding>;

pub struct Encoding {
    model: Box<dyn TextEncoder>,
    device: Device,
}

impl EncodingPipeline {
    pub fn of(model: Box<dyn TextEncoder>, device: Device) -> Self {
        Self::new(Encoding { model, device })
    }
}

/// One text of a request, with how its vectors are made.
pub struct Text {
    row: TokenRow,
    request: Rc<Encode>,
}

impl Batched for Encoding {
    type Item = Text;
    type Output = Vectors;

    fn smallest(&self) -> Text {
        let row = TokenRow { ids: vec![0], type_ids: vec![0], prompt_tokens: 0 };
        let request = Encode {
            rows: Vec::new(),
            pooling: Pooling::Mean,
            scaling: Scaling::default(),
            dimensions: None,
        };
        Text { row, request: Rc::new(request) }
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::Encode(_))
    }

    /// A tokenizer that does not belong to the model must not read beyond its embeddings.
    fn refusal(&self, work: &Work) -> Option<Failure> {
        let Work::Encode(request) = work else { return None };
        let limits = [
            ("tokens", self.model.context_length()),
            ("token id", self.model.vocab_size()),
            ("segment id", self.model.type_vocab_size()),
        ];
        request.rows.iter().find_map(|row| {
            let highest = |ids: &[u32]| ids.iter().max().map_or(0, |&id| i64::from(id) + 1);
            let needed = [row.ids.len() as i64, highest(&row.ids), highest(&row.type_ids)];
            let ((what, limit), needed) =
                limits.into_iter().zip(needed).find(|((_, limit), needed)| needed > limit)?;
            let message =
                format!("the tokenizer gives a {what} of {needed}, the model knows {limit}");
            Some(Failure::new(Code::CorruptCheckpoint, message))
        })
    }

    fn split(&self, work: Work) -> Vec<Text> {
        let Work::Encode(mut request) = work else { return Vec::new() };
        let rows = std::mem::take(&mut request.rows);
        let request = Rc::new(request);
        rows.into_iter().map(|row| Text { row, request: Rc::clone(&request) }).collect()
    }

    /// Tokens.
    fn size(&self, text: &Text) -> usize {
        text.row.ids.len()
    }

    fn choose(&self, waiting: &[&Text]) -> Vec<usize> {
        let lengths: Vec<usize> = waiting.iter().map(|text| text.row.ids.len()).collect();
        plan(&lengths, STEP_TOKENS)
    }

    fn shape(&self, texts: &[&Text]) -> StepShape {
        let longest = texts.iter().map(|text| text.row.ids.len()).max().unwrap_or(0);
        let tokens = longest * texts.len();
        StepShape::new(tokens, texts.len(), tokens, STEP_TOKENS)
    }

    fn run(&self, texts: &[&Text]) -> Vec<Vectors> {
        let longest = texts.iter().map(|text| text.row.ids.len()).max().unwrap_or(0);
        let is_padded = texts.iter().any(|text| text.row.ids.len() < longest);
        let column = |of: fn(&TokenRow) -> &[u32]| {
            let values: Vec<i64> =
                texts.iter().flat_map(|text| padded(of(&text.row), longest)).collect();
            Tensor::from_slice(&values)
                .view([texts.len() as i64, longest as i64])
                .to_device(self.device)
        };
        let mask = is_padded.then(|| {
            let values: Vec<bool> = texts
                .iter()
                .flat_map(|text| (0..longest).map(|at| at < text.row.ids.len()))
                .collect();
            Tensor::from_slice(&values)
                .view([texts.len() as i64, longest as i64])
                .to_device(self.device)
        });
        let step = mask.as_ref().map_or_else(Step::whole, Step::padded);
        let hidden =
            self.model.hidden(&column(|row| &row.ids), Some(&column(|row| &row.type_ids)), &step);
        texts
            .iter()
            .enumerate()
            .map(|(at, text)| vectors(&hidden.select(0, at as i64), text))
            .collect()
    }

    fn collect(&self, outputs: Vec<Vectors>) -> Made {
        Made::Vectors(outputs)
    }
}

/// `[longest, dim]` of one padded row to the vectors that were asked for.
fn vectors(hidden: &Tensor, text: &Text) -> Vectors {
    let tokens = hidden.narrow(0, 0, text.row.ids.len() as i64);
    let pooled = pooling::pool(&tokens, text.request.pooling, text.row.prompt_tokens);
    let shaped = match text.request.pooling {
        // Vectors of tokens are given as the model makes them, unless the request asks otherwise.
        Pooling::None if !text.request.scaling.asked && text.request.dimensions.is_none() => pooled,
        _ => pooling::shape(pooled, &text.request),
    };
    let dim = shaped.size()[1] as usize;
    let flat = shaped.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
    Vectors { values: Vec::try_from(flat).expect("a flat float tensor"), dim }
}

fn padded(ids: &[u32], length: usize) -> impl Iterator<Item = i64> {
    ids.iter().map(|&id| i64::from(id)).chain(std::iter::repeat(0)).take(length)
}

/// Which of the waiting texts, oldest first, go together with the oldest: those whose length is near its own, as many
/// as fit into `budget` tokens.
fn plan(lengths: &[usize], budget: usize) -> Vec<usize> {
    let Some(&first) = lengths.first() else { return Vec::new() };
    let mut chosen = vec![0];
    let mut longest = first;
    for (at, &length) in lengths.iter().enumerate().skip(1) {
        let is_near = length * 3 <= first * 4 + 12 && first * 3 <= length * 4 + 12;
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
        assert_eq!(plan(&[10, 100, 12, 9, 400], 4096), [0, 2, 3]);
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
}
