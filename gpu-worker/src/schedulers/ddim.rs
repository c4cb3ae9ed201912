//! DDIM (Song et al., 2020, <https://arxiv.org/abs/2010.02502>).
//!
//! Reference: `diffusers/schedulers/scheduling_ddim.py`.

use tch::Tensor;

use super::{
    Class, Fields, Noise, Request, Scheduler, SchedulerError, Start,
    betas::{Betas, n_train_timesteps},
    limits::Limits,
    noising,
    prediction::{EPSILON, Prediction, SAMPLE, VELOCITY, root},
    spacing::{self, Spacing},
};

pub(super) const DDIM: Class = Class { name: "DDIMScheduler", load };

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let config = Config::read(fields)?;
    Ok(Box::new(move |request| Ok(Box::new(Ddim::start(&config, request)?))))
}

#[derive(Clone)]
struct Config {
    n_train_timesteps: usize,
    alphas_cumprod: Vec<f32>,
    /// Stands for the alpha before the first timestep of training.
    final_alpha: f32,
    prediction: Prediction,
    limits: Limits,
    spacing: Spacing,
    steps_offset: usize,
}

impl Config {
    fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let n_train_timesteps = n_train_timesteps(fields)?;
        let alphas_cumprod = Betas::DEFAULT.alphas_cumprod(fields)?;
        let to_one = fields.flag("set_alpha_to_one", true)?;
        Ok(Self {
            n_train_timesteps,
            final_alpha: if to_one { 1.0 } else { alphas_cumprod[0] },
            alphas_cumprod,
            prediction: Prediction::read(fields, &[EPSILON, SAMPLE, VELOCITY])?,
            limits: Limits::read(fields, true)?,
            spacing: Spacing::read(fields, Spacing::Leading)?,
            steps_offset: fields.whole("steps_offset", 0, 0..=n_train_timesteps)?,
        })
    }
}

struct Ddim {
    config: Config,
    timesteps: Vec<f64>,
    eta: f64,
    /// How far a step leads, in timesteps of training.
    stride: usize,
}

impl Ddim {
    fn start(config: &Config, request: &Request) -> Result<Self, SchedulerError> {
        let n_train = config.n_train_timesteps;
        let timesteps =
            spacing::whole(config.spacing, &request.steps, n_train, config.steps_offset)?;
        Ok(Self {
            config: config.clone(),
            stride: n_train / request.steps.count(n_train)?,
            timesteps: timesteps.into_iter().map(|timestep| timestep as f64).collect(),
            eta: request.eta,
        })
    }

    fn alpha(&self, index: usize) -> f32 {
        self.config.alphas_cumprod[self.timesteps[index] as usize]
    }

    fn next_alpha(&self, index: usize) -> f32 {
        match (self.timesteps[index] as usize).checked_sub(self.stride) {
            Some(timestep) => self.config.alphas_cumprod[timestep],
            None => self.config.final_alpha,
        }
    }

    fn noise_in(&self, output: &Tensor, sample: &Tensor, alpha: f32) -> Tensor {
        let (alpha, beta) = (root(alpha), root(1.0 - alpha));
        match self.config.prediction {
            Prediction::Sample => (sample - output * alpha) / beta,
            Prediction::Velocity => output * alpha + sample * beta,
            Prediction::Epsilon => output.shallow_clone(),
        }
    }
}

impl Scheduler for Ddim {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, original: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        noising::at_alpha(original, noise, self.alpha(index))
    }

    fn denoised(&self, output: &Tensor, index: usize, sample: &Tensor) -> Tensor {
        self.config.prediction.original_at_alpha(output, sample, self.alpha(index))
    }

    fn step(
        &mut self,
        output: &Tensor,
        index: usize,
        sample: &Tensor,
        noise: &mut Noise,
    ) -> Tensor {
        let (alpha, next_alpha) = (self.alpha(index), self.next_alpha(index));
        let original = self.config.limits.apply(self.denoised(output, index, sample));
        // The noise is that of the output, though the sample may have been cut.
        let epsilon = self.noise_in(output, sample, alpha);
        let variance = ((1.0 - next_alpha) / (1.0 - alpha)) * (1.0 - alpha / next_alpha);
        let deviation = self.eta as f32 * variance.sqrt();
        let direction = epsilon * root(1.0 - next_alpha - deviation * deviation);
        let next = original * root(next_alpha) + direction;
        if self.eta > 0.0 {
            return next + noise(&output.size(), output.kind()) * f64::from(deviation);
        }
        next
    }
}
