//! BART (Lewis et al., 2019, <https://arxiv.org/abs/1910.13461>) and the models that share its shape:
//! mBART (Liu et al., 2020, <https://arxiv.org/abs/2001.08210>), Pegasus (Zhang et al., 2019,
//! <https://arxiv.org/abs/1912.08777>), Marian (Junczys-Dowmunt et al., 2018, <https://arxiv.org/abs/1804.00344>),
//! M2M-100 (Fan et al., 2020, <https://arxiv.org/abs/2010.11125>) with NLLB, Blenderbot (Roller et al., 2020,
//! <https://arxiv.org/abs/2004.13637>), PLBART (Ahmad et al., 2021, <https://arxiv.org/abs/2103.06333>) and MVP
//! (Tang et al., 2022, <https://arxiv.org/abs/2206.12131>).
//!
//! Reference: `transformers/models/{bart,mbart,pegasus,marian,m2m_100,blenderbot,blenderbot_small,plbart,mvp}/modeling_*.py`.

use serde::Deserialize;
use serde_json::{Map, Value};

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

pub(super) const MVP: Architecture = architecture("mvp", |config, _, weights| {
    let defaults = r#"{"vocab_size": 50267}"#;
    load(config, weights, Family { defaults, ..POST_NORM })
});

pub(super) const PLBART: Architecture = architecture("plbart", |config, _, weights| {
    let defaults = r#"{"vocab_size": 50005, "encoder_layers": 6, "encoder_ffn_dim": 3072,
        "encoder_attention_heads": 12, "decoder_layers": 6, "decoder_ffn_dim": 3072, "decoder_attention_heads": 12,
        "d_model": 768, "scale_embedding": true}"#;
    load(config, weights, Family { defaults, ..POST_NORM })
});

pub(super) const MBART: Architecture =
    architecture("mbart", |config, _, weights| load(config, weights, PRE_NORM));

pub(super) const PEGASUS: Architecture = architecture("pegasus", |config, _, weights| {
    load(config, weights, Family { positions: POSITIONS_WAVES, norm_embedding: false, ..PRE_NORM })
});

pub(super) const MARIAN: Architecture = architecture("marian", |config, _, weights| {
    let waves = Family { positions: POSITIONS_WAVES, norm_embedding: false, ..POST_NORM };
    load(config, weights, Family { defaults: r#"{"vocab_size": 58101}"#, ..waves })
});

pub(super) const M2M_100: Architecture = architecture("m2m_100", |config, _, weights| {
    let defaults = r#"{"vocab_size": 128112, "activation_function": "relu", "scale_embedding": true,
        "pad_token_id": 1}"#;
    let positions = |config: &Config| {
        // Without a number for the padding the reference has no positions to count from.
        let padding = config.pad_token_id.ok_or_else(|| unsupported("pad_token_id", "null"))?;
        Ok(PositionKind::WavesAfterPadding { padding })
    };
    load(config, weights, Family { defaults, positions, norm_embedding: false, ..PRE_NORM })
});

pub(super) const BLENDERBOT: Architecture = architecture("blenderbot", |config, _, weights| {
    let defaults = r#"{"vocab_size": 8008, "max_position_embeddings": 128, "encoder_layers": 2,
        "encoder_ffn_dim": 10240, "encoder_attention_heads": 32, "decoder_layers": 24, "decoder_ffn_dim": 10240,
        "decoder_attention_heads": 32, "d_model": 2560}"#;
    let family = Family { positions: POSITIONS_LEARNED, norm_embedding: false, ..PRE_NORM };
    load(config, weights, Family { defaults, ..family })
});

pub(super) const BLENDERBOT_SMALL: Architecture = architecture(
    "blenderbot-small",
    |config, _, weights| {
        let defaults = r#"{"max_position_embeddings": 512, "encoder_layers": 8, "encoder_ffn_dim": 2048,
        "decoder_layers": 8, "decoder_ffn_dim": 2048, "d_model": 512}"#;
        let family = Family { positions: POSITIONS_LEARNED, norms_target_words: true, ..POST_NORM };
        load(config, weights, Family { defaults, ..family })
    },
);

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

/// What the models differ in that no field of their configs says.
#[derive(Clone, Copy)]
struct Family {
    /// Defaults of the config that are not BART's.
    defaults: &'static str,
    positions: Positions,
    norm_embedding: bool,
    norms_target_words: bool,
    pre_norm: bool,
    final_norm: bool,
}

type Positions = fn(&Config) -> Result<PositionKind, LoadError>;

const POSITIONS_LEARNED: Positions = |_| Ok(PositionKind::Learned { offset: 0 });
const POSITIONS_WAVES: Positions = |_| Ok(PositionKind::Waves);

const POST_NORM: Family = Family {
    defaults: "{}",
    positions: |_| Ok(PositionKind::Learned { offset: 2 }),
    norm_embedding: true,
    norms_target_words: false,
    pre_norm: false,
    final_norm: false,
};

const PRE_NORM: Family = Family { pre_norm: true, final_norm: true, ..POST_NORM };

fn load(config: &str, weights: &Weights, family: Family) -> Result<Model, LoadError> {
    let config = Config::read(config, family.defaults)?.resolve(family)?;
    Ok(Model::Seq2SeqLm(Box::new(EncDec::load(&config, weights)?)))
}

fn load_bart(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    if kind == ModelKind::Seq2SeqLm {
        return load(config, weights, POST_NORM);
    }
    let ends: Ends = serde_json::from_str(config)?;
    let config = Config::read(config, POST_NORM.defaults)?.resolve(POST_NORM)?;
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

/// Defaults are BART's.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: i64,
    decoder_vocab_size: Option<i64>,
    max_position_embeddings: i64,
    d_model: i64,
    encoder_layers: i64,
    encoder_ffn_dim: i64,
    encoder_attention_heads: i64,
    decoder_layers: i64,
    decoder_ffn_dim: i64,
    decoder_attention_heads: i64,
    activation_function: Activation,
    scale_embedding: bool,
    share_encoder_decoder_embeddings: bool,
    tie_word_embeddings: bool,
    pad_token_id: Option<i64>,
    is_decoder: bool,
    is_encoder_decoder: bool,
    use_prompt: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 50265,
            decoder_vocab_size: None,
            max_position_embeddings: 1024,
            d_model: 1024,
            encoder_layers: 12,
            encoder_ffn_dim: 4096,
            encoder_attention_heads: 16,
            decoder_layers: 12,
            decoder_ffn_dim: 4096,
            decoder_attention_heads: 16,
            activation_function: Activation::Gelu,
            scale_embedding: false,
            share_encoder_decoder_embeddings: true,
            tie_word_embeddings: true,
            pad_token_id: None,
            is_decoder: false,
            is_encoder_decoder: true,
            use_prompt: false,
        }
    }
}

impl Config {
    /// `defaults` stand behind what `config` leaves out.
    fn read(config: &str, defaults: &str) -> Result<Self, LoadError> {
        let mut values: Map<String, Value> = serde_json::from_str(defaults)?;
        values.extend(serde_json::from_str::<Map<String, Value>>(config)?);
        let config: Self = serde_json::from_value(Value::Object(values))?;
        for (field, value, supported) in [
            ("is_decoder", config.is_decoder, false),
            ("is_encoder_decoder", config.is_encoder_decoder, true),
            ("use_prompt", config.use_prompt, false),
        ] {
            if value != supported {
                return Err(unsupported(field, value));
            }
        }
        Ok(config)
    }

    fn resolve(self, family: Family) -> Result<EncDecConfig, LoadError> {
        let shares_embeddings = self.share_encoder_decoder_embeddings;
        let own_target = self.decoder_vocab_size.filter(|_| !shares_embeddings);
        let config = EncDecConfig {
            positions: (family.positions)(&self)?,
            vocab_size: self.vocab_size,
            target_vocab_size: own_target.unwrap_or(self.vocab_size),
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
            activation: self.activation_function,
            max_positions: self.max_position_embeddings,
            scale_embedding: self.scale_embedding,
            norm_embedding: family.norm_embedding,
            norms_target_words: family.norms_target_words,
            pre_norm: family.pre_norm,
            final_norm: family.final_norm,
            shares_embeddings,
            tie_word_embeddings: self.tie_word_embeddings,
        };
        config.check()?;
        Ok(config)
    }
}
