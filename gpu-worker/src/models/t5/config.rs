//! `config.json` of the T5 family.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    layers::{Activation, RelativeBuckets},
    models::{LoadError, check_positive, unsupported},
};

/// What the models differ in that no field of their configs says.
#[derive(Clone, Copy)]
pub(super) struct Family {
    /// Every layer has a table of positions of its own; else the first one's serves all.
    pub layers_have_biases: bool,
    /// The head's input is divided by the root of the dimension.
    pub scales_output: bool,
}

/// Defaults are T5's.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub vocab_size: i64,
    pub d_model: i64,
    pub d_kv: i64,
    pub d_ff: i64,
    pub num_layers: i64,
    pub num_decoder_layers: Option<i64>,
    pub num_heads: i64,
    pub relative_attention_num_buckets: i64,
    pub relative_attention_max_distance: i64,
    pub layer_norm_epsilon: f64,
    pub feed_forward_proj: FeedForwardProj,
    pub tie_word_embeddings: Option<bool>,
    /// As newer versions of the reference save what `tie_word_embeddings` used to tell.
    pub scale_decoder_outputs: Option<bool>,
    pub is_decoder: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_decoder_layers: None,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: FeedForwardProj { activation: Activation::Relu, is_gated: false },
            tie_word_embeddings: None,
            scale_decoder_outputs: None,
            is_decoder: false,
        }
    }
}

/// Longer tables of distances than this are refused: they are computed while the model loads.
const MOST_DISTANCE: i64 = 1 << 20;

impl Config {
    /// `defaults` stand behind what `config` leaves out.
    pub fn read(config: &str, defaults: &str) -> Result<Self, serde_json::Error> {
        let mut values: Map<String, Value> = serde_json::from_str(defaults)?;
        values.extend(serde_json::from_str::<Map<String, Value>>(config)?);
        serde_json::from_value(Value::Object(values))
    }

    pub fn decoder_layers(&self) -> i64 {
        self.num_decoder_layers.unwrap_or(self.num_layers)
    }

    pub fn buckets(&self, bidirectional: bool) -> RelativeBuckets {
        RelativeBuckets {
            n_buckets: self.relative_attention_num_buckets,
            max_distance: self.relative_attention_max_distance,
            bidirectional,
        }
    }

    pub fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_decoder_layers", self.decoder_layers()),
            ("num_heads", self.num_heads),
            ("relative_attention_num_buckets", self.relative_attention_num_buckets),
            ("relative_attention_max_distance", self.relative_attention_max_distance),
        ])?;
        let both = [true, false].map(|bidirectional| self.buckets(bidirectional).is_usable());
        if both != [true, true] {
            let field = "relative_attention_num_buckets";
            return Err(unsupported(field, self.relative_attention_num_buckets));
        }
        if self.relative_attention_max_distance > MOST_DISTANCE {
            let field = "relative_attention_max_distance";
            return Err(unsupported(field, self.relative_attention_max_distance));
        }
        if self.is_decoder {
            return Err(unsupported("is_decoder", true));
        }
        Ok(())
    }
}

/// `relu`, `gated-gelu` …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct FeedForwardProj {
    pub activation: Activation,
    pub is_gated: bool,
}

impl TryFrom<String> for FeedForwardProj {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let (activation, is_gated) = match name.strip_prefix("gated-") {
            // What this name has always meant.
            Some("gelu") => ("gelu_new", true),
            Some(activation) => (activation, true),
            None => (name.as_str(), false),
        };
        let activation =
            activation.parse().map_err(|error| format!("feed_forward_proj: {error}"))?;
        Ok(Self { activation, is_gated })
    }
}
