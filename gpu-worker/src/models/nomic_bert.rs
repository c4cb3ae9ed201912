//! Nomic BERT (Nussbaum et al., 2024, <https://arxiv.org/abs/2402.01613>): BERT with rotary positions and gates.
//!
//! Reference: `transformers/models/nomic_bert/modeling_nomic_bert.py`. Published configs have the names of GPT-2's.

use serde::Deserialize;

use super::{
    Architecture, LoadError, Model, ModelKind, check_divides, check_positive,
    encoder::{
        self, Biases, DecoderConfig, EmbeddingsConfig, EncoderConfig, HeadsConfig, Inner,
        LayerNames, LearnedPositions, Projections, TextPooling, TransformConfig,
    },
    labels::LabelConfig,
    unsupported,
};
use crate::{
    layers::{Activation, RopeConfig, RopeDefaults},
    weights::{Rename, Weights},
};

pub(super) const NOMIC_BERT: Architecture = Architecture {
    model_type: "nomic_bert",
    kinds: &[
        ModelKind::TextEncoder,
        ModelKind::SequenceClassifier,
        ModelKind::TokenClassifier,
        ModelKind::MaskedLm,
    ],
    renames: &[
        Rename::StripPrefix("nomic_bert."),
        Rename::StripPrefix("bert."),
        Rename::Part { from: "encoder.layers.", to: "layers." },
        Rename::Part { from: "emb_ln.", to: "embeddings.LayerNorm." },
        Rename::Part { from: ".attn.out_proj.", to: ".self_attn.o_proj." },
        Rename::Part { from: ".attn.Wqkv.", to: ".self_attn.Wqkv." },
        Rename::Part { from: ".fc11.", to: ".up_proj." },
        Rename::Part { from: ".fc12.", to: ".gate_proj." },
        Rename::Part { from: ".fc2.", to: ".down_proj." },
        Rename::Part { from: ".norm1.", to: ".post_attention_layernorm." },
        Rename::Part { from: ".norm2.", to: ".post_mlp_layernorm." },
    ],
    // The bias is unused beside that of a decoder with its own.
    ignored: &["inv_freq", "cls.predictions.bias"],
    load,
};

fn load(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    config.check_old()?;
    encoder::load(&config.encoder()?, &config.heads()?, kind, weights)
}

/// Defaults are the reference's; fields in pairs are the new and the old name of one thing.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: i64,
    hidden_size: Option<i64>,
    n_embd: Option<i64>,
    num_hidden_layers: Option<i64>,
    n_layer: Option<i64>,
    num_attention_heads: Option<i64>,
    n_head: Option<i64>,
    intermediate_size: Option<i64>,
    n_inner: Option<i64>,
    max_position_embeddings: Option<i64>,
    n_positions: Option<i64>,
    layer_norm_eps: Option<f64>,
    layer_norm_epsilon: Option<f64>,
    hidden_act: Option<Activation>,
    activation_function: Option<String>,
    head_dim: Option<i64>,
    type_vocab_size: i64,
    rotary_emb_base: f64,
    tie_word_embeddings: bool,
    #[serde(flatten)]
    old: OldSwitches,
    #[serde(flatten)]
    rope: RopeConfig,
    #[serde(flatten)]
    labels: LabelConfig,
}

/// What the old code could be asked for and the reference cannot.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OldSwitches {
    prenorm: bool,
    use_rms_norm: bool,
    qkv_proj_bias: bool,
    mlp_fc1_bias: bool,
    mlp_fc2_bias: bool,
    causal: bool,
    rotary_emb_interleaved: bool,
    rotary_emb_fraction: Option<f64>,
    rotary_scaling_factor: Option<f64>,
    moe_every_n_layers: Option<i64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30528,
            hidden_size: None,
            n_embd: None,
            num_hidden_layers: None,
            n_layer: None,
            num_attention_heads: None,
            n_head: None,
            intermediate_size: None,
            n_inner: None,
            max_position_embeddings: None,
            n_positions: None,
            layer_norm_eps: None,
            layer_norm_epsilon: None,
            hidden_act: None,
            activation_function: None,
            head_dim: None,
            type_vocab_size: 2,
            rotary_emb_base: 1000.0,
            tie_word_embeddings: true,
            old: OldSwitches::default(),
            rope: RopeConfig::default(),
            labels: LabelConfig::default(),
        }
    }
}

impl Config {
    fn check_old(&self) -> Result<(), LoadError> {
        let old = &self.old;
        for (field, is_on) in [
            ("prenorm", old.prenorm),
            ("use_rms_norm", old.use_rms_norm),
            ("qkv_proj_bias", old.qkv_proj_bias),
            ("mlp_fc1_bias", old.mlp_fc1_bias),
            ("mlp_fc2_bias", old.mlp_fc2_bias),
            ("causal", old.causal),
            ("rotary_emb_interleaved", old.rotary_emb_interleaved),
        ] {
            if is_on {
                return Err(unsupported(field, true));
            }
        }
        match old {
            OldSwitches { rotary_emb_fraction: Some(share), .. } if *share != 1.0 => {
                Err(unsupported("rotary_emb_fraction", share))
            }
            OldSwitches { rotary_scaling_factor: Some(factor), .. } => {
                Err(unsupported("rotary_scaling_factor", factor))
            }
            OldSwitches { moe_every_n_layers: Some(n), .. } if *n != 0 => {
                Err(unsupported("moe_every_n_layers", n))
            }
            _ => Ok(()),
        }
    }

    fn dim(&self) -> i64 {
        self.hidden_size.or(self.n_embd).unwrap_or(768)
    }

    fn act(&self) -> Result<Activation, LoadError> {
        match (self.hidden_act, self.activation_function.as_deref()) {
            (Some(act), _) => Ok(act),
            // The gate's own activation, by the gate's name.
            (None, None | Some("swiglu")) => Ok(Activation::Silu),
            (None, Some("geglu")) => Ok(Activation::Gelu),
            (None, Some(other)) => Err(unsupported("activation_function", other)),
        }
    }

    fn encoder(&self) -> Result<EncoderConfig, LoadError> {
        let dim = self.dim();
        let n_layers = self.num_hidden_layers.or(self.n_layer).unwrap_or(12);
        let n_heads = self.num_attention_heads.or(self.n_head).unwrap_or(12);
        let inner_dim = self.intermediate_size.or(self.n_inner).unwrap_or(3072);
        let max_positions = self.max_position_embeddings.or(self.n_positions).unwrap_or(2048);
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", dim),
            ("num_hidden_layers", n_layers),
            ("num_attention_heads", n_heads),
            ("intermediate_size", inner_dim),
            ("max_position_embeddings", max_positions),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        encoder::check_layers("num_hidden_layers", n_layers)?;
        let head_dim = match self.head_dim {
            Some(head_dim) => head_dim,
            None => {
                check_divides("num_attention_heads", n_heads, dim)?;
                dim / n_heads
            }
        };
        check_positive(&[("head_dim", head_dim), ("head_dim", head_dim.saturating_mul(n_heads))])?;
        let defaults =
            RopeDefaults { theta: self.rotary_emb_base, ..RopeDefaults::new(max_positions) };
        let rope = self.rope.parameters_with(&defaults)?;
        Ok(EncoderConfig {
            dim,
            n_heads,
            head_dim,
            inner_dim,
            act: self.act()?,
            eps: self.layer_norm_eps.or(self.layer_norm_epsilon).unwrap_or(1e-12),
            biases: Biases { attention: false, inner: false, output: false, norms: true },
            embeddings: EmbeddingsConfig {
                words: "embeddings.word_embeddings",
                positions: "",
                types: "embeddings.token_type_embeddings",
                norm: "embeddings.LayerNorm",
                vocab_size: self.vocab_size,
                dim,
                learned: LearnedPositions::None,
                n_types: self.type_vocab_size,
                projection: None,
                table: None,
            },
            layers: encoder::numbered("layers", n_layers),
            order: (0..n_layers as usize).collect(),
            names: NAMES,
            positions: encoder::rotary(rope.clone(), rope, head_dim)?,
            final_norm: None,
            convolution: None,
            context_length: max_positions,
        })
    }

    fn heads(&self) -> Result<HeadsConfig, LoadError> {
        let transform = |dense, act, norm| TransformConfig {
            dense,
            bias: true,
            act,
            norm,
            out_dim: self.dim(),
        };
        let norm = Some("cls.predictions.transform.layer_norm");
        Ok(HeadsConfig {
            pooler: None,
            n_labels: self.labels.labels()?.len() as i64,
            pooling: TextPooling::First,
            sequence: transform("pooler.dense", Activation::Tanh, None),
            sequence_labels: "classifier",
            token: None,
            token_labels: "classifier",
            question_labels: "qa_outputs",
            masked: transform("cls.predictions.transform.dense", self.act()?, norm),
            decoder: DecoderConfig {
                path: "cls.predictions.decoder",
                is_tied: self.tie_word_embeddings,
                bias: Some("cls.predictions.bias"),
            },
        })
    }
}

const NAMES: LayerNames = LayerNames {
    projections: Projections::Either {
        fused: "self_attn.Wqkv",
        separate: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    },
    attention_output: "self_attn.o_proj",
    attention_norm: "post_attention_layernorm",
    inner: Inner::Gated { gate: "mlp.gate_proj", up: "mlp.up_proj" },
    output: "mlp.down_proj",
    output_norm: "post_mlp_layernorm",
};
