//! Levels of noise: those of training, and those of a request.

use tch::{Device, Kind, Tensor};

use super::{
    SchedulerError, Steps,
    betas::{Betas, floats},
    curve::Curved,
    fields::Fields,
    numpy,
    path::{Levels, Path},
    prediction::Prediction,
    spacing::{self, Spacing},
};

/// The level of each timestep of training, rising.
#[derive(Clone)]
pub(super) struct SigmaTable {
    sigmas: Vec<f32>,
    logarithms: Vec<f32>,
}

impl SigmaTable {
    pub(super) fn read(fields: &Fields, betas: &Betas) -> Result<Self, SchedulerError> {
        let table = Self::new(&betas.alphas_cumprod(fields)?);
        if table.sigmas.iter().all(|sigma| sigma.is_finite() && *sigma > 0.0) {
            return Ok(table);
        }
        let value = "values with no level of noise at some timestep".to_owned();
        Err(SchedulerError::UnsupportedValue { field: "beta_end", value })
    }

    fn new(alphas_cumprod: &[f32]) -> Self {
        // By libtorch as in the reference: its square root is not always the nearest float32, and with a terminal signal to
        // noise ratio of zero the last bit of the highest level shows in the picture.
        let alphas = Tensor::from_slice(alphas_cumprod);
        let sigmas = floats(&((1f64 - &alphas) / &alphas).sqrt());
        let logarithms = sigmas.iter().map(|sigma| sigma.ln()).collect();
        Self { sigmas, logarithms }
    }

    pub(super) fn n_train_timesteps(&self) -> usize {
        self.sigmas.len()
    }

    pub(super) fn lowest(&self) -> f32 {
        self.sigmas[0]
    }

    pub(super) fn highest(&self) -> f32 {
        self.sigmas[self.sigmas.len() - 1]
    }

    pub(super) fn logarithms(&self) -> &[f32] {
        &self.logarithms
    }

    /// `n + 1` levels, falling evenly by their logarithms.
    fn log_linear(&self, n: usize) -> Vec<f64> {
        let (from, to) = (f64::from(self.highest().ln()), f64::from(self.lowest().ln()));
        let levels = Tensor::linspace(from, to, n as i64 + 1, (Kind::Float, Device::Cpu)).exp();
        floats(&levels).into_iter().map(f64::from).collect()
    }

    /// The levels at timesteps that may lie between those of training.
    pub(super) fn at(&self, timesteps: &[f64]) -> Vec<f64> {
        timesteps.iter().map(|&timestep| numpy::interpolate(timestep, &self.sigmas)).collect()
    }

    /// The timestep of a level, by its logarithm.
    pub(super) fn timestep_of(&self, sigma: f64) -> f64 {
        let logarithm = sigma.max(1e-10).ln();
        let table = &self.logarithms;
        let below = table.iter().rposition(|&entry| logarithm - f64::from(entry) >= 0.0);
        let below = below.unwrap_or(0).min(table.len() - 2);
        let (low, high) = (table[below], table[below + 1]);
        let weight = ((f64::from(low) - logarithm) / f64::from(low - high)).clamp(0.0, 1.0);
        (1.0 - weight) * below as f64 + weight * (below + 1) as f64
    }
}

/// The level after the last step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Final {
    Zero,
    SigmaMin,
}

impl Final {
    pub(super) fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let choices = [("zero", Self::Zero), ("sigma_min", Self::SigmaMin)];
        fields.choose("final_sigmas_type", Self::Zero, &choices)
    }
}

/// Where the levels of a request lie, as the configs of Euler and its relatives say.
#[derive(Clone)]
pub(super) struct SigmaSchedule {
    pub(super) table: SigmaTable,
    spacing: Spacing,
    steps_offset: usize,
    curved: Option<Curved>,
    /// Levels are spread evenly by their logarithms, whatever the timesteps.
    pub(super) is_log_linear: bool,
}

impl SigmaSchedule {
    pub(super) fn read(
        fields: &Fields,
        betas: &Betas,
        curved: Option<Curved>,
    ) -> Result<Self, SchedulerError> {
        let table = SigmaTable::read(fields, betas)?;
        Ok(Self {
            spacing: Spacing::read(fields, Spacing::Linspace)?,
            steps_offset: fields.whole("steps_offset", 0, 0..=table.n_train_timesteps())?,
            curved,
            table,
            is_log_linear: false,
        })
    }

    /// Timesteps and levels, falling. With logarithms there is a level more, before `last`: the reference has it so.
    pub(super) fn of(
        &self,
        steps: &Steps,
        last: f32,
    ) -> Result<(Vec<f64>, Vec<f32>), SchedulerError> {
        let n_train = self.table.n_train_timesteps();
        let mut timesteps: Vec<f64> = match steps {
            Steps::Timesteps(_) if self.curved.is_some() => {
                return Err(SchedulerError::OwnSchedule { given: "timesteps" });
            }
            Steps::Timesteps(own) => {
                let own = spacing::own_timesteps(own, n_train)?;
                own.into_iter().map(|timestep| timestep as f64).collect()
            }
            steps => {
                let n = steps.count(n_train)?;
                in_float32(&self.spacing.timesteps(n, n_train, self.steps_offset))
            }
        };
        let n = timesteps.len();
        let mut sigmas =
            if self.is_log_linear { self.table.log_linear(n) } else { self.table.at(&timesteps) };
        if let Some(curved) = self.curved {
            sigmas = curved.levels(sigmas[0], sigmas[sigmas.len() - 1], n);
            timesteps = sigmas.iter().map(|&sigma| self.table.timestep_of(sigma)).collect();
        }
        Ok((in_float32(&timesteps), closed(&sigmas, last)))
    }

    pub(super) fn path(
        &self,
        timesteps: Vec<f64>,
        sigmas: Vec<f32>,
        prediction: Prediction,
    ) -> Path {
        let highest = sigmas.iter().copied().fold(0.0, f32::max);
        let first = match self.spacing {
            Spacing::Linspace | Spacing::Trailing => highest,
            Spacing::Leading => (highest * highest + 1.0).sqrt(),
        };
        Path {
            timesteps,
            levels: Levels::Sigmas(sigmas),
            prediction,
            init_noise_sigma: f64::from(first),
            order: 1,
        }
    }
}

/// The levels in float32, with the one after the last step.
pub(super) fn closed(sigmas: &[f64], last: f32) -> Vec<f32> {
    sigmas.iter().map(|&sigma| sigma as f32).chain([last]).collect()
}

/// As the reference keeps timesteps.
pub(super) fn in_float32(timesteps: &[f64]) -> Vec<f64> {
    timesteps.iter().map(|&timestep| f64::from(timestep as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestep_is_found_by_its_level() {
        let table = SigmaTable::new(&[0.99, 0.9, 0.5, 0.1]);
        for timestep in [0.0, 1.0, 2.0, 3.0] {
            let sigma = table.at(&[timestep])[0];
            assert!((table.timestep_of(sigma) - timestep).abs() < 1e-6);
        }
        assert_eq!((table.timestep_of(0.0), table.timestep_of(1e9)), (0.0, 3.0));
    }
}
