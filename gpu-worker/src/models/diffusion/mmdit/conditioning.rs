//! The time, the whole text and the strength of guidance as one vector that moves all norms.
//!
//! Reference: `diffusers/models/embeddings.py`, `CombinedTimestepGuidanceTextProjEmbeddings`.

use tch::Tensor;

use super::super::embeddings::{TimeEmbedding, Waves};
use crate::{
    layers::{Activation, Step},
    weights::{Weights, WeightsError},
};

const WAVES: Waves = Waves { dim: 256, cos_first: true, freq_shift: 0.0 };

pub(in super::super) struct Conditioning {
    timestep_embedder: TimeEmbedding,
    guidance_embedder: Option<TimeEmbedding>,
    text_embedder: TimeEmbedding,
}

impl Conditioning {
    /// `is_guided`: it is told the strength of guidance.
    pub(in super::super) fn load(
        weights: &Weights,
        dim: i64,
        pooled_dim: i64,
        is_guided: bool,
    ) -> Result<Self, WeightsError> {
        let embedder = |name, in_dim| {
            TimeEmbedding::load(&weights.at(name), in_dim, dim, None, Activation::Silu)
        };
        let guidance = || embedder("guidance_embedder", WAVES.dim);
        Ok(Self {
            timestep_embedder: embedder("timestep_embedder", WAVES.dim)?,
            guidance_embedder: is_guided.then(guidance).transpose()?,
            // Two layers with an activation between them, as the others are.
            text_embedder: embedder("text_embedder", pooled_dim)?,
        })
    }

    /// `[batch]` times, `[batch, pooled_dim]` texts and, where it is told of it, `[batch]` guidance to `[batch, dim]`.
    pub(in super::super) fn forward(
        &self,
        times: &Tensor,
        pooled: &Tensor,
        guidance: Option<&Tensor>,
        step: &Step,
    ) -> Tensor {
        let embed = |embedder: &TimeEmbedding, numbers: &Tensor| {
            embedder.forward(&WAVES.forward(numbers).to_kind(pooled.kind()), None, step)
        };
        let sum = embed(&self.timestep_embedder, times);
        let sum = match (&self.guidance_embedder, guidance) {
            (Some(embedder), Some(guidance)) => sum + embed(embedder, guidance),
            _ => sum,
        };
        sum + self.text_embedder.forward(pooled, None, step)
    }
}
