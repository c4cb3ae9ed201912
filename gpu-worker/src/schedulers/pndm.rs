//! PNDM (Liu et al., 2022, <https://arxiv.org/abs/2202.09778>): a linear multistep method, started by Runge-Kutta or by a
//! repeated step.
//!
//! Reference: `diffusers/schedulers/scheduling_pndm.py`.

use std::collections::VecDeque;

use tch::Tensor;

use super::{
    Class, Family, Fields, Noise, Request, Scheduler, SchedulerError, Start,
    betas::{Betas, n_train_timesteps},
    path::{Path, Share},
    prediction::{EPSILON, Prediction, VELOCITY, root},
    spacing::{self, Spacing},
};

pub(super) const PNDM: Class = Class { name: "PNDMScheduler", family: Family::Diffusion, load };

/// Outputs that a step of the multistep method looks back on.
const N_OUTPUTS: usize = 4;

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let config = Config::read(fields)?;
    Ok(Box::new(move |request| Ok(Box::new(Pndm::start(&config, request)?))))
}

struct Config {
    n_train_timesteps: usize,
    alphas_cumprod: Vec<f32>,
    final_alpha: f32,
    skips_runge_kutta: bool,
    prediction: Prediction,
    spacing: Spacing,
    steps_offset: usize,
}

impl Config {
    fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let n_train_timesteps = n_train_timesteps(fields)?;
        let alphas_cumprod = Betas::NEVER_RESCALED.alphas_cumprod(fields)?;
        let to_one = fields.flag("set_alpha_to_one", false)?;
        Ok(Self {
            n_train_timesteps,
            final_alpha: if to_one { 1.0 } else { alphas_cumprod[0] },
            alphas_cumprod,
            skips_runge_kutta: fields.flag("skip_prk_steps", false)?,
            prediction: Prediction::read(fields, &[EPSILON, VELOCITY])?,
            spacing: Spacing::read(fields, Spacing::Leading)?,
            steps_offset: fields.whole("steps_offset", 0, 0..=n_train_timesteps)?,
        })
    }
}

struct Pndm {
    path: Path,
    alphas_cumprod: Vec<f32>,
    /// Stands for the alpha before the first timestep of training.
    final_alpha: f32,
    /// Those at the start that belong to Runge-Kutta, four to a step.
    n_runge_kutta: usize,
    /// How far a step leads, in timesteps of training.
    stride: i64,
    /// Steps made, which is less than the index when the request began in the middle.
    n_made: usize,
    outputs: VecDeque<Tensor>,
    /// Runge-Kutta's weighted sum.
    sum: Option<Tensor>,
    /// Where the step began that is evaluated more than once.
    began_at: Option<Tensor>,
}

impl Pndm {
    fn start(config: &Config, request: &Request) -> Result<Self, SchedulerError> {
        let n_train = config.n_train_timesteps;
        let n = request.steps.count(n_train)?;
        let falling = spacing::whole(config.spacing, &request.steps, n_train, config.steps_offset)?;
        let (timesteps, n_runge_kutta) = if config.skips_runge_kutta {
            (with_second_repeated(falling), 0)
        } else if n < N_OUTPUTS {
            return Err(SchedulerError::TooFewSteps { steps: n, limit: N_OUTPUTS });
        } else {
            let mut timesteps = runge_kutta_timesteps(&falling, n_train / n / 2);
            let n_runge_kutta = timesteps.len();
            timesteps.extend(&falling[N_OUTPUTS - 1..]);
            (timesteps, n_runge_kutta)
        };
        Ok(Self {
            path: Path::at_alphas(&timesteps, &config.alphas_cumprod, config.prediction),
            alphas_cumprod: config.alphas_cumprod.clone(),
            final_alpha: config.final_alpha,
            n_runge_kutta,
            stride: (n_train / n) as i64,
            n_made: 0,
            outputs: VecDeque::new(),
            sum: None,
            began_at: None,
        })
    }

    fn alpha(&self, timestep: i64) -> f32 {
        match usize::try_from(timestep) {
            Ok(timestep) => self.alphas_cumprod[timestep],
            Err(_) => self.final_alpha,
        }
    }

    /// Formula (9) of the paper.
    fn advance(&self, sample: &Tensor, from: i64, to: i64, output: &Tensor) -> Tensor {
        let (alpha, next_alpha) = (self.alpha(from), self.alpha(to));
        let (beta, next_beta) = (1.0 - alpha, 1.0 - next_alpha);
        let epsilon = self.path.prediction.noise(output, sample, Share::of_alpha(alpha));
        let denominator = alpha * next_beta.sqrt() + (alpha * beta * next_alpha).sqrt();
        sample * root(next_alpha / alpha)
            - epsilon * f64::from(next_alpha - alpha) / f64::from(denominator)
    }

    fn runge_kutta_step(&mut self, output: &Tensor, index: usize, sample: &Tensor) -> Tensor {
        let half_stride = if self.n_made.is_multiple_of(2) { self.stride / 2 } else { 0 };
        let to = self.path.timesteps[index] as i64 - half_stride;
        let from = self.path.timesteps[self.n_made / 4 * 4] as i64;
        let mut weighted = |weight: f64| match self.sum.take() {
            Some(sum) => sum + output * weight,
            None => output * weight,
        };
        let (output, sum) = match self.n_made % 4 {
            0 => {
                self.outputs.push_back(output.shallow_clone());
                self.began_at = Some(sample.shallow_clone());
                (output.shallow_clone(), Some(weighted(1.0 / 6.0)))
            }
            1 | 2 => (output.shallow_clone(), Some(weighted(1.0 / 3.0))),
            _ => (weighted(1.0 / 6.0), None),
        };
        self.sum = sum;
        let began_at = self.began_at.as_ref().unwrap_or(sample);
        self.advance(began_at, from, to, &output)
    }

    fn multistep_step(&mut self, output: &Tensor, index: usize, sample: &Tensor) -> Tensor {
        let timestep = self.path.timesteps[index] as i64;
        let (mut from, mut to) = (timestep, timestep - self.stride);
        if self.n_made == 1 {
            // The first step once more, now that the output at its end is known.
            (from, to) = (timestep + self.stride, timestep);
        } else {
            while self.outputs.len() >= N_OUTPUTS {
                self.outputs.pop_front();
            }
            self.outputs.push_back(output.shallow_clone());
        }
        let began_at = match self.n_made {
            0 => {
                self.began_at = Some(sample.shallow_clone());
                None
            }
            1 => self.began_at.take(),
            _ => None,
        };
        let ets: Vec<&Tensor> = self.outputs.iter().rev().collect();
        let output = match ets[..] {
            [_] if self.n_made == 0 => output.shallow_clone(),
            [e1] => (output + e1) / 2.0,
            [e1, e2] => (e1 * 3.0 - e2) / 2.0,
            [e1, e2, e3] => (e1 * 23.0 - e2 * 16.0 + e3 * 5.0) / 12.0,
            [e1, e2, e3, e4, ..] => (e1 * 55.0 - e2 * 59.0 + e3 * 37.0 - e4 * 9.0) * (1.0 / 24.0),
            [] => output.shallow_clone(),
        };
        self.advance(began_at.as_ref().unwrap_or(sample), from, to, &output)
    }
}

impl Scheduler for Pndm {
    fn path(&self) -> &Path {
        &self.path
    }

    fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor, _: &mut Noise) -> Tensor {
        let next = if self.n_made < self.n_runge_kutta {
            self.runge_kutta_step(output, index, sample)
        } else {
            self.multistep_step(output, index, sample)
        };
        self.n_made += 1;
        next
    }
}

/// The second of the falling timesteps twice; a single one stays single.
fn with_second_repeated(mut falling: Vec<usize>) -> Vec<usize> {
    if let Some(&second) = falling.get(1) {
        falling.insert(1, second);
    }
    falling
}

/// Three steps of four evaluations: at the start, twice in the middle, at the end.
fn runge_kutta_timesteps(falling: &[usize], half_stride: usize) -> Vec<usize> {
    let ends = falling[..N_OUTPUTS].windows(2);
    ends.flat_map(|pair| [pair[0], pair[1] + half_stride, pair[1] + half_stride, pair[1]]).collect()
}
