//! The model zoo: one file per architecture, one line per architecture in [`ARCHITECTURES`].
//!
//! Model code does no input or output: config and tensors in, tensors out.

mod albert;
mod bart;
mod bert;
mod deberta_v2;
mod decoder;
mod distilbert;
mod electra;
mod enc_dec;
mod encoder;
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
mod smollm3;
mod t5;
mod vit;

use std::fmt;

pub use kinds::{
    CausalLm, ImageClassifier, MaskedLm, Model, ModelKind, Seq2SeqLm, SequenceClassifier,
    TextEncoder, TextModel, TokenScorer,
};
pub use labels::labels;
use serde::Deserialize;

use crate::{
    layers::RopeError,
    weights::{Rename, Weights, WeightsError},
};

/// Every architecture there is.
pub const ARCHITECTURES: &[Architecture] = &[
    albert::ALBERT,
    bart::BART,
    bart::M2M_100,
    bart::MARIAN,
    bart::MBART,
    bart::PEGASUS,
    bert::BERT,
    bert::CAMEMBERT,
    bert::ROBERTA,
    bert::XLM_ROBERTA,
    deberta_v2::DEBERTA_V2,
    distilbert::DISTILBERT,
    electra::ELECTRA,
    gemma::GEMMA,
    gemma::GEMMA2,
    gemma::GEMMA3_TEXT,
    gpt2::GPT2,
    gpt_neox::GPT_NEOX,
    gte::GTE,
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
    smollm3::SMOLLM3,
    t5::MT5,
    t5::T5,
    t5::UMT5,
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::weights::Checkpoint;

    fn refusal(model_type: &str, kind: ModelKind, config: &str) -> String {
        let checkpoint = Checkpoint::from_tensors(HashMap::new());
        let architecture = find(model_type).unwrap();
        match architecture.load(config, kind, &checkpoint.root()) {
            Ok(_) => panic!("{model_type} with {config} was not refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_an_architecture_cannot_do_is_refused_by_name() {
        use ModelKind::{CausalLm, ImageClassifier, Seq2SeqLm, TextEncoder};
        for (model_type, kind, config, expected) in [
            ("bert", CausalLm, "{}", "bert cannot be loaded as a causal language model"),
            (
                "bert",
                TextEncoder,
                r#"{"position_embedding_type": "relative_key"}"#,
                "position_embedding_type",
            ),
            ("bert", TextEncoder, r#"{"hidden_act": "prelu"}"#, "\"prelu\" is not supported"),
            ("bert", TextEncoder, r#"{"is_decoder": true}"#, "is_decoder = true"),
            ("bert", TextEncoder, r#"{"num_attention_heads": 7}"#, "num_attention_heads = 7"),
            ("gpt2", CausalLm, r#"{"add_cross_attention": true}"#, "add_cross_attention = true"),
            ("gpt2", CausalLm, r#"{"n_layer": -1}"#, "n_layer = -1"),
            (
                "llama",
                CausalLm,
                r#"{"rope_scaling": {"rope_type": "mrope"}}"#,
                "rope_type \"mrope\" is not supported",
            ),
            ("llama", CausalLm, r#"{"partial_rotary_factor": 0.5}"#, "partial_rotary_factor = 0.5"),
            ("llama", CausalLm, r#"{"num_hidden_layers": 4097}"#, "num_hidden_layers = 4097"),
            ("gemma", CausalLm, r#"{"use_bidirectional_attention": true}"#, "use_bidirectional"),
            ("gemma2", CausalLm, r#"{"attn_logit_softcapping": 0}"#, "attn_logit_softcapping = 0"),
            ("gemma2", CausalLm, r#"{"sliding_window": null}"#, "without a window"),
            ("gemma3_text", CausalLm, r#"{"sliding_window_pattern": 0}"#, "sliding_window_pattern"),
            (
                "gemma3_text",
                CausalLm,
                r#"{"rope_parameters": {"rope_type": "default"}}"#,
                "rope_parameters = one for all kinds of layers",
            ),
            ("gpt_neox", CausalLm, r#"{"rotary_pct": 0.001}"#, "of which 0 values turn"),
            ("gpt_neox", CausalLm, r#"{"hidden_act": "snake"}"#, "\"snake\" is not supported"),
            ("mixtral", CausalLm, r#"{"num_experts_per_tok": 9}"#, "num_experts_per_tok = 9"),
            ("mixtral", CausalLm, r#"{"num_local_experts": 0}"#, "num_local_experts = 0"),
            ("qwen2_moe", CausalLm, r#"{"decoder_sparse_step": 0}"#, "decoder_sparse_step = 0"),
            (
                "qwen2_moe",
                CausalLm,
                r#"{"shared_expert_intermediate_size": 0}"#,
                "shared_expert_intermediate_size = 0",
            ),
            ("qwen3_moe", CausalLm, r#"{"num_experts": 100000}"#, "num_experts = 100000"),
            ("olmo2", CausalLm, r#"{"num_key_value_heads": 5}"#, "num_key_value_heads = 5"),
            ("opt", CausalLm, r#"{"word_embed_proj_dim": 0}"#, "word_embed_proj_dim = 0"),
            (
                "phi3",
                CausalLm,
                r#"{"rope_scaling": {"type": "linear", "factor": 2}}"#,
                "rope_type \"linear\" is not supported",
            ),
            (
                "phi3",
                CausalLm,
                r#"{"rope_scaling": {"type": "su", "short_factor": [1], "long_factor": [1]}}"#,
                "short_factor = a list of 1",
            ),
            ("smollm3", CausalLm, r#"{"no_rope_layers": [1]}"#, "no_rope_layers = a list of 1"),
            ("smollm3", CausalLm, r#"{"no_rope_layer_interval": 0}"#, "no_rope_layer_interval = 0"),
            (
                "llama",
                CausalLm,
                r#"{"quantization_config": {"quant_method": "gptq"}}"#,
                "quantization_config = gptq",
            ),
            ("qwen3", CausalLm, r#"{"layer_types": ["linear_attention"]}"#, "layer_types"),
            ("bart", Seq2SeqLm, r#"{"is_encoder_decoder": false}"#, "is_encoder_decoder = false"),
            ("bart", Seq2SeqLm, r#"{"encoder_attention_heads": 7}"#, "encoder_attention_heads = 7"),
            ("bart", CausalLm, "{}", "bart cannot be loaded as a causal language model"),
            ("mbart", Seq2SeqLm, r#"{"decoder_ffn_dim": 0}"#, "decoder_ffn_dim = 0"),
            ("pegasus", Seq2SeqLm, r#"{"is_decoder": true}"#, "is_decoder = true"),
            (
                "marian",
                Seq2SeqLm,
                r#"{"max_position_embeddings": 1000000000}"#,
                "max_position_embeddings = 1000000000",
            ),
            ("m2m_100", Seq2SeqLm, r#"{"pad_token_id": null}"#, "pad_token_id = null"),
            ("m2m_100", Seq2SeqLm, r#"{"pad_token_id": -1}"#, "pad_token_id = -1"),
            (
                "t5",
                Seq2SeqLm,
                r#"{"feed_forward_proj": "gated-maxout"}"#,
                "feed_forward_proj: activation \"maxout\" is not supported",
            ),
            (
                "t5",
                TextEncoder,
                r#"{"relative_attention_num_buckets": 2}"#,
                "relative_attention_num_buckets = 2",
            ),
            (
                "umt5",
                Seq2SeqLm,
                r#"{"relative_attention_max_distance": 1073741824}"#,
                "relative_attention_max_distance = 1073741824",
            ),
            ("mt5", Seq2SeqLm, r#"{"num_decoder_layers": -1}"#, "num_decoder_layers = -1"),
            ("vit", ImageClassifier, r#"{"hidden_size": 0}"#, "hidden_size = 0"),
            ("vit", ImageClassifier, "[]", "config.json is invalid"),
        ] {
            let refusal = refusal(model_type, kind, config);
            assert!(refusal.contains(expected), "{model_type} {config}: {refusal}");
        }
        assert!(find("no_such_architecture").is_err());
    }

    #[test]
    fn model_types_are_unique() {
        for (idx, architecture) in ARCHITECTURES.iter().enumerate() {
            assert!(
                ARCHITECTURES[..idx]
                    .iter()
                    .all(|other| other.model_type != architecture.model_type)
            );
        }
    }
}
