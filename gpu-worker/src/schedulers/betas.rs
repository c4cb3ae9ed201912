//! How noise was mixed in at training: `alphas_cumprod`, the share of the picture's variance left at each timestep.

use tch::{Device, Kind, Tensor};

use super::{SchedulerError, fields::Fields};

/// More training timesteps than any published model has; keeps a config from asking for all memory.
const MAX_TRAIN_TIMESTEPS: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BetaSchedule {
    Linear,
    ScaledLinear,
    Cosine,
    Exponential,
    Laplace,
    Sigmoid,
}

/// The schedules that every class knows.
pub(super) const COMMON: &[(&str, BetaSchedule)] = &[
    ("linear", BetaSchedule::Linear),
    ("scaled_linear", BetaSchedule::ScaledLinear),
    ("squaredcos_cap_v2", BetaSchedule::Cosine),
];

/// What a class knows and assumes of betas.
pub(super) struct Betas {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) schedule: BetaSchedule,
    pub(super) schedules: &'static [(&'static str, BetaSchedule)],
    pub(super) zero_snr: ZeroSnr,
}

/// What a class makes of `rescale_betas_zero_snr`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ZeroSnr {
    /// It does not look at it.
    Unknown,
    /// The last alpha is 0.
    Rescaled,
    /// The last alpha is the smallest positive float16, since the noise level divides by it.
    AboveZero,
}

impl Betas {
    pub(super) const DEFAULT: Self = Self {
        start: 0.0001,
        end: 0.02,
        schedule: BetaSchedule::Linear,
        schedules: COMMON,
        zero_snr: ZeroSnr::Rescaled,
    };
    /// Of the schedulers that work with noise levels.
    pub(super) const WITH_SIGMAS: Self = Self { zero_snr: ZeroSnr::AboveZero, ..Self::DEFAULT };
    pub(super) const NEVER_RESCALED: Self = Self { zero_snr: ZeroSnr::Unknown, ..Self::DEFAULT };

    /// `alphas_cumprod`, one for each of the `num_train_timesteps`.
    pub(super) fn alphas_cumprod(&self, fields: &Fields) -> Result<Vec<f32>, SchedulerError> {
        let n = n_train_timesteps(fields)?;
        let mut betas = match fields.numbers("trained_betas")? {
            Some(trained) if trained.len() == n => {
                Tensor::from_slice(&trained).to_kind(Kind::Float)
            }
            Some(trained) => {
                let value = format!("{} values for {n} num_train_timesteps", trained.len());
                return Err(SchedulerError::UnsupportedValue { field: "trained_betas", value });
            }
            None => {
                let (start, end) = (
                    fields.number("beta_start", self.start)?,
                    fields.number("beta_end", self.end)?,
                );
                self.schedule(fields)?.betas(start, end, n)
            }
        };
        let rescales =
            self.zero_snr != ZeroSnr::Unknown && fields.flag("rescale_betas_zero_snr", false)?;
        if rescales {
            betas = with_zero_terminal_snr(&betas);
        }
        let mut alphas = floats(&cumulative(&betas));
        if rescales && self.zero_snr == ZeroSnr::AboveZero {
            alphas[n - 1] = (-24.0f32).exp2();
        }
        if alphas.iter().any(|alpha| !(0.0..=1.0).contains(alpha)) {
            let value = "values that leave no share between 0 and 1".to_owned();
            return Err(SchedulerError::UnsupportedValue { field: "beta_end", value });
        }
        Ok(alphas)
    }

    pub(super) fn schedule(&self, fields: &Fields) -> Result<BetaSchedule, SchedulerError> {
        fields.choose("beta_schedule", self.schedule, self.schedules)
    }
}

pub(super) fn n_train_timesteps(fields: &Fields) -> Result<usize, SchedulerError> {
    fields.whole("num_train_timesteps", 1000, 2..=MAX_TRAIN_TIMESTEPS)
}

impl BetaSchedule {
    /// float32, computed by libtorch as the reference has it computed: its `linspace` rounds in its own way.
    fn betas(self, start: f64, end: f64, n: usize) -> Tensor {
        let linspace =
            |start, end| Tensor::linspace(start, end, n as i64, (Kind::Float, Device::Cpu));
        match self {
            Self::Linear => linspace(start, end),
            Self::ScaledLinear => linspace(start.sqrt(), end.sqrt()).square(),
            Self::Sigmoid => linspace(-6.0, 6.0).sigmoid() * (end - start) + start,
            Self::Cosine => of_alpha_bar(n, |t| {
                ((t + 0.008) / 1.008 * std::f64::consts::PI / 2.0).cos().powi(2)
            }),
            Self::Exponential => of_alpha_bar(n, |t| (t * -12.0).exp()),
            Self::Laplace => of_alpha_bar(n, |t| {
                let lambda = -0.5 * (0.5 - t).signum() * (1.0 - 2.0 * (0.5 - t).abs() + 1e-6).ln();
                let snr = lambda.exp();
                (snr / (1.0 + snr)).sqrt()
            }),
        }
    }
}

/// Betas whose cumulated alphas follow a function of time in 0..1.
fn of_alpha_bar(n: usize, alpha_bar: impl Fn(f64) -> f64) -> Tensor {
    let at = |idx: usize| alpha_bar(idx as f64 / n as f64);
    let betas: Vec<f32> =
        (0..n).map(|idx| (1.0 - at(idx + 1) / at(idx)).min(0.999) as f32).collect();
    Tensor::from_slice(&betas)
}

fn cumulative(betas: &Tensor) -> Tensor {
    (1f64 - betas).cumprod(0, None::<Kind>)
}

/// Algorithm 1 of <https://arxiv.org/abs/2305.08891>: at the last timestep nothing of the picture is left.
fn with_zero_terminal_snr(betas: &Tensor) -> Tensor {
    let roots = cumulative(betas).sqrt();
    let (first, last) = (roots.get(0), roots.get(-1));
    let roots = (roots - &last) * (&first / (&first - &last));
    let alphas_bar = roots.square();
    let n = alphas_bar.size()[0];
    let alphas = alphas_bar.narrow(0, 1, n - 1) / alphas_bar.narrow(0, 0, n - 1);
    1f64 - Tensor::cat(&[alphas_bar.narrow(0, 0, 1), alphas], 0)
}

pub(super) fn floats(values: &Tensor) -> Vec<f32> {
    Vec::try_from(values).expect("a vector of float32")
}
