//! OPT (Zhang et al., 2022, <https://arxiv.org/abs/2205.01068>).
//!
//! Reference: `transformers/models/opt/modeling_opt.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, check_divides, check_positive,
    decoder::{
        Attention, Config, Decoder, FeedForward, LLAMA_NAMES, LayerConfig, LayerNorms,
        LearnedPositions, MlpNames, Names, Projections, QkNorm, Residual, architecture, count,
    },
};
use crate::{
    layers::{Activation, NormKind},
    weights::Rename,
};

pub(super) const OPT: Architecture = Architecture {
    renames: &[Rename::StripPrefix("model."), Rename::StripPrefix("decoder.")],
    ..architecture("opt", |config, _, weights| {
        let config: Raw = serde_json::from_str(config)?;
        Decoder::load(&config.decoder()?, weights)
    })
};

const EPS: f64 = 1e-5;
/// The first rows of the table of positions belong to no position.
const POSITION_OFFSET: i64 = 2;

#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    vocab_size: i64,
    hidden_size: i64,
    num_hidden_layers: i64,
    ffn_dim: i64,
    max_position_embeddings: i64,
    num_attention_heads: i64,
    do_layer_norm_before: bool,
    #[serde(rename = "_remove_final_layer_norm")]
    remove_final_layer_norm: bool,
    word_embed_proj_dim: Option<i64>,
    activation_function: Activation,
    enable_bias: bool,
    layer_norm_elementwise_affine: bool,
    tie_word_embeddings: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            vocab_size: 50272,
            hidden_size: 768,
            num_hidden_layers: 12,
            ffn_dim: 3072,
            max_position_embeddings: 2048,
            num_attention_heads: 12,
            do_layer_norm_before: true,
            remove_final_layer_norm: false,
            word_embed_proj_dim: None,
            activation_function: Activation::Relu,
            enable_bias: true,
            layer_norm_elementwise_affine: true,
            tie_word_embeddings: true,
        }
    }
}

impl Raw {
    fn decoder(&self) -> Result<Config, LoadError> {
        let (hidden_size, n_heads) = (self.hidden_size, self.num_attention_heads);
        let embedding_dim = self.word_embed_proj_dim.unwrap_or(hidden_size);
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", hidden_size),
            ("ffn_dim", self.ffn_dim),
            ("max_position_embeddings", self.max_position_embeddings),
            ("num_attention_heads", n_heads),
            ("word_embed_proj_dim", embedding_dim),
        ])?;
        check_divides("num_attention_heads", n_heads, hidden_size)?;
        let n_layers = count("num_hidden_layers", self.num_hidden_layers)?;
        let head_dim = hidden_size / n_heads;
        let is_before = self.do_layer_norm_before;
        let of_attention = Some("self_attn_layer_norm");
        let of_mlp = Some("final_layer_norm");
        let feed_forward = FeedForward::Dense { inner_dim: self.ffn_dim };
        Ok(Config {
            vocab_size: self.vocab_size,
            hidden_size,
            embedding_dim,
            embedding_scale: None,
            learned_positions: Some(LearnedPositions {
                name: "embed_positions",
                n_positions: self.max_position_embeddings,
                offset: POSITION_OFFSET,
            }),
            ropes: Vec::new(),
            context_length: self.max_position_embeddings,
            rereads_beyond: None,
            norm_kind: if self.layer_norm_elementwise_affine {
                NormKind::Layer
            } else {
                NormKind::LayerPlain
            },
            norm_eps: EPS,
            layer_norms: LayerNorms {
                before_attention: of_attention.filter(|_| is_before),
                after_attention: of_attention.filter(|_| !is_before),
                before_mlp: of_mlp.filter(|_| is_before),
                after_mlp: of_mlp.filter(|_| !is_before),
            },
            residual: if is_before { Residual::Serial } else { Residual::NormedSum },
            attention: Attention {
                n_heads,
                n_kv_heads: n_heads,
                head_dim,
                scale: (head_dim as f64).powf(-0.5),
                softcap: None,
                projections: Projections::Separate,
                output: "out_proj",
                qkv_bias: self.enable_bias,
                output_bias: self.enable_bias,
                qk_norm: QkNorm::None,
            },
            mlp: MlpNames::Ungated { up: "fc1", down: "fc2" },
            mlp_bias: self.enable_bias,
            act: self.activation_function,
            layers: vec![LayerConfig { window: None, rope: None, feed_forward }; n_layers],
            tie_word_embeddings: self.tie_word_embeddings,
            final_softcap: None,
            names: Names {
                mlp: "",
                norm: Some("final_layer_norm")
                    .filter(|_| is_before && !self.remove_final_layer_norm),
                ..LLAMA_NAMES
            },
        })
    }
}
