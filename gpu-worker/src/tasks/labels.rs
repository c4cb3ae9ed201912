//! Labels with their scores: what turns logits into scores, which are the best, and how they are called.

use std::collections::BTreeMap;

use proto::LabelScore;
use serde_json::Value;

use crate::failure::{Code, Failure};

/// What turns logits into scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Softmax,
    Sigmoid,
    None,
}

impl Function {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "softmax" => Some(Self::Softmax),
            "sigmoid" => Some(Self::Sigmoid),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    /// The one that `options.function_to_apply` names.
    pub fn asked(name: &str) -> Result<Self, Failure> {
        Self::parse(name).ok_or_else(|| {
            let message = format!("is {name:?}, expected softmax, sigmoid or none");
            Failure::invalid("options.function_to_apply", message)
        })
    }

    pub fn apply(self, logits: &[f32]) -> Vec<f64> {
        let logits = logits.iter().map(|&logit| f64::from(logit));
        match self {
            Self::None => logits.collect(),
            Self::Sigmoid => logits.map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
            Self::Softmax => {
                let highest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = logits.map(|logit| (logit - highest).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(|power| power / sum).collect()
            }
        }
    }
}

/// `options.top_k`, which is at least 1 where it is given.
pub fn top_k(asked: Option<u32>) -> Result<Option<usize>, Failure> {
    match asked {
        Some(0) => Err(Failure::invalid("options.top_k", "is 0, expected at least 1")),
        asked => Ok(asked.map(|k| k as usize)),
    }
}

/// The places of the scores, best first; equal ones in order.
pub fn best_first(scores: &[f64]) -> Result<Vec<usize>, Failure> {
    if scores.iter().any(|score| !score.is_finite()) {
        return Err(Failure::new(Code::InferenceFailed, "the model's output is not finite"));
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    Ok(order)
}

/// How a model's config names its outputs.
#[derive(Clone, Debug, Default)]
pub struct LabelNames(BTreeMap<usize, String>);

impl LabelNames {
    pub fn of_config(config: &Value) -> Self {
        let labels = config.get("id2label").and_then(Value::as_object);
        let label =
            |(id, name): (&String, &Value)| Some((id.parse().ok()?, name.as_str()?.to_owned()));
        Self(labels.into_iter().flatten().filter_map(label).collect())
    }

    /// Nameless ones are numbered, as the reference does it.
    pub fn name(&self, id: usize) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| format!("LABEL_{id}"))
    }

    /// The `top_k` best scores with their labels, best first; equal ones in the model's order.
    pub fn best(&self, scores: &[f64], top_k: usize) -> Result<Vec<LabelScore>, Failure> {
        let order = best_first(scores)?.into_iter().take(top_k);
        Ok(order.map(|id| LabelScore { label: self.name(id), score: scores[id] }).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_best_labels_come_first_and_nameless_ones_are_numbered() {
        let names = LabelNames::of_config(&json!({"id2label": {"0": "cat"}}));
        let best = names.best(&[0.2, 0.7, 0.1], 2).expect("finite");
        let names: Vec<&str> = best.iter().map(|label| label.label.as_str()).collect();
        assert_eq!(names, ["LABEL_1", "cat"]);
    }

    #[test]
    fn a_score_that_is_not_finite_is_an_error() {
        assert!(LabelNames::default().best(&[f64::NAN], 1).is_err());
    }

    #[test]
    fn softmax_of_large_logits_is_finite() {
        assert_eq!(Function::Softmax.apply(&[1000.0, 1000.0]), [0.5, 0.5]);
    }
}
