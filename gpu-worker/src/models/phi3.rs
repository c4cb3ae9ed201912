//! Phi-3 (Abdin et al., 2024, <https://arxiv.org/abs/2404.14219>).
//!
//! Reference: `transformers/models/phi3/modeling_phi3.py`.

use super::{
    Architecture, LoadError,
    decoder::{Common, Config, Decoder, Defaults, MlpNames, Projections, RopeChoice, architecture},
};

pub(super) const PHI3: Architecture =
    architecture("phi3", |config, _, weights| Decoder::load(&parse(config)?, weights));

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32064,
    hidden_size: 3072,
    intermediate_size: 8192,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    rope: RopeChoice {
        rotary_share: Some(1.0),
        original_positions: Some(4096.0),
        is_longrope: true,
        ..RopeChoice::PLAIN
    },
    ..Defaults::LLAMA
};

fn parse(config: &str) -> Result<Config, LoadError> {
    let raw: Common = serde_json::from_str(config)?;
    let mut config = raw.decoder(&DEFAULTS)?;
    config.attention.projections = Projections::Joined("qkv_proj");
    config.mlp = MlpNames::Fused { gate_up: "gate_up_proj", down: "down_proj" };
    // Generation in the reference computes the cache anew with the long factors.
    config.rereads_beyond = config.ropes.first().and_then(|rope| rope.switches_at());
    let size = raw.sliding_window.flatten();
    let sliding = vec![size.is_some(); config.layers.len()];
    config.slide(size, &sliding)?;
    Ok(config)
}
