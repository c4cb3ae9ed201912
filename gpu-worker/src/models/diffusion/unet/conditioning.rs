//! What is added to the embedding of the time.

use tch::{Kind, Tensor};

use super::{
    super::embeddings::{TimeEmbedding, Waves},
    Added, Config,
};
use crate::{
    layers::{Activation, Embedding, Linear, Step},
    models::{LoadError, check_positive, unsupported},
    weights::Weights,
};

/// A class, or what stands in its place.
pub(super) enum ClassEmbedding {
    Table(Embedding),
    /// A number, as waves.
    Time(Waves, TimeEmbedding),
    /// A vector.
    Projection(TimeEmbedding),
    LinearProjection(Linear),
    /// A vector that is embedded already.
    Identity,
}

impl ClassEmbedding {
    pub(super) fn load(config: &Config, weights: &Weights) -> Result<Option<Self>, LoadError> {
        let dim = config.time_dim();
        let of_vector = || {
            let field = "projection_class_embeddings_input_dim";
            let in_dim = config.projection_class_embeddings_input_dim;
            let in_dim = in_dim.ok_or_else(|| unsupported(field, "null"))?;
            check_positive(&[(field, in_dim)]).map(|()| in_dim)
        };
        Ok(Some(match (config.class_embed_type.as_deref(), config.num_class_embeds) {
            (None, None) => return Ok(None),
            (None, Some(n_classes)) => {
                check_positive(&[("num_class_embeds", n_classes)])?;
                Self::Table(Embedding::load(weights, n_classes, dim)?)
            }
            (Some("timestep"), _) => {
                let waves = config.waves(config.block_out_channels[0]);
                let embedding = TimeEmbedding::load(weights, waves.dim, dim, None, config.act_fn)?;
                Self::Time(waves, embedding)
            }
            (Some("identity"), _) => Self::Identity,
            (Some("projection"), _) => {
                let act = Activation::Silu;
                Self::Projection(TimeEmbedding::load(weights, of_vector()?, dim, None, act)?)
            }
            (Some("simple_projection"), _) => {
                Self::LinearProjection(Linear::load(weights, of_vector()?, dim)?)
            }
            (Some(other), _) => return Err(unsupported("class_embed_type", other)),
        }))
    }

    /// To `[batch, time_dim]`.
    pub(super) fn forward(&self, class: &Tensor, kind: Kind, step: &Step) -> Tensor {
        match self {
            Self::Table(table) => table.forward(class, step),
            Self::Time(waves, embedding) => {
                embedding.forward(&waves.forward(class).to_kind(kind), None, step)
            }
            Self::Projection(embedding) => embedding.forward(class, None, step),
            Self::LinearProjection(linear) => linear.forward(class, step),
            Self::Identity => class.to_kind(kind),
        }
    }
}

/// SDXL's vector of the whole text and its numbers.
pub(super) struct TextTime {
    waves: Waves,
    embedding: TimeEmbedding,
    dim: i64,
}

impl TextTime {
    pub(super) fn load(config: &Config, weights: &Weights) -> Result<Option<Self>, LoadError> {
        match config.addition_embed_type.as_deref() {
            None => return Ok(None),
            Some("text_time") => (),
            Some(other) => return Err(unsupported("addition_embed_type", other)),
        }
        let given = |field, value: Option<i64>| {
            let value = value.ok_or_else(|| unsupported(field, "null"))?;
            check_positive(&[(field, value)]).map(|()| value)
        };
        let number_dim = given("addition_time_embed_dim", config.addition_time_embed_dim)?;
        let dim = given(
            "projection_class_embeddings_input_dim",
            config.projection_class_embeddings_input_dim,
        )?;
        let embedding =
            TimeEmbedding::load(weights, dim, config.time_dim(), None, Activation::Silu)?;
        Ok(Some(Self { waves: config.waves(number_dim), embedding, dim }))
    }

    /// To `[batch, time_dim]`.
    pub(super) fn forward(&self, added: &Added, kind: Kind, step: &Step) -> Tensor {
        // `[batch, n]` to `[batch, n, number_dim]`, then one after the other.
        let numbers = self.waves.forward(added.numbers).flatten(1, -1).to_kind(kind);
        let joined = Tensor::cat(&[added.text.to_kind(kind), numbers], -1);
        self.embedding.forward(&joined, None, step)
    }

    pub(super) fn dim(&self) -> i64 {
        self.dim
    }

    pub(super) fn number_dim(&self) -> i64 {
        self.waves.dim
    }
}
