//! A convolution over the embeddings, added to what the first layer makes (DeBERTa v2, its section on nGiE).

use tch::Tensor;

use super::ConvolutionConfig;
use crate::{
    layers::{Activation, LayerNorm, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Convolution {
    weight: Tensor,
    bias: Tensor,
    norm: LayerNorm,
    padding: i64,
    groups: i64,
    act: Activation,
}

impl Convolution {
    pub(super) fn load(
        config: &ConvolutionConfig,
        dim: i64,
        eps: f64,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let weights = weights.at(config.path);
        let conv = weights.at("conv");
        Ok(Self {
            weight: conv.get("weight", &[dim, dim / config.groups, config.kernel_size])?,
            bias: conv.get("bias", &[dim])?,
            norm: LayerNorm::load(&weights.at("LayerNorm"), dim, eps)?,
            padding: (config.kernel_size - 1) / 2,
            groups: config.groups,
            act: config.act,
        })
    }

    /// `[batch, seq, dim]` embeddings and hidden states to new hidden states.
    pub(super) fn forward(&self, embedded: &Tensor, hidden: &Tensor, step: &Step) -> Tensor {
        // The neighbours of a text's last token are nothing, whether or not the batch is padded.
        let mask = step.present().map(|mask| mask.unsqueeze(-1).to_kind(embedded.kind()));
        let masked = |xs: Tensor| match &mask {
            Some(mask) => xs * mask,
            None => xs,
        };
        let convolved = masked(embedded.shallow_clone())
            .transpose(1, 2)
            .conv1d(&self.weight, Some(&self.bias), 1, self.padding, 1, self.groups)
            .transpose(1, 2);
        let convolved = self.act.forward(&masked(convolved));
        masked(self.norm.forward(&(hidden + convolved), step))
    }
}
