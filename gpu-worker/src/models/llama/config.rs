//! The configs of the Llama family, brought to one form: what differs between its model types is a value here.

use serde::Deserialize;

use super::super::{LoadError, check_divides, check_positive, unsupported};
use crate::layers::{Activation, RopeConfig, RopeParameters};

/// What a model type means where its config does not say.
pub(super) struct Variant {
    vocab_size: i64,
    intermediate_size: i64,
    /// `None`: as many as there are query heads.
    num_key_value_heads: Option<i64>,
    /// `None`: the width divided by the heads.
    head_dim: Option<i64>,
    max_position_embeddings: i64,
    biases: Biases,
    mlp_bias: bool,
    qk_norm: bool,
    window: Window,
}

/// Which projections of the attention have a bias.
enum Biases {
    None,
    /// Queries, keys and values.
    Inputs,
    /// All or none, by `attention_bias`.
    Configured,
}

/// Which layers see only the newest positions.
enum Window {
    Never,
    /// All, if `sliding_window` is a number.
    Everywhere,
    /// Those that `layer_types` names, else those from `max_window_layers` on, and only with `use_sliding_window`.
    ByLayer,
}

pub(super) const LLAMA: Variant = Variant {
    vocab_size: 32000,
    intermediate_size: 11008,
    num_key_value_heads: None,
    head_dim: None,
    max_position_embeddings: 2048,
    biases: Biases::Configured,
    mlp_bias: true,
    qk_norm: false,
    window: Window::Never,
};

pub(super) const MISTRAL: Variant = Variant {
    vocab_size: 32000,
    intermediate_size: 14336,
    num_key_value_heads: Some(8),
    head_dim: None,
    max_position_embeddings: 131_072,
    biases: Biases::None,
    mlp_bias: false,
    qk_norm: false,
    window: Window::Everywhere,
};

pub(super) const QWEN2: Variant = Variant {
    vocab_size: 151_936,
    intermediate_size: 22016,
    num_key_value_heads: Some(32),
    head_dim: None,
    max_position_embeddings: 32768,
    biases: Biases::Inputs,
    mlp_bias: false,
    qk_norm: false,
    window: Window::ByLayer,
};

pub(super) const QWEN3: Variant = Variant {
    vocab_size: 151_936,
    intermediate_size: 22016,
    num_key_value_heads: Some(32),
    head_dim: Some(128),
    max_position_embeddings: 32768,
    biases: Biases::Configured,
    mlp_bias: false,
    qk_norm: true,
    window: Window::ByLayer,
};

const DEFAULT_WINDOW: i64 = 4096;

/// The file as it is; what is absent takes the variant's default.
#[derive(Deserialize)]
struct RawConfig {
    vocab_size: Option<i64>,
    #[serde(default = "default_hidden_size")]
    hidden_size: i64,
    intermediate_size: Option<i64>,
    #[serde(default = "default_count")]
    num_hidden_layers: i64,
    #[serde(default = "default_count")]
    num_attention_heads: i64,
    /// Absent and `null` differ: `null` always means as many as there are query heads.
    #[serde(default, deserialize_with = "present")]
    num_key_value_heads: Option<Option<i64>>,
    head_dim: Option<i64>,
    #[serde(default = "default_hidden_act")]
    hidden_act: Activation,
    max_position_embeddings: Option<i64>,
    #[serde(default = "default_eps")]
    rms_norm_eps: f64,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    /// Absent and `null` differ: `null` means none.
    #[serde(default, deserialize_with = "present")]
    sliding_window: Option<Option<i64>>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    #[serde(flatten)]
    rope: RopeConfig,
}

fn default_hidden_size() -> i64 {
    4096
}

fn default_count() -> i64 {
    32
}

fn default_hidden_act() -> Activation {
    Activation::Silu
}

fn default_eps() -> f64 {
    1e-6
}

fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What the model is built from.
pub(super) struct Config {
    pub(super) vocab_size: i64,
    pub(super) hidden_size: i64,
    pub(super) intermediate_size: i64,
    pub(super) n_layers: usize,
    pub(super) n_heads: i64,
    pub(super) n_kv_heads: i64,
    pub(super) head_dim: i64,
    pub(super) act: Activation,
    pub(super) rms_norm_eps: f64,
    pub(super) tie_word_embeddings: bool,
    pub(super) qkv_bias: bool,
    pub(super) o_bias: bool,
    pub(super) mlp_bias: bool,
    pub(super) qk_norm: bool,
    pub(super) rope: RopeParameters,
    /// How many of the newest positions each layer sees; `None` for all.
    pub(super) windows: Vec<Option<i64>>,
}

impl Config {
    pub(super) fn parse(config: &str, variant: &Variant) -> Result<Self, LoadError> {
        let raw: RawConfig = serde_json::from_str(config)?;
        let n_heads = raw.num_attention_heads;
        check_positive(&[
            ("hidden_size", raw.hidden_size),
            ("num_hidden_layers", raw.num_hidden_layers),
            ("num_attention_heads", n_heads),
        ])?;
        let head_dim = match raw.head_dim.or(variant.head_dim) {
            Some(head_dim) => head_dim,
            None => {
                check_divides("num_attention_heads", n_heads, raw.hidden_size)?;
                raw.hidden_size / n_heads
            }
        };
        let n_kv_heads = match raw.num_key_value_heads {
            None => variant.num_key_value_heads.unwrap_or(n_heads),
            Some(configured) => configured.unwrap_or(n_heads),
        };
        let max_positions = raw.max_position_embeddings.unwrap_or(variant.max_position_embeddings);
        let vocab_size = raw.vocab_size.unwrap_or(variant.vocab_size);
        let intermediate_size = raw.intermediate_size.unwrap_or(variant.intermediate_size);
        check_positive(&[
            ("head_dim", head_dim),
            ("num_key_value_heads", n_kv_heads),
            ("max_position_embeddings", max_positions),
            ("vocab_size", vocab_size),
            ("intermediate_size", intermediate_size),
        ])?;
        check_divides("num_key_value_heads", n_kv_heads, n_heads)?;
        // Rotation turns pairs of values.
        check_divides("head_dim", 2, head_dim)?;
        let windows = windows(&raw, &variant.window)?;
        let (qkv_bias, o_bias) = match variant.biases {
            Biases::None => (false, false),
            Biases::Inputs => (true, false),
            Biases::Configured => (raw.attention_bias, raw.attention_bias),
        };
        Ok(Self {
            vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size,
            n_layers: windows.len(),
            n_heads,
            n_kv_heads,
            head_dim,
            act: raw.hidden_act,
            rms_norm_eps: raw.rms_norm_eps,
            tie_word_embeddings: raw.tie_word_embeddings,
            qkv_bias,
            o_bias,
            mlp_bias: variant.mlp_bias && raw.mlp_bias,
            qk_norm: variant.qk_norm,
            rope: raw.rope.parameters(max_positions)?,
            windows,
        })
    }
}

fn windows(raw: &RawConfig, window: &Window) -> Result<Vec<Option<i64>>, LoadError> {
    let n_layers = usize::try_from(raw.num_hidden_layers)
        .map_err(|_| unsupported("num_hidden_layers", raw.num_hidden_layers))?;
    let size = raw.sliding_window.unwrap_or(Some(DEFAULT_WINDOW));
    let size = match window {
        Window::Never => None,
        Window::Everywhere => size,
        Window::ByLayer => size.filter(|_| raw.use_sliding_window),
    };
    if let Some(size) = size {
        check_positive(&[("sliding_window", size)])?;
    }
    let (Window::ByLayer, Some(layer_types)) = (window, &raw.layer_types) else {
        let first = match window {
            Window::ByLayer => raw.max_window_layers.unwrap_or(28),
            Window::Never | Window::Everywhere => 0,
        };
        return Ok((0..n_layers).map(|layer| size.filter(|_| layer >= first)).collect());
    };
    if layer_types.len() != n_layers {
        return Err(unsupported("layer_types", format!("a list of {}", layer_types.len())));
    }
    layer_types
        .iter()
        .map(|layer_type| match layer_type.as_str() {
            "full_attention" => Ok(None),
            "sliding_attention" => size
                .map(Some)
                .ok_or_else(|| unsupported("layer_types", "sliding_attention without a window")),
            other => Err(unsupported("layer_types", other)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_config_means_what_the_reference_means() {
        let llama = Config::parse("{}", &LLAMA).unwrap();
        assert_eq!(
            (llama.head_dim, llama.n_kv_heads, llama.qkv_bias, llama.windows[0]),
            (128, 32, false, None)
        );
        let mistral = Config::parse("{}", &MISTRAL).unwrap();
        assert_eq!(
            (mistral.n_kv_heads, mistral.intermediate_size, mistral.windows[31]),
            (8, 14336, Some(4096))
        );
        let qwen2 = Config::parse("{}", &QWEN2).unwrap();
        assert_eq!((qwen2.qkv_bias, qwen2.o_bias, qwen2.windows[31]), (true, false, None));
        let qwen3 = Config::parse("{}", &QWEN3).unwrap();
        assert_eq!((qwen3.head_dim, qwen3.qk_norm, qwen3.mlp_bias), (128, true, false));
    }

    #[test]
    fn windows_follow_the_layers() {
        let layers =
            |config: &str, variant: &Variant| Config::parse(config, variant).unwrap().windows;
        let common = r#""num_hidden_layers": 2, "sliding_window": 8"#;
        assert_eq!(layers(&format!("{{{common}}}"), &MISTRAL), [Some(8), Some(8)]);
        assert_eq!(layers(r#"{"num_hidden_layers": 1, "sliding_window": null}"#, &MISTRAL), [None]);
        assert_eq!(layers(&format!("{{{common}}}"), &QWEN2), [None, None]);
        let used = format!(r#"{{{common}, "use_sliding_window": true, "max_window_layers": 1}}"#);
        assert_eq!(layers(&used, &QWEN2), [None, Some(8)]);
        let named = format!(
            r#"{{{common}, "use_sliding_window": true, "layer_types": ["sliding_attention", "full_attention"]}}"#
        );
        assert_eq!(layers(&named, &QWEN3), [Some(8), None]);
    }
}
