//! A linear multistep method of up to fourth order.
//!
//! Reference: `diffusers/schedulers/scheduling_lms_discrete.py`.

use std::collections::VecDeque;

use tch::Tensor;

use super::{
    Class, Family, Fields, Noise, Scheduler, SchedulerError, Start, Steps,
    betas::Betas,
    curve::{Curve, Curved},
    path::Path,
    prediction::{EPSILON, Prediction, SAMPLE, VELOCITY},
    sigmas::SigmaSchedule,
};

pub(super) const LMS: Class =
    Class { name: "LMSDiscreteScheduler", family: Family::Diffusion, load };

const ORDER: usize = 4;

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let prediction = Prediction::read(fields, &[EPSILON, SAMPLE, VELOCITY])?;
    let curved = Curved::read(fields)?.map(|curved| curved.without_ends_if(Curve::Karras));
    let schedule = SigmaSchedule::read(fields, &Betas::NEVER_RESCALED, curved)?;
    Ok(Box::new(move |request| {
        if let Steps::Timesteps(_) = request.steps {
            return Err(SchedulerError::OwnSchedule { given: "timesteps" });
        }
        let (timesteps, sigmas) = schedule.of(&request.steps, 0.0)?;
        let path = schedule.path(timesteps, sigmas, prediction);
        Ok(Box::new(Lms { path, derivatives: VecDeque::new() }))
    }))
}

struct Lms {
    path: Path,
    /// The newest first.
    derivatives: VecDeque<Tensor>,
}

impl Scheduler for Lms {
    fn path(&self) -> &Path {
        &self.path
    }

    fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor, _: &mut Noise) -> Tensor {
        let sigma = f64::from(self.path.level(index));
        let derivative = (sample - self.denoised(output, index, sample)) / sigma;
        self.derivatives.push_front(derivative);
        self.derivatives.truncate(ORDER);
        // By the index, though a request that began in the middle has fewer derivatives: the reference does so.
        let order = ORDER.min(index + 1);
        let coefficients =
            (0..order).map(|which| coefficient(self.path.sigmas(), index, order, which));
        let change = coefficients
            .zip(&self.derivatives)
            .map(|(coefficient, derivative)| derivative * coefficient)
            .reduce(|sum, term| sum + term)
            .expect("there is a derivative");
        sample + change
    }
}

/// The weight of a derivative: the integral over the step of the polynomial that is 1 at the derivative's level and 0 at
/// those of the others.
fn coefficient(sigmas: &[f32], index: usize, order: usize, which: usize) -> f64 {
    let level = |back: usize| f64::from(sigmas[index - back]);
    let polynomial = |at: f64| {
        (0..order)
            .filter(|&other| other != which)
            .map(|other| (at - level(other)) / (level(which) - level(other)))
            .product::<f64>()
    };
    // Two points of Gauss integrate polynomials of the third degree exactly.
    let (from, to) = (level(0), f64::from(sigmas[index + 1]));
    let (middle, half) = ((from + to) / 2.0, (to - from) / 2.0);
    let offset = half / 3.0f64.sqrt();
    half * (polynomial(middle - offset) + polynomial(middle + offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_equal_steps_are_those_of_adams_and_bashforth() {
        let sigmas = [4.0, 3.0, 2.0, 1.0, 0.0];
        for (which, expected) in [55.0, -59.0, 37.0, -9.0].into_iter().enumerate() {
            let found = coefficient(&sigmas, 3, 4, which);
            assert!((found + expected / 24.0).abs() < 1e-12, "{found}");
        }
    }
}
