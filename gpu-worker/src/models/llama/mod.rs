//! Llama (Touvron et al., 2023, <https://arxiv.org/abs/2302.13971>) and those that differ from it by configuration:
//! Mistral (<https://arxiv.org/abs/2310.06825>), Qwen2 (<https://arxiv.org/abs/2407.10671>),
//! Qwen3 (<https://arxiv.org/abs/2505.09388>).
//!
//! Reference: `transformers/models/{llama,mistral,qwen2,qwen3}/modeling_*.py`.

mod config;

use tch::{Kind, Tensor};

use self::config::{Config, Variant};
use super::{Architecture, CausalLm, LoadError, Model, ModelKind};
use crate::{
    layers::{Activation, Attend, CacheShape, Embedding, Linear, RmsNorm, Rotary, Rotation, Step},
    weights::{Rename, Weights, WeightsError},
};

pub(super) const LLAMA: Architecture =
    architecture("llama", |config, _, weights| load(&config::LLAMA, config, weights));
pub(super) const MISTRAL: Architecture =
    architecture("mistral", |config, _, weights| load(&config::MISTRAL, config, weights));
pub(super) const QWEN2: Architecture =
    architecture("qwen2", |config, _, weights| load(&config::QWEN2, config, weights));
pub(super) const QWEN3: Architecture =
    architecture("qwen3", |config, _, weights| load(&config::QWEN3, config, weights));

const fn architecture(model_type: &'static str, load: super::Load) -> Architecture {
    Architecture {
        model_type,
        kinds: &[ModelKind::CausalLm],
        renames: &[Rename::StripPrefix("model.")],
        ignored: &["rotary_emb.inv_freq"],
        load,
    }
}

fn load(variant: &Variant, config: &str, weights: &Weights) -> Result<Model, LoadError> {
    let config = Config::parse(config, variant)?;
    Ok(Model::CausalLm(Box::new(Llama::load(&config, weights)?)))
}

struct Llama {
    embed_tokens: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    lm_head: Linear,
    rotary: Rotary,
    cache: CacheShape,
    vocab_size: i64,
}

impl Llama {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let embed_tokens =
            Embedding::load(&weights.at("embed_tokens"), config.vocab_size, config.hidden_size)?;
        let lm_head = if config.tie_word_embeddings {
            Linear::tied(embed_tokens.weight())
        } else {
            Linear::load_with(&weights.at("lm_head"), config.hidden_size, config.vocab_size, false)?
        };
        let cache = CacheShape {
            layers: config.n_layers as i64,
            kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
            kind: embed_tokens.weight().kind(),
        };
        let rotary =
            Rotary::new(config.rope.clone(), config.head_dim, embed_tokens.weight().device());
        let layers = weights.at("layers");
        Ok(Self {
            embed_tokens,
            layers: (0..config.n_layers)
                .map(|layer| Layer::load(config, layer, &layers.at(layer)))
                .collect::<Result<_, _>>()?,
            norm: RmsNorm::load(&weights.at("norm"), config.hidden_size, config.rms_norm_eps)?,
            lm_head,
            rotary,
            cache,
            vocab_size: config.vocab_size,
        })
    }
}

impl CausalLm for Llama {
    fn hidden(&self, ids: &Tensor, step: &Step) -> Tensor {
        let mut hidden = self.embed_tokens.forward(ids, step);
        let rotation = self.rotary.rotation(step, hidden.kind());
        for layer in &self.layers {
            hidden = layer.forward(hidden, &rotation, step);
        }
        self.norm.forward(&hidden, step)
    }

    fn logits(&self, hidden: &Tensor, step: &Step) -> Tensor {
        self.lm_head.forward(hidden, step).to_kind(Kind::Float)
    }

    fn cache_shape(&self) -> CacheShape {
        self.cache
    }

    fn context_length(&self) -> i64 {
        self.rotary.context_length()
    }

    fn vocab_size(&self) -> i64 {
        self.vocab_size
    }
}

struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl Layer {
    fn load(config: &Config, layer: usize, weights: &Weights) -> Result<Self, WeightsError> {
        let norm = |name| RmsNorm::load(&weights.at(name), config.hidden_size, config.rms_norm_eps);
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            self_attn: Attention::load(config, layer, &weights.at("self_attn"))?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            mlp: Mlp::load(config, &weights.at("mlp"))?,
        })
    }

    fn forward(&self, xs: Tensor, rotation: &Rotation, step: &Step) -> Tensor {
        let xs =
            self.self_attn.forward(&self.input_layernorm.forward(&xs, step), rotation, step) + xs;
        self.mlp.forward(&self.post_attention_layernorm.forward(&xs, step), step) + xs
    }
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    /// Normalise every head of the queries and of the keys (Qwen3).
    norms: Option<(RmsNorm, RmsNorm)>,
    attend: Attend,
    head_dim: i64,
}

impl Attention {
    fn load(config: &Config, layer: usize, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, head_dim) = (config.hidden_size, config.head_dim);
        let projection = |name, n_heads| {
            Linear::load_with(&weights.at(name), dim, n_heads * head_dim, config.qkv_bias)
        };
        let norm = |name| RmsNorm::load(&weights.at(name), head_dim, config.rms_norm_eps);
        Ok(Self {
            q_proj: projection("q_proj", config.n_heads)?,
            k_proj: projection("k_proj", config.n_kv_heads)?,
            v_proj: projection("v_proj", config.n_kv_heads)?,
            o_proj: Linear::load_with(
                &weights.at("o_proj"),
                config.n_heads * head_dim,
                dim,
                config.o_bias,
            )?,
            norms: if config.qk_norm { Some((norm("q_norm")?, norm("k_norm")?)) } else { None },
            attend: Attend {
                layer,
                scale: (head_dim as f64).powf(-0.5),
                window: config.windows[layer],
            },
            head_dim,
        })
    }

    /// `[tokens, dim]` to the same shape.
    fn forward(&self, xs: &Tensor, rotation: &Rotation, step: &Step) -> Tensor {
        let tokens = xs.size()[0];
        let heads = |linear: &Linear| linear.forward(xs, step).view([tokens, -1, self.head_dim]);
        let (mut q, mut k, v) = (heads(&self.q_proj), heads(&self.k_proj), heads(&self.v_proj));
        if let Some((q_norm, k_norm)) = &self.norms {
            (q, k) = (q_norm.forward(&q, step), k_norm.forward(&k, step));
        }
        let attended =
            step.attend_cached(self.attend, &rotation.apply(&q), &rotation.apply(&k), &v);
        self.o_proj.forward(&attended, step)
    }
}

/// A gated feed-forward layer (Shazeer, 2020, <https://arxiv.org/abs/2002.05202>).
struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    act: Activation,
}

impl Mlp {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, inner_dim, bias) =
            (config.hidden_size, config.intermediate_size, config.mlp_bias);
        Ok(Self {
            gate_proj: Linear::load_with(&weights.at("gate_proj"), dim, inner_dim, bias)?,
            up_proj: Linear::load_with(&weights.at("up_proj"), dim, inner_dim, bias)?,
            down_proj: Linear::load_with(&weights.at("down_proj"), inner_dim, dim, bias)?,
            act: config.act,
        })
    }

    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let gate = self.act.forward(&self.gate_proj.forward(xs, step));
        self.down_proj.forward(&(gate * self.up_proj.forward(xs, step)), step)
    }
}
