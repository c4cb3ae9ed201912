//! The model zoo: one file per architecture, one line per architecture in [`ARCHITECTURES`].
//!
//! Model code does no input or output: config and tensors in, tensors out.

mod albert;
mod bart;
mod bert;
mod deberta_v2;
mod decoder;
pub mod diffusion;
mod distilbert;
mod electra;
mod enc_dec;
mod encoder;
mod enlargement;
mod gemma;
mod gpt2;
mod gpt_neox;
mod gte;
mod kinds;
mod labels;
mod llama;
mod mixture;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod olmo2;
mod opt;
mod phi3;
mod rrdbnet;
mod sides;
mod smollm3;
mod swin2sr;
mod t5;
mod tapas;
mod vit;

use std::fmt;

pub use enlargement::{Enlargement, enlargement};
pub use kinds::{
    CausalLm, ImageClassifier, ImageEnhancer, MaskedLm, Model, ModelKind, Seq2SeqLm,
    SequenceClassifier, TABLE_CHANNELS, TableAnswerer, TextEncoder, TextModel, TokenScorer,
};
pub use labels::labels;
pub use rrdbnet::{RrdbConfig, renames as rrdbnet_renames};
use serde::Deserialize;

use crate::{
    layers::RopeError,
    weights::{Rename, Weights, WeightsError},
};

/// Every architecture there is.
pub const ARCHITECTURES: &[Architecture] = &[
    albert::ALBERT,
    bart::BART,
    bart::BLENDERBOT,
    bart::BLENDERBOT_SMALL,
    bart::M2M_100,
    bart::MARIAN,
    bart::MBART,
    bart::MVP,
    bart::PEGASUS,
    bart::PLBART,
    bert::BERT,
    bert::CAMEMBERT,
    bert::ROBERTA,
    bert::XLM_ROBERTA,
    deberta_v2::DEBERTA_V2,
    distilbert::DISTILBERT,
    electra::ELECTRA,
    diffusion::FLUX,
    gemma::GEMMA,
    gemma::GEMMA2,
    gemma::GEMMA3_TEXT,
    gpt2::GPT2,
    gpt_neox::GPT_NEOX,
    gte::GTE,
    gte::NEW,
    llama::LLAMA,
    llama::MISTRAL,
    llama::QWEN2,
    llama::QWEN3,
    mixture::MIXTRAL,
    mixture::QWEN2_MOE,
    mixture::QWEN3_MOE,
    modernbert::MODERNBERT,
    mpnet::MPNET,
    nomic_bert::NOMIC_BERT,
    olmo2::OLMO2,
    opt::OPT,
    phi3::PHI3,
    rrdbnet::RRDBNET,
    smollm3::SMOLLM3,
    diffusion::CONTROL_NET,
    diffusion::CONTROL_NET_IMG2IMG,
    diffusion::CONTROL_NET_INPAINT,
    diffusion::DDIM,
    diffusion::DDPM,
    diffusion::INSTRUCT_PIX2PIX,
    diffusion::STABLE_DIFFUSION,
    diffusion::STABLE_DIFFUSION_IMG2IMG,
    diffusion::STABLE_DIFFUSION_INPAINT,
    diffusion::STABLE_DIFFUSION_UPSCALE,
    diffusion::STABLE_DIFFUSION_XL,
    diffusion::STABLE_DIFFUSION_3,
    diffusion::STABLE_DIFFUSION_XL_IMG2IMG,
    diffusion::STABLE_DIFFUSION_XL_INPAINT,
    swin2sr::SWIN2SR,
    t5::MT5,
    t5::T5,
    t5::UMT5,
    tapas::TAPAS,
    vit::VIT,
];

/// How to build one architecture from its `config.json` and its checkpoint.
pub struct Architecture {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// What it can be loaded as.
    pub kinds: &'static [ModelKind],
    /// Old spellings of its checkpoints' names; apply them before [`Self::load`], which asks for the new ones.
    pub renames: &'static [Rename],
    /// Endings of saved tensors that hold nothing that was learned: that nobody asks for them is not worth a word.
    pub ignored: &'static [&'static str],
    load: Load,
}

type Load = fn(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError>;

impl Architecture {
    /// Builds the model that `config`, the text of `config.json`, describes. What the
    /// config asks for and this library cannot do is refused here.
    pub fn load(
        &self,
        config: &str,
        kind: ModelKind,
        weights: &Weights,
    ) -> Result<Model, LoadError> {
        if !self.kinds.contains(&kind) {
            return Err(LoadError::UnsupportedKind { model_type: self.model_type, kind });
        }
        let common: CommonConfig = serde_json::from_str(config)?;
        if let Some(quantization) = common.quantization_config {
            let method =
                quantization.quant_method.as_deref().unwrap_or("of unknown method").to_owned();
            return Err(unsupported("quantization_config", method));
        }
        (self.load)(config, kind, weights)
    }
}

#[derive(Deserialize)]
struct CommonConfig {
    quantization_config: Option<QuantizationConfig>,
}

#[derive(Deserialize)]
struct QuantizationConfig {
    quant_method: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("unknown architecture {model_type:?}")]
    UnknownArchitecture { model_type: String },
    #[error("architecture {model_type} cannot be loaded as a {kind}")]
    UnsupportedKind { model_type: &'static str, kind: ModelKind },
    #[error("config.json: {field} = {value} is not supported")]
    UnsupportedValue { field: &'static str, value: String },
    #[error("config.json: {0}")]
    Rope(#[from] RopeError),
    #[error("config.json is invalid: {0}")]
    Config(#[from] serde_json::Error),
    #[error("the pipeline has no {component}")]
    MissingComponent { component: String },
    #[error("the pipeline's {component} is a {class}, which is not supported")]
    UnknownClass { component: String, class: String },
    #[error("{component}: {source}")]
    Component {
        component: String,
        #[source]
        source: Box<Self>,
    },
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// The architecture of a `model_type`.
pub fn find(model_type: &str) -> Result<&'static Architecture, LoadError> {
    ARCHITECTURES
        .iter()
        .find(|architecture| architecture.model_type == model_type)
        .ok_or_else(|| LoadError::UnknownArchitecture { model_type: model_type.to_owned() })
}

/// The `model_type`s that can be loaded as a `kind`.
pub fn supporting(kind: ModelKind) -> impl Iterator<Item = &'static str> {
    ARCHITECTURES
        .iter()
        .filter(move |architecture| architecture.kinds.contains(&kind))
        .map(|architecture| architecture.model_type)
}

fn unsupported(field: &'static str, value: impl fmt::Display) -> LoadError {
    LoadError::UnsupportedValue { field, value: value.to_string() }
}

/// Refuses sizes that no model has, before anything is computed from them.
fn check_positive(fields: &[(&'static str, i64)]) -> Result<(), LoadError> {
    const MOST: i64 = 1 << 32;
    match fields.iter().find(|(_, value)| !(1..=MOST).contains(value)) {
        Some(&(field, value)) => Err(unsupported(field, value)),
        None => Ok(()),
    }
}

/// Refuses a number of parts that does not divide the whole.
fn check_divides(field: &'static str, parts: i64, whole: i64) -> Result<(), LoadError> {
    if whole % parts == 0 {
        Ok(())
    } else {
        Err(unsupported(field, format!("{parts}, which does not divide {whole},")))
    }
}

/// Refuses a size of one component that does not fit another.
fn check_fits(field: &'static str, found: i64, wanted: i64) -> Result<(), LoadError> {
    if found == wanted {
        Ok(())
    } else {
        Err(unsupported(field, format!("{found}, where another component has {wanted},")))
    }
}

#[cfg(test)]
mod tests;
