//! The lane's side of scoring: batches of similar length, one forward pass, a row's logits.

use tch::{Device, Kind, Tensor};

use crate::{
    failure::{Code, Failure},
    models::{MaskedLm, SequenceClassifier, TextModel, TokenScorer},
    tasks::{
        Made, RowAdapter, Score, StepShape, TokenRow, Vectors, Work,
        batched::{BatchPipeline, Batched},
        rows::{self, Batch},
    },
};

/// Places of one row whose token may be wanted: each costs a line as long as the vocabulary.
const MOST_WANTED: usize = 64;

pub type ScoringPipeline = BatchPipeline<Scoring>;

/// What gives the scores.
pub enum Scorer {
    Sequences(Box<dyn SequenceClassifier>),
    Tokens(Box<dyn TokenScorer>),
    Masked(Box<dyn MaskedLm>),
}

pub struct Scoring {
    model: Scorer,
    device: Device,
}

impl ScoringPipeline {
    pub fn of(model: Scorer, device: Device) -> Self {
        Self::new(Scoring { model, device })
    }
}

/// One text of a request.
pub struct Text {
    row: TokenRow,
    wanted: Vec<usize>,
}

impl Batched for Scoring {
    type Item = Text;
    type Output = Vectors;

    fn smallest(&self) -> Text {
        Text { row: TokenRow::smallest(), wanted: vec![0] }
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::Score(_))
    }

    fn refusal(&self, work: &Work) -> Option<Failure> {
        let Work::Score(Score { rows, wanted }) = work else { return None };
        if let Some(refusal) = rows::refusal(self.text_model(), rows) {
            return Some(refusal);
        }
        let Scorer::Masked(_) = self.model else { return None };
        if wanted.len() != rows.len() {
            let message = "the wanted places do not belong to the rows";
            return Some(Failure::new(Code::InferenceFailed, message));
        }
        if let Some(places) = wanted.iter().find(|places| places.len() > MOST_WANTED) {
            let message = format!("{} tokens are wanted, the limit is {MOST_WANTED}", places.len());
            let limit = MOST_WANTED as u64;
            return Some(Failure::new(Code::InvalidRequest, message).number("limit", limit));
        }
        let mut pairs = rows.iter().zip(wanted);
        let is_outside = pairs.any(|(row, places)| places.iter().any(|&at| at >= row.ids.len()));
        is_outside
            .then(|| Failure::new(Code::InferenceFailed, "a wanted place is outside of its row"))
    }

    fn split(&self, work: Work) -> Vec<Text> {
        let Work::Score(Score { rows, wanted }) = work else { return Vec::new() };
        let wanted = wanted.into_iter().chain(std::iter::repeat_with(Vec::new));
        rows.into_iter().zip(wanted).map(|(row, wanted)| Text { row, wanted }).collect()
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
        let (ids, type_ids, step) = (&batch.ids, Some(&batch.type_ids), &batch.step(adapters));
        let each = texts.iter().enumerate();
        match &self.model {
            Scorer::Sequences(model) => {
                let logits = model.logits(ids, type_ids, step).to_device(Device::Cpu);
                each.map(|(at, _)| vectors(&logits.narrow(0, at as i64, 1))).collect()
            }
            Scorer::Tokens(model) => {
                let logits = model.logits(ids, type_ids, step).to_device(Device::Cpu);
                let of = |(at, text): (usize, &&Text)| {
                    let tokens = text.row.ids.len() as i64;
                    vectors(&logits.select(0, at as i64).narrow(0, 0, tokens))
                };
                each.map(of).collect()
            }
            Scorer::Masked(model) => {
                let hidden = model.hidden(ids, type_ids, step);
                let of = |(at, text): (usize, &&Text)| {
                    let places: Vec<i64> = text.wanted.iter().map(|&place| place as i64).collect();
                    if places.is_empty() {
                        return Vectors { values: Vec::new(), dim: model.vocab_size() as usize };
                    }
                    let step = step.of_rows(&vec![at as i64; places.len()]);
                    let places = Tensor::from_slice(&places).to_device(self.device);
                    let rows = hidden.select(0, at as i64).index_select(0, &places);
                    vectors(&model.logits(&rows, &step).to_device(Device::Cpu))
                };
                each.map(of).collect()
            }
        }
    }

    fn collect(&self, outputs: Vec<Vectors>) -> Made {
        Made::Scores(outputs)
    }
}

impl Scoring {
    fn text_model(&self) -> &dyn TextModel {
        match &self.model {
            Scorer::Sequences(model) => &**model,
            Scorer::Tokens(model) => &**model,
            Scorer::Masked(model) => &**model,
        }
    }
}

/// `[rows, n]` on the CPU.
fn vectors(logits: &Tensor) -> Vectors {
    let dim = logits.size()[1] as usize;
    let flat = logits.to_kind(Kind::Float).contiguous().view([-1]);
    Vectors { values: Vec::try_from(flat).expect("a flat float tensor"), dim }
}
