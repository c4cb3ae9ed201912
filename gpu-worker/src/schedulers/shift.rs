//! Shifts of a flow's time: large pictures need more of their steps where there is much noise.

use super::{SchedulerError, fields::Fields};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shift {
    /// By a factor that the config names.
    Fixed(f64),
    /// By a request's `mu`.
    Dynamic(Curvature),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Curvature {
    Exponential,
    Linear,
}

impl Shift {
    pub(super) fn read(fields: &Fields, fixed: &'static str) -> Result<Self, SchedulerError> {
        let curvatures = [("exponential", Curvature::Exponential), ("linear", Curvature::Linear)];
        let curvature = fields.choose("time_shift_type", Curvature::Exponential, &curvatures)?;
        let factor = fields.positive(fixed, 1.0)?;
        Ok(match fields.flag("use_dynamic_shifting", false)? {
            true => Self::Dynamic(curvature),
            false => Self::Fixed(factor),
        })
    }

    /// The factor that a request's levels are shifted by.
    pub(super) fn factor(self, mu: Option<f64>) -> Result<f64, SchedulerError> {
        match (self, mu) {
            (Self::Fixed(factor), _) => Ok(factor),
            (Self::Dynamic(Curvature::Exponential), Some(mu)) => Ok(mu.exp()),
            (Self::Dynamic(Curvature::Linear), Some(mu)) => Ok(mu),
            (Self::Dynamic(_), None) => Err(SchedulerError::NoShift),
        }
    }
}

/// The level `t` in 0..=1 where time is shifted by `factor`: `factor * t / (1 + (factor - 1) * t)`.
pub(super) fn shifted(t: f64, factor: f64) -> f64 {
    factor * t / (1.0 + (factor - 1.0) * t)
}

/// Stretches falling levels so that the last of them is `terminal`.
pub(super) fn stretch_to(terminal: f64, sigmas: &mut [f64]) {
    let Some(&lowest) = sigmas.last() else { return };
    let scale = (1.0 - lowest) / (1.0 - terminal);
    for sigma in sigmas {
        *sigma = 1.0 - (1.0 - *sigma) / scale;
    }
}

pub(super) fn terminal(fields: &Fields) -> Result<Option<f64>, SchedulerError> {
    let field = "shift_terminal";
    match fields.optional_number(field)? {
        // Zero is false to the reference.
        None => Ok(None),
        Some(0.0) => Ok(None),
        Some(terminal) if (0.0..1.0).contains(&terminal) => Ok(Some(terminal)),
        Some(other) => Err(SchedulerError::UnsupportedValue { field, value: other.to_string() }),
    }
}

/// A request's own levels: falling, in 0..=1.
pub(super) fn own_sigmas(own: &[f64], n_train: usize) -> Result<Vec<f64>, SchedulerError> {
    if own.is_empty() {
        return Err(SchedulerError::NoSteps);
    }
    let falls = own.windows(2).all(|pair| pair[0] > pair[1]);
    if !falls || own.iter().any(|&sigma| !(sigma > 0.0 && sigma <= 1.0)) {
        return Err(SchedulerError::NotFalling { given: "sigmas", n_train });
    }
    Ok(own.to_vec())
}

/// How `mu` grows with the number of a picture's tokens: along the line through two points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ShiftLine {
    base: (f64, f64),
    max: (f64, f64),
}

impl ShiftLine {
    /// None where the config does not shift by the picture's size.
    pub(super) fn read(fields: &Fields) -> Result<Option<Self>, SchedulerError> {
        if !fields.flag("use_dynamic_shifting", false)? {
            return Ok(None);
        }
        let length = |field, default| fields.whole(field, default, 0..=1 << 30);
        let (base, max) = (length("base_image_seq_len", 256)?, length("max_image_seq_len", 4096)?);
        if base == max {
            let (field, value) = ("max_image_seq_len", max.to_string());
            return Err(SchedulerError::UnsupportedValue { field, value });
        }
        Ok(Some(Self {
            base: (base as f64, fields.number("base_shift", 0.5)?),
            max: (max as f64, fields.number("max_shift", 1.15)?),
        }))
    }

    pub(super) fn mu(self, n_tokens: usize) -> f64 {
        let slope = (self.max.1 - self.base.1) / (self.max.0 - self.base.0);
        n_tokens as f64 * slope + (self.base.1 - slope * self.base.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mu_follows_the_line_through_the_configs_points() {
        let config = json!({"use_dynamic_shifting": true});
        let line = ShiftLine::read(&Fields(config.as_object().unwrap())).unwrap().unwrap();
        assert!((line.mu(256) - 0.5).abs() < 1e-12);
        assert!((line.mu(4096) - 1.15).abs() < 1e-12);
        assert!((line.mu(2176) - 0.825).abs() < 1e-12);
        assert_eq!(ShiftLine::read(&Fields(&serde_json::Map::new())).unwrap(), None);
    }

    #[test]
    fn a_shift_keeps_the_ends_and_stretching_moves_the_last() {
        assert_eq!((shifted(0.0, 3.0), shifted(1.0, 3.0)), (0.0, 1.0));
        assert!((shifted(0.5, 3.0) - 0.75).abs() < 1e-12);
        let mut sigmas = [1.0, 0.5, 0.2];
        stretch_to(0.1, &mut sigmas);
        assert!((sigmas[0] - 1.0).abs() < 1e-12 && (sigmas[2] - 0.1).abs() < 1e-12);
    }
}
