//! The levels of noise that one request visits, and what can be told from them alone.

use tch::Tensor;

use super::prediction::Prediction;

/// Of one request.
pub struct Path {
    /// What the denoiser is told, falling.
    pub(super) timesteps: Vec<f64>,
    pub(super) levels: Levels,
    pub(super) prediction: Prediction,
    pub(super) init_noise_sigma: f64,
    /// Timesteps that make one of the user's steps.
    pub(super) order: usize,
}

/// One level per timestep; sigmas have one more, for after the last step.
pub(super) enum Levels {
    /// The share of the sample's variance that is the picture's; the rest is noise.
    Alphas(Vec<f32>),
    /// Noise of that deviation beside a picture of full strength.
    Sigmas(Vec<f32>),
    /// The same, all of it scaled to the variance that a picture has.
    UnitSigmas(Vec<f32>),
    /// That share is noise, the rest the picture.
    FlowSigmas(Vec<f32>),
}

impl Path {
    /// Of the classes that look alphas up by whole timesteps.
    pub(super) fn at_alphas(
        timesteps: &[usize],
        alphas_cumprod: &[f32],
        prediction: Prediction,
    ) -> Self {
        let alphas = timesteps.iter().map(|&timestep| alphas_cumprod[timestep]).collect();
        Self {
            timesteps: timesteps.iter().map(|&timestep| timestep as f64).collect(),
            levels: Levels::Alphas(alphas),
            prediction,
            init_noise_sigma: 1.0,
            order: 1,
        }
    }

    /// The level at a step, as [`Levels`] has it.
    pub(super) fn level(&self, index: usize) -> f32 {
        match &self.levels {
            Levels::Alphas(levels)
            | Levels::Sigmas(levels)
            | Levels::UnitSigmas(levels)
            | Levels::FlowSigmas(levels) => levels[index],
        }
    }

    pub(super) fn sigmas(&self) -> &[f32] {
        match &self.levels {
            Levels::Alphas(_) => &[],
            Levels::Sigmas(sigmas) | Levels::UnitSigmas(sigmas) | Levels::FlowSigmas(sigmas) => {
                sigmas
            }
        }
    }

    pub(super) fn scale_input(&self, sample: &Tensor, index: usize) -> Tensor {
        match &self.levels {
            Levels::Sigmas(sigmas) => {
                let sigma = sigmas[index];
                sample / f64::from((sigma * sigma + 1.0).sqrt())
            }
            _ => sample.shallow_clone(),
        }
    }

    /// The reference rounds the level to the sample's kind first, so it is a tensor here.
    pub(super) fn add_noise(&self, original: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        // A dimension of its own: a scalar would not be rounded to the kind of what it is multiplied with.
        let level = Tensor::from_slice(&[self.level(index)])
            .to_kind(original.kind())
            .to_device(original.device());
        match self.levels {
            Levels::Alphas(_) => {
                let rest = (1f64 - &level).sqrt();
                level.sqrt() * original + rest * noise
            }
            Levels::Sigmas(_) => original + noise * level,
            Levels::UnitSigmas(_) => {
                let alpha = (level.square() + 1.0).sqrt().reciprocal();
                let sigma = level * &alpha;
                alpha * original + sigma * noise
            }
            Levels::FlowSigmas(_) => &level * noise + (1f64 - &level) * original,
        }
    }

    /// The clean sample that an output implies.
    pub(super) fn denoised(&self, output: &Tensor, index: usize, sample: &Tensor) -> Tensor {
        let (prediction, level) = (self.prediction, self.level(index));
        match self.levels {
            Levels::Alphas(_) => prediction.original(output, sample, Share::of_alpha(level)),
            Levels::Sigmas(_) => prediction.original_at_sigma(output, sample, level),
            Levels::UnitSigmas(_) => prediction.original(output, sample, Share::of_sigma(level)),
            Levels::FlowSigmas(_) => prediction.original(output, sample, Share::of_flow(level)),
        }
    }

    pub(super) fn share(&self, index: usize) -> Share {
        let level = self.level(index);
        match self.levels {
            Levels::Alphas(_) => Share::of_alpha(level),
            Levels::FlowSigmas(_) => Share::of_flow(level),
            Levels::Sigmas(_) | Levels::UnitSigmas(_) => Share::of_sigma(level),
        }
    }
}

/// A sample is `alpha * picture + sigma * noise`. The reference keeps both in float32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) alpha: f32,
    pub(super) sigma: f32,
}

impl Share {
    pub(super) fn of_alpha(cumprod: f32) -> Self {
        Self { alpha: cumprod.sqrt(), sigma: (1.0 - cumprod).sqrt() }
    }

    fn of_sigma(sigma: f32) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { alpha, sigma: sigma * alpha }
    }

    fn of_flow(sigma: f32) -> Self {
        Self { alpha: 1.0 - sigma, sigma }
    }

    /// Half the logarithm of the ratio of signal to noise; infinite where there is no noise.
    pub(super) fn lambda(self) -> f32 {
        self.alpha.ln() - self.sigma.ln()
    }
}
