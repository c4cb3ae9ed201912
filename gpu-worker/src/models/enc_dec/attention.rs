//! Attention, feed-forward and embeddings of the block's two halves.

use tch::Tensor;

use super::{EncDecConfig, positions::Positions};
use crate::{
    layers::{Activation, Attend, Embedding, LayerNorm, Linear, Step},
    weights::{Weights, WeightsError},
};

const LAYER_NORM_EPS: f64 = 1e-5;

pub(super) fn norm(
    config: &EncDecConfig,
    name: &str,
    weights: &Weights,
) -> Result<LayerNorm, WeightsError> {
    LayerNorm::load(&weights.at(name), config.d_model, LAYER_NORM_EPS)
}

pub(super) fn norm_if(
    there: bool,
    config: &EncDecConfig,
    name: &str,
    weights: &Weights,
) -> Result<Option<LayerNorm>, WeightsError> {
    if there { norm(config, name, weights).map(Some) } else { Ok(None) }
}

/// Words and positions of one half.
pub(super) struct Embeddings {
    embed_tokens: Embedding,
    embed_scale: f64,
    embed_positions: Positions,
    layernorm_embedding: Option<LayerNorm>,
    /// The norm comes before the positions are added.
    norms_words: bool,
}

impl Embeddings {
    pub fn load(
        config: &EncDecConfig,
        embed_tokens: Embedding,
        norms_words: bool,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            embed_tokens,
            embed_scale: config.embed_scale(),
            embed_positions: Positions::load(config, &weights.at("embed_positions"))?,
            layernorm_embedding: norm_if(
                config.norm_embedding,
                config,
                "layernorm_embedding",
                weights,
            )?,
            norms_words,
        })
    }

    /// `[batch, seq]` ids to `[batch, seq, dim]`.
    pub fn of_batch(&self, ids: &Tensor, step: &Step) -> Tensor {
        self.placed(ids, &self.embed_positions.of_batch(ids, step), step)
    }

    /// `[tokens]` ids of a flat pass to `[tokens, dim]`.
    pub fn of_sequences(&self, ids: &Tensor, step: &Step) -> Tensor {
        self.placed(ids, &self.embed_positions.of_sequences(ids, step), step)
    }

    fn placed(&self, ids: &Tensor, positions: &Tensor, step: &Step) -> Tensor {
        let words = self.embed_tokens.forward(ids, step) * self.embed_scale;
        if self.norms_words {
            self.normed(words, step) + positions
        } else {
            self.normed(words + positions, step)
        }
    }

    fn normed(&self, xs: Tensor, step: &Step) -> Tensor {
        match &self.layernorm_embedding {
            Some(norm) => norm.forward(&xs, step),
            None => xs,
        }
    }
}

pub(super) struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: i64,
    head_dim: i64,
}

impl Attention {
    pub fn load(
        config: &EncDecConfig,
        heads: i64,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let dim = config.d_model;
        let linear = |name| Linear::load(&weights.at(name), dim, dim);
        Ok(Self {
            q_proj: linear("q_proj")?,
            k_proj: linear("k_proj")?,
            v_proj: linear("v_proj")?,
            out_proj: linear("out_proj")?,
            heads,
            head_dim: dim / heads,
        })
    }

    fn scale(&self) -> f64 {
        (self.head_dim as f64).powf(-0.5)
    }

    fn in_heads(&self, xs: &Tensor) -> Tensor {
        xs.view([-1, self.heads, self.head_dim])
    }

    /// `[batch, seq, dim]`, packed or not, to the same shape: every token of the source sees every other.
    pub fn of_source(&self, xs: &Tensor, step: &Step) -> Tensor {
        let project = |linear: &Linear| step.spread(&linear.forward(xs, step));
        let (q, k, v) = (project(&self.q_proj), project(&self.k_proj), project(&self.v_proj));
        let attended = step.attend(&q, &k, &v, self.heads, self.scale());
        self.out_proj.forward(&step.pack(&attended), step)
    }

    /// `[tokens, dim]` of a flat pass to the same shape: a token of the target sees those before it.
    pub fn of_target(&self, layer: usize, xs: &Tensor, step: &Step) -> Tensor {
        let project = |linear: &Linear| self.in_heads(&linear.forward(xs, step));
        let (q, k, v) = (project(&self.q_proj), project(&self.k_proj), project(&self.v_proj));
        let attend = Attend { layer, scale: self.scale(), window: None, softcap: None };
        self.out_proj.forward(&step.attend_cached(attend, &q, &k, &v), step)
    }

    /// `[batch, seq, dim]` to the same shape: a token sees those before it, or else all of an encoded source.
    pub fn of_batch(&self, xs: &Tensor, encoded: Option<&Tensor>, step: &Step) -> Tensor {
        let seen = encoded.unwrap_or(xs);
        let q = self.q_proj.forward(xs, step);
        let (k, v) = (self.k_proj.forward(seen, step), self.v_proj.forward(seen, step));
        let attended = match encoded {
            None => step.attend_before(&q, &k, &v, self.heads, self.scale()),
            Some(_) => step.attend(&q, &k, &v, self.heads, self.scale()),
        };
        self.out_proj.forward(&attended, step)
    }

    /// Stores keys and values of an encoded source, `[tokens, dim]`.
    pub fn remember(&self, layer: usize, encoded: &Tensor, step: &Step) {
        let project = |linear: &Linear| self.in_heads(&linear.forward(encoded, step));
        step.store(layer, &project(&self.k_proj), &project(&self.v_proj));
    }

    /// `[tokens, dim]` of a flat pass to the same shape: a token of the target sees the whole source.
    pub fn to_source(&self, layer: usize, xs: &Tensor, step: &Step) -> Tensor {
        let q = self.in_heads(&self.q_proj.forward(xs, step));
        self.out_proj.forward(&step.attend_source(layer, self.scale(), &q), step)
    }
}

pub(super) struct FeedForward {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl FeedForward {
    pub fn load(
        config: &EncDecConfig,
        inner_dim: i64,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            fc1: Linear::load(&weights.at("fc1"), config.d_model, inner_dim)?,
            fc2: Linear::load(&weights.at("fc2"), inner_dim, config.d_model)?,
            activation: config.activation,
        })
    }

    pub fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        self.fc2.forward(&self.activation.forward(&self.fc1.forward(xs, step)), step)
    }
}

/// A part of a layer with its residual, its norm before or after.
pub(super) fn with_residual(
    xs: &Tensor,
    norm: &LayerNorm,
    pre_norm: bool,
    step: &Step,
    part: impl Fn(&Tensor) -> Tensor,
) -> Tensor {
    if pre_norm { xs + part(&norm.forward(xs, step)) } else { norm.forward(&(xs + part(xs)), step) }
}
