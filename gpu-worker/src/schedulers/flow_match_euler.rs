//! Euler's method along the straight lines between noise and picture (Esser et al., 2024,
//! <https://arxiv.org/abs/2403.03206>).
//!
//! Reference: `diffusers/schedulers/scheduling_flow_match_euler_discrete.py`.

use tch::{Kind, Tensor};

use super::{
    Class, Family, Fields, Noise, Request, Scheduler, SchedulerError, Start, Steps,
    betas::n_train_timesteps,
    curve::Curved,
    numpy,
    path::{Levels, Path},
    prediction::Prediction,
    shift::{self, Shift, shifted, stretch_to},
    sigmas,
};

pub(super) const FLOW_MATCH_EULER: Class =
    Class { name: "FlowMatchEulerDiscreteScheduler", family: Family::Flow, load };

fn load(fields: &Fields) -> Result<Start, SchedulerError> {
    let config = Config::read(fields)?;
    Ok(Box::new(move |request| {
        let (path, is_stochastic) = (config.path(request)?, config.is_stochastic);
        Ok(Box::new(FlowMatchEuler { path, is_stochastic }))
    }))
}

struct Config {
    n_train_timesteps: usize,
    /// The ends of the training's levels, themselves shifted when the shift is fixed.
    highest: f64,
    lowest: f64,
    shift: Shift,
    terminal: Option<f64>,
    curved: Option<Curved>,
    is_inverted: bool,
    is_stochastic: bool,
}

impl Config {
    fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let n_train_timesteps = n_train_timesteps(fields)?;
        let shift = Shift::read(fields, "shift")?;
        let end = |timestep: usize| match shift {
            Shift::Fixed(factor) => in_float32(timestep as f32 / n_train_timesteps as f32, factor),
            Shift::Dynamic(_) => f64::from(timestep as f32 / n_train_timesteps as f32),
        };
        Ok(Self {
            highest: end(n_train_timesteps),
            lowest: end(1),
            n_train_timesteps,
            shift,
            terminal: shift::terminal(fields)?,
            curved: Curved::read(fields)?,
            is_inverted: fields.flag("invert_sigmas", false)?,
            is_stochastic: fields.flag("stochastic_sampling", false)?,
        })
    }

    fn path(&self, request: &Request) -> Result<Path, SchedulerError> {
        let n_train = self.n_train_timesteps;
        let scale = n_train as f64;
        let mut sigmas: Vec<f64> = match &request.steps {
            Steps::Sigmas(own) => sigmas::in_float32(&shift::own_sigmas(own, n_train)?),
            steps => {
                let n = steps.count(n_train)?;
                let timesteps = numpy::linspace(self.highest * scale, self.lowest * scale, n);
                timesteps.into_iter().map(|timestep| timestep / scale).collect()
            }
        };
        let factor = self.shift.factor(request.mu)?;
        for sigma in &mut sigmas {
            *sigma = shifted(*sigma, factor);
        }
        if let Some(terminal) = self.terminal {
            stretch_to(terminal, &mut sigmas);
        }
        if let Some(curved) = self.curved {
            sigmas = curved.levels(sigmas[0], sigmas[sigmas.len() - 1], sigmas.len());
        }
        let end = if self.is_inverted { 1.0 } else { 0.0 };
        let level = |sigma: &f64| {
            let sigma = *sigma as f32;
            if self.is_inverted { 1.0 - sigma } else { sigma }
        };
        let mut levels: Vec<f32> = sigmas.iter().map(level).collect();
        let timesteps = levels.iter().map(|&level| f64::from(level * n_train as f32)).collect();
        levels.push(end);
        Ok(Path {
            timesteps,
            levels: Levels::FlowSigmas(levels),
            prediction: Prediction::Flow,
            init_noise_sigma: 1.0,
            order: 1,
        })
    }
}

/// The reference shifts the levels of training in float32.
fn in_float32(t: f32, factor: f64) -> f64 {
    f64::from(factor as f32 * t / (1.0 + (factor - 1.0) as f32 * t))
}

struct FlowMatchEuler {
    path: Path,
    /// Every step begins anew from the picture that the output implies.
    is_stochastic: bool,
}

impl Scheduler for FlowMatchEuler {
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
        let sample = sample.to_kind(Kind::Float);
        let next = if self.is_stochastic {
            let original = &sample - output * f64::from(sigma);
            let noise = noise(&sample.size(), sample.kind());
            original * f64::from(1.0 - next_sigma) + noise * f64::from(next_sigma)
        } else {
            sample + output * f64::from(next_sigma - sigma)
        };
        next.to_kind(output.kind())
    }
}
