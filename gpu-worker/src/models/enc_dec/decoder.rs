//! The half that writes the target.

use tch::Tensor;

use super::{
    EncDecConfig,
    attention::{Attention, Embeddings, FeedForward, norm, norm_if, with_residual},
};
use crate::{
    layers::{Embedding, LayerNorm, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Decoder {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    layer_norm: Option<LayerNorm>,
}

impl Decoder {
    pub fn load(
        config: &EncDecConfig,
        embed_tokens: Embedding,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let layers = weights.at("layers");
        Ok(Self {
            embeddings: Embeddings::load(config, embed_tokens, config.norms_target_words, weights)?,
            layers: (0..config.decoder.layers as usize)
                .map(|layer| Layer::load(config, layer, &layers.at(layer)))
                .collect::<Result<_, _>>()?,
            layer_norm: norm_if(config.final_norm, config, "layer_norm", weights)?,
        })
    }

    /// Stores every layer's keys and values of encoded sources, `[tokens, dim]`.
    pub fn remember(&self, encoded: &Tensor, step: &Step) {
        for layer in &self.layers {
            layer.encoder_attn.remember(layer.layer, encoded, step);
        }
    }

    /// `[tokens]` ids of a flat pass to `[tokens, dim]`.
    pub fn forward(&self, ids: &Tensor, step: &Step) -> Tensor {
        let mut hidden = self.embeddings.of_sequences(ids, step);
        for layer in &self.layers {
            hidden = layer.forward(&hidden, step);
        }
        match &self.layer_norm {
            Some(norm) => norm.forward(&hidden, step),
            None => hidden,
        }
    }
}

impl Decoder {
    /// `[batch, seq]` ids beside the sources they belong to, of the same shape and padding, to `[batch, seq, dim]`.
    /// Padding has to come last.
    pub fn forward_batch(&self, ids: &Tensor, encoded: &Tensor, step: &Step) -> Tensor {
        let mut hidden = self.embeddings.of_batch(ids, step);
        for layer in &self.layers {
            hidden = layer.forward_batch(&hidden, encoded, step);
        }
        match &self.layer_norm {
            Some(norm) => norm.forward(&hidden, step),
            None => hidden,
        }
    }
}

struct Layer {
    self_attn: Attention,
    self_attn_layer_norm: LayerNorm,
    encoder_attn: Attention,
    encoder_attn_layer_norm: LayerNorm,
    feed_forward: FeedForward,
    final_layer_norm: LayerNorm,
    pre_norm: bool,
    layer: usize,
}

impl Layer {
    fn load(config: &EncDecConfig, layer: usize, weights: &Weights) -> Result<Self, WeightsError> {
        let heads = config.decoder.heads;
        Ok(Self {
            self_attn: Attention::load(config, heads, &weights.at("self_attn"))?,
            self_attn_layer_norm: norm(config, "self_attn_layer_norm", weights)?,
            encoder_attn: Attention::load(config, heads, &weights.at("encoder_attn"))?,
            encoder_attn_layer_norm: norm(config, "encoder_attn_layer_norm", weights)?,
            feed_forward: FeedForward::load(config, config.decoder.ffn_dim, weights)?,
            final_layer_norm: norm(config, "final_layer_norm", weights)?,
            pre_norm: config.pre_norm,
            layer,
        })
    }

    fn forward_batch(&self, xs: &Tensor, encoded: &Tensor, step: &Step) -> Tensor {
        let xs = with_residual(xs, &self.self_attn_layer_norm, self.pre_norm, step, |xs| {
            self.self_attn.of_batch(xs, None, step)
        });
        let xs = with_residual(&xs, &self.encoder_attn_layer_norm, self.pre_norm, step, |xs| {
            self.encoder_attn.of_batch(xs, Some(encoded), step)
        });
        with_residual(&xs, &self.final_layer_norm, self.pre_norm, step, |xs| {
            self.feed_forward.forward(xs, step)
        })
    }

    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let xs = with_residual(xs, &self.self_attn_layer_norm, self.pre_norm, step, |xs| {
            self.self_attn.of_target(self.layer, xs, step)
        });
        let xs = with_residual(&xs, &self.encoder_attn_layer_norm, self.pre_norm, step, |xs| {
            self.encoder_attn.to_source(self.layer, xs, step)
        });
        with_residual(&xs, &self.final_layer_norm, self.pre_norm, step, |xs| {
            self.feed_forward.forward(xs, step)
        })
    }
}
