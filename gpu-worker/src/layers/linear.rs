//! The linear layer. Its weight stays as the checkpoint has it, mapped or on the device, on a CPU also in the half type
//! that it is stored as; what changes is how the product is asked for.
//!
//! On a CPU in float32 a few rows are a product of our own ([`rows`]). For some more, the weight as the left factor
//! beats libtorch's plain call (1.3–1.6× at 16 rows of GPT-2's and BERT's shapes, two cores). A weight of a half type
//! becomes float32 a panel at a time.

use tch::{Device, Kind, Tensor};

use super::{
    Step,
    lora::Product,
    rows::{self, Layout},
};
use crate::weights::{Weights, WeightsError};

pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    layout: Layout,
    in_dim: i64,
    out_dim: i64,
    /// Up to so many rows are a product of our own.
    few_rows: i64,
    /// Its place among the model's linear layers, by which adapters know it; `None`: they cannot add to it.
    module: Option<usize>,
}

/// Up to this many rows, the weight as the left factor is faster than the plain call.
const WEIGHT_FIRST_ROWS: i64 = 80;
/// Values of a weight that become float32 at a time, 16 MiB. Products of smaller panels lose more than their staying in
/// a cache gains, larger ones are memory that has to be made anew each time.
const PANEL: i64 = 1 << 22;

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
        let weight = weights.matrix("weight", &[out_dim, in_dim])?;
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
        let weight = weights.matrix("weight", &[in_dim, out_dim])?;
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
        let few_rows = rows::most(layout, &weight);
        Self { weight, bias, layout, in_dim, out_dim, few_rows, module: None }
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
        let n_rows: i64 = shape.iter().rev().skip(1).product();
        let is_float = xs.kind() == Kind::Float && xs.device() == Device::Cpu;
        let flat = || xs.reshape([n_rows, self.in_dim]);
        let ys = if is_float && (1..=self.few_rows).contains(&n_rows) {
            rows::product(&flat(), &self.weight, self.bias.as_ref(), self.layout)
        } else if is_float && self.weight.kind() != Kind::Float {
            self.in_panels(&flat(), n_rows)
        } else if is_float
            && self.layout == Layout::OutIn
            && (2..=WEIGHT_FIRST_ROWS).contains(&n_rows)
        {
            self.weight_first(&flat())
        } else {
            return self.plain(xs, n_rows);
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

    /// `[rows, in]` to `[rows, out]` as the transpose of weight × transposed rows.
    fn weight_first(&self, xs: &Tensor) -> Tensor {
        let mut ys = self.weight.mm(&xs.tr()).tr().contiguous();
        match &self.bias {
            Some(bias) => ys.g_add_(bias),
            None => ys,
        }
    }

    /// `[rows, in]` to `[rows, out]` in float32, with a weight of a half type.
    fn in_panels(&self, xs: &Tensor, n_rows: i64) -> Tensor {
        let ys = Tensor::empty([n_rows, self.out_dim], (Kind::Float, xs.device()));
        let columns = (PANEL / self.in_dim.max(1)).clamp(1, self.out_dim.max(1));
        let mut first = 0;
        while first < self.out_dim {
            let n_columns = columns.min(self.out_dim - first);
            let part = |tensor: &Tensor, dim: i64| tensor.narrow(dim, first, n_columns);
            let weight = match self.layout {
                Layout::OutIn => part(&self.weight, 0).to_kind(Kind::Float).tr(),
                Layout::InOut => part(&self.weight, 1).to_kind(Kind::Float),
            };
            let ys = part(&ys, 1);
            // They answer `ys` once more.
            let _ = match &self.bias {
                Some(bias) => part(bias, 0).addmm_out(&ys, xs, &weight),
                None => xs.mm_out(&ys, &weight),
            };
            first += n_columns;
        }
        ys
    }
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
            for rows in [0, 1, 2, 5, 17, 200] {
                for xs in [
                    Tensor::randn([rows, in_dim], options),
                    Tensor::randn([1, rows, in_dim], options),
                ] {
                    let expected = xs.matmul(&weight.tr()) + &bias;
                    for layer in &layers {
                        let found = layer.forward(&xs, &step);
                        assert_eq!(found.size(), expected.size());
                        assert!(found.allclose(&expected, 1e-4, 1e-4, false), "{rows} rows");
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
    fn a_weight_of_a_half_type_multiplies_as_what_it_is_in_float32() {
        let options = (Kind::Float, Device::Cpu);
        let (step, in_dim) = (Step::whole(), 700);
        for (kind, out_dim) in [(Kind::BFloat16, 7000), (Kind::Half, 9)] {
            let weight = (Tensor::randn([out_dim, in_dim], options) / 30).to_kind(kind);
            let bias = Tensor::randn([out_dim], options);
            let layers = [
                Linear::of(weight.shallow_clone(), Some(bias.shallow_clone())),
                Linear::new(weight.tr().contiguous(), Some(bias.shallow_clone()), Layout::InOut),
            ];
            for rows in [0, 1, 3, 32, 33, 150] {
                let xs = Tensor::randn([1, rows, in_dim], options);
                let expected = xs.matmul(&weight.to_kind(Kind::Float).tr()) + &bias;
                for layer in &layers {
                    let found = layer.forward(&xs, &step);
                    assert!(found.allclose(&expected, 1e-4, 1e-4, false), "{rows} rows");
                }
                let found = Linear::tied(&weight).forward(&xs, &step);
                assert!(found.allclose(&(&expected - &bias), 1e-4, 1e-4, false), "{rows} rows");
            }
        }
    }
}
