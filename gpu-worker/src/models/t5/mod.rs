//! T5 (Raffel et al., 2019, <https://arxiv.org/abs/1910.10683>) with Flan-T5, mT5 (Xue et al., 2020,
//! <https://arxiv.org/abs/2010.11934>) and UMT5 (Chung et al., 2023, <https://arxiv.org/abs/2304.09151>).
//!
//! Reference: `transformers/models/{t5,mt5,umt5}/modeling_*.py`.

mod attention;
mod config;
mod stack;

use tch::{Kind, Tensor};

use self::{
    config::{Config, Family},
    stack::{Decoder, Encoder},
};
use super::{Architecture, LoadError, Model, ModelKind, Seq2SeqLm, TextEncoder, TextModel};
use crate::{
    layers::{CacheShape, Embedding, Linear, Step},
    weights::{Rename, Weights, WeightsError},
};

/// Original T5 scales what comes to the head, 1.1 does not; their configs differ in `tie_word_embeddings`.
pub(super) const T5: Architecture = architecture("t5", |config, kind, weights| {
    let config = Config::read(config, "{}")?;
    let by_tie = config.tie_word_embeddings != Some(false);
    let scales_output = config.scale_decoder_outputs.unwrap_or(by_tie);
    load(&config, kind, weights, Family { layers_have_biases: false, scales_output })
});

pub(super) const MT5: Architecture = architecture("mt5", |config, kind, weights| {
    let config = Config::read(config, MULTILINGUAL)?;
    load(&config, kind, weights, Family { layers_have_biases: false, scales_output: false })
});

/// The reference scales the output whatever the config says.
pub(super) const UMT5: Architecture = architecture("umt5", |config, kind, weights| {
    let config = Config::read(config, MULTILINGUAL)?;
    load(&config, kind, weights, Family { layers_have_biases: true, scales_output: true })
});

/// Defaults of mT5 and UMT5 that are not T5's.
const MULTILINGUAL: &str = r#"{"vocab_size": 250112, "d_ff": 1024, "num_layers": 8, "num_heads": 6,
    "feed_forward_proj": "gated-gelu"}"#;

const fn architecture(
    model_type: &'static str,
    load: fn(&str, ModelKind, &Weights) -> Result<Model, LoadError>,
) -> Architecture {
    Architecture {
        model_type,
        kinds: &[ModelKind::Seq2SeqLm, ModelKind::TextEncoder],
        renames: &[Rename::StripPrefix("transformer.")],
        // Cross-attention has no positions; old checkpoints have a table for them nevertheless.
        ignored: &["EncDecAttention.relative_attention_bias.weight"],
        load,
    }
}

fn load(
    config: &Config,
    kind: ModelKind,
    weights: &Weights,
    family: Family,
) -> Result<Model, LoadError> {
    config.check()?;
    Ok(match kind {
        ModelKind::TextEncoder => {
            Model::TextEncoder(Box::new(T5Encoder::of(config, family, weights)?))
        }
        _ => Model::Seq2SeqLm(Box::new(T5Model::load(config, family, weights)?)),
    })
}

/// The table of source tokens: its own where the checkpoint has one, else the shared one under any of its names.
fn source_table(config: &Config, weights: &Weights) -> Result<Embedding, WeightsError> {
    table(config, weights, &["encoder.embed_tokens", "shared", "decoder.embed_tokens", "lm_head"])
}

fn table(config: &Config, weights: &Weights, names: &[&str]) -> Result<Embedding, WeightsError> {
    let name = names.iter().find(|name| weights.at(name).has("weight")).unwrap_or(&"shared");
    Embedding::load(&weights.at(name), config.vocab_size, config.d_model)
}

struct T5Model {
    encoder: Encoder,
    decoder: Decoder,
    lm_head: Linear,
    output_scale: f64,
    cache: CacheShape,
    vocab_size: i64,
}

impl T5Model {
    fn load(config: &Config, family: Family, weights: &Weights) -> Result<Self, WeightsError> {
        let source = source_table(config, weights)?;
        let names = ["decoder.embed_tokens", "shared", "encoder.embed_tokens", "lm_head"];
        let target = table(config, weights, &names)?;
        // Tied, unless the checkpoint has a head of its own.
        let lm_head = if weights.has("lm_head.weight") {
            Linear::load_with(&weights.at("lm_head"), config.d_model, config.vocab_size, false)?
        } else {
            Linear::tied(target.weight())
        };
        let cache = CacheShape {
            layers: config.decoder_layers(),
            kv_heads: config.num_heads,
            head_dim: config.d_kv,
            kind: source.kind(),
        };
        Ok(Self {
            encoder: Encoder::load(config, family, source, weights)?,
            decoder: Decoder::load(config, family, target, weights)?,
            lm_head,
            output_scale: if family.scales_output {
                (config.d_model as f64).powf(-0.5)
            } else {
                1.0
            },
            cache,
            vocab_size: config.vocab_size,
        })
    }
}

impl Seq2SeqLm for T5Model {
    fn encode(&self, ids: &Tensor, step: &Step) -> Tensor {
        self.encoder.forward(ids, step)
    }

    fn remember(&self, encoded: &Tensor, step: &Step) {
        self.decoder.remember(encoded, step);
    }

    fn hidden(&self, ids: &Tensor, step: &Step) -> Tensor {
        self.decoder.forward(ids, step)
    }

    fn logits(&self, hidden: &Tensor, step: &Step) -> Tensor {
        self.lm_head.forward(&(hidden * self.output_scale), step).to_kind(Kind::Float)
    }

    fn cache_shape(&self) -> CacheShape {
        self.cache
    }

    /// Positions are relative: no length is too long for the model itself.
    fn source_length(&self) -> i64 {
        i64::MAX
    }

    fn target_length(&self) -> i64 {
        i64::MAX
    }

    fn vocab_size(&self) -> i64 {
        self.vocab_size
    }

    fn target_vocab_size(&self) -> i64 {
        self.vocab_size
    }
}

/// The half that reads, alone.
pub(super) struct T5Encoder {
    encoder: Encoder,
    dim: i64,
    vocab_size: i64,
}

impl T5Encoder {
    /// One that is a part of another model. `config` is the text of its `config.json`.
    pub(super) fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let config = Config::read(config, "{}")?;
        config.check()?;
        let family = Family { layers_have_biases: false, scales_output: false };
        Ok(Self::of(&config, family, weights)?)
    }

    fn of(config: &Config, family: Family, weights: &Weights) -> Result<Self, WeightsError> {
        Ok(Self {
            encoder: Encoder::load(config, family, source_table(config, weights)?, weights)?,
            dim: config.d_model,
            vocab_size: config.vocab_size,
        })
    }
}

impl TextEncoder for T5Encoder {
    fn hidden(&self, ids: &Tensor, _type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        self.encoder.forward(ids, step)
    }

    fn pooled(&self, _hidden: &Tensor, _step: &Step) -> Option<Tensor> {
        None
    }

    fn dim(&self) -> i64 {
        self.dim
    }
}

impl TextModel for T5Encoder {
    fn context_length(&self) -> i64 {
        i64::MAX
    }

    fn vocab_size(&self) -> i64 {
        self.vocab_size
    }

    /// Without segments it takes any number and uses none.
    fn type_vocab_size(&self) -> i64 {
        i64::MAX
    }
}
