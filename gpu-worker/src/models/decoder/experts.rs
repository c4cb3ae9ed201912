//! A mixture of experts: a router chooses a few of many small networks for every token
//! (Shazeer et al., 2017, <https://arxiv.org/abs/1701.06538>).
//!
//! Each expert's weights stay where the checkpoint has them, whether it holds one tensor per expert or all in one:
//! putting them together would copy mapped files.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::{config, mlp::Mlp};
use crate::{
    layers::{Activation, Linear, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Experts {
    router: Linear,
    experts: Vec<Mlp>,
    per_token: i64,
    normalised: bool,
    shared: Option<Shared>,
}

/// The network that every token goes through.
struct Shared {
    expert: Mlp,
    gate: Linear,
}

impl Experts {
    pub(super) fn load(
        weights: &Weights,
        config: &config::Experts,
        dim: i64,
        act: Activation,
    ) -> Result<Self, WeightsError> {
        let (n_experts, inner_dim) = (config.n_experts, config.inner_dim);
        let all = weights.at("experts");
        let experts = if all.has("gate_up_proj") {
            let gate_up = all.get("gate_up_proj", &[n_experts, 2 * inner_dim, dim])?;
            let down = all.get("down_proj", &[n_experts, dim, inner_dim])?;
            let expert = |idx| Mlp::fused(&gate_up.select(0, idx), &down.select(0, idx), act);
            (0..n_experts).map(expert).collect()
        } else {
            (0..n_experts)
                .map(|idx| Mlp::load(&all.at(idx), config.names, (dim, inner_dim), false, act))
                .collect::<Result<_, _>>()?
        };
        let shared = |inner_dim| {
            let weights_of = weights.at("shared_expert");
            Ok(Shared {
                expert: Mlp::load(&weights_of, config.names, (dim, inner_dim), false, act)?,
                gate: Linear::load_with(&weights.at("shared_expert_gate"), dim, 1, false)?,
            })
        };
        Ok(Self {
            router: Linear::load_with(&weights.at("gate"), dim, n_experts, false)?,
            experts,
            per_token: config.per_token,
            normalised: config.normalised,
            shared: config.shared_inner_dim.map(shared).transpose()?,
        })
    }

    /// `[tokens, dim]` to the same shape.
    pub(super) fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let probabilities = self.router.forward(xs, step).softmax(-1, Kind::Float);
        let (mut shares, chosen) = probabilities.topk(self.per_token, -1, true, true);
        if self.normalised {
            shares = &shares / shares.sum_dim_intlist(-1, true, Kind::Float);
        }
        let shares = shares.to_kind(xs.kind()).view([-1, 1]);
        let mut sum = xs.zeros_like();
        for (expert, places) in self.places(&chosen) {
            let tokens: Vec<i64> = places.iter().map(|place| place / self.per_token).collect();
            let step = step.of_rows(&tokens);
            let places = Tensor::from_slice(&places).to_device(xs.device());
            let tokens = Tensor::from_slice(&tokens).to_device(xs.device());
            let ys = self.experts[expert].forward(&xs.index_select(0, &tokens), &step);
            sum = sum.index_add(0, &tokens, &(ys * shares.index_select(0, &places)));
        }
        match &self.shared {
            Some(Shared { expert, gate }) => {
                sum + gate.forward(xs, step).sigmoid() * expert.forward(xs, step)
            }
            None => sum,
        }
    }

    /// Which places of `[tokens × per_token]` each expert was chosen for.
    fn places(&self, chosen: &Tensor) -> BTreeMap<usize, Vec<i64>> {
        let chosen: Vec<i64> = Vec::try_from(chosen.to_device(Device::Cpu).contiguous().view([-1]))
            .expect("a flat list of indices");
        let mut places: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        for (place, expert) in (0..).zip(chosen) {
            places.entry(expert as usize).or_default().push(place);
        }
        places
    }
}
