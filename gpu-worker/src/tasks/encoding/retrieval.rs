//! `text-retrieval`: the candidates whose vectors are nearest to the query's.
//!
//! Reference: `encode_query`, `encode_document` and `similarity` of `sentence_transformers/SentenceTransformer.py`.

use std::sync::Arc;

use proto::{InferRequest, TextRetrievalRequest, infer_request::Input, infer_result::Output};

use super::{product, sentence_transformers::SentenceModules, vectors};
use crate::{
    failure::{Code, Failure},
    tasks::{
        Encode, Files, Pooling, Prepared, Processor, Scaling, Vectors, Work,
        ranks::{Candidates, Wanted},
    },
};

pub fn text_retrieval(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    let config = files.json("config_sentence_transformers.json")?.unwrap_or_default();
    let named = config.get("similarity_fn_name").and_then(serde_json::Value::as_str);
    Ok(Arc::new(TextRetrieval {
        modules: SentenceModules::read(files)?,
        comparison: Comparison::parse(named.unwrap_or("cosine"))?,
    }))
}

struct TextRetrieval {
    modules: SentenceModules,
    comparison: Comparison,
}

/// How near two vectors are: the higher, the nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Cosine,
    Dot,
    Euclidean,
    Manhattan,
}

impl Comparison {
    fn parse(name: &str) -> Result<Self, Failure> {
        match name {
            "cosine" => Ok(Self::Cosine),
            "dot" => Ok(Self::Dot),
            "euclidean" => Ok(Self::Euclidean),
            "manhattan" => Ok(Self::Manhattan),
            other => {
                let message = format!(
                    "config_sentence_transformers.json: similarity_fn_name = {other:?} is not supported"
                );
                Err(Failure::new(Code::FormatNotSupported, message)
                    .text("file", "config_sentence_transformers.json"))
            }
        }
    }

    fn of(self, a: &Vectors, b: &Vectors) -> f64 {
        let differences =
            || a.values.iter().zip(&b.values).map(|(&a, &b)| f64::from(a) - f64::from(b));
        match self {
            // Vectors that are compared so are of length 1.
            Self::Cosine | Self::Dot => product(a, b),
            Self::Euclidean => -differences().map(|by| by * by).sum::<f64>().sqrt(),
            Self::Manhattan => -differences().map(f64::abs).sum::<f64>(),
        }
    }
}

impl Processor for TextRetrieval {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::TextRetrieval(TextRetrievalRequest { inputs, options })) = &request.input
        else {
            return Err(Failure::invalid("input", "is not for text-retrieval"));
        };
        let options = options.clone().unwrap_or_default();
        let Candidates { query, candidates } = Candidates::of(inputs.clone())?;
        let wanted = Wanted::new(options.top_k, options.return_text)?;
        let truncate = options.truncate.unwrap_or(false);
        let modules = &self.modules;
        let of_query = modules.prompt_of(&["query"])?;
        let mut rows =
            modules.rows(std::slice::from_ref(&query), of_query, truncate, "inputs.query")?;
        let of_candidates = modules.prompt_of(&["document", "passage", "corpus"])?;
        rows.extend(modules.rows(&candidates, of_candidates, truncate, "inputs.candidates")?);
        let pooling =
            if modules.pooling == Pooling::None { Pooling::Mean } else { modules.pooling };
        let comparison = self.comparison;
        let own = comparison == Comparison::Cosine || modules.normalizes;
        Ok(Prepared {
            prompt_tokens: Some(rows.iter().map(|row| row.ids.len() as u32).sum()),
            work: Work::Encode(Encode {
                rows,
                pooling,
                scaling: Scaling { own, asked: false },
                dimensions: None,
            }),
            finish: Box::new(move |made| {
                let vectors = vectors(made)?;
                let Some((query, others)) = vectors.split_first() else {
                    return Err(Failure::new(Code::InferenceFailed, "the model made no vectors"));
                };
                let scores: Vec<f64> =
                    others.iter().map(|other| comparison.of(query, other)).collect();
                Ok(Output::Ranking(wanted.rank(&scores, candidates)?))
            }),
            seed: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_is_higher_whatever_is_compared() {
        let vector = |values: [f32; 2]| Vectors { values: values.to_vec(), dim: 2 };
        let (a, b) = (vector([1.0, 2.0]), vector([4.0, 6.0]));
        for (name, expected) in [("dot", 16.0), ("euclidean", -5.0), ("manhattan", -7.0)] {
            assert_eq!(Comparison::parse(name).unwrap().of(&a, &b), expected, "{name}");
        }
        assert!(Comparison::parse("hamming").is_err());
    }
}
