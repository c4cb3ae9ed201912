//! Which of the training timesteps are visited: table 2 of <https://arxiv.org/abs/2305.08891>.

use super::{SchedulerError, Steps, fields::Fields, numpy};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

impl Spacing {
    pub(super) fn read(fields: &Fields, default: Self) -> Result<Self, SchedulerError> {
        let choices = [
            ("linspace", Self::Linspace),
            ("leading", Self::Leading),
            ("trailing", Self::Trailing),
        ];
        fields.choose("timestep_spacing", default, &choices)
    }

    /// `n` timesteps, falling; those of [`Self::Linspace`] lie between the whole numbers.
    pub(super) fn timesteps(self, n: usize, n_train: usize, offset: usize) -> Vec<f64> {
        match self {
            Self::Linspace => {
                numpy::linspace(0.0, (n_train - 1) as f64, n).into_iter().rev().collect()
            }
            Self::Leading => {
                (0..n).rev().map(|idx| (idx * (n_train / n) + offset) as f64).collect()
            }
            Self::Trailing => trailing(n, n_train, n_train),
        }
    }

    /// Of the multistep solvers, who leave out timestep 0: whole numbers, falling, below `highest`.
    pub(super) fn multistep_timesteps(
        self,
        n: usize,
        n_train: usize,
        highest: usize,
        offset: usize,
    ) -> Vec<f64> {
        match self {
            Self::Linspace => numpy::linspace(0.0, (highest - 1) as f64, n + 1)
                .into_iter()
                .skip(1)
                .rev()
                .map(f64::round_ties_even)
                .collect(),
            Self::Leading => {
                (1..=n).rev().map(|idx| (idx * (highest / (n + 1)) + offset) as f64).collect()
            }
            Self::Trailing => trailing(n, n_train, highest),
        }
    }
}

fn trailing(n: usize, n_train: usize, highest: usize) -> Vec<f64> {
    numpy::down_to_zero(highest as f64, n_train as f64 / n as f64, n)
        .into_iter()
        .map(|value| value.round_ties_even() - 1.0)
        .collect()
}

/// Whole timesteps for the schedulers that look alphas up by them.
pub(super) fn whole(
    spacing: Spacing,
    steps: &Steps,
    n_train: usize,
    offset: usize,
) -> Result<Vec<usize>, SchedulerError> {
    let n = steps.count(n_train)?;
    let timesteps: Vec<usize> = spacing
        .timesteps(n, n_train, offset)
        .into_iter()
        .map(|timestep| timestep.round_ties_even() as usize)
        .collect();
    check_within_training(&timesteps, n, n_train)?;
    Ok(timesteps)
}

/// `steps_offset` can push the first timesteps beyond those that the model knows.
pub(super) fn check_within_training(
    timesteps: &[usize],
    n: usize,
    n_train: usize,
) -> Result<(), SchedulerError> {
    if timesteps.iter().all(|&timestep| timestep < n_train) {
        return Ok(());
    }
    Err(SchedulerError::TooManySteps { steps: n, limit: n - 1 })
}

/// A request's own timesteps: falling, within training.
pub(super) fn own_timesteps(own: &[usize], n_train: usize) -> Result<Vec<usize>, SchedulerError> {
    let Some(&first) = own.first() else { return Err(SchedulerError::NoSteps) };
    if first >= n_train || own.windows(2).any(|pair| pair[0] <= pair[1]) {
        return Err(SchedulerError::NotFalling { given: "timesteps", n_train });
    }
    Ok(own.to_vec())
}
