//! The two halves of T5.

use tch::Tensor;

use super::{
    attention::{Attention, FeedForward},
    config::{Config, Family},
};
use crate::{
    layers::{Embedding, RelativeBias, RmsNorm, Step, clamp_half},
    weights::{Weights, WeightsError},
};

fn norm(config: &Config, weights: &Weights, name: &str) -> Result<RmsNorm, WeightsError> {
    RmsNorm::load(&weights.at(name), config.d_model, config.layer_norm_epsilon)
}

/// The tables of positions of the layers that have one.
fn biases(
    config: &Config,
    family: Family,
    layers: i64,
    bidirectional: bool,
    blocks: &Weights,
) -> Result<Vec<RelativeBias>, WeightsError> {
    let with_own = if family.layers_have_biases { layers } else { 1 };
    (0..with_own)
        .map(|layer| {
            let weights = blocks.at(layer).at("layer.0.SelfAttention.relative_attention_bias");
            RelativeBias::load(&weights, config.buckets(bidirectional), config.num_heads)
        })
        .collect()
}

pub(super) struct Encoder {
    embed_tokens: Embedding,
    biases: Vec<RelativeBias>,
    block: Vec<EncoderBlock>,
    final_layer_norm: RmsNorm,
}

impl Encoder {
    pub fn load(
        config: &Config,
        family: Family,
        embed_tokens: Embedding,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let weights = weights.at("encoder");
        let blocks = weights.at("block");
        Ok(Self {
            embed_tokens,
            biases: biases(config, family, config.num_layers, true, &blocks)?,
            block: (0..config.num_layers)
                .map(|layer| EncoderBlock::load(config, &blocks.at(layer).at("layer")))
                .collect::<Result<_, _>>()?,
            final_layer_norm: norm(config, &weights, "final_layer_norm")?,
        })
    }

    /// `[batch, seq]` ids to `[batch, seq, dim]`.
    pub fn forward(&self, ids: &Tensor, step: &Step) -> Tensor {
        let seq = ids.size()[1];
        let embedded = self.embed_tokens.forward(ids, step);
        let step = &step.packed();
        let mut hidden = step.pack(&embedded);
        let mut bias = Tensor::new();
        for (layer, block) in self.block.iter().enumerate() {
            if let Some(own) = self.biases.get(layer) {
                bias = own.of_batch(seq, step);
            }
            hidden = block.forward(&hidden, &bias, step);
        }
        step.spread(&self.final_layer_norm.forward(&hidden, step))
    }
}

struct EncoderBlock {
    self_attention: Attention,
    self_attention_norm: RmsNorm,
    feed_forward: FeedForward,
    feed_forward_norm: RmsNorm,
}

impl EncoderBlock {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        Ok(Self {
            self_attention: Attention::load(config, &weights.at("0.SelfAttention"))?,
            self_attention_norm: norm(config, weights, "0.layer_norm")?,
            feed_forward: FeedForward::load(config, &weights.at("1.DenseReluDense"))?,
            feed_forward_norm: norm(config, weights, "1.layer_norm")?,
        })
    }

    fn forward(&self, xs: &Tensor, bias: &Tensor, step: &Step) -> Tensor {
        let normed = self.self_attention_norm.forward(xs, step);
        let xs = clamp_half(xs + self.self_attention.of_source(&normed, bias, step));
        let normed = self.feed_forward_norm.forward(&xs, step);
        clamp_half(&xs + self.feed_forward.forward(&normed, step))
    }
}

pub(super) struct Decoder {
    embed_tokens: Embedding,
    biases: Vec<RelativeBias>,
    block: Vec<DecoderBlock>,
    final_layer_norm: RmsNorm,
}

impl Decoder {
    pub fn load(
        config: &Config,
        family: Family,
        embed_tokens: Embedding,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let weights = weights.at("decoder");
        let blocks = weights.at("block");
        let layers = config.decoder_layers();
        Ok(Self {
            embed_tokens,
            biases: biases(config, family, layers, false, &blocks)?,
            block: (0..layers)
                .map(|layer| DecoderBlock::load(config, &blocks.at(layer).at("layer")))
                .collect::<Result<_, _>>()?,
            final_layer_norm: norm(config, &weights, "final_layer_norm")?,
        })
    }

    /// Stores every layer's keys and values of encoded sources, `[tokens, dim]`.
    pub fn remember(&self, encoded: &Tensor, step: &Step) {
        for (layer, block) in self.block.iter().enumerate() {
            block.cross_attention.remember(layer, encoded, step);
        }
    }

    /// `[tokens]` ids of a flat pass to `[tokens, dim]`.
    pub fn forward(&self, ids: &Tensor, step: &Step) -> Tensor {
        let mut hidden = self.embed_tokens.forward(ids, step);
        let mut biases = Vec::new();
        for (layer, block) in self.block.iter().enumerate() {
            if let Some(own) = self.biases.get(layer) {
                biases = own.of_segments(step);
            }
            hidden = block.forward(layer, &hidden, &biases, step);
        }
        self.final_layer_norm.forward(&hidden, step)
    }
}

struct DecoderBlock {
    self_attention: Attention,
    self_attention_norm: RmsNorm,
    cross_attention: Attention,
    cross_attention_norm: RmsNorm,
    feed_forward: FeedForward,
    feed_forward_norm: RmsNorm,
}

impl DecoderBlock {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        Ok(Self {
            self_attention: Attention::load(config, &weights.at("0.SelfAttention"))?,
            self_attention_norm: norm(config, weights, "0.layer_norm")?,
            cross_attention: Attention::load(config, &weights.at("1.EncDecAttention"))?,
            cross_attention_norm: norm(config, weights, "1.layer_norm")?,
            feed_forward: FeedForward::load(config, &weights.at("2.DenseReluDense"))?,
            feed_forward_norm: norm(config, weights, "2.layer_norm")?,
        })
    }

    fn forward(&self, layer: usize, xs: &Tensor, biases: &[Tensor], step: &Step) -> Tensor {
        let normed = self.self_attention_norm.forward(xs, step);
        let xs = clamp_half(xs + self.self_attention.of_target(layer, &normed, biases, step));
        let normed = self.cross_attention_norm.forward(&xs, step);
        let xs = clamp_half(&xs + self.cross_attention.to_source(layer, &normed, step));
        let normed = self.feed_forward_norm.forward(&xs, step);
        clamp_half(&xs + self.feed_forward.forward(&normed, step))
    }
}
