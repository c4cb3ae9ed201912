//! Latent consistency models (Luo et al., 2023, <https://arxiv.org/abs/2310.04378>).
//!
//! Reference: `diffusers/schedulers/scheduling_lcm.py`.

use tch::Tensor;

use super::{
    Class, Family, Fields, Noise, Scheduler, SchedulerError, Start, Steps,
    betas::{BetaSchedule, Betas, n_train_timesteps},
    limits::Limits,
    path::{Path, Share},
    prediction::{EPSILON, Prediction, SAMPLE, VELOCITY},
    spacing,
};

pub(super) const LCM: Class = Class { name: "LCMScheduler", family: Family::Distilled, load };

const BETAS: Betas =
    Betas { start: 0.00085, end: 0.012, schedule: BetaSchedule::ScaledLinear, ..Betas::DEFAULT };
/// The deviation of the data that the boundary condition assumes.
const SIGMA_DATA: f32 = 0.5;

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let n_train = n_train_timesteps(fields)?;
    let alphas_cumprod = BETAS.alphas_cumprod(fields)?;
    let prediction = Prediction::read(fields, &[EPSILON, SAMPLE, VELOCITY])?;
    let limits = Limits::read(fields, false)?;
    let original_steps = fields.whole("original_inference_steps", 50, 1..=n_train)?;
    let timestep_scaling = fields.positive("timestep_scaling", 10.0)? as f32;
    Ok(Box::new(move |request| {
        let timesteps = match &request.steps {
            Steps::Timesteps(own) => spacing::own_timesteps(own, n_train)?,
            steps => distilled_timesteps(steps.count(original_steps)?, original_steps, n_train),
        };
        let path = Path::at_alphas(&timesteps, &alphas_cumprod, prediction);
        Ok(Box::new(Lcm { path, limits, timestep_scaling }))
    }))
}

/// `n` of the timesteps that the model was distilled at, falling.
fn distilled_timesteps(n: usize, original_steps: usize, n_train: usize) -> Vec<usize> {
    let stride = n_train / original_steps;
    let spread = original_steps as f64 / n as f64;
    (0..n)
        .map(|idx| (idx as f64 * spread).floor() as usize)
        .map(|skipped| (original_steps - skipped) * stride - 1)
        .collect()
}

struct Lcm {
    path: Path,
    limits: Limits,
    timestep_scaling: f32,
}

impl Lcm {
    /// How much of the sample stays, and how much the clean picture counts: at timestep 0 all and nothing.
    fn boundary(&self, index: usize) -> (f64, f64) {
        let scaled = self.path.timesteps[index] as f32 * self.timestep_scaling;
        let (squares, data) = (scaled * scaled, SIGMA_DATA * SIGMA_DATA);
        (f64::from(data / (squares + data)), f64::from(scaled / (squares + data).sqrt()))
    }
}

impl Scheduler for Lcm {
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
        let original = self.limits.apply(self.denoised(output, index, sample));
        let (skip, out) = self.boundary(index);
        let denoised = original * out + sample * skip;
        if index + 1 == self.path.timesteps.len() {
            return denoised;
        }
        let next = Share::of_alpha(self.path.level(index + 1));
        let noise = noise(&output.size(), denoised.kind());
        denoised * f64::from(next.alpha) + noise * f64::from(next.sigma)
    }
}
