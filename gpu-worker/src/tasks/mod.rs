//! Tasks: how a request becomes work for the device (`Processor`), how a lane does that work in steps
//! (`Pipeline`), and how what it made becomes a result.
//!
//! A task is a line in [`TASKS`]. Preparing and finishing run in the CPU pool and know no tensor.

pub mod adapters;
pub mod batched;
mod counters;
mod distribution;
mod encoding;
mod enhancing;
mod failures;
mod fair_queue;
mod files;
mod fill_mask;
mod generation;
mod image_classification;
mod job;
mod labels;
mod limits;
pub mod outbox;
mod paint;
mod painting;
mod pictures;
mod pipelines;
mod progress;
mod question_answering;
mod ranks;
mod rows;
mod scoring;
mod seq2seq;
mod shape;
pub mod shares;
mod suitability;
mod table_question_answering;
mod texts;
mod token_classification;
mod token_reader;
mod windows;

use std::{sync::Arc, time::Instant};

use proto::{InferRequest, infer_result::Output};

pub use self::{
    adapters::{AdapterKey, AdapterUse, Adapters, Addition, FetchedAdapter, RowAdapter},
    counters::{AGE_BOUNDS, BATCH_BOUNDS, CANCEL_BOUNDS, Cancels, Counters},
    files::Files,
    job::{
        Encode, Enhance, Event, Generate, Job, JobCount, Made, Pooling, Scaling, Score, TableRow,
        TableScores, Tenant, Timing, TokenRow, Vectors, Work, Write,
    },
    limits::{Bounds, Limits, PaintingLimits},
    paint::{Given, Imagine, Manner, Negative, Paint, Painted, PromptIds},
    pipelines::Pipelines,
    shape::StepShape,
    suitability::misfit,
};
use crate::{failure::Failure, models::ModelKind, text::Tokenizer};

/// One task: what it needs of a repository and of a model.
pub struct Task {
    /// The Hub's task id.
    pub id: &'static str,
    /// The kind of model that it runs on.
    pub kind: ModelKind,
    /// Builds the part that runs before the lane, from the repository's small files.
    pub processor: fn(&Files) -> Result<Arc<dyn Processor>, Failure>,
}

/// Every task that this worker knows; one that several kinds of models can do has a line for each.
pub const TASKS: &[Task] = &[
    Task { id: "text-generation", kind: ModelKind::CausalLm, processor: generation::processor },
    Task {
        id: "text2text-generation",
        kind: ModelKind::Seq2SeqLm,
        processor: seq2seq::text2text_generation,
    },
    Task { id: "summarization", kind: ModelKind::Seq2SeqLm, processor: seq2seq::summarization },
    Task { id: "translation", kind: ModelKind::Seq2SeqLm, processor: seq2seq::translation },
    Task {
        id: "token-classification",
        kind: ModelKind::TokenClassifier,
        processor: token_classification::processor,
    },
    Task {
        id: "question-answering",
        kind: ModelKind::QuestionAnswerer,
        processor: question_answering::processor,
    },
    Task {
        id: "table-question-answering",
        kind: ModelKind::TableAnswerer,
        processor: table_question_answering::choosing,
    },
    Task {
        id: "table-question-answering",
        kind: ModelKind::Seq2SeqLm,
        processor: table_question_answering::writing,
    },
    Task { id: "fill-mask", kind: ModelKind::MaskedLm, processor: fill_mask::processor },
    Task {
        id: "feature-extraction",
        kind: ModelKind::TextEncoder,
        processor: encoding::feature_extraction,
    },
    Task {
        id: "sentence-similarity",
        kind: ModelKind::TextEncoder,
        processor: encoding::sentence_similarity,
    },
    Task {
        id: "text-retrieval",
        kind: ModelKind::TextEncoder,
        processor: encoding::text_retrieval,
    },
    Task {
        id: "text-classification",
        kind: ModelKind::SequenceClassifier,
        processor: scoring::text_classification,
    },
    Task {
        id: "zero-shot-classification",
        kind: ModelKind::SequenceClassifier,
        processor: scoring::zero_shot_classification,
    },
    Task {
        id: "text-ranking",
        kind: ModelKind::SequenceClassifier,
        processor: scoring::text_ranking,
    },
    Task {
        id: "image-classification",
        kind: ModelKind::ImageClassifier,
        processor: image_classification::processor,
    },
    Task {
        id: "text-to-image",
        kind: ModelKind::ImageGenerator,
        processor: painting::text_to_image,
    },
    Task {
        id: "image-to-image",
        kind: ModelKind::ImageGenerator,
        processor: painting::image_to_image,
    },
    Task {
        id: "unconditional-image-generation",
        kind: ModelKind::UnconditionalGenerator,
        processor: painting::unconditional_image_generation,
    },
    Task {
        id: "image-super-resolution",
        kind: ModelKind::ImageEnhancer,
        processor: enhancing::processor,
    },
    Task {
        id: "image-super-resolution",
        kind: ModelKind::ImageGenerator,
        processor: painting::image_super_resolution,
    },
    Task {
        id: "image-restoration",
        kind: ModelKind::ImageEnhancer,
        processor: enhancing::processor,
    },
];

pub fn find(id: &str) -> Option<&'static Task> {
    named(id).next()
}

/// The task on one of these kinds of models.
pub fn find_on(id: &str, kinds: &[ModelKind]) -> Option<&'static Task> {
    named(id).find(|task| kinds.contains(&task.kind))
}

/// The lines of a task.
pub fn named(id: &str) -> impl Iterator<Item = &'static Task> {
    TASKS.iter().filter(move |task| task.id == id)
}

/// The task that a request's `input` belongs to.
pub fn of_input(request: &InferRequest) -> Option<&'static str> {
    use proto::infer_request::Input;
    request.input.as_ref().map(|input| match input {
        Input::TextGeneration(_) => "text-generation",
        Input::FeatureExtraction(_) => "feature-extraction",
        Input::SentenceSimilarity(_) => "sentence-similarity",
        Input::ImageClassification(_) => "image-classification",
        Input::TextClassification(_) => "text-classification",
        Input::ZeroShotClassification(_) => "zero-shot-classification",
        Input::TextRanking(_) => "text-ranking",
        Input::TextRetrieval(_) => "text-retrieval",
        Input::TokenClassification(_) => "token-classification",
        Input::QuestionAnswering(_) => "question-answering",
        Input::FillMask(_) => "fill-mask",
        Input::TextToImage(_) => "text-to-image",
        Input::ImageToImage(_) => "image-to-image",
        Input::UnconditionalImageGeneration(_) => "unconditional-image-generation",
        Input::TableQuestionAnswering(_) => "table-question-answering",
        Input::Text2textGeneration(_) => "text2text-generation",
        Input::Summarization(_) => "summarization",
        Input::Translation(_) => "translation",
        Input::ImageSuperResolution(_) => "image-super-resolution",
        Input::ImageRestoration(_) => "image-restoration",
    })
}

/// The repository's tokenizer.
fn tokenizer(files: &Files) -> Result<Tokenizer, Failure> {
    Ok(Tokenizer::from_repository(&|path| files.bytes(path))?)
}

/// The part of a task that runs before the lane: it validates, decodes and tokenises.
pub trait Processor: Send + Sync {
    /// Refuses a bad request before anything is loaded for it.
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure>;
}

/// A request that is ready for its lane.
pub struct Prepared {
    pub work: Work,
    pub finish: Finish,
    /// Where the task has a prompt.
    pub prompt_tokens: Option<u32>,
    /// The seed in use, where the task draws random numbers.
    pub seed: Option<u64>,
}

/// Makes the result's output out of what the device made.
pub type Finish = Box<dyn FnOnce(Made) -> Result<Output, Failure> + Send>;

/// What the next step of a pipeline would be.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Higher goes first.
    pub priority: i32,
    /// How large the step is, in the pipeline's own unit: steps of one size take about the same time.
    pub size: usize,
    /// For whom it is, with their shares, which sum to 1.
    pub tenants: Vec<(Tenant, f64)>,
}

impl Ask {
    /// Of the parts of a step: for whom, and how large.
    pub fn of(priority: i32, parts: impl Iterator<Item = (Tenant, usize)>) -> Self {
        let mut tenants: Vec<(Tenant, f64)> = Vec::new();
        let mut size = 0;
        for (tenant, part) in parts {
            size += part;
            match tenants.iter_mut().find(|(known, _)| *known == tenant) {
                Some((_, sum)) => *sum += part as f64,
                None => tenants.push((tenant, part as f64)),
            }
        }
        tenants.iter_mut().for_each(|(_, share)| *share /= size.max(1) as f64);
        Self { priority, size, tenants }
    }
}

/// A task's work on a model, as a state machine that a lane drives.
pub trait Pipeline {
    /// Runs the smallest step there is, so that the first request doesn't pay for libtorch's own set-up, and a model
    /// that cannot run fails while it loads.
    fn warm(&mut self);
    /// Whether this pipeline does that work.
    fn accepts(&self, work: &Work) -> bool;
    /// Takes a job into its queue.
    fn admit(&mut self, job: Job);
    /// Whether a step answers whoever is in it, so that whoever comes a moment later costs one more.
    fn takes_all_at_once(&self) -> bool {
        false
    }
    /// Drops what was abandoned and picks what the next step works on; `None` when there is nothing to do now.
    fn prepare_step(&mut self, now: Instant) -> Option<Ask>;
    /// How large the prepared step is; of one that doesn't say nothing is learned.
    fn shape(&self) -> StepShape {
        StepShape::default()
    }
    /// The smallest piece of device work, without those who left since it was prepared: that can be long ago on a
    /// busy device. Ends when the device has completed it.
    fn step(&mut self);
    /// Fails the jobs of the step that panicked.
    fn abort_step(&mut self, failure: &Failure);
    /// Fails every job.
    fn abort_all(&mut self, failure: &Failure);
    fn jobs(&self) -> usize;
    fn running(&self) -> usize;
    /// Bytes of caches that are there.
    fn cache_bytes(&self) -> u64 {
        0
    }
    /// Of these: what is only kept in case it is of use again.
    fn kept_bytes(&self) -> u64 {
        0
    }
    /// Lets go of what is only kept.
    fn let_go(&mut self) {}
}
