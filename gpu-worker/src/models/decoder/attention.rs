//! A decoder layer's attention: projections, norms of queries and keys, rotation.

use tch::Tensor;

use super::config::{Config, Projections, QkNorm};
use crate::{
    layers::{Attend, Linear, Norm, Rotation, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Attention {
    qkv: Qkv,
    o_proj: Linear,
    /// Of queries and of keys.
    norms: Option<(Norm, Norm)>,
    norms_whole: bool,
    rope: Option<usize>,
    attend: Attend,
    head_dim: i64,
    n_heads: i64,
    n_kv_heads: i64,
}

enum Qkv {
    Separate(Linear, Linear, Linear),
    Joined(Linear),
    ByHead(Linear),
}

impl Attention {
    pub(super) fn load(
        config: &Config,
        layer: usize,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let attention = &config.attention;
        let (dim, head_dim) = (config.hidden_size, attention.head_dim);
        let (n_heads, n_kv_heads) = (attention.n_heads, attention.n_kv_heads);
        let linear = |name, n_heads| {
            Linear::load_with(&weights.at(name), dim, n_heads * head_dim, attention.qkv_bias)
        };
        let qkv = match attention.projections {
            Projections::Separate => Qkv::Separate(
                linear("q_proj", n_heads)?,
                linear("k_proj", n_kv_heads)?,
                linear("v_proj", n_kv_heads)?,
            ),
            Projections::Joined(name) => Qkv::Joined(linear(name, n_heads + 2 * n_kv_heads)?),
            Projections::ByHead(name) => Qkv::ByHead(linear(name, 3 * n_heads)?),
        };
        let norm = |name, n_heads| {
            let width =
                if attention.qk_norm == QkNorm::Whole { n_heads * head_dim } else { head_dim };
            Norm::load(&weights.at(name), config.norm_kind, width, config.norm_eps)
        };
        Ok(Self {
            qkv,
            o_proj: Linear::load_with(
                &weights.at(attention.output),
                n_heads * head_dim,
                dim,
                attention.output_bias,
            )?,
            norms: match attention.qk_norm {
                QkNorm::None => None,
                QkNorm::PerHead | QkNorm::Whole => {
                    Some((norm("q_norm", n_heads)?, norm("k_norm", n_kv_heads)?))
                }
            },
            norms_whole: attention.qk_norm == QkNorm::Whole,
            rope: config.layers[layer].rope,
            attend: Attend {
                layer,
                scale: attention.scale,
                window: config.layers[layer].window,
                softcap: attention.softcap,
            },
            head_dim,
            n_heads,
            n_kv_heads,
        })
    }

    /// `[tokens, dim]` to the same shape; `rotations` are the pass's.
    pub(super) fn forward(&self, xs: &Tensor, rotations: &[Rotation], step: &Step) -> Tensor {
        let (mut q, mut k, v) = self.projected(xs, step);
        if let Some((q_norm, k_norm)) = &self.norms {
            let normed = |norm: &Norm, xs: &Tensor| {
                if self.norms_whole {
                    norm.forward(&xs.flatten(1, 2), step).view_as(xs)
                } else {
                    norm.forward(xs, step)
                }
            };
            (q, k) = (normed(q_norm, &q), normed(k_norm, &k));
        }
        if let Some(rope) = self.rope {
            (q, k) = (rotations[rope].apply(&q), rotations[rope].apply(&k));
        }
        self.o_proj.forward(&step.attend_cached(self.attend, &q, &k, &v), step)
    }

    /// Queries, keys and values, each `[tokens, heads, head_dim]`.
    fn projected(&self, xs: &Tensor, step: &Step) -> (Tensor, Tensor, Tensor) {
        let tokens = xs.size()[0];
        let heads = |linear: &Linear| linear.forward(xs, step).view([tokens, -1, self.head_dim]);
        match &self.qkv {
            Qkv::Separate(q, k, v) => (heads(q), heads(k), heads(v)),
            Qkv::Joined(linear) => {
                let all = heads(linear);
                let part = |from, n_heads| all.narrow(1, from, n_heads);
                let (n_heads, n_kv_heads) = (self.n_heads, self.n_kv_heads);
                (
                    part(0, n_heads),
                    part(n_heads, n_kv_heads),
                    part(n_heads + n_kv_heads, n_kv_heads),
                )
            }
            Qkv::ByHead(linear) => {
                let all = heads(linear).view([tokens, self.n_heads, 3, self.head_dim]);
                (all.select(2, 0), all.select(2, 1), all.select(2, 2))
            }
        }
    }
}
