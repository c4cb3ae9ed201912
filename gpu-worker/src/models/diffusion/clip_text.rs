//! CLIP's text encoder (Radford et al., 2021, <https://arxiv.org/abs/2103.00020>), which conditions Stable Diffusion.
//!
//! Reference: `transformers/models/clip/modeling_clip.py`, `CLIPTextModel` and `CLIPTextModelWithProjection`.

use serde::Deserialize;
use tch::Tensor;

use super::clip_layer::{Layer, LayerConfig};
use crate::{
    layers::{Activation, Embedding, LayerNorm, Linear, Step},
    models::{LoadError, check_divides, check_positive},
    weights::{Rename, Weights},
};

/// Configs older than the token's own name for the end of a text say this; then the largest id of a text is its end.
const UNTOLD_END: i64 = 2;

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    projection_dim: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    max_position_embeddings: i64,
    hidden_act: Activation,
    layer_norm_eps: f64,
    eos_token_id: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: 49407,
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("projection_dim", self.projection_dim),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)
    }

    fn layer(&self) -> LayerConfig {
        LayerConfig {
            dim: self.hidden_size,
            inner_dim: self.intermediate_size,
            n_heads: self.num_attention_heads,
            act: self.hidden_act,
            eps: self.layer_norm_eps,
            is_causal: true,
        }
    }
}

pub struct ClipText {
    token_embedding: Embedding,
    position_embedding: Embedding,
    layers: Vec<Layer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
    config: Config,
}

/// What a batch of texts became.
pub struct EncodedText {
    /// `[batch, seq, dim]`, what the layers that were not skipped made, before the last norm.
    pub hidden: Tensor,
    /// `[batch, dim]`: the end of each text after all layers and the last norm; projected where the encoder can.
    pub pooled: Tensor,
}

impl ClipText {
    /// Names with and without the prefix are both in use.
    pub const RENAMES: &'static [Rename] = &[Rename::StripPrefix("text_model.")];

    /// `config` is the text of `config.json`. `projects`: whether the vector of a whole text is projected, as
    /// `CLIPTextModelWithProjection` does.
    pub fn load(config: &str, projects: bool, weights: &Weights) -> Result<Self, LoadError> {
        let config: Config = serde_json::from_str(config)?;
        config.check()?;
        let dim = config.hidden_size;
        let (embeddings, layers) = (weights.at("embeddings"), weights.at("encoder.layers"));
        Ok(Self {
            token_embedding: Embedding::load(
                &embeddings.at("token_embedding"),
                config.vocab_size,
                dim,
            )?,
            position_embedding: Embedding::load(
                &embeddings.at("position_embedding"),
                config.max_position_embeddings,
                dim,
            )?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| Layer::load(config.layer(), &layers.at(layer)))
                .collect::<Result<_, _>>()?,
            final_layer_norm: LayerNorm::load(
                &weights.at("final_layer_norm"),
                dim,
                config.layer_norm_eps,
            )?,
            text_projection: if projects {
                let projection = weights.at("text_projection");
                Some(Linear::load_with(&projection, dim, config.projection_dim, false)?)
            } else {
                None
            },
            config,
        })
    }

    /// `[batch, seq]` ids, each below [`Self::vocab_size`], `seq` at most [`Self::context_length`]. The hidden states
    /// are those before the last `skipped` layers, of which there must be as many.
    pub fn encode(&self, ids: &Tensor, skipped: usize, step: &Step) -> EncodedText {
        let positions = self.position_embedding.first(ids.size()[1]);
        let mut state = self.token_embedding.forward(ids, step) + positions;
        let kept = self.layers.len() - skipped;
        for layer in &self.layers[..kept] {
            state = layer.forward(state, step);
        }
        let hidden = state.shallow_clone();
        for layer in &self.layers[kept..] {
            state = layer.forward(state, step);
        }
        let ends = self
            .ends(ids)
            .unsqueeze(-1)
            .unsqueeze(-1)
            .expand([-1, 1, self.config.hidden_size], false);
        let last = state.gather(1, &ends, false).squeeze_dim(1);
        // Normalisation is per position.
        let pooled = self.normed(&last, step);
        let pooled = match &self.text_projection {
            Some(projection) => projection.forward(&pooled, step),
            None => pooled,
        };
        EncodedText { hidden, pooled }
    }

    /// The last norm, `[…, dim]` to the same shape.
    pub fn normed(&self, hidden: &Tensor, step: &Step) -> Tensor {
        self.final_layer_norm.forward(hidden, step)
    }

    /// Where each text ends, `[batch]`.
    fn ends(&self, ids: &Tensor) -> Tensor {
        match self.config.eos_token_id {
            UNTOLD_END => ids.argmax(-1, false),
            end => ids.eq(end).to_kind(tch::Kind::Int).argmax(-1, false),
        }
    }

    /// The most tokens a text can have.
    pub fn context_length(&self) -> i64 {
        self.config.max_position_embeddings
    }

    pub fn vocab_size(&self) -> i64 {
        self.config.vocab_size
    }

    pub fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// Length of a token's vector.
    pub fn dim(&self) -> i64 {
        self.config.hidden_size
    }

    /// Length of a whole text's vector.
    pub fn pooled_dim(&self) -> i64 {
        self.text_projection
            .as_ref()
            .map_or(self.config.hidden_size, |_| self.config.projection_dim)
    }
}
