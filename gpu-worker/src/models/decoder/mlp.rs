//! Feed-forward networks, gated (Shazeer, 2020, <https://arxiv.org/abs/2002.05202>) and not.

use tch::Tensor;

use super::config::MlpNames;
use crate::{
    layers::{Activation, Linear, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Mlp {
    up: Up,
    down: Linear,
    act: Activation,
}

enum Up {
    Gated { gate: Linear, up: Linear },
    Fused(Linear),
    Ungated(Linear),
}

impl Mlp {
    pub(super) fn load(
        weights: &Weights,
        names: MlpNames,
        (dim, inner_dim): (i64, i64),
        bias: bool,
        act: Activation,
    ) -> Result<Self, WeightsError> {
        let linear = |name: &str, from, to| Linear::load_with(&weights.at(name), from, to, bias);
        let (up, down) = match names {
            MlpNames::Gated { gate, up, down } => (
                Up::Gated { gate: linear(gate, dim, inner_dim)?, up: linear(up, dim, inner_dim)? },
                down,
            ),
            MlpNames::Fused { gate_up, down } => {
                (Up::Fused(linear(gate_up, dim, 2 * inner_dim)?), down)
            }
            MlpNames::Ungated { up, down } => (Up::Ungated(linear(up, dim, inner_dim)?), down),
        };
        Ok(Self { up, down: linear(down, inner_dim, dim)?, act })
    }

    /// A gated network without biases: `gate_up` is `[2 × inner, dim]`, `down` is `[dim, inner]`.
    pub(super) fn fused(gate_up: &Tensor, down: &Tensor, act: Activation) -> Self {
        Self { up: Up::Fused(Linear::tied(gate_up)), down: Linear::tied(down), act }
    }

    /// `[tokens, dim]` to the same shape.
    pub(super) fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let inner = match &self.up {
            Up::Gated { gate, up } => {
                self.act.forward(&gate.forward(xs, step)) * up.forward(xs, step)
            }
            Up::Fused(gate_up) => {
                let both = gate_up.forward(xs, step);
                let inner_dim = both.size()[1] / 2;
                self.act.forward(&both.narrow(1, 0, inner_dim))
                    * both.narrow(1, inner_dim, inner_dim)
            }
            Up::Ungated(up) => self.act.forward(&up.forward(xs, step)),
        };
        self.down.forward(&inner, step)
    }
}
