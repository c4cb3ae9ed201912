//! Euler's method with ancestral sampling: every step goes down too far, and noise brings it back up.
//!
//! Reference: `diffusers/schedulers/scheduling_euler_ancestral_discrete.py`.

use tch::{Kind, Tensor};

use super::{
    Class, Family, Fields, Noise, Scheduler, SchedulerError, Start, Steps,
    betas::Betas,
    path::Path,
    prediction::{EPSILON, Prediction, VELOCITY},
    sigmas::SigmaSchedule,
};

pub(super) const EULER_ANCESTRAL: Class =
    Class { name: "EulerAncestralDiscreteScheduler", family: Family::Diffusion, load };

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let prediction = Prediction::read(fields, &[EPSILON, VELOCITY])?;
    let schedule = SigmaSchedule::read(fields, &Betas::WITH_SIGMAS, None)?;
    Ok(Box::new(move |request| {
        if let Steps::Timesteps(_) = request.steps {
            return Err(SchedulerError::OwnSchedule { given: "timesteps" });
        }
        let (timesteps, sigmas) = schedule.of(&request.steps, 0.0)?;
        Ok(Box::new(EulerAncestral { path: schedule.path(timesteps, sigmas, prediction) }))
    }))
}

struct EulerAncestral {
    path: Path,
}

impl Scheduler for EulerAncestral {
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
        let (sigma, next_sigma) = (self.path.level(index), self.path.level(index + 1));
        let (variance, next_variance) = (sigma * sigma, next_sigma * next_sigma);
        let up = (next_variance * (variance - next_variance) / variance).sqrt();
        let down = (next_variance - up * up).sqrt();
        let sample = sample.to_kind(Kind::Float);
        let derivative = (&sample - self.denoised(output, index, &sample)) / f64::from(sigma);
        let next = sample + derivative * f64::from(down - sigma);
        let noise = noise(&output.size(), output.kind());
        (next + noise * f64::from(up)).to_kind(output.kind())
    }
}
