//! Diffusion schedulers: which noise levels are visited, and how a denoiser's output leads from one to the next.
//!
//! One file per class of `diffusers.schedulers`, one line per class in [`CLASSES`]. Tables and coefficients are scalars,
//! rounded to float32 where the reference does so; only samples are tensors, on whatever device they are. Nothing here
//! draws random numbers: noise is handed in.
//!
//! A [`SchedulerConfig`] is read once per model and starts one [`Scheduler`] per request.

mod betas;
mod choice;
mod config;
mod curve;
mod ddim;
mod ddpm;
mod dpm_multistep;
mod dpm_updates;
mod error;
mod euler;
mod euler_ancestral;
mod fields;
mod flow_match_euler;
mod heun;
mod lcm;
mod limits;
mod lms;
mod multistep;
mod numpy;
mod path;
mod pndm;
mod prediction;
mod shift;
mod sigmas;
mod spacing;
mod unipc;
mod unipc_updates;

pub use config::SchedulerConfig;
pub use error::SchedulerError;
use fields::Fields;
use path::Path;
use tch::{Kind, Tensor};

/// Every class there is.
const CLASSES: &[Class] = &[
    ddim::DDIM,
    ddpm::DDPM,
    dpm_multistep::DPM_MULTISTEP,
    euler::EULER,
    euler_ancestral::EULER_ANCESTRAL,
    flow_match_euler::FLOW_MATCH_EULER,
    heun::HEUN,
    lcm::LCM,
    lms::LMS,
    pndm::PNDM,
    unipc::UNIPC,
];

/// The way of one request from noise to a picture.
///
/// Samples and outputs are `[batch, …]` of one shape, on one device. Indices count in [`Self::timesteps`]; a request may
/// begin in the middle (image to image), and then goes on one by one.
pub trait Scheduler: Send {
    /// The levels of noise that it visits.
    #[doc(hidden)]
    fn path(&self) -> &Path;

    /// What the denoiser is told at each of its evaluations, falling.
    fn timesteps(&self) -> &[f64] {
        &self.path().timesteps
    }

    /// Levels of noise, the one after the last step included; empty where the class works with alphas instead.
    fn sigmas(&self) -> &[f32] {
        self.path().sigmas()
    }

    /// How many timesteps make one of the steps that the user counts.
    fn order(&self) -> usize {
        self.path().order
    }

    /// The standard deviation of the first sample.
    fn init_noise_sigma(&self) -> f64 {
        self.path().init_noise_sigma
    }

    /// The sample as the denoiser wants it at that step.
    fn scale_input(&self, sample: &Tensor, index: usize) -> Tensor {
        self.path().scale_input(sample, index)
    }

    /// A clean sample with as much noise as there is before that step.
    fn add_noise(&self, original: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        self.path().add_noise(original, noise, index)
    }

    /// The clean sample that the output implies, for previews; neither clipped nor scaled.
    fn denoised(&self, output: &Tensor, index: usize, sample: &Tensor) -> Tensor {
        self.path().denoised(output, index, sample)
    }

    /// The sample of the next step, in the output's kind. `sample` is the one before [`Self::scale_input`].
    fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor, noise: &mut Noise)
    -> Tensor;
}

/// Standard normal noise of that shape and kind, on the sample's device. Asked at most once per step.
pub type Noise<'a> = dyn FnMut(&[i64], Kind) -> Tensor + 'a;

/// What a request wants of its scheduler.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub steps: Steps,
    /// How much of DDIM's noise comes back at every step, 0..=1; the other classes do not look at it.
    pub eta: f64,
    /// The shift of time of configs with `use_dynamic_shifting`, which need it: see [`SchedulerConfig::shift_for`].
    pub mu: Option<f64>,
}

impl Request {
    /// So many steps, and nothing else.
    pub fn of(n_steps: usize) -> Self {
        Self { steps: Steps::Count(n_steps), eta: 0.0, mu: None }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Steps {
    Count(usize),
    /// Falling timesteps of training.
    Timesteps(Vec<usize>),
    /// Falling levels of noise. Flow matching appends the last one (0) itself; the other classes expect it in the list.
    Sigmas(Vec<f64>),
}

/// A class of `diffusers.schedulers`.
struct Class {
    /// `_class_name` in `scheduler_config.json`.
    name: &'static str,
    family: Family,
    /// Reads the config, as far as this class knows it.
    load: fn(&Fields) -> Result<Start, SchedulerError>,
}

/// Which classes can take one another's place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    /// Noise is mixed in by betas; they solve the same equation.
    Diffusion,
    /// The same, for models distilled to a few steps.
    Distilled,
    /// Straight lines between noise and picture.
    Flow,
}

/// Starts a request on a config that is known to be good.
type Start = Box<dyn Fn(&Request) -> Result<Box<dyn Scheduler>, SchedulerError> + Send + Sync>;

impl Steps {
    /// So many levels of noise at even distances, from all of it.
    pub fn even(n_steps: usize) -> Self {
        Self::Sigmas(numpy::linspace(1.0, 1.0 / n_steps.max(1) as f64, n_steps))
    }

    /// The number of steps, for classes that choose the timesteps themselves.
    fn count(&self, limit: usize) -> Result<usize, SchedulerError> {
        match self {
            Self::Count(0) => Err(SchedulerError::NoSteps),
            Self::Count(n) if *n > limit => Err(SchedulerError::TooManySteps { steps: *n, limit }),
            Self::Count(n) => Ok(*n),
            Self::Timesteps(_) => Err(SchedulerError::OwnSchedule { given: "timesteps" }),
            Self::Sigmas(_) => Err(SchedulerError::OwnSchedule { given: "sigmas" }),
        }
    }
}
