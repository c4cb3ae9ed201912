//! One layer of a decoder: attention and a feed-forward network, and how they are added and normalised.

use tch::Tensor;

use super::{
    attention::Attention,
    config::{Config, FeedForward, Residual},
    experts::Experts,
    mlp::Mlp,
};
use crate::{
    layers::{Norm, Rotation, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Layer {
    before_attention: Option<Norm>,
    attention: Attention,
    after_attention: Option<Norm>,
    before_mlp: Option<Norm>,
    mlp: Network,
    after_mlp: Option<Norm>,
    residual: Residual,
}

enum Network {
    Dense(Box<Mlp>),
    Experts(Box<Experts>),
}

impl Layer {
    pub(super) fn load(
        config: &Config,
        layer: usize,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let (dim, names) = (config.hidden_size, &config.layer_norms);
        let norm = |name: Option<&str>| {
            name.map(|name| Norm::load(&weights.at(name), config.norm_kind, dim, config.norm_eps))
                .transpose()
        };
        let of_mlp = weights.at(config.names.mlp);
        Ok(Self {
            before_attention: norm(names.before_attention)?,
            attention: Attention::load(config, layer, &weights.at(config.names.attention))?,
            after_attention: norm(names.after_attention)?,
            before_mlp: norm(names.before_mlp)?,
            mlp: match &config.layers[layer].feed_forward {
                &FeedForward::Dense { inner_dim } => {
                    let dims = (dim, inner_dim);
                    Network::Dense(Box::new(Mlp::load(
                        &of_mlp,
                        config.mlp,
                        dims,
                        config.mlp_bias,
                        config.act,
                    )?))
                }
                FeedForward::Experts(experts) => {
                    Network::Experts(Box::new(Experts::load(&of_mlp, experts, dim, config.act)?))
                }
            },
            after_mlp: norm(names.after_mlp)?,
            residual: config.residual,
        })
    }

    /// `[tokens, dim]` to the same shape.
    pub(super) fn forward(&self, xs: Tensor, rotations: &[Rotation], step: &Step) -> Tensor {
        let attended = self.attention.forward(
            normed(self.before_attention.as_ref(), &xs, step).as_ref().unwrap_or(&xs),
            rotations,
            step,
        );
        if self.residual == Residual::Parallel {
            return self.feed_forward(&xs, step) + attended + xs;
        }
        let xs = self.add(attended, xs, self.after_attention.as_ref(), step);
        let fed = self.feed_forward(&xs, step);
        self.add(fed, xs, self.after_mlp.as_ref(), step)
    }

    fn feed_forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let normed = normed(self.before_mlp.as_ref(), xs, step);
        let xs = normed.as_ref().unwrap_or(xs);
        match &self.mlp {
            Network::Dense(mlp) => mlp.forward(xs, step),
            Network::Experts(experts) => experts.forward(xs, step),
        }
    }

    fn add(&self, part: Tensor, xs: Tensor, norm: Option<&Norm>, step: &Step) -> Tensor {
        match norm {
            None => part + xs,
            Some(norm) if self.residual == Residual::NormedSum => norm.forward(&(part + xs), step),
            Some(norm) => norm.forward(&part, step) + xs,
        }
    }
}

fn normed(norm: Option<&Norm>, xs: &Tensor, step: &Step) -> Option<Tensor> {
    norm.map(|norm| norm.forward(xs, step))
}
