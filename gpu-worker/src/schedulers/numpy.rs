//! The few functions of NumPy that schedules are made with, rounding where it rounds.

/// `np.linspace(start, stop, n)`.
pub(super) fn linspace(start: f64, stop: f64, n: usize) -> Vec<f64> {
    if n < 2 {
        return vec![start; n];
    }
    let step = (stop - start) / (n - 1) as f64;
    let mut values: Vec<f64> = (0..n).map(|idx| idx as f64 * step + start).collect();
    values[n - 1] = stop;
    values
}

/// `np.arange(start, 0, -step)`, but never more than `n`: where `start / step` should be `n`, rounding can make it a little
/// more, and the reference takes one step more than it was asked for, at timestep -1.
pub(super) fn down_to_zero(start: f64, step: f64, n: usize) -> Vec<f64> {
    let n = ((start / step).ceil() as usize).min(n);
    let delta = (start - step) - start;
    (0..n).map(|idx| start + idx as f64 * delta).collect()
}

/// `np.interp(x, np.arange(len(values)), values)`.
pub(super) fn interpolate(x: f64, values: &[f32]) -> f64 {
    let last = values.len() - 1;
    if x <= 0.0 {
        return f64::from(values[0]);
    }
    if x >= last as f64 {
        return f64::from(values[last]);
    }
    let below = x.floor() as usize;
    let (low, high) = (f64::from(values[below]), f64::from(values[below + 1]));
    (high - low) * (x - below as f64) + low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linspace_ends_where_it_is_told() {
        assert_eq!(linspace(0.0, 999.0, 3), [0.0, 499.5, 999.0]);
        assert_eq!(linspace(5.0, 1.0, 1), [5.0]);
        assert_eq!(linspace(0.0, 0.3, 4)[3], 0.3);
    }

    #[test]
    fn there_are_never_more_steps_than_asked_for() {
        for n in 1..=1000 {
            let values = down_to_zero(1000.0, 1000.0 / n as f64, n);
            assert_eq!(values.len(), n);
            assert!(values.iter().all(|value| value.round_ties_even() >= 1.0), "{n}");
        }
    }

    #[test]
    fn interpolation_is_bounded_by_the_table() {
        let table = [1.0, 3.0, 4.0];
        assert_eq!(
            [-1.0, 0.5, 1.0, 2.0, 7.0].map(|x| interpolate(x, &table)),
            [1.0, 2.0, 3.0, 4.0, 4.0]
        );
    }
}
