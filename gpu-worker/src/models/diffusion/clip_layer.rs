//! One layer of CLIP's encoders, of texts and of pictures.
//!
//! Reference: `transformers/models/clip/modeling_clip.py`, `CLIPEncoderLayer`.

use tch::Tensor;

use crate::{
    layers::{Activation, LayerNorm, Linear, Step},
    weights::{Weights, WeightsError},
};

#[derive(Clone, Copy)]
pub(super) struct LayerConfig {
    pub dim: i64,
    pub inner_dim: i64,
    /// Divides `dim`.
    pub n_heads: i64,
    pub act: Activation,
    pub eps: f64,
    /// A token sees none that come after it.
    pub is_causal: bool,
}

pub(super) struct Layer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    act: Activation,
    n_heads: i64,
    scale: f64,
    is_causal: bool,
}

impl Layer {
    pub(super) fn load(config: LayerConfig, weights: &Weights) -> Result<Self, WeightsError> {
        let LayerConfig { dim, inner_dim, n_heads, act, eps, is_causal } = config;
        let projection = |name| Linear::load(&weights.at("self_attn").at(name), dim, dim);
        let norm = |name| LayerNorm::load(&weights.at(name), dim, eps);
        let mlp = weights.at("mlp");
        Ok(Self {
            layer_norm1: norm("layer_norm1")?,
            q_proj: projection("q_proj")?,
            k_proj: projection("k_proj")?,
            v_proj: projection("v_proj")?,
            out_proj: projection("out_proj")?,
            layer_norm2: norm("layer_norm2")?,
            fc1: Linear::load(&mlp.at("fc1"), dim, inner_dim)?,
            fc2: Linear::load(&mlp.at("fc2"), inner_dim, dim)?,
            act,
            n_heads,
            scale: ((dim / n_heads) as f64).powf(-0.5),
            is_causal,
        })
    }

    /// `[batch, seq, dim]` to the same shape.
    pub(super) fn forward(&self, xs: Tensor, step: &Step) -> Tensor {
        let normalised = self.layer_norm1.forward(&xs, step);
        let project = |linear: &Linear| linear.forward(&normalised, step);
        let (q, k, v) = (project(&self.q_proj), project(&self.k_proj), project(&self.v_proj));
        let attended = if self.is_causal {
            step.attend_before(&q, &k, &v, self.n_heads, self.scale)
        } else {
            step.attend(&q, &k, &v, self.n_heads, self.scale)
        };
        let xs = xs + self.out_proj.forward(&attended, step);
        let normalised = self.layer_norm2.forward(&xs, step);
        let expanded = self.act.forward(&self.fc1.forward(&normalised, step));
        xs + self.fc2.forward(&expanded, step)
    }
}
