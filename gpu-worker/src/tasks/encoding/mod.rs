//! `feature-extraction` and `sentence-similarity`: texts in, vectors or their similarities out.

mod pipeline;
mod pooling;
mod retrieval;
mod sentence_transformers;

use std::sync::Arc;

use proto::{
    Embedding, EmbeddingOutput, FeatureExtractionRequest, InferRequest, SentenceSimilarityRequest,
    SimilarityOutput, infer_request::Input, infer_result::Output,
};

use self::sentence_transformers::SentenceModules;
pub use self::{pipeline::EncodingPipeline, retrieval::text_retrieval};
use super::{
    Encode, Files, Made, Pooling, Prepared, Processor, Scaling, Vectors, Work, texts::check_texts,
};
use crate::failure::{Code, Failure};

pub fn feature_extraction(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(FeatureExtraction(SentenceModules::read(files)?)))
}

pub fn sentence_similarity(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(SentenceSimilarity(SentenceModules::read(files)?)))
}

struct FeatureExtraction(SentenceModules);

impl Processor for FeatureExtraction {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::FeatureExtraction(FeatureExtractionRequest { inputs, options })) =
            &request.input
        else {
            return Err(Failure::invalid("input", "is not for feature-extraction"));
        };
        let texts = inputs.as_ref().and_then(|inputs| inputs.text.as_ref());
        let texts = texts.ok_or_else(|| Failure::invalid("inputs.text", "is missing"))?;
        check_texts("inputs.text", &texts.items)?;
        let options = options.clone().unwrap_or_default();
        let pooling = match options.pooling.as_deref() {
            Some(name) => parse_pooling(name)?,
            None => self.0.pooling,
        };
        let dimensions = options.dimensions.map(|dimensions| dimensions as usize);
        if let Some(dimensions) = dimensions
            && (dimensions == 0 || self.0.dim.is_some_and(|dim| dimensions > dim))
        {
            let limit = self.0.dim.unwrap_or_default();
            return Err(Failure::invalid(
                "options.dimensions",
                format!("is {dimensions}, expected 1 to {limit}"),
            )
            .number("limit", limit as u64));
        }
        let scaling = match options.normalize {
            Some(false) => Scaling { own: false, asked: false },
            asked => Scaling { own: self.0.normalizes, asked: asked.is_some() },
        };
        let prompt = self.0.prompt(options.prompt_name.as_deref())?;
        let rows =
            self.0.rows(&texts.items, prompt, options.truncate.unwrap_or(false), "inputs.text")?;
        let prompt_tokens = rows.iter().map(|row| row.ids.len() as u32).sum();
        let is_list = texts.is_list;
        Ok(Prepared {
            work: Work::Encode(Encode { rows, pooling, scaling, dimensions }),
            finish: Box::new(move |made| {
                let items =
                    vectors(made)?.into_iter().map(|vectors| embedding(vectors, pooling)).collect();
                Ok(Output::Embeddings(EmbeddingOutput { items, is_list }))
            }),
            prompt_tokens: Some(prompt_tokens),
            seed: None,
        })
    }
}

struct SentenceSimilarity(SentenceModules);

impl Processor for SentenceSimilarity {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::SentenceSimilarity(SentenceSimilarityRequest { inputs, options })) =
            &request.input
        else {
            return Err(Failure::invalid("input", "is not for sentence-similarity"));
        };
        let inputs = inputs.clone().unwrap_or_default();
        let options = options.clone().unwrap_or_default();
        let (texts, is_pair) = match (inputs.source_sentence, inputs.text, inputs.text_pair) {
            (Some(source), None, None) => {
                check_texts("inputs.sentences", &inputs.sentences)?;
                ([vec![source], inputs.sentences].concat(), false)
            }
            (None, Some(text), Some(pair)) if inputs.sentences.is_empty() => {
                (vec![text, pair], true)
            }
            _ => {
                let message = "need either source_sentence with sentences, or text with text_pair";
                return Err(Failure::invalid("inputs", message));
            }
        };
        check_texts("inputs", &texts)?;
        let prompt = self.0.prompt(options.prompt_name.as_deref())?;
        let rows = self.0.rows(&texts, prompt, options.truncate.unwrap_or(false), "inputs")?;
        let prompt_tokens = rows.iter().map(|row| row.ids.len() as u32).sum();
        // Cosine similarity is the product of vectors of length 1.
        let scaling = Scaling { own: true, asked: false };
        let pooling = if self.0.pooling == Pooling::None { Pooling::Mean } else { self.0.pooling };
        Ok(Prepared {
            work: Work::Encode(Encode { rows, pooling, scaling, dimensions: None }),
            finish: Box::new(move |made| {
                let vectors = vectors(made)?;
                let Some((source, others)) = vectors.split_first() else {
                    return Err(Failure::new(Code::InferenceFailed, "the model made no vectors"));
                };
                let scores = others.iter().map(|other| product(source, other)).collect();
                Ok(Output::Similarity(SimilarityOutput { scores, is_pair }))
            }),
            prompt_tokens: Some(prompt_tokens),
            seed: None,
        })
    }
}

fn parse_pooling(name: &str) -> Result<Pooling, Failure> {
    match name {
        "mean" => Ok(Pooling::Mean),
        "cls" => Ok(Pooling::Cls),
        "last" => Ok(Pooling::Last),
        "max" => Ok(Pooling::Max),
        "none" => Ok(Pooling::None),
        other => Err(Failure::invalid(
            "options.pooling",
            format!("is {other:?}, expected mean, cls, last, max or none"),
        )),
    }
}

fn vectors(made: Made) -> Result<Vec<Vectors>, Failure> {
    let Made::Vectors(vectors) = made else {
        return Err(Failure::new(Code::InferenceFailed, "the lane made no vectors"));
    };
    if vectors.iter().any(|vectors| vectors.values.iter().any(|value| !value.is_finite())) {
        return Err(Failure::new(Code::InferenceFailed, "the model's output is not finite"));
    }
    Ok(vectors)
}

fn embedding(vectors: Vectors, pooling: Pooling) -> Embedding {
    let tokens =
        if pooling == Pooling::None { vectors.values.len() / vectors.dim.max(1) } else { 0 };
    Embedding { dim: vectors.dim as u32, tokens: tokens as u32, values: vectors.values }
}

fn product(a: &Vectors, b: &Vectors) -> f64 {
    a.values.iter().zip(&b.values).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
