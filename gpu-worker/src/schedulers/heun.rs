//! Heun's method (algorithm 2 of Karras et al., 2022, <https://arxiv.org/abs/2206.00364>, without churn): every step but the
//! last looks at its end too.
//!
//! Reference: `diffusers/schedulers/scheduling_heun_discrete.py`.

use tch::Tensor;

use super::{
    Class, Family, Fields, Noise, Scheduler, SchedulerError, Start,
    betas::{BetaSchedule, Betas, ZeroSnr},
    curve::Curved,
    limits::Limits,
    path::{Levels, Path},
    prediction::{EPSILON, Prediction, SAMPLE, VELOCITY},
    sigmas::SigmaSchedule,
};

pub(super) const HEUN: Class =
    Class { name: "HeunDiscreteScheduler", family: Family::Diffusion, load };

const BETAS: Betas = Betas {
    start: 0.00085,
    end: 0.012,
    schedule: BetaSchedule::Linear,
    schedules: &[
        ("linear", BetaSchedule::Linear),
        ("scaled_linear", BetaSchedule::ScaledLinear),
        ("squaredcos_cap_v2", BetaSchedule::Cosine),
        ("exp", BetaSchedule::Exponential),
    ],
    zero_snr: ZeroSnr::Unknown,
};

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let prediction = Prediction::read(fields, &[EPSILON, SAMPLE, VELOCITY])?;
    let limits = Limits::clipping(fields, false)?;
    let schedule = SigmaSchedule::read(fields, &BETAS, Curved::read(fields)?)?;
    Ok(Box::new(move |request| {
        let (timesteps, sigmas) = schedule.of(&request.steps, 0.0)?;
        let path = schedule.path(timesteps, sigmas, prediction);
        Ok(Box::new(Heun { path: with_ends_repeated(path), limits, begun: None }))
    }))
}

/// Each level but the first and the one after the last step comes twice: as the end of a step and as a start.
fn with_ends_repeated(mut path: Path) -> Path {
    let (first, others) = path.timesteps.split_first().expect("there is a step");
    let timesteps =
        std::iter::once(*first).chain(others.iter().flat_map(|&timestep| [timestep; 2]));
    let sigmas = path.sigmas();
    let last = sigmas.len() - 1;
    let inner = sigmas[1..last].iter().flat_map(|&sigma| [sigma; 2]);
    let levels = std::iter::once(sigmas[0]).chain(inner).chain([sigmas[last]]).collect();
    path.timesteps = timesteps.collect();
    path.levels = Levels::Sigmas(levels);
    path.order = 2;
    path
}

struct Heun {
    path: Path,
    limits: Limits,
    begun: Option<Begun>,
}

/// A step of which the slope at the start is known.
struct Begun {
    sample: Tensor,
    derivative: Tensor,
    change: f64,
}

impl Scheduler for Heun {
    fn path(&self) -> &Path {
        &self.path
    }

    fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor, _: &mut Noise) -> Tensor {
        let sigma = self.path.level(index);
        let original = self.limits.apply(self.denoised(output, index, sample));
        let derivative = (sample - original) / f64::from(sigma);
        match self.begun.take() {
            None => {
                let change = f64::from(self.path.level(index + 1) - sigma);
                let next = sample + &derivative * change;
                self.begun = Some(Begun { sample: sample.shallow_clone(), derivative, change });
                next
            }
            Some(begun) => begun.sample + (begun.derivative + derivative) / 2.0 * begun.change,
        }
    }
}
