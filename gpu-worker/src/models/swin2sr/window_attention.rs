//! Attention within windows by cosine similarity, with a learned function of the distance between two places added
//! (Swin Transformer V2, Liu et al., 2021, <https://arxiv.org/abs/2111.09883>).

use tch::{Device, Kind, Tensor};

use super::config::Config;
use crate::{
    layers::{Linear, Step},
    weights::{Weights, WeightsError},
};

/// Width of the layer that turns a distance into a bias.
const DISTANCE_DIM: i64 = 512;
/// Similarities are multiplied by at most this.
const MOST_SCALE: f64 = 100.0;
/// Below this length a vector is not scaled to 1.
const SHORTEST: f64 = 1e-12;

pub(super) struct WindowAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    /// `[n_heads, 1, 1]`: what similarities are multiplied by.
    scale: Tensor,
    /// `[n_heads, places, places]`.
    bias: Tensor,
    n_heads: i64,
}

impl WindowAttention {
    pub(super) fn load(
        config: &Config,
        n_heads: i64,
        side: i64,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let dim = config.embed_dim;
        let own = weights.at("self");
        let linear = |name, bias| Linear::load_with(&own.at(name), dim, dim, bias);
        let scale = own.get("logit_scale", &[n_heads, 1, 1])?;
        Ok(Self {
            query: linear("query", config.qkv_bias)?,
            key: linear("key", false)?,
            value: linear("value", config.qkv_bias)?,
            dense: Linear::load(&weights.at("output").at("dense"), dim, dim)?,
            scale: scale.clamp_max(MOST_SCALE.ln()).exp(),
            bias: distance_bias(&own.at("continuous_position_bias_mlp"), n_heads, side)?,
            n_heads,
        })
    }

    /// `[batch × windows, places, dim]` to the same shape. `hidden` is `[windows, places, places]`, a number that is added
    /// where two places must not see each other.
    pub(super) fn forward(&self, xs: &Tensor, hidden: Option<&Tensor>, step: &Step) -> Tensor {
        let (n_windows, places, dim) = xs.size3().expect("xs is [windows, places, dim]");
        let heads = |linear: &Linear| {
            let projected = linear.forward(xs, step);
            projected.view([n_windows, places, self.n_heads, -1]).transpose(1, 2)
        };
        let (q, k, v) = (heads(&self.query), heads(&self.key), heads(&self.value));
        let added = match hidden {
            None => self.bias.unsqueeze(0),
            Some(hidden) => {
                let of_picture = self.bias.unsqueeze(0) + hidden.unsqueeze(1);
                of_picture.repeat([n_windows / hidden.size()[0], 1, 1, 1])
            }
        };
        let attended = Tensor::scaled_dot_product_attention(
            &(unit(&q) * &self.scale),
            &unit(&k),
            &v,
            Some(&added),
            0.0,
            false,
            Some(1.0),
            false,
        );
        self.dense.forward(&attended.transpose(1, 2).reshape([n_windows, places, dim]), step)
    }
}

/// Vectors of length 1.
fn unit(xs: &Tensor) -> Tensor {
    xs / xs.norm_scalaropt_dim(2, [-1i64].as_slice(), true).clamp_min(SHORTEST)
}

/// `[n_heads, places, places]`.
fn distance_bias(weights: &Weights, n_heads: i64, side: i64) -> Result<Tensor, WeightsError> {
    let first = Linear::load(&weights.at(0), 2, DISTANCE_DIM)?;
    let last = Linear::load_with(&weights.at(2), DISTANCE_DIM, n_heads, false)?;
    let options = (Kind::Float, Device::Cpu);
    // Distances on a logarithmic scale, so that windows of other sizes would look alike.
    let steps = Tensor::arange_start(1 - side, side, options);
    let steps = if side > 1 { steps / (side - 1) as f64 } else { steps } * 8.0;
    let steps = steps.sign() * (steps.abs() + 1.0).log2() / 3.0;
    let axes = Tensor::meshgrid_indexing(&[&steps, &steps], "ij");
    let table = Tensor::stack(&axes, 2).to_kind(weights.kind()).to_device(weights.device());
    let step = Step::whole();
    let table = last.forward(&first.forward(&table, &step).relu(), &step);
    let table = table.view([-1, n_heads]);
    // Of the place in the row, and of the one in the column: which distance that is.
    let along = Tensor::arange(side, (Kind::Int64, Device::Cpu));
    let places = Tensor::meshgrid_indexing(&[&along, &along], "ij");
    let apart = |axis: &Tensor| {
        let axis = axis.flatten(0, -1);
        axis.unsqueeze(1) - axis.unsqueeze(0) + (side - 1)
    };
    let index = apart(&places[0]) * (2 * side - 1) + apart(&places[1]);
    let index = index.flatten(0, -1).to_device(weights.device());
    let bias = table.index_select(0, &index).view([side * side, side * side, n_heads]);
    Ok(bias.permute([2, 0, 1]).contiguous().sigmoid() * 16.0)
}
