//! The lane's side of encoding: batches of similar length, one forward pass, pooled rows.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::pooling;
use crate::{
    failure::Failure,
    models::TextEncoder,
    tasks::{
        Encode, Made, Pooling, RowAdapter, Scaling, StepShape, TokenRow, Vectors, Work,
        batched::{BatchPipeline, Batched},
        rows::{self, Batch},
    },
};

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
        let request = Encode {
            rows: Vec::new(),
            pooling: Pooling::Mean,
            scaling: Scaling::default(),
            dimensions: None,
        };
        Text { row: TokenRow::smallest(), request: Rc::new(request) }
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::Encode(_))
    }

    fn refusal(&self, work: &Work) -> Option<Failure> {
        let Work::Encode(request) = work else { return None };
        rows::refusal(&*self.model, &request.rows)
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
        rows::choose(waiting.iter().map(|text| &text.row))
    }

    fn shape(&self, texts: &[&Text]) -> StepShape {
        rows::shape(texts.iter().map(|text| &text.row))
    }

    fn run(&self, texts: &[&Text], adapters: &[RowAdapter]) -> Vec<Vectors> {
        let batch =
            Batch::new(&texts.iter().map(|text| &text.row).collect::<Vec<_>>(), self.device);
        let hidden = self.model.hidden(&batch.ids, Some(&batch.type_ids), &batch.step(adapters));
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
