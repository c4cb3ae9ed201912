//! An encoder of texts (Devlin et al., 2018, <https://arxiv.org/abs/1810.04805>) and its heads, made from plain configs:
//! every architecture of this kind is its config, its names and its wiring.

mod config;
mod convolution;
mod embeddings;
mod heads;
mod layer;
mod table;

use tch::Tensor;

pub use config::{
    Biases, ConvolutionConfig, EmbeddingsConfig, EncoderConfig, FusedGate, Inner, LayerConfig,
    LayerNames, LearnedPositions, Positions, Projection, Projections, TableConfig,
    check_bidirectional, check_layers, numbered, rotary,
};
use convolution::Convolution;
use embeddings::Embeddings;
pub use heads::{DecoderConfig, HeadsConfig, TextPooling, TransformConfig, load};
use layer::{Layer, Pass};
pub use table::{CellsConfig, Choice, load_table};

use crate::{
    layers::{LayerNorm, RelativeBias, RelativeTable, RopeParameters, Rotary, Step},
    models::ModelKind,
    weights::{Weights, WeightsError},
};

/// All that an encoder with whatever head can be loaded as.
pub const TEXT_KINDS: &[ModelKind] = &[
    ModelKind::TextEncoder,
    ModelKind::SequenceClassifier,
    ModelKind::TokenClassifier,
    ModelKind::QuestionAnswerer,
    ModelKind::MaskedLm,
];

/// An encoder without its heads.
struct Encoder {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    order: Vec<usize>,
    positions: PassMaker,
    final_norm: Option<LayerNorm>,
    convolution: Option<Convolution>,
    dim: i64,
    n_types: i64,
    vocab_size: i64,
    context_length: i64,
}

/// Makes what the layers need to know of a pass's positions.
enum PassMaker {
    Embedded,
    Bias(RelativeBias),
    Relative(RelativeTable),
    Rotary { full: Rotary, local: Rotary },
}

impl Encoder {
    fn load(config: &EncoderConfig, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, eps) = (config.dim, config.eps);
        Ok(Self {
            embeddings: Embeddings::load(config, weights)?,
            layers: config
                .layers
                .iter()
                .map(|layer| Layer::load(config, layer, weights))
                .collect::<Result<_, _>>()?,
            order: config.order.clone(),
            positions: PassMaker::load(config, weights)?,
            final_norm: match config.final_norm {
                Some(path) => {
                    Some(LayerNorm::load_with(&weights.at(path), dim, eps, config.biases.norms)?)
                }
                None => None,
            },
            convolution: match &config.convolution {
                Some(convolution) => Some(Convolution::load(convolution, dim, eps, weights)?),
                None => None,
            },
            dim,
            n_types: config.embeddings.n_types,
            vocab_size: config.embeddings.vocab_size,
            context_length: config.context_length,
        })
    }

    /// `[batch, seq]` ids and segment numbers, for tables `[batch, seq, 7]` numbers, to `[batch, seq, dim]`.
    fn forward(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        let embedded = self.embeddings.forward(ids, type_ids, step);
        let pass = self.positions.pass(&embedded, step);
        let step = &step.packed();
        let mut hidden = step.pack(&embedded);
        // Only a convolution looks at the embeddings again; without one their memory is free after the first layer.
        let mut convolution = self.convolution.as_ref().map(|found| (found, embedded));
        for &layer in &self.order {
            hidden = self.layers[layer].forward(&hidden, &pass, step);
            if let Some((convolution, embedded)) = convolution.take() {
                let rows = convolution.forward(&embedded, &step.spread(&hidden), step);
                hidden = step.pack(&rows);
            }
        }
        if let Some(norm) = &self.final_norm {
            hidden = norm.forward(&hidden, step);
        }
        step.spread(&hidden)
    }
}

impl PassMaker {
    fn load(config: &EncoderConfig, weights: &Weights) -> Result<Self, WeightsError> {
        Ok(match &config.positions {
            Positions::Embedded => Self::Embedded,
            Positions::Bias { path, buckets } => {
                Self::Bias(RelativeBias::load(&weights.at(path), *buckets, config.n_heads)?)
            }
            Positions::Relative(positions) => {
                Self::Relative(RelativeTable::new(positions, weights.device()))
            }
            Positions::Rotary { full, local } => {
                let rotary = |parameters: &RopeParameters| {
                    Rotary::new(parameters.clone(), config.head_dim, weights.device())
                };
                Self::Rotary { full: rotary(full), local: rotary(local) }
            }
        })
    }

    /// `embedded` is `[batch, seq, dim]`.
    fn pass(&self, embedded: &Tensor, step: &Step) -> Pass {
        let (seq, kind) = (embedded.size()[1], embedded.kind());
        match self {
            Self::Embedded => Pass::Embedded,
            Self::Bias(bias) => Pass::Bias(bias.of_batch(seq, step)),
            Self::Relative(table) => Pass::Relative(table.positions(seq)),
            Self::Rotary { full, local } => Pass::Rotary {
                full: full.rotation_of_batch(seq, kind),
                local: local.rotation_of_batch(seq, kind),
            },
        }
    }
}
