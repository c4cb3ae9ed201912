//! The lane's side of choosing cells: batches of tables of similar length, one forward pass.

use tch::{Device, Kind, Tensor};

use crate::{
    failure::{Code, Failure},
    models::TableAnswerer,
    tasks::{
        Made, RowAdapter, StepShape, TableRow, TableScores, TokenRow, Work,
        batched::{BatchPipeline, Batched},
        rows::{self, Batch},
    },
    text::CHANNELS,
};

pub type TablePipeline = BatchPipeline<Choosing>;

pub struct Choosing {
    model: Box<dyn TableAnswerer>,
    device: Device,
}

impl TablePipeline {
    pub fn of(model: Box<dyn TableAnswerer>, device: Device) -> Self {
        Self::new(Choosing { model, device })
    }
}

/// One question about a table.
pub struct Asked {
    row: TokenRow,
    channels: Vec<[u32; CHANNELS]>,
}

impl From<TableRow> for Asked {
    fn from(TableRow { ids, channels }: TableRow) -> Self {
        let row = TokenRow { type_ids: vec![0; ids.len()], ids, prompt_tokens: 0 };
        Self { row, channels }
    }
}

impl Batched for Choosing {
    type Item = Asked;
    type Output = TableScores;

    fn smallest(&self) -> Asked {
        Asked { row: TokenRow::smallest(), channels: vec![[0; CHANNELS]] }
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::AskTable(_))
    }

    fn refusal(&self, work: &Work) -> Option<Failure> {
        let Work::AskTable(TableRow { ids, channels }) = work else { return None };
        let row = TokenRow { ids: ids.clone(), type_ids: vec![0; ids.len()], prompt_tokens: 0 };
        if let Some(refusal) = rows::refusal(&*self.model, [&row]) {
            return Some(refusal);
        }
        let sizes = self.model.channel_sizes();
        let is_outside = |numbers: &[u32; CHANNELS]| {
            numbers.iter().zip(sizes).any(|(&number, size)| i64::from(number) >= size)
        };
        let message =
            "the tokenizer gives a token of a table a number that the model does not know";
        (channels.len() != ids.len() || channels.iter().any(is_outside))
            .then(|| Failure::new(Code::CorruptCheckpoint, message))
    }

    fn split(&self, work: Work) -> Vec<Asked> {
        let Work::AskTable(row) = work else { return Vec::new() };
        vec![row.into()]
    }

    /// Tokens.
    fn size(&self, asked: &Asked) -> usize {
        asked.row.ids.len()
    }

    fn choose(&self, waiting: &[&Asked]) -> Vec<usize> {
        rows::choose(waiting.iter().map(|asked| &asked.row))
    }

    fn shape(&self, asked: &[&Asked]) -> StepShape {
        rows::shape(asked.iter().map(|asked| &asked.row))
    }

    fn run(&self, asked: &[&Asked], adapters: &[RowAdapter]) -> Vec<TableScores> {
        let batch =
            Batch::new(&asked.iter().map(|asked| &asked.row).collect::<Vec<_>>(), self.device);
        let (n_rows, longest) = batch.ids.size2().expect("ids are [batch, longest]");
        let padded = |asked: &&Asked| {
            let numbers = asked.channels.iter().flatten().map(|&number| i64::from(number));
            let all = longest as usize * CHANNELS;
            numbers.chain(std::iter::repeat(0)).take(all).collect::<Vec<_>>()
        };
        let numbers: Vec<i64> = asked.iter().flat_map(padded).collect();
        let numbers = Tensor::from_slice(&numbers).view([n_rows, longest, CHANNELS as i64]);
        let (tokens, aggregations) =
            self.model.logits(&batch.ids, &numbers.to_device(self.device), &batch.step(adapters));
        let tokens = tokens.to_device(Device::Cpu);
        let aggregations = aggregations.map(|logits| logits.to_device(Device::Cpu));
        let of = |(at, asked): (usize, &&Asked)| TableScores {
            tokens: values(&tokens.select(0, at as i64).narrow(0, 0, asked.row.ids.len() as i64)),
            aggregations: aggregations
                .as_ref()
                .map(|logits| values(&logits.select(0, at as i64)))
                .unwrap_or_default(),
        };
        asked.iter().enumerate().map(of).collect()
    }

    fn collect(&self, mut outputs: Vec<TableScores>) -> Made {
        Made::Table(outputs.pop().unwrap_or_default())
    }
}

/// `[n]` on the CPU.
fn values(logits: &Tensor) -> Vec<f32> {
    Vec::try_from(logits.to_kind(Kind::Float).contiguous()).expect("a flat float tensor")
}
