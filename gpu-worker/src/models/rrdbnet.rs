//! RRDBNet, the generator of ESRGAN (Wang et al., 2018, <https://arxiv.org/abs/1809.00219>) and Real-ESRGAN
//! (Wang et al., 2021, <https://arxiv.org/abs/2107.10833>).
//!
//! Reference: `basicsr/archs/rrdbnet_arch.py`. Checkpoints come without a config, under one of three spellings of the
//! names; `config.json` is made of their shapes (`residency/facts/bare.rs`).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{
    Architecture, ImageEnhancer, LoadError, Model, ModelKind, check_positive, unsupported,
};
use crate::{
    layers::{Conv2d, Conv2dConfig, Step, leaky_relu, pad_to_multiple},
    weights::{Rename, Weights, WeightsError},
};

const MODEL_TYPE: &str = "rrdbnet";
const SLOPE: f64 = 0.2;
/// What a block adds to what it was given.
const SHARE: f64 = 0.2;
const DENSE_BLOCKS: i64 = 3;
const DENSE_CONVOLUTIONS: i64 = 5;
const MOST_BLOCKS: i64 = 1024;

pub(super) const RRDBNET: Architecture = Architecture {
    model_type: MODEL_TYPE,
    kinds: &[ModelKind::ImageEnhancer],
    renames: &[
        // ESRGAN's second spelling.
        Rename::Part { from: "RRDB_trunk.", to: "body." },
        Rename::Part { from: "trunk_conv.", to: "conv_body." },
        Rename::Part { from: "upconv", to: "conv_up" },
        Rename::Part { from: "HRconv.", to: "conv_hr." },
        // Its first, places in a sequence, of models that enlarge four times with 23 blocks.
        Rename::Suffix { from: "model.1.sub.23.weight", to: "conv_body.weight" },
        Rename::Suffix { from: "model.1.sub.23.bias", to: "conv_body.bias" },
        Rename::Part { from: "model.1.sub.", to: "body." },
        Rename::Part { from: "model.0.", to: "conv_first." },
        Rename::Part { from: "model.3.", to: "conv_up1." },
        Rename::Part { from: "model.6.", to: "conv_up2." },
        Rename::Part { from: "model.8.", to: "conv_hr." },
        Rename::Part { from: "model.10.", to: "conv_last." },
        // Of both.
        Rename::Part { from: ".RDB", to: ".rdb" },
        Rename::Suffix { from: ".0.weight", to: ".weight" },
        Rename::Suffix { from: ".0.bias", to: ".bias" },
    ],
    ignored: &[],
    load,
};

/// To the names of [`RrdbConfig::of_shapes`].
pub fn renames() -> &'static [Rename] {
    RRDBNET.renames
}

fn load(config: &str, _kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: RrdbConfig = serde_json::from_str(config)?;
    config.check()?;
    Ok(Model::ImageEnhancer(Box::new(RrdbNet::load(&config, weights)?)))
}

/// The sizes of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RrdbConfig {
    model_type: String,
    num_in_ch: i64,
    num_out_ch: i64,
    num_feat: i64,
    num_block: i64,
    num_grow_ch: i64,
    /// 1, 2, 4 or 8. A network for 1 or 2 first makes a picture smaller, pixels becoming channels.
    scale: i64,
}

impl RrdbConfig {
    /// Of a checkpoint with the new spelling of names; `None` where the shapes are not those of such a network.
    pub fn of_shapes(shape_of: &dyn Fn(&str) -> Option<Vec<i64>>) -> Option<Self> {
        let channels = |name: &str| match *shape_of(name)? {
            [to, from, 3, 3] => Some((to, from)),
            _ => None,
        };
        let (num_feat, seen) = channels("conv_first.weight")?;
        let (num_out_ch, _) = channels("conv_last.weight")?;
        let (num_grow_ch, _) = channels("body.0.rdb1.conv1.weight")?;
        let has = |name: &str| channels(name).is_some();
        if !(has("conv_body.weight") && has("conv_up2.weight") && has("conv_hr.weight")) {
            return None;
        }
        let scale = match (seen, num_out_ch, has("conv_up3.weight")) {
            (1 | 3, _, true) if seen == num_out_ch => 8,
            (1 | 3, _, false) if seen == num_out_ch => 4,
            (_, 1 | 3, false) if seen == 4 * num_out_ch => 2,
            (_, 1 | 3, false) if seen == 16 * num_out_ch => 1,
            _ => return None,
        };
        let is_block = |at: &i64| has(&format!("body.{at}.rdb{DENSE_BLOCKS}.conv5.weight"));
        let num_block = (0..MOST_BLOCKS).take_while(is_block).count() as i64;
        let model_type = MODEL_TYPE.to_owned();
        let num_in_ch = num_out_ch;
        Some(Self { model_type, num_in_ch, num_out_ch, num_feat, num_block, num_grow_ch, scale })
    }

    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("num_feat", self.num_feat),
            ("num_block", self.num_block),
            ("num_grow_ch", self.num_grow_ch),
        ])?;
        if self.num_block > MOST_BLOCKS {
            return Err(unsupported("num_block", self.num_block));
        }
        if ![1, 3].contains(&self.num_in_ch) {
            return Err(unsupported("num_in_ch", self.num_in_ch));
        }
        if self.num_out_ch != self.num_in_ch {
            return Err(unsupported("num_out_ch", self.num_out_ch));
        }
        if ![1, 2, 4, 8].contains(&self.scale) {
            return Err(unsupported("scale", self.scale));
        }
        Ok(())
    }

    /// By how much pictures are made smaller first.
    fn unshuffled(&self) -> i64 {
        (4 / self.scale).max(1)
    }
}

struct RrdbNet {
    conv_first: Conv2d,
    body: Vec<[DenseBlock; DENSE_BLOCKS as usize]>,
    conv_body: Conv2d,
    conv_up: Vec<Conv2d>,
    conv_hr: Conv2d,
    conv_last: Conv2d,
    config: RrdbConfig,
    kind: Kind,
}

impl RrdbNet {
    fn load(config: &RrdbConfig, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, smaller) = (config.num_feat, config.unshuffled());
        let conv =
            |name: &str, from, to| Conv2d::load(&weights.at(name), from, to, Conv2dConfig::same(3));
        let block = |at: i64| {
            let block = weights.at("body").at(at);
            let dense = |at: i64| DenseBlock::load(config, &block.at(format!("rdb{at}")));
            Ok([dense(1)?, dense(2)?, dense(3)?])
        };
        let doublings = if config.scale == 8 { 1..=3 } else { 1..=2 };
        Ok(Self {
            conv_first: conv("conv_first", config.num_in_ch * smaller * smaller, dim)?,
            body: (0..config.num_block).map(block).collect::<Result<_, WeightsError>>()?,
            conv_body: conv("conv_body", dim, dim)?,
            conv_up: doublings
                .map(|at| conv(&format!("conv_up{at}"), dim, dim))
                .collect::<Result<_, _>>()?,
            conv_hr: conv("conv_hr", dim, dim)?,
            conv_last: conv("conv_last", dim, config.num_out_ch)?,
            config: config.clone(),
            kind: weights.kind(),
        })
    }
}

impl ImageEnhancer for RrdbNet {
    fn enhance(&self, pixels: &Tensor, step: &Step) -> Tensor {
        let (_, _, height, width) =
            pixels.size4().expect("pixels are [batch, channels, height, width]");
        let smaller = self.config.unshuffled();
        let padded = pad_to_multiple(&pixels.to_kind(self.kind), smaller);
        let first = self.conv_first.forward(&padded.pixel_unshuffle(smaller), step);
        let mut hidden = first.shallow_clone();
        for block in &self.body {
            let made =
                block.iter().fold(hidden.shallow_clone(), |xs, dense| dense.forward(xs, step));
            hidden = made * SHARE + hidden;
        }
        let mut hidden = first + self.conv_body.forward(&hidden, step);
        for conv in &self.conv_up {
            let (_, _, height, width) = hidden.size4().expect("hidden is a picture");
            let larger = hidden.upsample_nearest2d([2 * height, 2 * width], None, None);
            hidden = leaky_relu(&conv.forward(&larger, step), SLOPE);
        }
        let hidden = leaky_relu(&self.conv_hr.forward(&hidden, step), SLOPE);
        let scale = self.config.scale;
        let made = self.conv_last.forward(&hidden, step);
        made.narrow(2, 0, height * scale).narrow(3, 0, width * scale).to_kind(Kind::Float)
    }

    fn scale(&self) -> i64 {
        self.config.scale
    }

    fn n_channels(&self) -> i64 {
        self.config.num_in_ch
    }

    fn multiple(&self) -> i64 {
        self.config.unshuffled()
    }
}

/// Convolutions of which each sees what all before it made.
struct DenseBlock(Vec<Conv2d>);

impl DenseBlock {
    fn load(config: &RrdbConfig, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, grown) = (config.num_feat, config.num_grow_ch);
        let conv = |at: i64| {
            let to = if at == DENSE_CONVOLUTIONS { dim } else { grown };
            let from = dim + (at - 1) * grown;
            Conv2d::load(&weights.at(format!("conv{at}")), from, to, Conv2dConfig::same(3))
        };
        Ok(Self((1..=DENSE_CONVOLUTIONS).map(conv).collect::<Result<_, _>>()?))
    }

    fn forward(&self, xs: Tensor, step: &Step) -> Tensor {
        let mut seen = vec![xs.shallow_clone()];
        let mut made = xs.shallow_clone();
        for (at, conv) in self.0.iter().enumerate() {
            made = conv.forward(&Tensor::cat(&seen, 1), step);
            if at + 1 < self.0.len() {
                made = leaky_relu(&made, SLOPE);
                seen.push(made.shallow_clone());
            }
        }
        made * SHARE + xs
    }
}
