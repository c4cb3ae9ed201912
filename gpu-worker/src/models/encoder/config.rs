//! What an encoder is made of: sizes, where its positions come from, and where its tensors are.

use crate::{
    layers::{Activation, RelativeBuckets, RelativePositionsConfig, RopeParameters},
    models::{LoadError, TABLE_CHANNELS, unsupported},
};

/// An encoder without its heads.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// Length of a token's vector.
    pub dim: i64,
    pub n_heads: i64,
    pub head_dim: i64,
    /// Width between the two halves of a feed-forward part.
    pub inner_dim: i64,
    pub act: Activation,
    pub eps: f64,
    pub biases: Biases,
    pub embeddings: EmbeddingsConfig,
    /// The layers that have tensors of their own.
    pub layers: Vec<LayerConfig>,
    /// Which of them run, in this order; one may run several times.
    pub order: Vec<usize>,
    pub names: LayerNames,
    pub positions: Positions,
    /// The norm behind the last layer. Those of the layers then come before their parts, otherwise after the sums.
    pub final_norm: Option<&'static str>,
    pub convolution: Option<ConvolutionConfig>,
    /// The longest text.
    pub context_length: i64,
}

/// Which parts of a layer have biases.
#[derive(Clone, Copy, Debug)]
pub struct Biases {
    pub attention: bool,
    /// The first half of a feed-forward part.
    pub inner: bool,
    /// Its second half.
    pub output: bool,
    pub norms: bool,
}

impl Biases {
    pub const ALL: Self = Self { attention: true, inner: true, output: true, norms: true };
}

#[derive(Clone, Debug)]
pub struct EmbeddingsConfig {
    pub words: &'static str,
    pub positions: &'static str,
    pub types: &'static str,
    pub norm: &'static str,
    pub vocab_size: i64,
    /// Length of an embedding, before a projection.
    pub dim: i64,
    pub learned: LearnedPositions,
    /// How many kinds of segments have an embedding; 0 for none.
    pub n_types: i64,
    /// For tokens of a table, which have further numbers.
    pub table: Option<TableConfig>,
    pub projection: Option<Projection>,
}

/// What is embedded of a token's place in a table.
#[derive(Clone, Copy, Debug)]
pub struct TableConfig {
    /// Embeddings of the channels are `{path}_0`, `{path}_1`, ….
    pub path: &'static str,
    /// Numbers of each channel are below this.
    pub sizes: [i64; TABLE_CHANNELS],
    /// Whether positions count from the first token of a cell.
    pub counts_in_cells: bool,
}

/// Embeddings of positions.
#[derive(Clone, Copy, Debug)]
pub enum LearnedPositions {
    None,
    /// This many, from the first token on.
    FromStart(i64),
    /// This many. A token's number is `padding_id` and how many tokens there are up to it that are not `padding_id`, which
    /// itself has that number.
    AfterPadding {
        n_rows: i64,
        padding_id: i64,
    },
}

/// What brings embeddings to the encoder's width.
#[derive(Clone, Copy, Debug)]
pub struct Projection {
    pub path: &'static str,
    pub bias: bool,
    /// Whether the norm comes after it, and is of the encoder's width.
    pub before_norm: bool,
}

#[derive(Clone, Debug)]
pub struct LayerConfig {
    pub path: String,
    /// How far a token sees to either side; `None` for the whole text. With rotary positions, those layers turn by the local
    /// parameters.
    pub window: Option<i64>,
    /// Whether there is a norm at the attention.
    pub attention_norm: bool,
}

/// Layers `path.0`, `path.1`, …, which see the whole text.
pub fn numbered(path: &str, n_layers: i64) -> Vec<LayerConfig> {
    (0..n_layers)
        .map(|layer| LayerConfig {
            path: format!("{path}.{layer}"),
            window: None,
            attention_norm: true,
        })
        .collect()
}

/// Where a layer's tensors are, from the layer's own path.
#[derive(Clone, Copy, Debug)]
pub struct LayerNames {
    pub projections: Projections,
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub inner: Inner,
    pub output: &'static str,
    pub output_norm: &'static str,
}

/// Query, key and value.
#[derive(Clone, Copy, Debug)]
pub enum Projections {
    Separate([&'static str; 3]),
    /// All three in one.
    Fused(&'static str),
    /// All three in one where a checkpoint has it so.
    Either {
        fused: &'static str,
        separate: [&'static str; 3],
    },
}

/// The first half of a feed-forward part.
#[derive(Clone, Copy, Debug)]
pub enum Inner {
    Plain(&'static str),
    /// `act(gate) × up`.
    Gated {
        gate: &'static str,
        up: &'static str,
    },
    /// Both parts of a gate in one.
    Fused(FusedGate),
    /// Both parts in one where a checkpoint has it so.
    Either {
        fused: FusedGate,
        gate: &'static str,
        up: &'static str,
    },
}

/// Both parts of a gate in one tensor.
#[derive(Clone, Copy, Debug)]
pub struct FusedGate {
    pub path: &'static str,
    /// Whether the part that is activated comes first.
    pub gate_first: bool,
}

/// How attention knows where tokens are.
#[derive(Clone, Debug)]
pub enum Positions {
    /// Only by the embeddings.
    Embedded,
    /// By a bias that all layers share.
    Bias { path: &'static str, buckets: RelativeBuckets },
    /// By embeddings of distances, which have their own keys and queries in every layer.
    Relative(RelativePositionsConfig),
    /// By rotation; layers that see a window turn by `local`.
    Rotary { full: RopeParameters, local: RopeParameters },
}

/// A convolution over the embeddings, added to what the first layer makes.
#[derive(Clone, Debug)]
pub struct ConvolutionConfig {
    pub path: &'static str,
    pub kernel_size: i64,
    pub groups: i64,
    pub act: Activation,
}

/// Refuses more layers than any model has: each is work to load, whether or not the checkpoint has it.
pub fn check_layers(field: &'static str, n_layers: i64) -> Result<(), LoadError> {
    const MOST: i64 = 1024;
    if (1..=MOST).contains(&n_layers) { Ok(()) } else { Err(unsupported(field, n_layers)) }
}

/// Refuses what old configs can ask for and no encoder here does.
pub fn check_bidirectional(
    position_embedding_type: &str,
    is_decoder: bool,
    add_cross_attention: bool,
) -> Result<(), LoadError> {
    if position_embedding_type != "absolute" {
        return Err(unsupported("position_embedding_type", position_embedding_type));
    }
    if is_decoder {
        return Err(unsupported("is_decoder", true));
    }
    if add_cross_attention {
        return Err(unsupported("add_cross_attention", true));
    }
    Ok(())
}

/// Rotary positions. Refuses those that depend on how long a text is: a batch has texts of many lengths.
pub fn rotary(
    full: RopeParameters,
    local: RopeParameters,
    head_dim: i64,
) -> Result<Positions, LoadError> {
    for parameters in [&full, &local] {
        parameters.check(head_dim)?;
        if parameters.depends_on_length() {
            return Err(unsupported("rope_type", "one that depends on the text's length"));
        }
    }
    Ok(Positions::Rotary { full, local })
}
