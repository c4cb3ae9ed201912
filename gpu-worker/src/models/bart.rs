//! BART (Lewis et al., 2019, <https://arxiv.org/abs/1910.13461>) and the models that share its shape:
//! mBART (Liu et al., 2020, <https://arxiv.org/abs/2001.08210>), Pegasus (Zhang et al., 2019,
//! <https://arxiv.org/abs/1912.08777>), Marian (Junczys-Dowmunt et al., 2018, <https://arxiv.org/abs/1804.00344>),
//! M2M-100 (Fan et al., 2020, <https://arxiv.org/abs/2010.11125>) with NLLB, and Blenderbot (Roller et al., 2020,
//! <https://arxiv.org/abs/2004.13637>).
//!
//! Reference: `transformers/models/{bart,mbart,pegasus,marian,m2m_100,blenderbot,blenderbot_small}/modeling_*.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, Model, ModelKind, check_positive,
    enc_dec::{EncDec, EncDecConfig, PositionKind, StackConfig, WholeText, WholeTextClassifier},
    labels::LabelConfig,
    unsupported,
};
use crate::{
    layers::Activation,
    weights::{Rename, Weights},
};

pub(super) const BART: Architecture = Architecture {
    kinds: &[ModelKind::Seq2SeqLm, ModelKind::TextEncoder, ModelKind::SequenceClassifier],
    // What a head of another kind leaves of the one that writes.
    ignored: &["encoder.version", "decoder.version", "lm_head.weight", "final_logits_bias"],
    ..architecture("bart", load_bart)
};

fn load_bart(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    if kind == ModelKind::Seq2SeqLm {
        return load(config, weights, |config| Ok(config.resolve(POST_NORM)));
    }
    let ends: Ends = serde_json::from_str(config)?;
    let config = read(config, |config| Ok(config.resolve(POST_NORM)))?;
    let known = |field: &'static str, id: i64| match id {
        id if (0..config.vocab_size).contains(&id) => Ok(id),
        id => Err(unsupported(field, id)),
    };
    let start = known("decoder_start_token_id", ends.decoder_start_token_id)?;
    let text = WholeText::load(&config, start, weights)?;
    if kind == ModelKind::TextEncoder {
        return Ok(Model::TextEncoder(Box::new(text)));
    }
    let end = known("eos_token_id", ends.eos_token_id)?;
    let n_labels = ends.labels.labels()?.len() as i64;
    check_positive(&[("id2label", n_labels)])?;
    let classifier = WholeTextClassifier::load(text, end, n_labels, weights)?;
    Ok(Model::SequenceClassifier(Box::new(classifier)))
}

/// What a text is framed with, and its labels; defaults are the reference's.
#[derive(Deserialize)]
struct Ends {
    #[serde(default = "two")]
    decoder_start_token_id: i64,
    #[serde(default = "two")]
    eos_token_id: i64,
    #[serde(flatten)]
    labels: LabelConfig,
}

fn two() -> i64 {
    2
}

pub(super) const MBART: Architecture = architecture("mbart", |config, _, weights| {
    load(config, weights, |config| Ok(config.resolve(Family { final_norm: true, ..PRE_NORM })))
});

pub(super) const PEGASUS: Architecture = architecture("pegasus", |config, _, weights| {
    let waves = Family { positions: PositionKind::Waves, norm_embedding: false, ..PRE_NORM };
    load(config, weights, move |config| Ok(config.resolve(Family { final_norm: true, ..waves })))
});

pub(super) const MARIAN: Architecture = architecture("marian", |config, _, weights| {
    let family =
        Family { positions: PositionKind::Waves, norm_embedding: false, vocab: 58101, ..POST_NORM };
    load(config, weights, move |config| Ok(config.resolve(family)))
});

pub(super) const M2M_100: Architecture = architecture("m2m_100", |config, _, weights| {
    load(config, weights, |config| {
        // Without a number for the padding the reference has no positions to count from.
        let padding = config.pad_token_id.unwrap_or(Some(1));
        let padding = padding.ok_or_else(|| unsupported("pad_token_id", "null"))?;
        let family = Family {
            positions: PositionKind::WavesAfterPadding { padding },
            norm_embedding: false,
            final_norm: true,
            scale_embedding: true,
            activation: Activation::Relu,
            vocab: 128_112,
            ..PRE_NORM
        };
        Ok(config.resolve(family))
    })
});

const fn architecture(
    model_type: &'static str,
    load: fn(&str, ModelKind, &Weights) -> Result<Model, LoadError>,
) -> Architecture {
    Architecture {
        model_type,
        kinds: &[ModelKind::Seq2SeqLm],
        renames: &[Rename::StripPrefix("model.")],
        ignored: &["encoder.version", "decoder.version", "embed_positions.weights"],
        load,
    }
}

/// What the models of the family differ in, and the defaults of their configs that differ.
#[derive(Clone, Copy)]
struct Family {
    positions: PositionKind,
    norm_embedding: bool,
    pre_norm: bool,
    final_norm: bool,
    scale_embedding: bool,
    activation: Activation,
    vocab: i64,
}

const POST_NORM: Family = Family {
    positions: PositionKind::Learned { offset: 2 },
    norm_embedding: true,
    pre_norm: false,
    final_norm: false,
    scale_embedding: false,
    activation: Activation::Gelu,
    vocab: 50265,
};

const PRE_NORM: Family = Family { pre_norm: true, ..POST_NORM };

fn load(
    config: &str,
    weights: &Weights,
    resolve: impl Fn(Config) -> Result<EncDecConfig, LoadError>,
) -> Result<Model, LoadError> {
    let config = read(config, resolve)?;
    Ok(Model::Seq2SeqLm(Box::new(EncDec::load(&config, weights)?)))
}

fn read(
    config: &str,
    resolve: impl Fn(Config) -> Result<EncDecConfig, LoadError>,
) -> Result<EncDecConfig, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    if config.is_decoder {
        return Err(unsupported("is_decoder", true));
    }
    if !config.is_encoder_decoder {
        return Err(unsupported("is_encoder_decoder", false));
    }
    let config = resolve(config)?;
    config.check()?;
    Ok(config)
}

/// Defaults are the reference's; those that differ between the models stand in [`Family`].
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: Option<i64>,
    decoder_vocab_size: Option<i64>,
    max_position_embeddings: i64,
    d_model: i64,
    encoder_layers: i64,
    encoder_ffn_dim: i64,
    encoder_attention_heads: i64,
    decoder_layers: i64,
    decoder_ffn_dim: i64,
    decoder_attention_heads: i64,
    activation_function: Option<Activation>,
    scale_embedding: Option<bool>,
    share_encoder_decoder_embeddings: bool,
    tie_word_embeddings: bool,
    #[serde(deserialize_with = "given")]
    pad_token_id: Option<Option<i64>>,
    is_decoder: bool,
    is_encoder_decoder: bool,
}

/// Tells a `null` from a field that is not there.
fn given<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: None,
            decoder_vocab_size: None,
            max_position_embeddings: 1024,
            d_model: 1024,
            encoder_layers: 12,
            encoder_ffn_dim: 4096,
            encoder_attention_heads: 16,
            decoder_layers: 12,
            decoder_ffn_dim: 4096,
            decoder_attention_heads: 16,
            activation_function: None,
            scale_embedding: None,
            share_encoder_decoder_embeddings: true,
            tie_word_embeddings: true,
            pad_token_id: None,
            is_decoder: false,
            is_encoder_decoder: true,
        }
    }
}

impl Config {
    fn resolve(self, family: Family) -> EncDecConfig {
        let vocab_size = self.vocab_size.unwrap_or(family.vocab);
        let shares_embeddings = self.share_encoder_decoder_embeddings;
        let own_target = self.decoder_vocab_size.filter(|_| !shares_embeddings);
        EncDecConfig {
            vocab_size,
            target_vocab_size: own_target.unwrap_or(vocab_size),
            d_model: self.d_model,
            encoder: StackConfig {
                layers: self.encoder_layers,
                heads: self.encoder_attention_heads,
                ffn_dim: self.encoder_ffn_dim,
            },
            decoder: StackConfig {
                layers: self.decoder_layers,
                heads: self.decoder_attention_heads,
                ffn_dim: self.decoder_ffn_dim,
            },
            activation: self.activation_function.unwrap_or(family.activation),
            max_positions: self.max_position_embeddings,
            positions: family.positions,
            scale_embedding: self.scale_embedding.unwrap_or(family.scale_embedding),
            norm_embedding: family.norm_embedding,
            pre_norm: family.pre_norm,
            final_norm: family.final_norm,
            shares_embeddings,
            tie_word_embeddings: self.tie_word_embeddings,
        }
    }
}
