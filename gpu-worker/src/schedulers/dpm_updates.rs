//! The updates of DPM-Solver, by order and algorithm.
//!
//! Every one of them is `sample * of_sample + D0 * of_d0 + D1 * of_d1 + D2 * of_d2 + noise * of_noise`, where the `D`s are
//! the newest output and its differences to those before.

use tch::Tensor;

use super::{SchedulerError, fields::Fields, path::Share};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Algorithm {
    DpmSolver,
    DpmSolverPlusPlus,
    SdeDpmSolver,
    SdeDpmSolverPlusPlus,
}

impl Algorithm {
    pub(super) fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let algorithms = [
            ("dpmsolver", Self::DpmSolver),
            ("dpmsolver++", Self::DpmSolverPlusPlus),
            ("sde-dpmsolver", Self::SdeDpmSolver),
            ("sde-dpmsolver++", Self::SdeDpmSolverPlusPlus),
            // Of another class's config.
            ("deis", Self::DpmSolverPlusPlus),
        ];
        fields.choose("algorithm_type", Self::DpmSolverPlusPlus, &algorithms)
    }

    /// Whether outputs are pictures; noise otherwise.
    pub(super) fn is_plus_plus(self) -> bool {
        matches!(self, Self::DpmSolverPlusPlus | Self::SdeDpmSolverPlusPlus)
    }

    pub(super) fn is_stochastic(self) -> bool {
        matches!(self, Self::SdeDpmSolver | Self::SdeDpmSolverPlusPlus)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SecondOrder {
    Midpoint,
    Heun,
}

impl SecondOrder {
    pub(super) fn read(fields: &Fields) -> Result<Self, SchedulerError> {
        let types = [
            ("midpoint", Self::Midpoint),
            ("heun", Self::Heun),
            // Of other classes' configs.
            ("logrho", Self::Midpoint),
            ("bh1", Self::Midpoint),
            ("bh2", Self::Midpoint),
        ];
        fields.choose("solver_type", Self::Midpoint, &types)
    }
}

/// An output, and where it was made.
pub(super) struct History<'a> {
    pub(super) output: &'a Tensor,
    pub(super) share: Share,
}

pub(super) struct Update<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) second_order: SecondOrder,
    pub(super) to: Share,
    pub(super) from: Share,
    pub(super) sample: &'a Tensor,
    pub(super) noise: Option<&'a Tensor>,
}

impl Update<'_> {
    /// The next sample, of the order that there are outputs, the newest first.
    pub(super) fn apply(&self, history: &[History]) -> Tensor {
        let h = self.to.lambda() - self.from.lambda();
        let weights = self.weights(h, history.len());
        let times = |tensor: &Tensor, weight: f32| tensor * f64::from(weight);
        let mut next = times(self.sample, weights.sample) + times(history[0].output, weights.d0);
        let first = |newer: &History, older: &History| {
            let r = (newer.share.lambda() - older.share.lambda()) / h;
            (r, times(&(newer.output - older.output), 1.0 / r))
        };
        match history {
            [m0, m1] => next += times(&first(m0, m1).1, weights.d1),
            [m0, m1, m2, ..] => {
                let ((r0, d1_0), (r1, d1_1)) = (first(m0, m1), first(m1, m2));
                let difference = &d1_0 - d1_1;
                let d1 = d1_0 + times(&difference, r0 / (r0 + r1));
                let d2 = times(&difference, 1.0 / (r0 + r1));
                next = next + times(&d1, weights.d1) + times(&d2, weights.d2);
            }
            _ => {}
        }
        match self.noise {
            Some(noise) => next + times(noise, weights.noise),
            None => next,
        }
    }

    /// In float32, as the reference computes them.
    fn weights(&self, h: f32, order: usize) -> Weights {
        let (alpha, sigma) = (self.to.alpha, self.to.sigma);
        let sample = match self.algorithm {
            Algorithm::DpmSolverPlusPlus => sigma / self.from.sigma,
            Algorithm::SdeDpmSolverPlusPlus => sigma / self.from.sigma * (-h).exp(),
            Algorithm::DpmSolver | Algorithm::SdeDpmSolver => alpha / self.from.alpha,
        };
        // `d0` is scale * grown; the higher orders are scale * (grown / x - 1) and so on, by the exponential's series.
        let (scale, x) = match self.algorithm {
            Algorithm::DpmSolverPlusPlus => (-alpha, -h),
            Algorithm::SdeDpmSolverPlusPlus => (-alpha, -2.0 * h),
            Algorithm::DpmSolver => (-sigma, h),
            Algorithm::SdeDpmSolver => (-2.0 * sigma, h),
        };
        let grown = x.exp() - 1.0;
        let is_midpoint = order == 2 && self.second_order == SecondOrder::Midpoint;
        // As the reference has it; the series would have a half here too.
        let half = if self.algorithm == Algorithm::SdeDpmSolverPlusPlus { -0.5 } else { 0.5 };
        Weights {
            sample,
            d0: scale * grown,
            d1: if is_midpoint { 0.5 * (scale * grown) } else { scale * (grown / x - 1.0) },
            d2: scale * ((grown - x) / (x * x) - half),
            noise: match self.algorithm {
                Algorithm::SdeDpmSolverPlusPlus => sigma * (1.0 - (-2.0 * h).exp()).sqrt(),
                Algorithm::SdeDpmSolver => sigma * ((2.0 * h).exp() - 1.0).sqrt(),
                Algorithm::DpmSolver | Algorithm::DpmSolverPlusPlus => 0.0,
            },
        }
    }
}

struct Weights {
    sample: f32,
    d0: f32,
    d1: f32,
    d2: f32,
    noise: f32,
}
