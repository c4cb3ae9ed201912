//! The linear layer. Its weight stays as the checkpoint has it, mapped or on the device; what changes is how the
//! product is asked for.
//!
//! MKL runs a product with one row on one thread, and one with a few rows not much better. Three ways of asking
//! for the same product beat the plain call on a CPU in float32 (two cores, GPT-2 and BERT shapes): columns in blocks
//! (a batched product uses a thread per block: 1.9× at one row), the weight as the left factor
//! (1.3–1.6× at 16 rows, 2.5× at one row of a vocabulary), everything else as it is.

use tch::{Device, Kind, Tensor};

use super::{Step, lora::Product};
use crate::weights::{Weights, WeightsError};

/// How a weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// `[out, in]`, as `torch.nn.Linear` has it.
    OutIn,
    /// `[in, out]`, as GPT-2's `Conv1D` has it.
    InOut,
}

pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    layout: Layout,
    in_dim: i64,
    out_dim: i64,
    /// The same weight as `[n_blocks, in, out / n_blocks]` and the bias to match, where that is worth it.
    blocks: Option<Blocks>,
    is_cpu_float: bool,
    /// Its place among the model's linear layers, by which adapters know it; `None`: they cannot add to it.
    module: Option<usize>,
}

struct Blocks {
    weight: Tensor,
    bias: Option<Tensor>,
    n_blocks: i64,
}

/// How to ask for one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Plain,
    Blocks,
    WeightFirst,
}

/// Up to this many rows, blocks of columns are the fastest.
const BLOCK_ROWS: i64 = 6;
/// Up to this many rows, the weight as the left factor is.
const WEIGHT_FIRST_ROWS: i64 = 80;
/// From this many columns on, the weight as the left factor is better even for one row.
const MANY_COLUMNS: i64 = 8192;

fn plan(layout: Layout, rows: i64, columns: i64, has_blocks: bool) -> Plan {
    match layout {
        Layout::OutIn if rows <= WEIGHT_FIRST_ROWS && columns >= MANY_COLUMNS => Plan::WeightFirst,
        _ if rows <= BLOCK_ROWS && has_blocks => Plan::Blocks,
        Layout::OutIn if (2..=WEIGHT_FIRST_ROWS).contains(&rows) => Plan::WeightFirst,
        _ => Plan::Plain,
    }
}

impl Linear {
    /// A layer with a bias.
    pub fn load(weights: &Weights, in_dim: i64, out_dim: i64) -> Result<Self, WeightsError> {
        Self::load_with(weights, in_dim, out_dim, true)
    }

    /// A layer whose bias is a matter of configuration.
    pub fn load_with(
        weights: &Weights,
        in_dim: i64,
        out_dim: i64,
        bias: bool,
    ) -> Result<Self, WeightsError> {
        let weight = weights.get("weight", &[out_dim, in_dim])?;
        let bias = if bias { Some(weights.get("bias", &[out_dim])?) } else { None };
        let module = weights.module(in_dim, out_dim, false);
        Ok(Self { module, ..Self::new(weight, bias, Layout::OutIn) })
    }

    /// A layer with a bias whose weight is stored transposed, as GPT-2 does.
    pub fn load_transposed(
        weights: &Weights,
        in_dim: i64,
        out_dim: i64,
    ) -> Result<Self, WeightsError> {
        let weight = weights.get("weight", &[in_dim, out_dim])?;
        let module = weights.module(in_dim, out_dim, true);
        let bias = weights.get("bias", &[out_dim])?;
        Ok(Self { module, ..Self::new(weight, Some(bias), Layout::InOut) })
    }

    /// A layer without a bias that shares `weight`, `[out, in]`, with another one.
    pub fn tied(weight: &Tensor) -> Self {
        Self::new(weight.shallow_clone(), None, Layout::OutIn)
    }

    /// A layer of a weight, `[out, in]`, and a bias that were read already.
    pub fn of(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self::new(weight, bias, Layout::OutIn)
    }

    fn new(weight: Tensor, bias: Option<Tensor>, layout: Layout) -> Self {
        let (rows, columns) = weight.size2().expect("a linear weight has two dimensions");
        let (in_dim, out_dim) = match layout {
            Layout::OutIn => (columns, rows),
            Layout::InOut => (rows, columns),
        };
        let is_cpu_float = weight.device() == Device::Cpu
            && weight.kind() == Kind::Float
            && weight.is_contiguous();
        let n_blocks = n_blocks(out_dim, i64::from(tch::get_num_threads()));
        let blocks = (is_cpu_float && n_blocks > 1).then(|| {
            let block = out_dim / n_blocks;
            let weight = match layout {
                Layout::OutIn => weight.view([n_blocks, block, in_dim]).transpose(1, 2),
                Layout::InOut => weight.view([in_dim, n_blocks, block]).transpose(0, 1),
            };
            let bias = bias.as_ref().map(|bias| bias.view([n_blocks, 1, block]));
            Blocks { weight, bias, n_blocks }
        });
        Self { weight, bias, layout, in_dim, out_dim, blocks, is_cpu_float, module: None }
    }

    /// `[…, in]` to `[…, out]`; the first dimension is the rows of the step where it has adapters.
    pub fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let mut ys = self.product(xs);
        if let (Some(adapted), Some(module)) = (&step.adapted, self.module) {
            adapted.apply(module, Product::Linear, xs, &mut ys);
        }
        ys
    }

    fn product(&self, xs: &Tensor) -> Tensor {
        let mut shape = xs.size();
        let rows: i64 = shape.iter().rev().skip(1).product();
        let plan = if self.is_cpu_float {
            plan(self.layout, rows, self.out_dim, self.blocks.is_some())
        } else {
            Plan::Plain
        };
        let ys = match (plan, &self.blocks) {
            (Plan::Blocks, Some(blocks)) => {
                self.in_blocks(&xs.reshape([rows, self.in_dim]), rows, blocks)
            }
            (Plan::WeightFirst, _) => self.weight_first(&xs.reshape([rows, self.in_dim]), rows),
            _ => return self.plain(xs, rows),
        };
        if shape.len() == 2 {
            return ys;
        }
        if let Some(last) = shape.last_mut() {
            *last = self.out_dim;
        }
        ys.view(shape.as_slice())
    }

    fn plain(&self, xs: &Tensor, rows: i64) -> Tensor {
        match (self.layout, &self.bias) {
            (Layout::OutIn, bias) => xs.linear(&self.weight, bias.as_ref()),
            (Layout::InOut, Some(bias)) if xs.dim() == 2 => bias.addmm(xs, &self.weight),
            (Layout::InOut, Some(bias)) => {
                let mut shape = xs.size();
                if let Some(last) = shape.last_mut() {
                    *last = self.out_dim;
                }
                bias.addmm(&xs.reshape([rows, self.in_dim]), &self.weight).view(shape.as_slice())
            }
            (Layout::InOut, None) => xs.matmul(&self.weight),
        }
    }

    /// `[rows, in]` to `[rows, out]`, each block of columns its own product.
    fn in_blocks(&self, xs: &Tensor, rows: i64, blocks: &Blocks) -> Tensor {
        let xs = xs.unsqueeze(0).expand([blocks.n_blocks, rows, self.in_dim], false);
        let ys = match &blocks.bias {
            Some(bias) => bias.baddbmm(&xs, &blocks.weight, 1, 1),
            None => xs.bmm(&blocks.weight),
        };
        // For one row, `[n_blocks, 1, block]` already lies in memory as `[1, out]`.
        ys.transpose(0, 1).reshape([rows, self.out_dim])
    }

    /// `[rows, in]` to `[rows, out]` as the transpose of weight × transposed rows.
    fn weight_first(&self, xs: &Tensor, rows: i64) -> Tensor {
        // One column would be a product of a matrix with a vector again, which runs on one thread.
        let doubled = if rows == 1 { Some(Tensor::cat(&[xs, xs], 0)) } else { None };
        let ys = self.weight.mm(&doubled.as_ref().unwrap_or(xs).tr());
        let mut ys = ys.narrow(1, 0, rows).tr().contiguous();
        match &self.bias {
            Some(bias) => ys.g_add_(bias),
            None => ys,
        }
    }
}

/// A power of two that divides the columns, with a block for every thread if it can be.
fn n_blocks(out_dim: i64, n_threads: i64) -> i64 {
    let mut n_blocks = 1;
    while n_blocks < n_threads.min(32) && out_dim % (2 * n_blocks) == 0 {
        n_blocks *= 2;
    }
    n_blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_asking_gives_the_same_product() {
        let options = (Kind::Float, Device::Cpu);
        let step = Step::whole();
        for (in_dim, out_dim) in [(24, 32), (16, 9000), (16, 9001), (8, 7)] {
            let weight = Tensor::randn([out_dim, in_dim], options);
            let bias = Tensor::randn([out_dim], options);
            let layers = [
                Linear::new(weight.shallow_clone(), Some(bias.shallow_clone()), Layout::OutIn),
                Linear::new(weight.tr().contiguous(), Some(bias.shallow_clone()), Layout::InOut),
            ];
            for rows in [1, 2, 5, 17, 200] {
                for xs in [
                    Tensor::randn([rows, in_dim], options),
                    Tensor::randn([1, rows, in_dim], options),
                ] {
                    let expected = xs.matmul(&weight.tr()) + &bias;
                    for layer in &layers {
                        let found = layer.forward(&xs, &step);
                        assert_eq!(found.size(), expected.size());
                        assert!((found - &expected).abs().max().double_value(&[]) < 1e-4);
                    }
                }
            }
        }
    }

    #[test]
    fn a_half_precision_layer_works_on_a_cpu() {
        for kind in [Kind::BFloat16, Kind::Half] {
            let weight = Tensor::randn([32, 16], (Kind::Float, Device::Cpu)).to_kind(kind);
            let layer = Linear::tied(&weight);
            let xs = Tensor::randn([1, 16], (Kind::Float, Device::Cpu)).to_kind(kind);
            assert_eq!((layer.forward(&xs, &Step::whole())).kind(), kind);
        }
    }

    #[test]
    fn blocks_divide_the_columns() {
        for (out_dim, n_threads, expected) in
            [(768, 2, 2), (768, 3, 4), (50257, 2, 1), (6, 16, 2), (4096, 128, 32)]
        {
            assert_eq!(n_blocks(out_dim, n_threads), expected);
        }
    }
}
