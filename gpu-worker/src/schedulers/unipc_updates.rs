//! The updates of UniPC: a step ahead, and the same step once more when the output at its end is known.

use tch::Tensor;

use super::path::Share;

/// The function `B(h)` of the paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Growth {
    Linear,
    Exponential,
}

/// An output, picture or noise, and where it was made.
pub(super) struct History<'a> {
    pub(super) output: &'a Tensor,
    pub(super) share: Share,
}

/// A step of the order that there are outputs, the newest first: that one is where the step began.
pub(super) struct Update<'a> {
    pub(super) predicts_x0: bool,
    pub(super) growth: Growth,
    pub(super) to: Share,
    pub(super) history: Vec<History<'a>>,
}

impl Update<'_> {
    /// The sample at the step's end.
    pub(super) fn predict(&self, began_at: &Tensor) -> Tensor {
        let system = self.system();
        let base = self.base(began_at, &system);
        let n = self.history.len();
        let weights = match n {
            1 => return base.to_kind(began_at.kind()),
            2 => vec![0.5],
            _ => system.solve(n - 1),
        };
        let change = self.differences(&system, &weights).expect("there are older outputs");
        (base - change * f64::from(self.scale() * system.growth)).to_kind(began_at.kind())
    }

    /// The sample at the step's end, where the output there is known.
    pub(super) fn correct(&self, began_at: &Tensor, output: &Tensor) -> Tensor {
        let system = self.system();
        let base = self.base(began_at, &system);
        let n = self.history.len();
        let weights = if n == 1 { vec![0.5] } else { system.solve(n) };
        let newest = (output - self.history[0].output) * f64::from(weights[n - 1]);
        let change = match self.differences(&system, &weights) {
            Some(older) => older + newest,
            None => newest,
        };
        (base - change * f64::from(self.scale() * system.growth)).to_kind(began_at.kind())
    }

    fn from(&self) -> Share {
        self.history[0].share
    }

    fn scale(&self) -> f32 {
        if self.predicts_x0 { self.to.alpha } else { self.to.sigma }
    }

    /// The step of first order.
    fn base(&self, began_at: &Tensor, system: &System) -> Tensor {
        let kept = match self.predicts_x0 {
            true => self.to.sigma / self.from().sigma,
            false => self.to.alpha / self.from().alpha,
        };
        let moved = self.scale() * system.phi_1;
        began_at * f64::from(kept) - self.history[0].output * f64::from(moved)
    }

    /// The weighted sum of how the older outputs differ from the newest.
    fn differences(&self, system: &System, weights: &[f32]) -> Option<Tensor> {
        let newest = self.history[0].output;
        let older = self.history[1..].iter().zip(&system.ratios).zip(weights);
        older
            .map(|((history, &ratio), &weight)| {
                (history.output - newest) / f64::from(ratio) * f64::from(weight)
            })
            .reduce(|sum, term| sum + term)
    }

    /// In float32, as the reference computes it.
    fn system(&self) -> System {
        let from = self.from().lambda();
        let h = self.to.lambda() - from;
        let ratio = |history: &History| (history.share.lambda() - from) / h;
        let ratios: Vec<f32> = self.history[1..].iter().map(ratio).chain([1.0]).collect();
        let x = if self.predicts_x0 { -h } else { h };
        let phi_1 = x.exp_m1();
        let growth = if self.growth == Growth::Linear { x } else { phi_1 };
        let mut phi = phi_1 / x - 1.0;
        let mut factorial = 1.0;
        let right = (1..=ratios.len())
            .map(|row| {
                let value = phi * factorial / growth;
                factorial *= (row + 1) as f32;
                phi = phi / x - 1.0 / factorial;
                value
            })
            .collect();
        System { phi_1, growth, ratios, right }
    }
}

/// What a step's weights are found by.
struct System {
    phi_1: f32,
    growth: f32,
    /// Where the older outputs lie, in steps from its start, and 1 for its end.
    ratios: Vec<f32>,
    right: Vec<f32>,
}

impl System {
    /// The weights of the first `n` ratios: those whose powers, weighted, add up to the right side.
    fn solve(&self, n: usize) -> Vec<f32> {
        let row = |power: usize| {
            let powers = self.ratios[..n].iter().map(|&ratio| f64::from(ratio).powi(power as i32));
            powers.chain([f64::from(self.right[power])]).collect::<Vec<f64>>()
        };
        let mut rows: Vec<Vec<f64>> = (0..n).map(row).collect();
        for pivot in 0..n {
            let largest = (pivot..n)
                .max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()))
                .expect("there is a row");
            rows.swap(pivot, largest);
            let (head, tail) = rows.split_at_mut(pivot + 1);
            for below in tail {
                let factor = below[pivot] / head[pivot][pivot];
                for (value, above) in below.iter_mut().zip(&head[pivot]) {
                    *value -= factor * above;
                }
            }
        }
        let mut weights = vec![0.0; n];
        for row in (0..n).rev() {
            let known: f64 = (row + 1..n).map(|column| rows[row][column] * weights[column]).sum();
            weights[row] = (rows[row][n] - known) / rows[row][row];
        }
        weights.into_iter().map(|weight| weight as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_solve_the_system_of_powers() {
        let right = vec![1.0, -0.5, 2.0];
        let system = System { phi_1: 0.0, growth: 0.0, ratios: vec![-2.0, -1.0, 1.0], right };
        let weights = system.solve(3);
        for power in 0..3 {
            let sum: f32 = weights
                .iter()
                .zip(&system.ratios)
                .map(|(weight, ratio)| weight * ratio.powi(power as i32))
                .sum();
            assert!((sum - system.right[power]).abs() < 1e-5);
        }
    }
}
