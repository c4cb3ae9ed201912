//! The pipelines of one residency: which of them serves a model, and what is asked of all of them.

use super::{
    AdapterKey, Adapters, Bounds, FetchedAdapter, Job, Pipeline, adapters, encoding, enhancing,
    generation, image_classification, painting,
    scoring::{Scorer, ScoringPipeline},
    seq2seq, table_question_answering,
};
use crate::{
    failure::{Code, Failure},
    models::Model,
    weights::Checkpoint,
};

/// The pipelines of one residency, with the weights that they share.
pub struct Pipelines {
    pipelines: Vec<Box<dyn Pipeline>>,
    adapters: Adapters,
    device: tch::Device,
    /// Dropped last: the model's tensors may be views of its maps.
    checkpoint: Option<Checkpoint>,
}

impl Pipelines {
    pub fn new(model: Model, checkpoint: Checkpoint, device: tch::Device, bounds: Bounds) -> Self {
        let Bounds { cache_bytes, decoding_bytes } = bounds;
        let adapters = Adapters::default();
        let shared = adapters.clone();
        let scoring =
            |model, adapters| Box::new(ScoringPipeline::of(model, device).with_adapters(adapters));
        let pipeline: Box<dyn Pipeline> = match model {
            Model::CausalLm(model) => {
                Box::new(generation::GenerationPipeline::new(model, device, cache_bytes, shared))
            }
            Model::Seq2SeqLm(model) => {
                Box::new(seq2seq::Seq2SeqPipeline::new(model, device, cache_bytes, shared))
            }
            Model::TextEncoder(model) => {
                Box::new(encoding::EncodingPipeline::of(model, device).with_adapters(shared))
            }
            Model::SequenceClassifier(model) => scoring(Scorer::Sequences(model), shared),
            Model::TokenClassifier(model) | Model::QuestionAnswerer(model) => {
                scoring(Scorer::Tokens(model), shared)
            }
            Model::TableAnswerer(model) => {
                let pipeline = table_question_answering::TablePipeline::of(model, device);
                Box::new(pipeline.with_adapters(shared))
            }
            Model::MaskedLm(model) => scoring(Scorer::Masked(model), shared),
            Model::ImageClassifier(model) => {
                let pipeline = image_classification::ImagePipeline::of(model, device);
                Box::new(pipeline.with_adapters(shared))
            }
            Model::ImageGenerator(model) => {
                Box::new(painting::PaintingPipeline::new(model, device, decoding_bytes, shared))
            }
            Model::UnconditionalGenerator(model) => {
                Box::new(painting::ImaginingPipeline::new(model, device))
            }
            Model::ImageEnhancer(model) => Box::new(enhancing::EnhancePipeline::new(model, device)),
        };
        Self { pipelines: vec![pipeline], adapters, device, checkpoint: Some(checkpoint) }
    }

    /// One that brings whatever it works on.
    pub fn only(pipeline: Box<dyn Pipeline>) -> Self {
        Self {
            pipelines: vec![pipeline],
            adapters: Adapters::default(),
            device: tch::Device::Cpu,
            checkpoint: None,
        }
    }

    pub fn warm(&mut self) {
        self.pipelines.iter_mut().for_each(|pipeline| pipeline.warm());
    }

    pub fn admit(&mut self, job: Job) {
        if !self.adapters.suffice(&job) {
            let message = "the request's adapter has left before the request came";
            return job.fail(Failure::new(Code::InferenceFailed, message));
        }
        match self
            .pipelines
            .iter_mut()
            .find(|pipeline| job.work.as_ref().is_some_and(|work| pipeline.accepts(work)))
        {
            Some(pipeline) => pipeline.admit(job),
            None => job.fail(Failure::new(
                Code::TaskNotSupported,
                "this model does not do that kind of work",
            )),
        }
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut dyn Pipeline> {
        self.pipelines.iter_mut().map(|pipeline| &mut **pipeline as &mut dyn Pipeline)
    }

    pub fn abort_all(&mut self, failure: &Failure) {
        self.pipelines.iter_mut().for_each(|pipeline| pipeline.abort_all(failure));
    }

    pub fn is_idle(&self) -> bool {
        self.jobs() == 0
    }

    /// Whether a request that comes during a step has to wait for one more.
    pub fn takes_all_at_once(&self) -> bool {
        self.pipelines.iter().all(|pipeline| pipeline.takes_all_at_once())
    }

    pub fn jobs(&self) -> usize {
        self.pipelines.iter().map(|pipeline| pipeline.jobs()).sum()
    }

    pub fn running(&self) -> usize {
        self.pipelines.iter().map(|pipeline| pipeline.running()).sum()
    }

    pub fn cache_bytes(&self) -> u64 {
        self.pipelines.iter().map(|pipeline| pipeline.cache_bytes()).sum()
    }

    pub fn kept_bytes(&self) -> u64 {
        self.pipelines.iter().map(|pipeline| pipeline.kept_bytes()).sum()
    }

    pub fn let_go(&mut self) {
        self.pipelines.iter_mut().for_each(|pipeline| pipeline.let_go());
    }

    /// Takes an adapter for the jobs that will ask for it.
    pub fn adopt(&self, adapter: FetchedAdapter) -> Result<(), Failure> {
        let Some(checkpoint) = &self.checkpoint else {
            let message = "this model takes no adapters";
            return Err(Failure::new(Code::FormatNotSupported, message).at(adapters::FIELD));
        };
        self.adapters.adopt(adapter, checkpoint, self.device)
    }

    /// Lets go of an adapter that no job has.
    pub fn discard(&self, key: &AdapterKey) {
        self.adapters.remove(key);
    }
}
