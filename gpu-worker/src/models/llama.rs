//! Llama (Touvron et al., 2023, <https://arxiv.org/abs/2302.13971>) and those that differ from it by little:
//! Mistral (<https://arxiv.org/abs/2310.06825>), Qwen2 (<https://arxiv.org/abs/2407.10671>),
//! Qwen3 (<https://arxiv.org/abs/2505.09388>).
//!
//! Reference: `transformers/models/{llama,mistral,qwen2,qwen3}/modeling_*.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError,
    decoder::{Common, Config, Decoder, Defaults, QkNorm, architecture},
};

pub(super) const LLAMA: Architecture =
    architecture("llama", |config, _, weights| Decoder::load(&llama(config)?, weights));
pub(super) const MISTRAL: Architecture =
    architecture("mistral", |config, _, weights| Decoder::load(&mistral(config)?, weights));
pub(super) const QWEN2: Architecture =
    architecture("qwen2", |config, _, weights| Decoder::load(&qwen2(config)?, weights));
pub(super) const QWEN3: Architecture =
    architecture("qwen3", |config, _, weights| Decoder::load(&qwen3(config)?, weights));

const DEFAULT_WINDOW: i64 = 4096;

const QWEN: Defaults = Defaults {
    vocab_size: 151_936,
    intermediate_size: 22016,
    num_key_value_heads: Some(32),
    max_position_embeddings: 32768,
    ..Defaults::LLAMA
};

#[derive(Deserialize)]
struct Raw {
    #[serde(flatten)]
    common: Common,
    /// Layers from here on see only a window (Qwen).
    max_window_layers: Option<usize>,
}

fn llama(config: &str) -> Result<Config, LoadError> {
    let raw: Common = serde_json::from_str(config)?;
    let mut config = raw.decoder(&Defaults::LLAMA)?;
    config.attention.qkv_bias = raw.attention_bias;
    config.attention.output_bias = raw.attention_bias;
    config.mlp_bias = raw.mlp_bias;
    Ok(config)
}

fn mistral(config: &str) -> Result<Config, LoadError> {
    let raw: Common = serde_json::from_str(config)?;
    let mut config = raw.decoder(&Defaults {
        intermediate_size: 14336,
        num_key_value_heads: Some(8),
        max_position_embeddings: 131_072,
        ..Defaults::LLAMA
    })?;
    let size = raw.sliding_window.unwrap_or(Some(DEFAULT_WINDOW));
    let sliding = vec![size.is_some(); config.layers.len()];
    config.slide(size, &sliding)?;
    Ok(config)
}

fn qwen2(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let mut config = qwen(&raw, &QWEN)?;
    config.attention.qkv_bias = true;
    Ok(config)
}

fn qwen3(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let mut config = qwen(&raw, &Defaults { head_dim: Some(128), ..QWEN })?;
    config.attention.qkv_bias = raw.common.attention_bias;
    config.attention.output_bias = raw.common.attention_bias;
    config.attention.qk_norm = QkNorm::PerHead;
    Ok(config)
}

/// What Qwen2 and Qwen3 share: windows from some layer on, if they are used at all.
fn qwen(raw: &Raw, defaults: &Defaults) -> Result<Config, LoadError> {
    let mut config = raw.common.decoder(defaults)?;
    let size = raw.common.sliding_window.unwrap_or(Some(DEFAULT_WINDOW));
    let size = size.filter(|_| raw.common.use_sliding_window);
    let first = raw.max_window_layers.unwrap_or(28);
    let sliding =
        raw.common.sliding_layers(config.layers.len(), |layer| size.is_some() && layer >= first)?;
    config.slide(size, &sliding)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(config: &Config) -> Vec<Option<i64>> {
        config.layers.iter().map(|layer| layer.window).collect()
    }

    #[test]
    fn an_empty_config_means_what_the_reference_means() {
        let llama = llama("{}").unwrap();
        assert_eq!((llama.attention.head_dim, llama.attention.n_kv_heads), (128, 32));
        assert_eq!((llama.attention.qkv_bias, windows(&llama)[0]), (false, None));
        let mistral = mistral("{}").unwrap();
        assert_eq!((mistral.attention.n_kv_heads, windows(&mistral)[31]), (8, Some(4096)));
        let qwen2 = qwen2("{}").unwrap();
        assert_eq!((qwen2.attention.qkv_bias, qwen2.attention.output_bias), (true, false));
        assert_eq!(windows(&qwen2)[31], None);
        let qwen3 = qwen3("{}").unwrap();
        assert_eq!((qwen3.attention.head_dim, qwen3.attention.qk_norm), (128, QkNorm::PerHead));
    }

    #[test]
    fn windows_follow_the_layers() {
        let common = r#""num_hidden_layers": 2, "sliding_window": 8"#;
        let plain = format!("{{{common}}}");
        assert_eq!(windows(&mistral(&plain).unwrap()), [Some(8), Some(8)]);
        let none = r#"{"num_hidden_layers": 1, "sliding_window": null}"#;
        assert_eq!(windows(&mistral(none).unwrap()), [None]);
        assert_eq!(windows(&qwen2(&plain).unwrap()), [None, None]);
        let used = format!(r#"{{{common}, "use_sliding_window": true, "max_window_layers": 1}}"#);
        assert_eq!(windows(&qwen2(&used).unwrap()), [None, Some(8)]);
        let named = format!(
            r#"{{{common}, "use_sliding_window": true, "layer_types": ["sliding_attention", "full_attention"]}}"#
        );
        assert_eq!(windows(&qwen3(&named).unwrap()), [Some(8), None]);
    }
}
