//! One layer: attention and feed-forward part, each added to what came in, with norms before or after.

use tch::Tensor;

use super::{
    Biases, EncoderConfig, FusedGate, Inner, LayerConfig, Positions, Projections as Names,
};
use crate::{
    layers::{Activation, LayerNorm, Linear, RelativeAttention, RelativePositions, Rotation, Step},
    weights::{Weights, WeightsError},
};

/// What all layers need to know of one pass's positions.
pub(super) enum Pass {
    Embedded,
    Bias(Tensor),
    Relative(RelativePositions),
    Rotary { full: Rotation, local: Rotation },
}

pub(super) struct Layer {
    attention: Attention,
    attention_norm: Option<LayerNorm>,
    feed_forward: FeedForward,
    output_norm: LayerNorm,
    norms_first: bool,
}

impl Layer {
    pub(super) fn load(
        config: &EncoderConfig,
        layer: &LayerConfig,
        root: &Weights,
    ) -> Result<Self, WeightsError> {
        let weights = root.at(&layer.path);
        let norm = |path| {
            LayerNorm::load_with(&weights.at(path), config.dim, config.eps, config.biases.norms)
        };
        Ok(Self {
            attention: Attention::load(config, layer, &weights, root)?,
            attention_norm: if layer.attention_norm {
                Some(norm(config.names.attention_norm)?)
            } else {
                None
            },
            feed_forward: FeedForward::load(config, &weights)?,
            output_norm: norm(config.names.output_norm)?,
            norms_first: config.final_norm.is_some(),
        })
    }

    /// `[batch, seq, dim]`, packed or not, to the same shape.
    pub(super) fn forward(&self, xs: &Tensor, pass: &Pass, step: &Step) -> Tensor {
        let norm = |xs: &Tensor| match &self.attention_norm {
            Some(norm) => norm.forward(xs, step),
            None => xs.shallow_clone(),
        };
        if self.norms_first {
            let xs = self.attention.forward(&norm(xs), pass, step) + xs;
            return self.feed_forward.forward(&self.output_norm.forward(&xs, step), step) + xs;
        }
        let xs = norm(&(self.attention.forward(xs, pass, step) + xs));
        self.output_norm.forward(&(self.feed_forward.forward(&xs, step) + &xs), step)
    }
}

struct Attention {
    projections: QueryKeyValue,
    output: Linear,
    relative: Option<RelativeAttention>,
    window: Option<i64>,
    n_heads: i64,
    head_dim: i64,
    scale: f64,
}

enum QueryKeyValue {
    Separate([Linear; 3]),
    Fused(Linear),
}

impl Attention {
    fn load(
        config: &EncoderConfig,
        layer: &LayerConfig,
        weights: &Weights,
        root: &Weights,
    ) -> Result<Self, WeightsError> {
        let names = &config.names;
        let (dim, inner_dim) = (config.dim, config.n_heads * config.head_dim);
        let Biases { attention: bias, .. } = config.biases;
        let is_fused = |path| weights.at(path).has("weight");
        let load = |path, width| Linear::load_with(&weights.at(path), dim, width, bias);
        let projections = match names.projections {
            Names::Fused(fused) => QueryKeyValue::Fused(load(fused, 3 * inner_dim)?),
            Names::Either { fused, .. } if is_fused(fused) => {
                QueryKeyValue::Fused(load(fused, 3 * inner_dim)?)
            }
            Names::Separate([q, k, v]) | Names::Either { separate: [q, k, v], .. } => {
                let load = |path| load(path, inner_dim);
                QueryKeyValue::Separate([load(q)?, load(k)?, load(v)?])
            }
        };
        Ok(Self {
            projections,
            output: Linear::load_with(&weights.at(names.attention_output), inner_dim, dim, bias)?,
            relative: match &config.positions {
                Positions::Relative(positions) => {
                    Some(RelativeAttention::load(positions, config.n_heads, dim, weights, root)?)
                }
                _ => None,
            },
            window: layer.window,
            n_heads: config.n_heads,
            head_dim: config.head_dim,
            scale: (config.head_dim as f64).powf(-0.5),
        })
    }

    fn forward(&self, xs: &Tensor, pass: &Pass, step: &Step) -> Tensor {
        let project = |linear: &Linear| step.spread(&linear.forward(xs, step));
        let (q, k, v) = match &self.projections {
            QueryKeyValue::Separate([q, k, v]) => (project(q), project(k), project(v)),
            QueryKeyValue::Fused(linear) => {
                let projected = project(linear);
                let width = self.n_heads * self.head_dim;
                let part = |idx: i64| projected.narrow(-1, idx * width, width);
                (part(0), part(1), part(2))
            }
        };
        let (n_heads, scale) = (self.n_heads, self.scale);
        let attended = match (pass, &self.relative) {
            (Pass::Relative(positions), Some(relative)) => {
                relative.attend(&q, &k, &v, positions, step)
            }
            (Pass::Bias(bias), _) => step.attend_biased(&q, &k, &v, n_heads, scale, bias),
            (Pass::Rotary { full, local }, _) => {
                let rotation = if self.window.is_some() { local } else { full };
                let (q, k) = (self.turn(&q, rotation), self.turn(&k, rotation));
                match self.window {
                    Some(window) => step.attend_within(&q, &k, &v, n_heads, scale, window),
                    None => step.attend(&q, &k, &v, n_heads, scale),
                }
            }
            _ => step.attend(&q, &k, &v, n_heads, scale),
        };
        self.output.forward(&step.pack(&attended), step)
    }

    /// `[batch, seq, n_heads × head_dim]` to the same shape.
    fn turn(&self, xs: &Tensor, rotation: &Rotation) -> Tensor {
        let (batch, seq, dim) = xs.size3().expect("xs is [batch, seq, dim]");
        let heads = xs.view([batch, seq, self.n_heads, self.head_dim]);
        rotation.apply(&heads).view([batch, seq, dim])
    }
}

struct FeedForward {
    inner: InnerPart,
    output: Linear,
    act: Activation,
}

enum InnerPart {
    Plain(Linear),
    Gated { gate: Linear, up: Linear },
    Fused { both: Linear, gate_first: bool },
}

impl FeedForward {
    fn load(config: &EncoderConfig, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, inner_dim) = (config.dim, config.inner_dim);
        let load = |path, width: i64| {
            Linear::load_with(&weights.at(path), dim, width, config.biases.inner)
        };
        let fused = |fused: FusedGate| -> Result<InnerPart, WeightsError> {
            let both = load(fused.path, 2 * inner_dim)?;
            Ok(InnerPart::Fused { both, gate_first: fused.gate_first })
        };
        let inner = match config.names.inner {
            Inner::Plain(path) => InnerPart::Plain(load(path, inner_dim)?),
            Inner::Fused(gate) => fused(gate)?,
            Inner::Either { fused: gate, .. } if weights.at(gate.path).has("weight") => {
                fused(gate)?
            }
            Inner::Gated { gate, up } | Inner::Either { gate, up, .. } => {
                InnerPart::Gated { gate: load(gate, inner_dim)?, up: load(up, inner_dim)? }
            }
        };
        let output = weights.at(config.names.output);
        Ok(Self {
            inner,
            output: Linear::load_with(&output, inner_dim, dim, config.biases.output)?,
            act: config.act,
        })
    }

    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let inner = match &self.inner {
            InnerPart::Plain(linear) => self.act.forward(&linear.forward(xs, step)),
            InnerPart::Gated { gate, up } => {
                self.act.forward(&gate.forward(xs, step)) * up.forward(xs, step)
            }
            InnerPart::Fused { both, gate_first } => {
                let halves = both.forward(xs, step).chunk(2, -1);
                let (gate, up) =
                    if *gate_first { (&halves[0], &halves[1]) } else { (&halves[1], &halves[0]) };
                self.act.forward(gate) * up
            }
        };
        self.output.forward(&inner, step)
    }
}
