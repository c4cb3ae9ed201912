//! The body: stages of layers that attend within windows, every second one within shifted ones.

use tch::Tensor;

use super::{config::Config, window_attention::WindowAttention};
use crate::{
    layers::{Activation, Conv2d, Conv2dConfig, LayerNorm, Linear, Step, leaky_relu, windows},
    weights::{Weights, WeightsError},
};

/// What is added to the similarity of places that must not see each other. The reference adds -100 twice.
const HIDDEN: f64 = -200.0;
const PATCH_NORM_EPS: f64 = 1e-5;
const SLOPE: f64 = 0.2;

pub(super) struct Body {
    projection: Conv2d,
    patch_norm: LayerNorm,
    stages: Vec<Stage>,
    layernorm: LayerNorm,
    conv_after_body: Conv2d,
    side: i64,
    shift: i64,
}

impl Body {
    pub(super) fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let dim = config.embed_dim;
        let patches = weights.at("embeddings").at("patch_embeddings");
        let stages = weights.at("encoder").at("stages");
        let (side, shift) = config.window();
        Ok(Self {
            projection: Conv2d::load(&patches.at("projection"), dim, dim, Conv2dConfig::same(1))?,
            patch_norm: LayerNorm::load(&patches.at("layernorm"), dim, PATCH_NORM_EPS)?,
            stages: (0..config.depths.len())
                .map(|at| Stage::load(config, at, &stages.at(at)))
                .collect::<Result<_, _>>()?,
            layernorm: LayerNorm::load(&weights.at("layernorm"), dim, config.layer_norm_eps)?,
            conv_after_body: Conv2d::load(
                &weights.at("conv_after_body"),
                dim,
                dim,
                Conv2dConfig::same(3),
            )?,
            side,
            shift,
        })
    }

    /// `[batch, dim, height, width]` to the same shape.
    pub(super) fn forward(&self, embeddings: &Tensor, step: &Step) -> Tensor {
        let (_, _, height, width) = embeddings.size4().expect("embeddings are a picture");
        let grid = Grid::new([height, width], self.side, self.shift, embeddings);
        let patches = channels_last(&self.projection.forward(embeddings, step));
        let mut hidden = self.patch_norm.forward(&patches, step);
        for stage in &self.stages {
            hidden = stage.forward(&hidden, &grid, step);
        }
        let hidden = channels_first(&self.layernorm.forward(&hidden, step));
        self.conv_after_body.forward(&hidden, step) + embeddings
    }
}

fn channels_last(xs: &Tensor) -> Tensor {
    xs.permute([0, 2, 3, 1])
}

fn channels_first(xs: &Tensor) -> Tensor {
    xs.permute([0, 3, 1, 2])
}

/// How a picture is cut into windows.
struct Grid {
    size: [i64; 2],
    /// As [`Self::size`], with whole windows.
    padded: [i64; 2],
    side: i64,
    shift: i64,
    /// `[windows, places, places]` of shifted windows; `None` where none are shifted.
    hidden: Option<Tensor>,
}

impl Grid {
    fn new(size: [i64; 2], side: i64, shift: i64, like: &Tensor) -> Self {
        let padded = size.map(|edge| (edge + side - 1) / side * side);
        let hidden = (shift > 0).then(|| {
            let strangers = windows::strangers(side, shift, padded, like.device());
            strangers.to_kind(like.kind()) * HIDDEN
        });
        Self { size, padded, side, shift, hidden }
    }

    /// Lets every window of a picture, `[batch, height, width, dim]`, attend to itself.
    fn attend(
        &self,
        attention: &WindowAttention,
        xs: &Tensor,
        shifted: bool,
        step: &Step,
    ) -> Tensor {
        let [below, beside] = [self.padded[0] - self.size[0], self.padded[1] - self.size[1]];
        let xs = if below + beside > 0 {
            xs.constant_pad_nd([0, 0, 0, beside, 0, below])
        } else {
            xs.shallow_clone()
        };
        let shift = if shifted { self.shift } else { 0 };
        let xs = if shift > 0 { xs.roll([-shift, -shift], [1, 2]) } else { xs };
        let hidden = self.hidden.as_ref().filter(|_| shift > 0);
        let attended = attention.forward(&windows::partition(&xs, self.side), hidden, step);
        let xs = windows::merge(&attended, self.side, self.padded);
        let xs = if shift > 0 { xs.roll([shift, shift], [1, 2]) } else { xs };
        xs.narrow(1, 0, self.size[0]).narrow(2, 0, self.size[1])
    }
}

struct Stage {
    layers: Vec<Layer>,
    conv: Residual,
    projection: Conv2d,
}

impl Stage {
    fn load(config: &Config, at: usize, weights: &Weights) -> Result<Self, WeightsError> {
        let dim = config.embed_dim;
        let layers = weights.at("layers");
        let patches = weights.at("patch_embed").at("projection");
        Ok(Self {
            layers: (0..config.depths[at])
                .map(|layer| Layer::load(config, config.num_heads[at], &layers.at(layer)))
                .collect::<Result<_, _>>()?,
            conv: Residual::load(config, &weights.at("conv"))?,
            projection: Conv2d::load(&patches, dim, dim, Conv2dConfig::same(1))?,
        })
    }

    /// `[batch, height, width, dim]` to the same shape.
    fn forward(&self, xs: &Tensor, grid: &Grid, step: &Step) -> Tensor {
        let mut hidden = xs.shallow_clone();
        for (at, layer) in self.layers.iter().enumerate() {
            hidden = layer.forward(hidden, at % 2 == 1, grid, step);
        }
        let hidden = self.conv.forward(&channels_first(&hidden), step);
        channels_last(&self.projection.forward(&hidden, step)) + xs
    }
}

/// The convolutions at the end of a stage: one, or three with a narrow one in the middle.
enum Residual {
    One(Conv2d),
    Three([Conv2d; 3]),
}

impl Residual {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let dim = config.embed_dim;
        if config.resi_connection == "1conv" {
            return Ok(Self::One(Conv2d::load(weights, dim, dim, Conv2dConfig::same(3))?));
        }
        let narrow = dim / 4;
        let conv = |at: i64, from, to, kernel| {
            Conv2d::load(&weights.at(at), from, to, Conv2dConfig::same(kernel))
        };
        Ok(Self::Three([
            conv(0, dim, narrow, 3)?,
            conv(2, narrow, narrow, 1)?,
            conv(4, narrow, dim, 3)?,
        ]))
    }

    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        match self {
            Self::One(conv) => conv.forward(xs, step),
            Self::Three([first, middle, last]) => {
                let xs = leaky_relu(&first.forward(xs, step), SLOPE);
                last.forward(&leaky_relu(&middle.forward(&xs, step), SLOPE), step)
            }
        }
    }
}

struct Layer {
    attention: WindowAttention,
    layernorm_before: LayerNorm,
    layernorm_after: LayerNorm,
    intermediate: Linear,
    output: Linear,
    act: Activation,
}

impl Layer {
    fn load(config: &Config, n_heads: i64, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, inner_dim) = (config.embed_dim, config.inner_dim());
        let norm = |name| LayerNorm::load(&weights.at(name), dim, config.layer_norm_eps);
        let (side, _) = config.window();
        Ok(Self {
            attention: WindowAttention::load(config, n_heads, side, &weights.at("attention"))?,
            layernorm_before: norm("layernorm_before")?,
            layernorm_after: norm("layernorm_after")?,
            intermediate: Linear::load(&weights.at("intermediate").at("dense"), dim, inner_dim)?,
            output: Linear::load(&weights.at("output").at("dense"), inner_dim, dim)?,
            act: config.hidden_act,
        })
    }

    /// `[batch, height, width, dim]` to the same shape. Norms come after what they normalise.
    fn forward(&self, xs: Tensor, shifted: bool, grid: &Grid, step: &Step) -> Tensor {
        let attended = grid.attend(&self.attention, &xs, shifted, step);
        let xs = self.layernorm_before.forward(&attended, step) + xs;
        let expanded = self.act.forward(&self.intermediate.forward(&xs, step));
        self.layernorm_after.forward(&self.output.forward(&expanded, step), step) + xs
    }
}
