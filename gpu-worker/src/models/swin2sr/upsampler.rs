//! The head: how the body's values become a larger picture.

use tch::Tensor;

use super::config::Config;
use crate::{
    layers::{Conv2d, Conv2dConfig, Step, leaky_relu},
    weights::{Weights, WeightsError},
};

const DIM: i64 = 64;
/// Slopes of the rectifiers: libtorch's usual one, and the one between enlargements.
const SLOPE: f64 = 0.01;
const WIDE_SLOPE: f64 = 0.2;

pub(super) enum Upsampler {
    PixelShuffle {
        conv_before_upsample: Conv2d,
        upsample: Shuffles,
        final_convolution: Conv2d,
    },
    /// Makes the small picture anew, enlarges it, and adds the enlarged given one: for compressed pictures.
    PixelShuffleAux(Box<Aux>),
    PixelShuffleDirect {
        conv: Conv2d,
        factor: i64,
    },
    NearestConv(Box<Nearest>),
    /// Does not enlarge.
    None {
        final_convolution: Conv2d,
    },
}

impl Upsampler {
    pub(super) fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, out) = (config.embed_dim, config.n_channels_out());
        let head = weights.at("upsample");
        let conv = |name, from, to| conv(&head.at(name), from, to);
        Ok(match config.upsampler.as_deref().unwrap_or_default() {
            "pixelshuffle" => Self::PixelShuffle {
                conv_before_upsample: conv("conv_before_upsample", dim, DIM)?,
                upsample: Shuffles::load(config.upscale, &head.at("upsample"))?,
                final_convolution: conv("final_convolution", DIM, out)?,
            },
            "pixelshuffle_aux" => Self::PixelShuffleAux(Box::new(Aux::load(config, &head)?)),
            "pixelshuffledirect" => {
                let factor = config.upscale;
                Self::PixelShuffleDirect { conv: conv("conv", dim, factor * factor * out)?, factor }
            }
            "nearest+conv" => Self::NearestConv(Box::new(Nearest {
                conv_before_upsample: conv("conv_before_upsample", dim, DIM)?,
                conv_up1: conv("conv_up1", DIM, DIM)?,
                conv_up2: conv("conv_up2", DIM, DIM)?,
                conv_hr: conv("conv_hr", DIM, DIM)?,
                final_convolution: conv("final_convolution", DIM, out)?,
            })),
            _ => Self::None {
                final_convolution: Conv2d::load(
                    &weights.at("final_convolution"),
                    dim,
                    out,
                    Conv2dConfig::same(3),
                )?,
            },
        })
    }

    /// From `hidden`, `[batch, dim, height, width]`, the picture as the model normalises it. `normalised` is what the body
    /// was given, `pixels` what the model was, and `size` what a picture of that size becomes; the answer may be larger.
    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        normalised: &Tensor,
        pixels: &Tensor,
        size: [i64; 2],
        step: &Step,
    ) -> Tensor {
        match self {
            Self::PixelShuffle { conv_before_upsample, upsample, final_convolution } => {
                let xs = leaky_relu(&conv_before_upsample.forward(hidden, step), SLOPE);
                final_convolution.forward(&upsample.forward(xs, step), step)
            }
            Self::PixelShuffleAux(aux) => aux.forward(hidden, pixels, size, step),
            Self::PixelShuffleDirect { conv, factor } => {
                conv.forward(hidden, step).pixel_shuffle(*factor)
            }
            Self::NearestConv(nearest) => nearest.forward(hidden, step),
            Self::None { final_convolution } => {
                final_convolution.forward(hidden, step) + normalised
            }
        }
    }
}

fn conv(weights: &Weights, from: i64, to: i64) -> Result<Conv2d, WeightsError> {
    Conv2d::load(weights, from, to, Conv2dConfig::same(3))
}

/// Convolutions whose channels become pixels.
pub(super) struct Shuffles(Vec<(Conv2d, i64)>);

impl Shuffles {
    fn load(scale: i64, weights: &Weights) -> Result<Self, WeightsError> {
        let load = |name: String, factor: i64| {
            Ok((conv(&weights.at(name), DIM, factor * factor * DIM)?, factor))
        };
        if scale == 3 {
            return Ok(Self(vec![load("convolution".to_owned(), 3)?]));
        }
        let doublings = 0..scale.ilog2();
        Ok(Self(
            doublings.map(|at| load(format!("convolution_{at}"), 2)).collect::<Result<_, _>>()?,
        ))
    }

    fn forward(&self, mut xs: Tensor, step: &Step) -> Tensor {
        for (conv, factor) in &self.0 {
            xs = conv.forward(&xs, step).pixel_shuffle(*factor);
        }
        xs
    }
}

pub(super) struct Aux {
    conv_bicubic: Conv2d,
    conv_before_upsample: Conv2d,
    conv_aux: Conv2d,
    conv_after_aux: Conv2d,
    upsample: Shuffles,
    final_convolution: Conv2d,
}

impl Aux {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let channels = config.num_channels;
        let load = |name, from, to| conv(&weights.at(name), from, to);
        Ok(Self {
            conv_bicubic: load("conv_bicubic", channels, DIM)?,
            conv_before_upsample: load("conv_before_upsample", config.embed_dim, DIM)?,
            conv_aux: load("conv_aux", DIM, channels)?,
            conv_after_aux: conv(&weights.at("conv_after_aux").at(0), channels, DIM)?,
            upsample: Shuffles::load(config.upscale, &weights.at("upsample"))?,
            final_convolution: load("final_convolution", DIM, config.n_channels_out())?,
        })
    }

    fn forward(&self, hidden: &Tensor, pixels: &Tensor, size: [i64; 2], step: &Step) -> Tensor {
        let bicubic = pixels.upsample_bicubic2d(size, false, None, None);
        let xs = leaky_relu(&self.conv_before_upsample.forward(hidden, step), SLOPE);
        let small = self.conv_aux.forward(&xs, step);
        let xs = leaky_relu(&self.conv_after_aux.forward(&small, step), SLOPE);
        let xs = self.upsample.forward(xs, step).narrow(2, 0, size[0]).narrow(3, 0, size[1]);
        self.final_convolution.forward(&(xs + self.conv_bicubic.forward(&bicubic, step)), step)
    }
}

pub(super) struct Nearest {
    conv_before_upsample: Conv2d,
    conv_up1: Conv2d,
    conv_up2: Conv2d,
    conv_hr: Conv2d,
    final_convolution: Conv2d,
}

impl Nearest {
    fn forward(&self, hidden: &Tensor, step: &Step) -> Tensor {
        let xs = leaky_relu(&self.conv_before_upsample.forward(hidden, step), SLOPE);
        let wide = |conv: &Conv2d, xs: &Tensor| leaky_relu(&conv.forward(xs, step), WIDE_SLOPE);
        let xs = wide(&self.conv_up1, &doubled(&xs));
        let xs = wide(&self.conv_up2, &doubled(&xs));
        self.final_convolution.forward(&wide(&self.conv_hr, &xs), step)
    }
}

/// Each pixel becomes four.
fn doubled(xs: &Tensor) -> Tensor {
    let (_, _, height, width) = xs.size4().expect("xs is [batch, channels, height, width]");
    xs.upsample_nearest2d([2 * height, 2 * width], None, None)
}
