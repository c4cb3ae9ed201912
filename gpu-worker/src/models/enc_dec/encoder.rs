//! The half that reads the source.

use tch::Tensor;

use super::{
    EncDecConfig,
    attention::{Attention, Embeddings, FeedForward, norm, norm_if, with_residual},
};
use crate::{
    layers::{Embedding, LayerNorm, Step, clamp_half},
    weights::{Weights, WeightsError},
};

pub(super) struct Encoder {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    layer_norm: Option<LayerNorm>,
}

impl Encoder {
    pub fn load(
        config: &EncDecConfig,
        embed_tokens: Embedding,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let layers = weights.at("layers");
        Ok(Self {
            embeddings: Embeddings::load(config, embed_tokens, false, weights)?,
            layers: (0..config.encoder.layers)
                .map(|layer| Layer::load(config, &layers.at(layer)))
                .collect::<Result<_, _>>()?,
            layer_norm: norm_if(config.final_norm, config, "layer_norm", weights)?,
        })
    }

    /// `[batch, seq]` ids to `[batch, seq, dim]`.
    pub fn forward(&self, ids: &Tensor, step: &Step) -> Tensor {
        let embedded = self.embeddings.of_batch(ids, step);
        let step = &step.packed();
        let mut hidden = step.pack(&embedded);
        for layer in &self.layers {
            hidden = layer.forward(&hidden, step);
        }
        if let Some(norm) = &self.layer_norm {
            hidden = norm.forward(&hidden, step);
        }
        step.spread(&hidden)
    }
}

struct Layer {
    self_attn: Attention,
    self_attn_layer_norm: LayerNorm,
    feed_forward: FeedForward,
    final_layer_norm: LayerNorm,
    pre_norm: bool,
}

impl Layer {
    fn load(config: &EncDecConfig, weights: &Weights) -> Result<Self, WeightsError> {
        Ok(Self {
            self_attn: Attention::load(config, config.encoder.heads, &weights.at("self_attn"))?,
            self_attn_layer_norm: norm(config, "self_attn_layer_norm", weights)?,
            feed_forward: FeedForward::load(config, config.encoder.ffn_dim, weights)?,
            final_layer_norm: norm(config, "final_layer_norm", weights)?,
            pre_norm: config.pre_norm,
        })
    }

    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let xs = with_residual(xs, &self.self_attn_layer_norm, self.pre_norm, step, |xs| {
            self.self_attn.of_source(xs, step)
        });
        clamp_half(with_residual(&xs, &self.final_layer_norm, self.pre_norm, step, |xs| {
            self.feed_forward.forward(xs, step)
        }))
    }
}
