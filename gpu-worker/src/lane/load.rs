//! Loading, inside the lane: open the checkpoint, build the model, touch its pages, attach the pipelines.

use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::AtomicUsize},
};

use tch::{Device, Kind};

use crate::{
    failure::{Code, Failure},
    memory::allocator,
    models::{self, Architecture, ModelKind},
    tasks::{Bounds, Pipelines, StepShape},
    weights::{self, Access, Checkpoint, LoadProgress, OpenOptions, Part, WeightsError},
};

/// Hears of steps that needed more bytes than any of about that size before.
pub type Measured = Arc<dyn Fn(StepShape, u64) + Send + Sync>;

/// Everything that a lane needs to load a residency.
pub struct LoadSpec {
    pub architecture: &'static Architecture,
    pub kind: ModelKind,
    /// `config.json`, or the configs of a pipeline in one.
    pub config: String,
    pub parts: Vec<Part>,
    pub access: Access,
    pub device: Device,
    pub dtype: Kind,
    pub bounds: Bounds,
    pub measured: Measured,
    /// Requests of this commit that are being prepared.
    pub coming: Arc<AtomicUsize>,
    /// Hears of every step; says `Break` when nobody wants the model any more.
    pub progress: Arc<dyn Fn(LoadStage) -> ControlFlow<()> + Send + Sync>,
}

/// How far a load is.
#[derive(Clone, Copy, Debug)]
pub enum LoadStage {
    Reading(LoadProgress),
    Warming,
}

/// What a load found out.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    pub weight_bytes: u64,
    pub mapped_bytes: u64,
    pub parameters: u64,
}

pub fn load(spec: &LoadSpec) -> Result<(Pipelines, Loaded), Failure> {
    let options = OpenOptions {
        device: spec.device,
        kind: spec.dtype,
        access: spec.access,
        keeps_matrices: spec.device == Device::Cpu && spec.dtype == Kind::Float,
    };
    let progress = |progress: LoadProgress| (spec.progress)(LoadStage::Reading(progress));
    let mut checkpoint = Checkpoint::open_parts(&spec.parts, &options, &progress)?;
    checkpoint.rename(weights::OF_ANY_MODEL);
    checkpoint.rename(spec.architecture.renames);
    let model = spec.architecture.load(&spec.config, spec.kind, &checkpoint.root())?;
    let unused = checkpoint.finish()?;
    let is_known =
        |name: &String| spec.architecture.ignored.iter().any(|ending| name.ends_with(ending));
    let stray: Vec<&String> = unused.0.iter().filter(|name| !is_known(name)).collect();
    if !stray.is_empty() {
        tracing::info!(count = stray.len(), names = ?&stray[..stray.len().min(8)], "tensors that nobody asked for");
    }
    if (spec.progress)(LoadStage::Warming).is_break() {
        return Err(Failure::new(Code::Cancelled, "nobody waits for this load any more"));
    }
    checkpoint.prefault();
    let loaded = Loaded {
        weight_bytes: checkpoint.bytes(),
        mapped_bytes: checkpoint.mapped_bytes(),
        parameters: checkpoint.parameters(),
    };
    let mut pipelines = Pipelines::new(model, checkpoint, spec.device, spec.bounds);
    pipelines.warm();
    // What reading and building left behind would else stay for the allocator's ten seconds.
    allocator::trim();
    Ok((pipelines, loaded))
}

impl From<models::LoadError> for Failure {
    fn from(error: models::LoadError) -> Self {
        tracing::warn!(error = ?error, "a model could not be built");
        Self::new(code_of(&error), error)
    }
}

fn code_of(error: &models::LoadError) -> Code {
    use models::LoadError;
    match error {
        LoadError::UnknownArchitecture { .. }
        | LoadError::UnsupportedValue { .. }
        | LoadError::UnknownClass { .. }
        | LoadError::Rope(_) => Code::ArchitectureNotSupported,
        LoadError::UnsupportedKind { .. } => Code::TaskNotSupported,
        LoadError::Component { source, .. } => code_of(source),
        LoadError::MissingComponent { .. } | LoadError::Config(_) | LoadError::Weights(_) => {
            Code::CorruptCheckpoint
        }
    }
}

impl From<WeightsError> for Failure {
    fn from(error: WeightsError) -> Self {
        tracing::warn!(error = ?error, "a checkpoint could not be opened");
        let code = match &error {
            WeightsError::Cancelled => Code::Cancelled,
            WeightsError::Memory { .. } => Code::OutOfMemory,
            WeightsError::Read { .. } | WeightsError::Torch { .. } | WeightsError::View { .. } => {
                Code::LoadFailed
            }
            _ => Code::CorruptCheckpoint,
        };
        Self::new(code, error)
    }
}
