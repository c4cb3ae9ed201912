//! Euler's method (algorithm 2 of Karras et al., 2022, <https://arxiv.org/abs/2206.00364>, without churn).
//!
//! Reference: `diffusers/schedulers/scheduling_euler_discrete.py`.

use tch::{Device, Kind, Tensor};

use super::{
    Class, Fields, Noise, Request, Scheduler, SchedulerError, Start, Steps,
    betas::{Betas, floats},
    noising,
    prediction::{EPSILON, Prediction, SAMPLE, VELOCITY},
    sigmas::{Curved, Final, SigmaSchedule, closed, in_float32},
};

pub(super) const EULER: Class = Class { name: "EulerDiscreteScheduler", load };

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let config = Config::read(fields)?;
    Ok(Box::new(move |request| Ok(Box::new(Euler::start(&config, request)?))))
}

#[derive(Clone)]
struct Config {
    schedule: SigmaSchedule,
    prediction: Prediction,
    /// Levels are spread evenly by their logarithms, whatever the timesteps.
    is_log_linear: bool,
    /// The denoiser is told a quarter of the level's logarithm.
    is_continuous: bool,
    last: Final,
}

impl Config {
    fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let alphas = Betas::WITH_SIGMAS.alphas_cumprod(fields)?;
        let original = ("original_sample", Prediction::Sample);
        let prediction = Prediction::read(fields, &[EPSILON, SAMPLE, original, VELOCITY])?;
        let interpolations = [("linear", false), ("log_linear", true)];
        let is_continuous =
            fields.choose("timestep_type", false, &[("discrete", false), ("continuous", true)])?;
        Ok(Self {
            schedule: SigmaSchedule::read(fields, &alphas, Curved::read(fields)?)?,
            prediction,
            is_log_linear: fields.choose("interpolation_type", false, &interpolations)?,
            is_continuous: is_continuous && prediction == Prediction::Velocity,
            last: Final::read(fields)?,
        })
    }
}

struct Euler {
    config: Config,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
}

impl Euler {
    fn start(config: &Config, request: &Request) -> Result<Self, SchedulerError> {
        let (mut timesteps, sigmas) = match &request.steps {
            Steps::Sigmas(own) => config.own_sigmas(own)?,
            Steps::Timesteps(_) if config.is_continuous => {
                return Err(SchedulerError::OwnSchedule { given: "timesteps" });
            }
            steps => config.sigmas(steps)?,
        };
        if config.is_continuous {
            timesteps = sigmas[..timesteps.len()]
                .iter()
                .map(|sigma| f64::from(0.25 * sigma.ln()))
                .collect();
        }
        Ok(Self { config: config.clone(), timesteps, sigmas })
    }

    fn sigma(&self, index: usize) -> f32 {
        self.sigmas[index]
    }
}

impl Config {
    fn sigmas(&self, steps: &Steps) -> Result<(Vec<f64>, Vec<f32>), SchedulerError> {
        let (timesteps, mut sigmas) = self.schedule.of(steps)?;
        if self.is_log_linear && self.schedule.curved.is_none() {
            sigmas = self.log_linear(timesteps.len());
        }
        let last = match self.last {
            Final::Zero => 0.0,
            Final::SigmaMin => self.schedule.table.lowest(),
        };
        Ok((in_float32(&timesteps), closed(&sigmas, last)))
    }

    /// One more than there are steps: the reference puts the last level behind them all the same.
    fn log_linear(&self, n: usize) -> Vec<f64> {
        let table = &self.schedule.table;
        let (from, to) = (f64::from(table.lowest().ln()), f64::from(table.highest().ln()));
        let levels = Tensor::linspace(to, from, n as i64 + 1, (Kind::Float, Device::Cpu)).exp();
        floats(&levels).into_iter().map(f64::from).collect()
    }

    fn own_sigmas(&self, own: &[f64]) -> Result<(Vec<f64>, Vec<f32>), SchedulerError> {
        let n_train = self.schedule.table.n_train_timesteps();
        if own.len() < 2 {
            return Err(SchedulerError::NoSteps);
        }
        let falls = own.windows(2).all(|pair| pair[0] > pair[1]);
        if !falls || own[own.len() - 1] < 0.0 || !own[0].is_finite() {
            return Err(SchedulerError::NotFalling { given: "sigmas", n_train });
        }
        let sigmas: Vec<f32> = own.iter().map(|&sigma| sigma as f32).collect();
        let timesteps = sigmas[..own.len() - 1]
            .iter()
            .map(|&sigma| self.schedule.table.timestep_of(f64::from(sigma)))
            .collect::<Vec<f64>>();
        Ok((in_float32(&timesteps), sigmas))
    }
}

impl Scheduler for Euler {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    fn init_noise_sigma(&self) -> f64 {
        self.config.schedule.init_noise_sigma(&self.sigmas)
    }

    fn scale_input(&self, sample: &Tensor, index: usize) -> Tensor {
        scaled_to_unit(sample, self.sigma(index))
    }

    fn add_noise(&self, original: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        noising::at_sigma(original, noise, self.sigma(index))
    }

    fn denoised(&self, output: &Tensor, index: usize, sample: &Tensor) -> Tensor {
        self.config.prediction.original_at_sigma(output, sample, self.sigma(index))
    }

    fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor, _: &mut Noise) -> Tensor {
        let (sigma, next_sigma) = (self.sigma(index), self.sigma(index + 1));
        let sample = sample.to_kind(Kind::Float);
        let original = self.denoised(output, index, &sample);
        let derivative = (&sample - original) / f64::from(sigma);
        (sample + derivative * f64::from(next_sigma - sigma)).to_kind(output.kind())
    }
}

/// A sample with noise of that level, brought to the variance that a picture has.
pub(super) fn scaled_to_unit(sample: &Tensor, sigma: f32) -> Tensor {
    sample / f64::from((sigma * sigma + 1.0).sqrt())
}
