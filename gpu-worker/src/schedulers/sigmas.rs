//! Levels of noise: those of training, and the curves through them that a request can follow.

use tch::Tensor;

use super::{
    SchedulerError, Steps,
    betas::floats,
    fields::Fields,
    numpy,
    spacing::{self, Spacing},
};

/// The exponent of <https://arxiv.org/abs/2206.00364>.
const KARRAS_RHO: f64 = 7.0;

/// The level of each timestep of training, rising.
#[derive(Clone)]
pub(super) struct SigmaTable {
    sigmas: Vec<f32>,
    logarithms: Vec<f32>,
}

impl SigmaTable {
    pub(super) fn new(alphas_cumprod: &[f32]) -> Self {
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
    curve: Curve,
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

/// Where the levels of a request lie, as Euler's and its relatives' configs say.
#[derive(Clone)]
pub(super) struct SigmaSchedule {
    pub(super) table: SigmaTable,
    pub(super) spacing: Spacing,
    pub(super) steps_offset: usize,
    pub(super) curved: Option<Curved>,
}

impl SigmaSchedule {
    pub(super) fn read(
        fields: &Fields,
        alphas_cumprod: &[f32],
        curved: Option<Curved>,
    ) -> Result<Self, SchedulerError> {
        let table = SigmaTable::new(alphas_cumprod);
        if !table.sigmas.iter().all(|sigma| sigma.is_finite() && *sigma > 0.0) {
            let value = "values with no level of noise at some timestep".to_owned();
            return Err(SchedulerError::UnsupportedValue { field: "beta_end", value });
        }
        Ok(Self {
            spacing: Spacing::read(fields, Spacing::Linspace)?,
            steps_offset: fields.whole("steps_offset", 0, 0..=table.n_train_timesteps())?,
            curved,
            table,
        })
    }

    /// Timesteps and levels, falling, without the level after the last step.
    pub(super) fn of(&self, steps: &Steps) -> Result<(Vec<f64>, Vec<f64>), SchedulerError> {
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
                let timesteps = self.spacing.timesteps(n, n_train, self.steps_offset);
                // The reference keeps them in float32.
                timesteps.into_iter().map(|timestep| f64::from(timestep as f32)).collect()
            }
        };
        let mut sigmas = self.table.at(&timesteps);
        if let Some(curved) = self.curved {
            let (highest, lowest) = (sigmas[0], sigmas[sigmas.len() - 1]);
            sigmas = curved.levels(highest, lowest, timesteps.len());
            timesteps = sigmas.iter().map(|&sigma| self.table.timestep_of(sigma)).collect();
        }
        Ok((timesteps, sigmas))
    }

    /// The standard deviation of the first sample.
    pub(super) fn init_noise_sigma(&self, sigmas: &[f32]) -> f64 {
        let highest = sigmas.iter().copied().fold(0.0, f32::max);
        match self.spacing {
            Spacing::Linspace | Spacing::Trailing => f64::from(highest),
            Spacing::Leading => f64::from((highest * highest + 1.0).sqrt()),
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
    fn a_timestep_is_found_by_its_level() {
        let table = SigmaTable::new(&[0.99, 0.9, 0.5, 0.1]);
        for timestep in [0.0, 1.0, 2.0, 3.0] {
            let sigma = table.at(&[timestep])[0];
            assert!((table.timestep_of(sigma) - timestep).abs() < 1e-6);
        }
        assert_eq!((table.timestep_of(0.0), table.timestep_of(1e9)), (0.0, 3.0));
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
