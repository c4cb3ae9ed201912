//! GPT-2 (Radford et al., 2019, <https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf>).
//!
//! Reference: `transformers/models/gpt2/modeling_gpt2.py`.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{
    Architecture, CausalLm, LoadError, Model, ModelKind, check_divides, check_positive, unsupported,
};
use crate::{
    layers::{Activation, Attend, CacheShape, Embedding, LayerNorm, Linear, Step},
    weights::{Rename, Weights, WeightsError},
};

pub(super) const GPT2: Architecture = Architecture {
    model_type: "gpt2",
    kinds: &[ModelKind::CausalLm],
    renames: &[Rename::StripPrefix("transformer.")],
    ignored: &[".attn.bias", ".attn.masked_bias"],
    load,
};

fn load(config: &str, _kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    config.check()?;
    Ok(Model::CausalLm(Box::new(Gpt2::load(&config, weights)?)))
}

/// Defaults are the reference's; `reorder_and_upcast_attn` is left out, since attention here accumulates in float32.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: i64,
    n_positions: i64,
    n_embd: i64,
    n_layer: i64,
    n_head: i64,
    n_inner: Option<i64>,
    activation_function: Activation,
    layer_norm_epsilon: f64,
    scale_attn_weights: bool,
    scale_attn_by_inverse_layer_idx: bool,
    add_cross_attention: bool,
    tie_word_embeddings: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            activation_function: Activation::GeluTanh,
            layer_norm_epsilon: 1e-5,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            add_cross_attention: false,
            tie_word_embeddings: true,
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
            ("n_inner", self.inner_dim()),
        ])?;
        check_divides("n_head", self.n_head, self.n_embd)?;
        if self.add_cross_attention {
            return Err(unsupported("add_cross_attention", true));
        }
        Ok(())
    }

    fn inner_dim(&self) -> i64 {
        self.n_inner.unwrap_or_else(|| self.n_embd.saturating_mul(4))
    }

    fn head_dim(&self) -> i64 {
        self.n_embd / self.n_head
    }

    fn scale(&self, layer: usize) -> f64 {
        let scale = if self.scale_attn_weights { (self.head_dim() as f64).powf(-0.5) } else { 1.0 };
        if self.scale_attn_by_inverse_layer_idx { scale / (layer as f64 + 1.0) } else { scale }
    }
}

struct Gpt2 {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<Block>,
    ln_f: LayerNorm,
    lm_head: Linear,
    cache: CacheShape,
    n_positions: i64,
    vocab_size: i64,
}

impl Gpt2 {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let wte = Embedding::load(&weights.at("wte"), config.vocab_size, config.n_embd)?;
        let lm_head = if config.tie_word_embeddings {
            Linear::tied(wte.weight())
        } else {
            Linear::load_with(&weights.at("lm_head"), config.n_embd, config.vocab_size, false)?
        };
        let cache = CacheShape {
            layers: config.n_layer,
            kv_heads: config.n_head,
            head_dim: config.head_dim(),
            kind: wte.kind(),
        };
        let h = weights.at("h");
        Ok(Self {
            wte,
            wpe: Embedding::load(&weights.at("wpe"), config.n_positions, config.n_embd)?,
            h: (0..config.n_layer as usize)
                .map(|layer| Block::load(config, layer, &h.at(layer)))
                .collect::<Result<_, _>>()?,
            ln_f: LayerNorm::load(&weights.at("ln_f"), config.n_embd, config.layer_norm_epsilon)?,
            lm_head,
            cache,
            n_positions: config.n_positions,
            vocab_size: config.vocab_size,
        })
    }
}

impl CausalLm for Gpt2 {
    fn hidden(&self, ids: &Tensor, step: &Step) -> Tensor {
        let mut hidden = self.wte.forward(ids, step) + self.wpe.forward(step.positions(), step);
        for block in &self.h {
            hidden = block.forward(hidden, step);
        }
        self.ln_f.forward(&hidden, step)
    }

    fn logits(&self, hidden: &Tensor, step: &Step) -> Tensor {
        self.lm_head.forward(hidden, step).to_kind(Kind::Float)
    }

    fn cache_shape(&self) -> CacheShape {
        self.cache
    }

    fn context_length(&self) -> i64 {
        self.n_positions
    }

    fn vocab_size(&self) -> i64 {
        self.vocab_size
    }
}

struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    fn load(config: &Config, layer: usize, weights: &Weights) -> Result<Self, WeightsError> {
        let norm =
            |name| LayerNorm::load(&weights.at(name), config.n_embd, config.layer_norm_epsilon);
        Ok(Self {
            ln_1: norm("ln_1")?,
            attn: Attention::load(config, layer, &weights.at("attn"))?,
            ln_2: norm("ln_2")?,
            mlp: Mlp::load(config, &weights.at("mlp"))?,
        })
    }

    fn forward(&self, xs: Tensor, step: &Step) -> Tensor {
        let xs = self.attn.forward(&self.ln_1.forward(&xs, step), step) + xs;
        self.mlp.forward(&self.ln_2.forward(&xs, step), step) + xs
    }
}

struct Attention {
    c_attn: Linear,
    c_proj: Linear,
    attend: Attend,
    n_head: i64,
}

impl Attention {
    fn load(config: &Config, layer: usize, weights: &Weights) -> Result<Self, WeightsError> {
        let dim = config.n_embd;
        Ok(Self {
            c_attn: Linear::load_transposed(&weights.at("c_attn"), dim, 3 * dim)?,
            c_proj: Linear::load_transposed(&weights.at("c_proj"), dim, dim)?,
            attend: Attend { layer, scale: config.scale(layer), window: None, softcap: None },
            n_head: config.n_head,
        })
    }

    /// `[tokens, dim]` to the same shape.
    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let (tokens, dim) = xs.size2().expect("hidden states are [tokens, dim]");
        let qkv = self.c_attn.forward(xs, step).view([tokens, 3, self.n_head, dim / self.n_head]);
        let (q, k, v) = (qkv.select(1, 0), qkv.select(1, 1), qkv.select(1, 2));
        self.c_proj.forward(&step.attend_cached(self.attend, &q, &k, &v), step)
    }
}

struct Mlp {
    c_fc: Linear,
    c_proj: Linear,
    act: Activation,
}

impl Mlp {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, inner_dim) = (config.n_embd, config.inner_dim());
        Ok(Self {
            c_fc: Linear::load_transposed(&weights.at("c_fc"), dim, inner_dim)?,
            c_proj: Linear::load_transposed(&weights.at("c_proj"), inner_dim, dim)?,
            act: config.activation_function,
        })
    }

    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        self.c_proj.forward(&self.act.forward(&self.c_fc.forward(xs, step)), step)
    }
}
