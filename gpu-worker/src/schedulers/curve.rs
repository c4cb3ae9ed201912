//! Curves between the highest and the lowest level of noise, instead of the levels of evenly spread timesteps.

use super::{SchedulerError, fields::Fields, numpy};

/// The exponent of <https://arxiv.org/abs/2206.00364>.
const KARRAS_RHO: f64 = 7.0;

/// How the levels between the highest and the lowest are spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Curve {
    Karras,
    Exponential,
    /// <https://arxiv.org/abs/2407.12173>.
    Beta,
}

/// A curve, and its ends where the config names them.
#[derive(Clone, Copy)]
pub(super) struct Curved {
    pub(super) curve: Curve,
    lowest: Option<f64>,
    highest: Option<f64>,
}

impl Curved {
    /// None where levels are those of the timesteps.
    pub(super) fn read(fields: &Fields) -> Result<Option<Self>, SchedulerError> {
        let mut chosen = None;
        for (field, curve) in [
            ("use_karras_sigmas", Curve::Karras),
            ("use_exponential_sigmas", Curve::Exponential),
            ("use_beta_sigmas", Curve::Beta),
        ] {
            if fields.flag(field, false)? && chosen.replace(curve).is_some() {
                let value = "true beside another curve".to_owned();
                return Err(SchedulerError::UnsupportedValue { field, value });
            }
        }
        let end = |field| {
            let value = fields.optional_number(field)?;
            match value {
                Some(sigma) if sigma <= 0.0 => {
                    Err(SchedulerError::UnsupportedValue { field, value: sigma.to_string() })
                }
                value => Ok(value),
            }
        };
        let (lowest, highest) = (end("sigma_min")?, end("sigma_max")?);
        Ok(chosen.map(|curve| Self { curve, lowest, highest }))
    }

    /// Of a class that does not look at the config's ends for this curve.
    pub(super) fn without_ends_if(self, curve: Curve) -> Self {
        if self.curve == curve { Self { lowest: None, highest: None, ..self } } else { self }
    }

    /// `n` levels, falling; the ends are the config's, or else the given ones.
    pub(super) fn levels(self, highest: f64, lowest: f64, n: usize) -> Vec<f64> {
        let (highest, lowest) = (self.highest.unwrap_or(highest), self.lowest.unwrap_or(lowest));
        match self.curve {
            Curve::Karras => karras(highest, lowest, n),
            Curve::Exponential => {
                numpy::linspace(highest.ln(), lowest.ln(), n).into_iter().map(f64::exp).collect()
            }
            Curve::Beta => numpy::linspace(0.0, 1.0, n)
                .into_iter()
                .map(|share| lowest + beta_quantile(1.0 - share) * (highest - lowest))
                .collect(),
        }
    }
}

fn karras(highest: f64, lowest: f64, n: usize) -> Vec<f64> {
    let root = |sigma: f64| sigma.powf(1.0 / KARRAS_RHO);
    let (highest, lowest) = (root(highest), root(lowest));
    numpy::linspace(0.0, 1.0, n)
        .into_iter()
        .map(|share| (highest + share * (lowest - highest)).powf(KARRAS_RHO))
        .collect()
}

/// Both shapes of the beta distribution of [`Curve::Beta`].
const SHAPE: f64 = 0.6;
/// The beta function of (0.6, 0.6).
const BETA_FUNCTION: f64 = 2.4153442080024723;

/// The value below which that share of a beta distribution lies.
fn beta_quantile(share: f64) -> f64 {
    // The distribution is symmetric, and the series converges fast in the lower half.
    if share > 0.5 {
        return 1.0 - beta_quantile(1.0 - share);
    }
    let (mut low, mut high) = (0.0, 0.5);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if beta_share(middle) < share { low = middle } else { high = middle }
    }
}

/// The share of the distribution below `x`, at most 0.5, by the power series of the incomplete beta function.
fn beta_share(x: f64) -> f64 {
    let (mut factor, mut sum) = (1.0, 1.0 / SHAPE);
    for term in 1..200 {
        let term = f64::from(term);
        factor *= (term - SHAPE) / term * x;
        let addend = factor / (SHAPE + term);
        sum += addend;
        if addend < sum * f64::EPSILON {
            break;
        }
    }
    x.powf(SHAPE) * sum / BETA_FUNCTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_scipy() {
        for (share, expected) in [
            (0.0, 0.0),
            (0.01, 0.0008612388215429059),
            (0.2, 0.12292175045833292),
            (0.5, 0.5000000000000001),
            (0.75, 0.824319621347305),
            (0.999, 0.9999814412614826),
            (1.0, 1.0),
        ] {
            assert!((beta_quantile(share) - expected).abs() < 1e-12, "{share}");
        }
    }

    #[test]
    fn every_curve_runs_from_the_highest_level_to_the_lowest() {
        for curve in [Curve::Karras, Curve::Exponential, Curve::Beta] {
            let levels = Curved { curve, lowest: None, highest: Some(20.0) }.levels(14.0, 0.1, 9);
            assert!((levels[0] - 20.0).abs() < 1e-9 && (levels[8] - 0.1).abs() < 1e-9);
            assert!(levels.windows(2).all(|pair| pair[0] > pair[1]));
        }
    }
}
