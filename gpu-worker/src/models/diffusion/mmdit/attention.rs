//! Attention of tokens to each other, where a picture's and a text's may have weights of their own.

use tch::Tensor;

use super::{EPS, Shape, Turns};
use crate::{
    layers::{Linear, RmsNorm, Step},
    weights::{Weights, WeightsError},
};

/// What one kind of tokens is projected with.
struct Side {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    norm_q: Option<RmsNorm>,
    norm_k: Option<RmsNorm>,
}

/// Queries, keys and values, `[batch, seq, n_heads, head_dim]`.
struct Projected([Tensor; 3]);

impl Side {
    fn load(
        weights: &Weights,
        projections: [&str; 3],
        norms: [&str; 2],
        shape: Shape,
    ) -> Result<Self, WeightsError> {
        let linear = |name| Linear::load(&weights.at(name), shape.dim, shape.dim);
        let norm = |name| {
            let norm = || RmsNorm::load(&weights.at(name), shape.head_dim(), EPS);
            shape.norms_heads.then(norm).transpose()
        };
        let ([to_q, to_k, to_v], [norm_q, norm_k]) = (projections, norms);
        Ok(Self {
            to_q: linear(to_q)?,
            to_k: linear(to_k)?,
            to_v: linear(to_v)?,
            norm_q: norm(norm_q)?,
            norm_k: norm(norm_k)?,
        })
    }

    fn project(&self, xs: &Tensor, n_heads: i64, step: &Step) -> Projected {
        let (batch, seq, dim) = xs.size3().expect("tokens are [batch, seq, dim]");
        let heads = |linear: &Linear, norm: &Option<RmsNorm>| {
            let heads = linear.forward(xs, step).view([batch, seq, n_heads, dim / n_heads]);
            match norm {
                Some(norm) => norm.forward(&heads, step),
                None => heads,
            }
        };
        Projected([
            heads(&self.to_q, &self.norm_q),
            heads(&self.to_k, &self.norm_k),
            heads(&self.to_v, &None),
        ])
    }
}

impl Projected {
    /// `[batch, seq, dim]`: how every token looks at all of them.
    fn attend(&self, turns: Option<&Turns>, n_heads: i64, step: &Step) -> Tensor {
        let Self([q, k, v]) = self;
        let turned = |xs: &Tensor| match turns {
            Some(turns) => turns.apply(xs),
            None => xs.shallow_clone(),
        };
        let scale = (q.size()[3] as f64).powf(-0.5);
        let flat = |xs: &Tensor| xs.flatten(2, 3);
        step.attend_all(&flat(&turned(q)), &flat(&turned(k)), &flat(v), n_heads, scale)
    }
}

/// Attention of tokens that all have the same weights.
pub(super) struct Attention {
    side: Side,
    to_out: Option<Linear>,
    n_heads: i64,
}

impl Attention {
    /// `with_output`: its answer is projected.
    pub(super) fn load(
        weights: &Weights,
        shape: Shape,
        with_output: bool,
    ) -> Result<Self, WeightsError> {
        let to_out = || Linear::load(&weights.at("to_out.0"), shape.dim, shape.dim);
        Ok(Self {
            side: of_picture(weights, shape)?,
            to_out: with_output.then(to_out).transpose()?,
            n_heads: shape.n_heads,
        })
    }

    /// `[batch, seq, dim]` to the same shape.
    pub(super) fn forward(&self, xs: &Tensor, turns: Option<&Turns>, step: &Step) -> Tensor {
        let projected = self.side.project(xs, self.n_heads, step);
        let attended = projected.attend(turns, self.n_heads, step);
        match &self.to_out {
            Some(to_out) => to_out.forward(&attended, step),
            None => attended,
        }
    }
}

/// Attention of a picture's tokens and a text's to all of both.
pub(super) struct JointAttention {
    picture: Side,
    text: Side,
    to_out: Linear,
    to_add_out: Option<Linear>,
    n_heads: i64,
}

impl JointAttention {
    /// `answers_text`: the text's tokens have an answer too.
    pub(super) fn load(
        weights: &Weights,
        shape: Shape,
        answers_text: bool,
    ) -> Result<Self, WeightsError> {
        let out = |name| Linear::load(&weights.at(name), shape.dim, shape.dim);
        let projections = ["add_q_proj", "add_k_proj", "add_v_proj"];
        Ok(Self {
            picture: of_picture(weights, shape)?,
            text: Side::load(weights, projections, ["norm_added_q", "norm_added_k"], shape)?,
            to_out: out("to_out.0")?,
            to_add_out: answers_text.then(|| out("to_add_out")).transpose()?,
            n_heads: shape.n_heads,
        })
    }

    /// `[batch, positions, dim]` and `[batch, seq, dim]` to the same shapes; without an answer for the text, `None`.
    /// `turns` are those of the text's tokens, and then of the picture's.
    pub(super) fn forward(
        &self,
        picture: &Tensor,
        text: &Tensor,
        turns: Option<&Turns>,
        step: &Step,
    ) -> (Tensor, Option<Tensor>) {
        let Projected(of_picture) = self.picture.project(picture, self.n_heads, step);
        let Projected(of_text) = self.text.project(text, self.n_heads, step);
        let both = [0, 1, 2].map(|at| Tensor::cat(&[&of_text[at], &of_picture[at]], 1));
        let attended = Projected(both).attend(turns, self.n_heads, step);
        let seq = text.size()[1];
        let of_picture = attended.narrow(1, seq, picture.size()[1]).contiguous();
        let of_text = attended.narrow(1, 0, seq).contiguous();
        let of_text = self.to_add_out.as_ref().map(|to_add_out| to_add_out.forward(&of_text, step));
        (self.to_out.forward(&of_picture, step), of_text)
    }
}

fn of_picture(weights: &Weights, shape: Shape) -> Result<Side, WeightsError> {
    Side::load(weights, ["to_q", "to_k", "to_v"], ["norm_q", "norm_k"], shape)
}
