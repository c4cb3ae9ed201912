//! DDPM (Ho et al., 2020, <https://arxiv.org/abs/2006.11239>).
//!
//! Reference: `diffusers/schedulers/scheduling_ddpm.py`.

use tch::Tensor;

use super::{
    Class, Family, Fields, Noise, Request, Scheduler, SchedulerError, Start, Steps,
    betas::{BetaSchedule, Betas, n_train_timesteps},
    limits::Limits,
    path::Path,
    prediction::{EPSILON, Prediction, SAMPLE, VELOCITY},
    spacing::{self, Spacing},
};

pub(super) const DDPM: Class = Class { name: "DDPMScheduler", family: Family::Diffusion, load };

const BETAS: Betas = Betas {
    schedules: &[
        ("linear", BetaSchedule::Linear),
        ("scaled_linear", BetaSchedule::ScaledLinear),
        ("squaredcos_cap_v2", BetaSchedule::Cosine),
        ("laplace", BetaSchedule::Laplace),
        ("sigmoid", BetaSchedule::Sigmoid),
    ],
    ..Betas::DEFAULT
};

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let config = Config::read(fields)?;
    Ok(Box::new(move |request| Ok(Box::new(Ddpm::start(&config, request)?))))
}

struct Config {
    n_train_timesteps: usize,
    alphas_cumprod: Vec<f32>,
    prediction: Prediction,
    variance: Variance,
    limits: Limits,
    spacing: Spacing,
    steps_offset: usize,
}

/// Of the noise that a step adds.
#[derive(Clone, Copy)]
enum Variance {
    Small,
    SmallLog,
    Large,
}

impl Config {
    fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let n_train_timesteps = n_train_timesteps(fields)?;
        let variances = [
            ("fixed_small", Variance::Small),
            ("fixed_small_log", Variance::SmallLog),
            ("fixed_large", Variance::Large),
        ];
        Ok(Self {
            n_train_timesteps,
            alphas_cumprod: BETAS.alphas_cumprod(fields)?,
            prediction: Prediction::read(fields, &[EPSILON, SAMPLE, VELOCITY])?,
            variance: fields.choose("variance_type", Variance::Small, &variances)?,
            limits: Limits::read(fields, true)?,
            spacing: Spacing::read(fields, Spacing::Leading)?,
            steps_offset: fields.whole("steps_offset", 0, 0..=n_train_timesteps)?,
        })
    }
}

struct Ddpm {
    path: Path,
    variance: Variance,
    limits: Limits,
}

impl Ddpm {
    fn start(config: &Config, request: &Request) -> Result<Self, SchedulerError> {
        let n_train = config.n_train_timesteps;
        let timesteps = match &request.steps {
            Steps::Timesteps(own) => spacing::own_timesteps(own, n_train)?,
            steps => spacing::whole(config.spacing, steps, n_train, config.steps_offset)?,
        };
        Ok(Self {
            path: Path::at_alphas(&timesteps, &config.alphas_cumprod, config.prediction),
            variance: config.variance,
            limits: config.limits,
        })
    }
}

impl Variance {
    fn deviation(self, alpha: f32, next_alpha: f32) -> f32 {
        let beta = 1.0 - alpha / next_alpha;
        let variance = ((1.0 - next_alpha) / (1.0 - alpha) * beta).max(1e-20);
        match self {
            Self::Small => variance.sqrt(),
            Self::SmallLog => (0.5 * variance.ln()).exp(),
            Self::Large => beta.sqrt(),
        }
    }
}

impl Scheduler for Ddpm {
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
        let is_last = index + 1 == self.path.timesteps.len();
        let alpha = self.path.level(index);
        let next_alpha = if is_last { 1.0 } else { self.path.level(index + 1) };
        let (beta, next_beta) = (1.0 - alpha, 1.0 - next_alpha);
        let step_alpha = alpha / next_alpha;
        let original = self.limits.apply(self.denoised(output, index, sample));
        let of_original = next_alpha.sqrt() * (1.0 - step_alpha) / beta;
        let of_sample = step_alpha.sqrt() * next_beta / beta;
        let next = original * f64::from(of_original) + sample * f64::from(of_sample);
        // Timestep 0 is the only one without noise, which need not be the last.
        if self.path.timesteps[index] > 0.0 {
            let deviation = self.variance.deviation(alpha, next_alpha);
            return next + noise(&output.size(), output.kind()) * f64::from(deviation);
        }
        next
    }
}
