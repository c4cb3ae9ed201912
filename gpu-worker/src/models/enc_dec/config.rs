//! What models of the block differ in.

use super::positions::PositionKind;
use crate::{
    layers::Activation,
    models::{LoadError, check_divides, check_positive},
};

/// Layers of one half of the model.
#[derive(Clone, Copy, Debug)]
pub(in crate::models) struct StackConfig {
    pub layers: i64,
    pub heads: i64,
    pub ffn_dim: i64,
}

#[derive(Clone, Debug)]
pub(in crate::models) struct EncDecConfig {
    pub vocab_size: i64,
    /// Differs from `vocab_size` only where embeddings are not shared.
    pub target_vocab_size: i64,
    pub d_model: i64,
    pub encoder: StackConfig,
    pub decoder: StackConfig,
    pub activation: Activation,
    pub max_positions: i64,
    pub positions: PositionKind,
    /// Word embeddings times the root of the dimension.
    pub scale_embedding: bool,
    /// A norm on the embeddings (`layernorm_embedding`).
    pub norm_embedding: bool,
    /// In the half that writes that norm comes before the positions are added.
    pub norms_target_words: bool,
    /// Norms before attention and feed-forward instead of after them.
    pub pre_norm: bool,
    /// A norm after the last layer (`layer_norm`).
    pub final_norm: bool,
    /// Source and target have one table of embeddings.
    pub shares_embeddings: bool,
    /// The head is the table of target embeddings, unless the checkpoint has one of its own.
    pub tie_word_embeddings: bool,
}

impl EncDecConfig {
    pub fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("decoder_vocab_size", self.target_vocab_size),
            ("d_model", self.d_model),
            ("encoder_layers", self.encoder.layers),
            ("encoder_attention_heads", self.encoder.heads),
            ("encoder_ffn_dim", self.encoder.ffn_dim),
            ("decoder_layers", self.decoder.layers),
            ("decoder_attention_heads", self.decoder.heads),
            ("decoder_ffn_dim", self.decoder.ffn_dim),
            ("max_position_embeddings", self.max_positions),
        ])?;
        check_divides("encoder_attention_heads", self.encoder.heads, self.d_model)?;
        check_divides("decoder_attention_heads", self.decoder.heads, self.d_model)?;
        self.positions.check(self.d_model, self.max_positions)
    }

    pub(super) fn embed_scale(&self) -> f64 {
        if self.scale_embedding { (self.d_model as f64).sqrt() } else { 1.0 }
    }
}
