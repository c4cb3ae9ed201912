//! Adapters beside the model of a lane: who asked for which, and where its pipelines find them.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use proto::infer_request::Input;
use tch::{Device, Tensor};

use super::{Job, JobCount};
use crate::{
    failure::{Code, Failure},
    layers::Adapter,
    weights::{
        Checkpoint,
        peft::{PeftError, Plan},
    },
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

/// The adapters that a lane has; its pipelines share them.
#[derive(Clone, Default)]
pub struct Adapters(Rc<RefCell<HashMap<AdapterKey, Rc<Adapter>>>>);

impl Adapters {
    /// The adapter of the job's rows. It is there, since [`super::Pipelines::admit`] takes no job without its adapter and
    /// none is dropped while a job has it.
    pub fn of(&self, job: &Job) -> RowAdapter {
        let used = job.adapter.as_ref()?;
        Some(Rc::clone(
            self.0.borrow().get(&used.key).expect("a job's adapter stays while it runs"),
        ))
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
        let parts = fetched.plan.parts(fetched.tensors, checkpoint)?;
        let moved = parts.into_iter().map(|(module, part)| (module, part.to_device(device)));
        let adapter = Rc::new(Adapter::new(moved.collect()));
        self.0.borrow_mut().insert(fetched.key, adapter);
        Ok(())
    }
}

/// An adapter that was read, on its way to a lane.
pub struct FetchedAdapter {
    pub key: AdapterKey,
    pub plan: Arc<Plan>,
    /// On the CPU, of the model's kind; nobody else has them.
    pub tensors: HashMap<String, Tensor>,
}

impl From<PeftError> for Failure {
    fn from(error: PeftError) -> Self {
        tracing::warn!(error = ?error, "an adapter cannot be used");
        let code = match &error {
            PeftError::Unsupported { .. } | PeftError::Tensor { .. } | PeftError::Fixed { .. } => {
                Code::FormatNotSupported
            }
            PeftError::NoModule { .. } | PeftError::Shape { .. } => Code::InvalidRequest,
            PeftError::Json(_)
            | PeftError::Invalid { .. }
            | PeftError::Half { .. }
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
        // Pipelines take none yet: their options have no such field.
        Input::TextToImage(_)
        | Input::ImageToImage(_)
        | Input::UnconditionalImageGeneration(_)
        | Input::ImageSuperResolution(_)
        | Input::ImageRestoration(_) => None,
    }
}
