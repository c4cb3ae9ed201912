//! What a decoder is built from: plain values, from whichever architecture's config they came.

use crate::layers::{Activation, NormKind, RopeParameters};

/// A stack of layers of causal attention and feed-forward networks. Names are the checkpoint's.
pub(in crate::models) struct Config {
    pub vocab_size: i64,
    pub hidden_size: i64,
    /// Width of the embeddings and of the output; projections stand between where the layers have another.
    pub embedding_dim: i64,
    pub embedding_scale: Option<f64>,
    /// Learned positions, which are added to the embeddings.
    pub learned_positions: Option<LearnedPositions>,
    /// The rotations that layers choose from.
    pub ropes: Vec<RopeParameters>,
    /// The most tokens of a sequence.
    pub context_length: i64,
    /// When a sequence outgrows this many tokens, its keys are computed anew.
    pub rereads_beyond: Option<i64>,
    pub norm_kind: NormKind,
    pub norm_eps: f64,
    pub layer_norms: LayerNorms,
    pub residual: Residual,
    pub attention: Attention,
    pub mlp: MlpNames,
    pub mlp_bias: bool,
    pub act: Activation,
    /// One per layer.
    pub layers: Vec<Layer>,
    pub tie_word_embeddings: bool,
    /// Logits are bent to lie between minus this and this.
    pub final_softcap: Option<f64>,
    pub names: Names,
}

/// What differs between the layers of one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::models) struct Layer {
    /// How many of the newest positions it sees; `None` for all.
    pub window: Option<i64>,
    /// Which of the rotations is its; `None`: it does not know positions.
    pub rope: Option<usize>,
    pub feed_forward: FeedForward,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::models) enum FeedForward {
    Dense { inner_dim: i64 },
    Experts(Experts),
}

/// Of many small networks a few are chosen for every token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::models) struct Experts {
    pub n_experts: i64,
    /// How many are chosen.
    pub per_token: i64,
    pub inner_dim: i64,
    /// Whether the shares of the chosen ones are scaled to a sum of 1.
    pub normalised: bool,
    /// Inner width of one more network that every token goes through, with a gate of its own.
    pub shared_inner_dim: Option<i64>,
    pub names: MlpNames,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::models) struct Attention {
    pub n_heads: i64,
    pub n_kv_heads: i64,
    pub head_dim: i64,
    pub scale: f64,
    /// Scores are bent to lie between minus this and this.
    pub softcap: Option<f64>,
    pub projections: Projections,
    pub output: &'static str,
    pub qkv_bias: bool,
    pub output_bias: bool,
    pub qk_norm: QkNorm,
}

/// How queries, keys and values are stored.
#[derive(Clone, Copy, Debug)]
pub(in crate::models) enum Projections {
    /// `q_proj`, `k_proj`, `v_proj`.
    Separate,
    /// One layer: all queries, then all keys, then all values.
    Joined(&'static str),
    /// One layer: head by head its query, its key and its value.
    ByHead(&'static str),
}

/// Norms of queries and keys, `q_norm` and `k_norm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum QkNorm {
    None,
    PerHead,
    /// Over all heads together.
    Whole,
}

/// How a feed-forward network is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum MlpNames {
    Gated {
        gate: &'static str,
        up: &'static str,
        down: &'static str,
    },
    /// One layer for the gate and what it is multiplied with, in this order.
    Fused {
        gate_up: &'static str,
        down: &'static str,
    },
    Ungated {
        up: &'static str,
        down: &'static str,
    },
}

/// The names of a layer's norms; `None` where there is none.
#[derive(Clone, Copy, Debug)]
pub(in crate::models) struct LayerNorms {
    pub before_attention: Option<&'static str>,
    pub after_attention: Option<&'static str>,
    pub before_mlp: Option<&'static str>,
    pub after_mlp: Option<&'static str>,
}

/// How a layer's two parts are added to what they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum Residual {
    /// One after the other; norms after a part are of the part.
    Serial,
    /// Both read the same.
    Parallel,
    /// One after the other; norms after a part are of the sum.
    NormedSum,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::models) struct LearnedPositions {
    pub name: &'static str,
    pub n_positions: i64,
    /// Position 0 is this row of the table.
    pub offset: i64,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::models) struct Names {
    pub embed_tokens: &'static str,
    pub layers: &'static str,
    pub attention: &'static str,
    /// Empty: the network's layers stand beside the attention.
    pub mlp: &'static str,
    /// The norm after the last layer, if there is one.
    pub norm: Option<&'static str>,
    pub lm_head: &'static str,
}
