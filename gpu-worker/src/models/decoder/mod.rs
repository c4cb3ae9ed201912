//! The decoder that most causal language models are: layers of causal attention and feed-forward networks, with what
//! differs between them as plain config fields. An architecture is its config, its names and its defaults.

mod attention;
mod config;
mod experts;
mod family;
mod layer;
mod mlp;

pub(super) use config::{
    Attention, Config, Experts, FeedForward, Layer as LayerConfig, LayerNorms, LearnedPositions,
    MlpNames, Names, Projections, QkNorm, Residual,
};
pub(super) use family::{Common, Defaults, GATED, LLAMA_NAMES, RopeChoice, count};
use tch::{Kind, Tensor};

use self::layer::Layer;
use super::{Architecture, CausalLm, Load, LoadError, Model, ModelKind};
use crate::{
    layers::{CacheShape, Embedding, Linear, Norm, Rotary, Step},
    weights::{Rename, Weights, WeightsError},
};

/// An architecture whose checkpoints may have the names of the body below `model.`.
pub(super) const fn architecture(model_type: &'static str, load: Load) -> Architecture {
    Architecture {
        model_type,
        kinds: &[ModelKind::CausalLm],
        renames: &[Rename::StripPrefix("model.")],
        ignored: &["rotary_emb.inv_freq"],
        load,
    }
}

pub(super) struct Decoder {
    embed_tokens: Embedding,
    embedding_scale: Option<f64>,
    /// The table, and which of its rows position 0 is.
    embed_positions: Option<(Embedding, i64)>,
    project_in: Option<Linear>,
    layers: Vec<Layer>,
    norm: Option<Norm>,
    project_out: Option<Linear>,
    lm_head: Linear,
    final_softcap: Option<f64>,
    rotaries: Vec<Rotary>,
    cache: CacheShape,
    context_length: i64,
    rereads_beyond: Option<i64>,
    vocab_size: i64,
}

impl Decoder {
    pub(super) fn load(config: &Config, weights: &Weights) -> Result<Model, LoadError> {
        for rope in &config.ropes {
            rope.check(config.attention.head_dim)?;
        }
        Ok(Model::CausalLm(Box::new(Self::build(config, weights)?)))
    }

    fn build(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, embedding_dim, names) = (config.hidden_size, config.embedding_dim, &config.names);
        let embed_tokens =
            Embedding::load(&weights.at(names.embed_tokens), config.vocab_size, embedding_dim)?;
        let linear = |name: &str, from, to| Linear::load_with(&weights.at(name), from, to, false);
        let projects = embedding_dim != dim;
        let embed_positions = config.learned_positions.map(|positions| {
            let n_rows = positions.n_positions + positions.offset;
            Ok((Embedding::load(&weights.at(positions.name), n_rows, dim)?, positions.offset))
        });
        let kind = embed_tokens.kind();
        let layers = weights.at(names.layers);
        Ok(Self {
            lm_head: if config.tie_word_embeddings {
                Linear::tied(embed_tokens.weight())
            } else {
                linear(names.lm_head, embedding_dim, config.vocab_size)?
            },
            embedding_scale: config.embedding_scale.map(|scale| rounded(scale, kind)),
            embed_positions: embed_positions.transpose()?,
            project_in: projects.then(|| linear("project_in", embedding_dim, dim)).transpose()?,
            layers: (0..config.layers.len())
                .map(|layer| Layer::load(config, layer, &layers.at(layer)))
                .collect::<Result<_, _>>()?,
            norm: names
                .norm
                .map(|name| Norm::load(&weights.at(name), config.norm_kind, dim, config.norm_eps))
                .transpose()?,
            project_out: projects.then(|| linear("project_out", dim, embedding_dim)).transpose()?,
            final_softcap: config.final_softcap,
            rotaries: config
                .ropes
                .iter()
                .map(|rope| {
                    let device = embed_tokens.weight().device();
                    Rotary::new(rope.clone(), config.attention.head_dim, device)
                })
                .collect(),
            cache: CacheShape {
                layers: config.layers.len() as i64,
                kv_heads: config.attention.n_kv_heads,
                head_dim: config.attention.head_dim,
                kind,
            },
            context_length: config.context_length,
            rereads_beyond: config.rereads_beyond,
            vocab_size: config.vocab_size,
            embed_tokens,
        })
    }
}

/// A factor as the model's type can hold it.
fn rounded(value: f64, kind: Kind) -> f64 {
    Tensor::from(value).to_kind(kind).double_value(&[])
}

impl CausalLm for Decoder {
    fn hidden(&self, ids: &Tensor, step: &Step) -> Tensor {
        let mut hidden = self.embed_tokens.forward(ids, step);
        if let Some(scale) = self.embedding_scale {
            hidden *= scale;
        }
        if let Some(project_in) = &self.project_in {
            hidden = project_in.forward(&hidden, step);
        }
        if let Some((table, offset)) = &self.embed_positions {
            hidden += table.forward(&(step.positions() + *offset), step);
        }
        let rotations: Vec<_> =
            self.rotaries.iter().map(|rotary| rotary.rotation(step, hidden.kind())).collect();
        for layer in &self.layers {
            hidden = layer.forward(hidden, &rotations, step);
        }
        if let Some(norm) = &self.norm {
            hidden = norm.forward(&hidden, step);
        }
        match &self.project_out {
            Some(project_out) => project_out.forward(&hidden, step),
            None => hidden,
        }
    }

    fn logits(&self, hidden: &Tensor, step: &Step) -> Tensor {
        let logits = self.lm_head.forward(hidden, step).to_kind(Kind::Float);
        match self.final_softcap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }

    fn cache_shape(&self) -> CacheShape {
        self.cache
    }

    fn context_length(&self) -> i64 {
        self.context_length
    }

    fn rereads_beyond(&self) -> Option<i64> {
        self.rereads_beyond
    }

    fn regime(&self, known: i64) -> Option<u32> {
        // Few ropes have two regimes, none has more.
        let regimes = self.rotaries.iter().map(|rotary| rotary.regime(known));
        regimes.zip(0..).try_fold(0, |all, (regime, at)| Some(all | regime? << at))
    }

    fn vocab_size(&self) -> i64 {
        self.vocab_size
    }
}
