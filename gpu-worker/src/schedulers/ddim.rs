//! DDIM (Song et al., 2020, <https://arxiv.org/abs/2010.02502>).
//!
//! Reference: `diffusers/schedulers/scheduling_ddim.py`.

use tch::Tensor;

use super::{
    Class, Family, Fields, Noise, Request, Scheduler, SchedulerError, Start,
    betas::{Betas, n_train_timesteps},
    limits::Limits,
    path::Path,
    prediction::{EPSILON, Prediction, SAMPLE, VELOCITY, root},
    spacing::{self, Spacing},
};

pub(super) const DDIM: Class = Class { name: "DDIMScheduler", family: Family::Diffusion, load };

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let config = Config::read(fields)?;
    Ok(Box::new(move |request| Ok(Box::new(Ddim::start(&config, request)?))))
}

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
    path: Path,
    /// After each step.
    next_alphas: Vec<f32>,
    limits: Limits,
    eta: f64,
}

impl Ddim {
    fn start(config: &Config, request: &Request) -> Result<Self, SchedulerError> {
        let n_train = config.n_train_timesteps;
        let timesteps =
            spacing::whole(config.spacing, &request.steps, n_train, config.steps_offset)?;
        let stride = n_train / request.steps.count(n_train)?;
        let next_alpha = |timestep: &usize| match timestep.checked_sub(stride) {
            Some(next) => config.alphas_cumprod[next],
            None => config.final_alpha,
        };
        Ok(Self {
            next_alphas: timesteps.iter().map(next_alpha).collect(),
            path: Path::at_alphas(&timesteps, &config.alphas_cumprod, config.prediction),
            limits: config.limits,
            eta: request.eta,
        })
    }
}

impl Scheduler for Ddim {
    fn path(&self) -> &Path {
        &self.path
    }

    fn step(
        &mut self,
        output: &Tensor,
        index: usize,
        sample: &Tensor,
        noise: &mut Noise,
    ) -> Tensor {
        let (alpha, next_alpha) = (self.path.level(index), self.next_alphas[index]);
        let original = self.limits.apply(self.denoised(output, index, sample));
        // The noise is that of the output, though the sample may have been cut.
        let epsilon = self.path.prediction.noise(output, sample, self.path.share(index));
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
