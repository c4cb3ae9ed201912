//! Whether a model fits, and what it would need: pure figures.

use serde_json::Value;
use tch::{Device, Kind};

use super::{entry::Bytes, facts::Facts, precision::bytes_per_value};

use crate::models::{
    ModelKind,
    diffusion::{WORKING_COPIES, needs_float32},
    enlargement,
};

/// Keys and values are bounded to at least this many tokens …
const MIN_CACHE_TOKENS: u64 = 2048;
/// … and at most this many.
const MAX_CACHE_TOKENS: u64 = 16384;
/// A source beside several beams: never less than this …
const MIN_SEQ2SEQ_TOKENS: u64 = 4096;
/// … and several of those at a time, where that is cheap.
const CHEAP_SEQ2SEQ_BYTES: u64 = 256 << 20;

/// Tokens, patches or rows of a typical largest step, for the first estimate of its intermediate tensors.
const STEP_ROWS: u64 = 2048;
/// Pixels of a usual piece of a picture that is enhanced, and channels of the layers that enlarge it.
const PIECE_PIXELS: u64 = 128 * 128;
const HEAD_CHANNELS: u64 = 64;

/// What a model is estimated to need before it was ever loaded here.
pub fn estimate(facts: &Facts, kind: ModelKind, dtype: Kind, device: Device) -> Bytes {
    let config = Sizes(serde_json::from_str(&facts.config).unwrap_or_default());
    let cache = match kind {
        ModelKind::CausalLm => config.cache_bytes(dtype, 2, MIN_CACHE_TOKENS),
        ModelKind::Seq2SeqLm => config.seq2seq_cache_bytes(dtype),
        ModelKind::TextEncoder
        | ModelKind::SequenceClassifier
        | ModelKind::TokenClassifier
        | ModelKind::QuestionAnswerer
        | ModelKind::TableAnswerer
        | ModelKind::MaskedLm
        | ModelKind::ImageClassifier
        | ModelKind::ImageGenerator
        | ModelKind::UnconditionalGenerator
        | ModelKind::ImageEnhancer => 0,
    };
    Bytes {
        weights: facts.weight_bytes(dtype, device),
        mapped: 0,
        cache,
        adapters: 0,
        workspace: match kind {
            ModelKind::ImageGenerator => config.picture_bytes(dtype),
            ModelKind::UnconditionalGenerator => {
                config.imagined_values().saturating_mul(bytes_per_value(dtype))
            }
            ModelKind::ImageEnhancer => config.enhancing_bytes(dtype),
            _ => config.workspace_bytes(dtype),
        },
    }
}

/// The sizes that a config names, whichever family's names it uses.
struct Sizes(Value);

impl Sizes {
    fn field(&self, names: &[&str]) -> Option<u64> {
        names.iter().find_map(|name| self.0.get(*name).and_then(Value::as_u64))
    }

    fn hidden(&self) -> u64 {
        self.field(&["hidden_size", "n_embd", "dim", "d_model"]).unwrap_or(1024)
    }

    /// Bound of the keys and values of a residency: some of the model's contexts, within limits.
    fn cache_bytes(&self, dtype: Kind, contexts: u64, least: u64) -> u64 {
        let layers = self
            .field(&[
                "decoder_layers",
                "num_decoder_layers",
                "num_hidden_layers",
                "n_layer",
                "num_layers",
            ])
            .unwrap_or(12);
        let heads = self
            .field(&["decoder_attention_heads", "num_attention_heads", "n_head", "num_heads"])
            .unwrap_or(12)
            .max(1);
        let kv_heads = self.field(&["num_key_value_heads"]).unwrap_or(heads);
        let head_dim = self.field(&["head_dim", "d_kv"]).unwrap_or(self.hidden() / heads);
        let context = self
            .field(&["max_position_embeddings", "n_positions", "n_ctx"])
            .unwrap_or(MIN_CACHE_TOKENS);
        let tokens = context.saturating_mul(contexts).clamp(least, MAX_CACHE_TOKENS);
        let values = 2_u64.saturating_mul(layers).saturating_mul(kv_heads).saturating_mul(head_dim);
        tokens.saturating_mul(values).saturating_mul(bytes_per_value(dtype))
    }

    /// As [`Self::cache_bytes`]: every beam may become as long as a text can be.
    fn seq2seq_cache_bytes(&self, dtype: Kind) -> u64 {
        let most = self.cache_bytes(dtype, 0, MAX_CACHE_TOKENS);
        self.cache_bytes(dtype, 4, MIN_SEQ2SEQ_TOKENS).max(most.min(CHEAP_SEQ2SEQ_BYTES))
    }

    /// Intermediate tensors of one step: a few activations of the widest layer.
    fn workspace_bytes(&self, dtype: Kind) -> u64 {
        let hidden = self.hidden();
        let wide = self
            .field(&[
                "intermediate_size",
                "n_inner",
                "hidden_dim",
                "d_ff",
                "encoder_ffn_dim",
                "ffn_dim",
            ])
            .unwrap_or(hidden.saturating_mul(4));
        let values = hidden.saturating_mul(4).saturating_add(wide.saturating_mul(2));
        STEP_ROWS
            .saturating_mul(values)
            .saturating_add(self.distance_values())
            .saturating_mul(bytes_per_value(dtype))
    }

    /// Intermediate tensors of a pipeline that paints, whose autoencoder may be float32 where the rest is a half type.
    fn picture_bytes(&self, dtype: Kind) -> u64 {
        let vae = &self.0["components"]["vae"];
        let dtype = if needs_float32("AutoencoderKL", vae) { Kind::Float } else { dtype };
        self.picture_values().saturating_mul(bytes_per_value(dtype))
    }

    /// Of a pipeline that paints, most of its intermediate tensors are those of the autoencoder's widest pictures, of the
    /// size that the pipeline was trained on.
    fn picture_values(&self) -> u64 {
        let components = &self.0["components"];
        let vae = &components["vae"];
        // Transformers are of larger pictures, and FLUX's does not say so.
        let (denoiser, usual) = match &components["transformer"] {
            Value::Null => (&components["unet"], 64),
            transformer => (transformer, 128),
        };
        let channels = vae["block_out_channels"].as_array().map(Vec::as_slice).unwrap_or_default();
        let factor = 1 << channels.len().clamp(1, 16).saturating_sub(1);
        let first = channels.first().and_then(Value::as_u64).unwrap_or(128);
        let latents = denoiser["sample_size"].as_u64().unwrap_or(usual);
        let side = latents.saturating_mul(factor);
        side.saturating_mul(side).saturating_mul(first).saturating_mul(WORKING_COPIES)
    }

    /// Of a pipeline without latents, most are those of the network's widest pictures: what it keeps on its way down, and
    /// what it puts beside that on its way up.
    fn imagined_values(&self) -> u64 {
        const COPIES: u64 = 12;
        let unet = &self.0["components"]["unet"];
        let side = unet["sample_size"].as_u64().unwrap_or(256);
        let first = unet["block_out_channels"][0].as_u64().unwrap_or(128);
        side.saturating_mul(side).saturating_mul(first).saturating_mul(COPIES)
    }

    /// Intermediate tensors of one piece of a picture: a few of the body's width for each of its pixels, with the scores of
    /// windows, and a few of the head's for each pixel that it becomes.
    fn enhancing_bytes(&self, dtype: Kind) -> u64 {
        let scale = u64::from(enlargement(&self.0).scale);
        let dim = self.field(&["embed_dim", "num_feat"]).unwrap_or(180);
        let grown = self.field(&["num_grow_ch"]).unwrap_or(0);
        let body = dim.saturating_mul(12).saturating_add(grown.saturating_mul(12));
        let head = HEAD_CHANNELS.saturating_mul(scale.saturating_mul(scale)).saturating_mul(4);
        PIECE_PIXELS
            .saturating_mul(body.saturating_add(head))
            .saturating_mul(bytes_per_value(dtype))
    }

    /// Attention by distance holds a value per head and pair of tokens, which other attention never does: for tokens that
    /// look for distances, for distances that look for tokens, and for their sum. The embeddings of distances are held
    /// projected, for every layer.
    fn distance_values(&self) -> u64 {
        let is_disentangled =
            self.0.get("relative_attention").and_then(Value::as_bool).unwrap_or(false);
        let copies = match self.field(&["relative_attention_num_buckets"]) {
            _ if is_disentangled => 3,
            Some(_) => 1,
            None => return 0,
        };
        let heads = self.field(&["num_attention_heads", "num_heads"]).unwrap_or(12);
        let context =
            self.field(&["max_position_embeddings", "n_positions"]).unwrap_or(512).min(STEP_ROWS);
        let pairs = STEP_ROWS.saturating_mul(context).saturating_mul(heads).saturating_mul(copies);
        if !is_disentangled {
            return pairs;
        }
        let layers = self.field(&["num_hidden_layers"]).unwrap_or(24);
        let span = self.field(&["position_buckets", "max_relative_positions"]).unwrap_or(context);
        let projected = layers.saturating_mul(4).saturating_mul(span).saturating_mul(self.hidden());
        pairs.saturating_add(projected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(config: &str) -> Sizes {
        Sizes(serde_json::from_str(config).expect("valid"))
    }

    #[test]
    fn the_cache_of_gpt2_holds_two_contexts() {
        let gpt2 = sizes(r#"{"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}"#);
        assert_eq!(gpt2.cache_bytes(Kind::Float, 2, MIN_CACHE_TOKENS), 2048 * 2 * 12 * 768 * 4);
    }

    #[test]
    fn a_translator_has_room_for_several_sources_with_their_beams() {
        let shape =
            r#""decoder_layers": 6, "decoder_attention_heads": 8, "max_position_embeddings": 512"#;
        let marian = sizes(&format!(r#"{{"d_model": 512, {shape}}}"#));
        assert_eq!(marian.seq2seq_cache_bytes(Kind::Float), 256 << 20);
        let large = sizes(&format!(r#"{{"d_model": 2048, {shape}}}"#));
        assert_eq!(large.seq2seq_cache_bytes(Kind::Float), 4096 * 2 * 6 * 2048 * 4);
        let tiny = sizes(&format!(r#"{{"d_model": 32, {shape}}}"#));
        assert_eq!(tiny.seq2seq_cache_bytes(Kind::Float), 16384 * 2 * 6 * 32 * 4);
    }

    #[test]
    fn a_very_long_context_does_not_reserve_the_machine() {
        let long = sizes(
            r#"{"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
                "max_position_embeddings": 1048576}"#,
        );
        assert_eq!(
            long.cache_bytes(Kind::Half, 2, MIN_CACHE_TOKENS),
            MAX_CACHE_TOKENS * 2 * 2 * 16 * 2
        );
    }

    #[test]
    fn the_workspace_follows_the_config() {
        let small = sizes(r#"{"hidden_size": 8, "intermediate_size": 16}"#);
        assert_eq!(small.workspace_bytes(Kind::Float), 2048 * 64 * 4);
    }

    #[test]
    fn a_painter_needs_room_for_a_picture_of_its_size() {
        let painter = sizes(
            r#"{"components": {"unet": {"sample_size": 64}, "vae": {"block_out_channels": [128, 256, 512, 512]}}}"#,
        );
        assert_eq!(painter.picture_values(), 512 * 512 * 128 * 5);
        let flux = sizes(
            r#"{"components": {"transformer": {"in_channels": 64}, "vae": {"block_out_channels": [128, 256, 512, 512]}}}"#,
        );
        assert_eq!(flux.picture_values(), 1024 * 1024 * 128 * 5);
        assert!(sizes("{}").picture_values() > 0);
        let values = painter.picture_values();
        assert_eq!(painter.picture_bytes(Kind::Half), values * 4);
        let fixed = sizes(
            r#"{"components": {"vae": {"block_out_channels": [128], "force_upcast": false}}}"#,
        );
        assert_eq!(fixed.picture_bytes(Kind::Half), fixed.picture_values() * 2);
    }

    #[test]
    fn a_pipeline_without_latents_needs_room_for_its_networks_pictures() {
        let imagining = sizes(
            r#"{"components": {"unet": {"sample_size": 32, "block_out_channels": [128, 256]}}}"#,
        );
        assert_eq!(imagining.imagined_values(), 32 * 32 * 128 * 12);
        assert!(sizes("{}").imagined_values() > 0);
    }

    #[test]
    fn attention_by_distance_needs_room_for_pairs_of_tokens() {
        let distances = |config: &str| sizes(config).distance_values();
        assert_eq!(distances(r#"{"num_attention_heads": 4}"#), 0);
        let mpnet = r#"{"relative_attention_num_buckets": 32, "num_attention_heads": 4,
            "max_position_embeddings": 64}"#;
        assert_eq!(distances(mpnet), 2048 * 64 * 4);
        let deberta = r#"{"relative_attention": true, "num_attention_heads": 4, "hidden_size": 8,
            "max_position_embeddings": 64, "position_buckets": 16, "num_hidden_layers": 2}"#;
        assert_eq!(distances(deberta), 2048 * 64 * 4 * 3 + 2 * 4 * 16 * 8);
    }

    #[test]
    fn an_enhancer_needs_room_for_one_piece() {
        let tiny = sizes(r#"{"embed_dim": 10, "upscale": 2}"#);
        assert_eq!(tiny.enhancing_bytes(Kind::Half), 128 * 128 * (120 + 64 * 4 * 4) * 2);
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let absurd = sizes(
            r#"{"hidden_size": 18446744073709551615, "num_hidden_layers": 18446744073709551615}"#,
        );
        assert_eq!(absurd.cache_bytes(Kind::Float, 2, MIN_CACHE_TOKENS), u64::MAX);
    }
}
