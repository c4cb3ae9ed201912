//! Adapters beside the model of a lane: who asked for which, and where its pipelines find them.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use proto::infer_request::Input;
use tch::{Device, Tensor};

use super::{Job, JobCount};
use crate::{
    failure::{Code, Failure},
    layers::Adapter,
    models::diffusion::ControlNet,
    weights::{AdapterPlan, Checkpoint, peft::PeftError},
};

/// Names one commit of one adapter. What a model makes with one adapter is of no use with another: whoever keeps it for
/// later keeps this beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterKey(Arc<str>);

impl AdapterKey {
    pub fn new(adapter_id: &str, revision: &str) -> Self {
        Self(format!("{adapter_id}@{revision}").into())
    }
}

/// A job's right to an adapter, which stays for as long as the job lives.
pub struct AdapterUse {
    pub key: AdapterKey,
    pub count: JobCount,
}

/// What a row of a step has.
pub type RowAdapter = Option<Rc<Adapter>>;

/// The adapters that a lane has, and the ControlNets beside its model; its pipelines share them.
#[derive(Clone, Default)]
pub struct Adapters(Rc<RefCell<HashMap<AdapterKey, Adopted>>>);

/// What was brought to a lane beside its model.
enum Adopted {
    Adapter(Rc<Adapter>),
    ControlNet(Rc<ControlNet>),
}

impl Adapters {
    /// The adapter of the job's rows. It is there, since [`super::Pipelines::admit`] takes no job without its adapter and
    /// none is dropped while a job has it.
    pub fn of(&self, job: &Job) -> RowAdapter {
        let used = job.adapter.as_ref()?;
        match self.0.borrow().get(&used.key) {
            Some(Adopted::Adapter(adapter)) => Some(Rc::clone(adapter)),
            _ => panic!("a job's adapter stays while it runs"),
        }
    }

    /// The ControlNet of that name, if the lane has it.
    pub fn control_net(&self, key: &AdapterKey) -> Option<Rc<ControlNet>> {
        match self.0.borrow().get(key)? {
            Adopted::ControlNet(network) => Some(Rc::clone(network)),
            Adopted::Adapter(_) => None,
        }
    }

    /// Whether the lane has what the job needs.
    pub fn suffice(&self, job: &Job) -> bool {
        job.adapter.as_ref().is_none_or(|used| self.0.borrow().contains_key(&used.key))
    }

    pub fn remove(&self, key: &AdapterKey) {
        self.0.borrow_mut().remove(key);
    }

    /// Fits an adapter to the model that was loaded with `checkpoint`.
    pub fn adopt(
        &self,
        fetched: FetchedAdapter,
        checkpoint: &Checkpoint,
        device: Device,
    ) -> Result<(), Failure> {
        let FetchedAdapter { key, addition, tensors } = fetched;
        let adopted = match addition {
            Addition::Layers(plan) => {
                let parts = plan.parts(tensors, checkpoint)?.into_iter();
                let moved = parts.map(|(module, part)| (module, part.to_device(device)));
                Adopted::Adapter(Rc::new(Adapter::new(moved.collect())))
            }
            Addition::ControlNet(config) => {
                let moved =
                    tensors.into_iter().map(|(name, tensor)| (name, tensor.to_device(device)));
                let checkpoint = Checkpoint::from_tensors(moved.collect());
                let network = ControlNet::load(&config, &checkpoint.root())?;
                let unused = checkpoint.finish()?;
                if !unused.0.is_empty() {
                    tracing::info!(
                        count = unused.0.len(),
                        "tensors of a ControlNet that nobody asked for"
                    );
                }
                Adopted::ControlNet(Rc::new(network))
            }
        };
        self.0.borrow_mut().insert(key, adopted);
        Ok(())
    }
}

/// What is brought to a lane beside its model.
#[derive(Clone)]
pub enum Addition {
    /// Something for the model's layers.
    Layers(Arc<AdapterPlan>),
    /// A network of its own, by the text of its `config.json`.
    ControlNet(Arc<str>),
}

/// An adapter or a ControlNet that was read, on its way to a lane.
pub struct FetchedAdapter {
    pub key: AdapterKey,
    pub addition: Addition,
    /// On the CPU, of the model's kind; nobody else has them.
    pub tensors: HashMap<String, Tensor>,
}

impl From<PeftError> for Failure {
    fn from(error: PeftError) -> Self {
        tracing::warn!(error = ?error, "an adapter cannot be used");
        let code = match &error {
            PeftError::Unsupported { .. }
            | PeftError::Tensor { .. }
            | PeftError::File { .. }
            | PeftError::Fixed { .. } => Code::FormatNotSupported,
            PeftError::NoModule { .. } | PeftError::NoLayer { .. } | PeftError::Shape { .. } => {
                Code::InvalidRequest
            }
            PeftError::Json(_)
            | PeftError::Invalid { .. }
            | PeftError::Half { .. }
            | PeftError::Alone { .. }
            | PeftError::Twice { .. }
            | PeftError::NotTargeted { .. }
            | PeftError::Empty
            | PeftError::Rank { .. } => Code::CorruptCheckpoint,
            PeftError::Torch { .. } => Code::LoadFailed,
        };
        Self::new(code, error).at(FIELD)
    }
}

/// Where a request names its adapter.
pub const FIELD: &str = "options.adapter";

/// Where a request names a ControlNet beside its pipeline.
pub const CONTROL_NET_FIELD: &str = "options.controlnet";

/// The ControlNet that a request asks for beside its pipeline.
pub fn control_net_asked(input: &Input) -> Option<&str> {
    match input {
        Input::TextToImage(request) => request.options.as_ref()?.controlnet.as_deref(),
        Input::ImageToImage(request) => request.options.as_ref()?.controlnet.as_deref(),
        _ => None,
    }
}

/// The adapter that a request asks for.
pub fn asked(input: &Input) -> Option<&str> {
    match input {
        Input::TextGeneration(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::Text2textGeneration(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::Summarization(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::Translation(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::FeatureExtraction(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::SentenceSimilarity(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::TextRetrieval(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::TextClassification(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::ZeroShotClassification(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::TextRanking(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::TokenClassification(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::QuestionAnswering(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::TableQuestionAnswering(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::FillMask(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::ImageClassification(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::TextToImage(request) => request.options.as_ref()?.adapter.as_deref(),
        Input::ImageToImage(request) => request.options.as_ref()?.adapter.as_deref(),
        // Their options have no such field.
        Input::UnconditionalImageGeneration(_)
        | Input::ImageSuperResolution(_)
        | Input::ImageRestoration(_) => None,
    }
}
