//! What the multistep solvers (DPM++ and UniPC) share: levels whose samples keep the variance of a picture.

use super::{
    SchedulerError, Steps,
    betas::{BetaSchedule, Betas},
    curve::Curved,
    fields::Fields,
    path::{Levels, Path},
    prediction::Prediction,
    sigmas::{Final, SigmaTable, closed},
    spacing::{self, Spacing},
};

pub(super) struct MultistepSchedule {
    pub(super) table: SigmaTable,
    spacing: Spacing,
    steps_offset: usize,
    pub(super) curved: Option<Curved>,
    /// Straight lines between noise and picture instead of betas.
    pub(super) is_flow: bool,
    pub(super) last: Final,
    pub(super) beta_schedule: BetaSchedule,
}

impl MultistepSchedule {
    pub(super) fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let table = SigmaTable::read(fields, &Betas::WITH_SIGMAS)?;
        Ok(Self {
            spacing: Spacing::read(fields, Spacing::Linspace)?,
            steps_offset: fields.whole("steps_offset", 0, 0..=table.n_train_timesteps())?,
            curved: Curved::read(fields)?,
            is_flow: fields.flag("use_flow_sigmas", false)?,
            last: Final::read(fields)?,
            beta_schedule: Betas::WITH_SIGMAS.schedule(fields)?,
            table,
        })
    }

    /// Timesteps below `highest`, and their levels.
    pub(super) fn evenly(
        &self,
        steps: &Steps,
        highest: usize,
    ) -> Result<(Vec<f64>, Vec<f64>), SchedulerError> {
        let n_train = self.table.n_train_timesteps();
        let timesteps: Vec<f64> = match steps {
            Steps::Timesteps(own) => {
                let own = spacing::own_timesteps(own, n_train)?;
                own.into_iter().map(|timestep| timestep as f64).collect()
            }
            steps => {
                let n = steps.count(n_train)?;
                self.spacing.multistep_timesteps(n, n_train, highest, self.steps_offset)
            }
        };
        let sigmas = self.table.at(&timesteps);
        Ok((timesteps, sigmas))
    }

    /// The curve's levels with their timesteps.
    pub(super) fn along(&self, curved: Curved, n: usize) -> (Vec<f64>, Vec<f64>) {
        let (highest, lowest) = (f64::from(self.table.highest()), f64::from(self.table.lowest()));
        let sigmas = curved.levels(highest, lowest, n);
        (sigmas.iter().map(|&sigma| self.table.timestep_of(sigma)).collect(), sigmas)
    }

    /// # Errors
    /// When two steps are at the same level: the solvers divide by their distance.
    pub(super) fn path(
        &self,
        timesteps: &[f64],
        sigmas: &[f64],
        last: f32,
        prediction: Prediction,
    ) -> Result<Path, SchedulerError> {
        let sigmas = closed(sigmas, last);
        let n = timesteps.len();
        if sigmas[..n].windows(2).any(|pair| pair[0] <= pair[1]) {
            return Err(SchedulerError::StepsCoincide { steps: n });
        }
        Ok(Path {
            // The denoiser is told whole timesteps.
            timesteps: timesteps.iter().map(|timestep| timestep.trunc()).collect(),
            levels: match self.is_flow {
                true => Levels::FlowSigmas(sigmas),
                false => Levels::UnitSigmas(sigmas),
            },
            prediction,
            init_noise_sigma: 1.0,
            order: 1,
        })
    }
}
