//! Euler's method (algorithm 2 of Karras et al., 2022, <https://arxiv.org/abs/2206.00364>, without churn).
//!
//! Reference: `diffusers/schedulers/scheduling_euler_discrete.py`.

use tch::{Kind, Tensor};

use super::{
    Class, Family, Fields, Noise, Scheduler, SchedulerError, Start, Steps,
    betas::Betas,
    curve::Curved,
    path::Path,
    prediction::{EPSILON, Prediction, SAMPLE, VELOCITY},
    sigmas::{Final, SigmaSchedule, in_float32},
};

pub(super) const EULER: Class =
    Class { name: "EulerDiscreteScheduler", family: Family::Diffusion, load };

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let config = Config::read(fields)?;
    Ok(Box::new(move |request| Ok(Box::new(Euler { path: config.path(&request.steps)? }))))
}

struct Config {
    schedule: SigmaSchedule,
    prediction: Prediction,
    /// The denoiser is told a quarter of the level's logarithm.
    is_continuous: bool,
    last: Final,
}

impl Config {
    fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let original = ("original_sample", Prediction::Sample);
        let prediction = Prediction::read(fields, &[EPSILON, SAMPLE, original, VELOCITY])?;
        let interpolations = [("linear", false), ("log_linear", true)];
        let is_continuous =
            fields.choose("timestep_type", false, &[("discrete", false), ("continuous", true)])?;
        let mut schedule = SigmaSchedule::read(fields, &Betas::WITH_SIGMAS, Curved::read(fields)?)?;
        schedule.is_log_linear = fields.choose("interpolation_type", false, &interpolations)?;
        Ok(Self {
            schedule,
            prediction,
            is_continuous: is_continuous && prediction == Prediction::Velocity,
            last: Final::read(fields)?,
        })
    }

    fn path(&self, steps: &Steps) -> Result<Path, SchedulerError> {
        let (mut timesteps, sigmas) = match steps {
            Steps::Sigmas(own) => self.own_sigmas(own)?,
            Steps::Timesteps(_) if self.is_continuous => {
                return Err(SchedulerError::OwnSchedule { given: "timesteps" });
            }
            steps => {
                let last = match self.last {
                    Final::Zero => 0.0,
                    Final::SigmaMin => self.schedule.table.lowest(),
                };
                self.schedule.of(steps, last)?
            }
        };
        if self.is_continuous {
            let quarter = |sigma: &f32| f64::from(0.25 * sigma.ln());
            timesteps = sigmas[..timesteps.len()].iter().map(quarter).collect();
        }
        Ok(self.schedule.path(timesteps, sigmas, self.prediction))
    }

    fn own_sigmas(&self, own: &[f64]) -> Result<(Vec<f64>, Vec<f32>), SchedulerError> {
        let table = &self.schedule.table;
        let Some((last, first)) = own.split_last().filter(|(_, first)| !first.is_empty()) else {
            return Err(SchedulerError::NoSteps);
        };
        let falls = own.windows(2).all(|pair| pair[0] > pair[1]);
        if !falls || *last < 0.0 || !first[0].is_finite() {
            let n_train = table.n_train_timesteps();
            return Err(SchedulerError::NotFalling { given: "sigmas", n_train });
        }
        let timesteps =
            in_float32(first).iter().map(|&sigma| table.timestep_of(sigma)).collect::<Vec<_>>();
        Ok((in_float32(&timesteps), own.iter().map(|&sigma| sigma as f32).collect()))
    }
}

struct Euler {
    path: Path,
}

impl Scheduler for Euler {
    fn path(&self) -> &Path {
        &self.path
    }

    fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor, _: &mut Noise) -> Tensor {
        let (sigma, next_sigma) = (self.path.level(index), self.path.level(index + 1));
        let sample = sample.to_kind(Kind::Float);
        let derivative = (&sample - self.denoised(output, index, &sample)) / f64::from(sigma);
        (sample + derivative * f64::from(next_sigma - sigma)).to_kind(output.kind())
    }
}
