//! `zero-shot-classification`: a model of what follows from what says which labels fit a text.
//!
//! Reference: `transformers/pipelines/zero_shot_classification.py`.

use std::sync::Arc;

use proto::{
    InferRequest, LabelScore, Labels, LabelsOutput, ZeroShotClassificationRequest,
    infer_request::Input, infer_result::Output,
};

use super::{
    reader::{Cut, Reader},
    scores,
};
use crate::{
    failure::{Code, Failure},
    tasks::{
        Files, Prepared, Processor, Score, Vectors, Work,
        labels::{Function, best_first},
        suitability::entailment,
        texts::{check_pairs, check_texts},
    },
};

const TEMPLATE: &str = "This example is {}.";

pub fn zero_shot_classification(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    let config = files.json("config.json")?.unwrap_or_default();
    let Some(entailment) = entailment(&config) else {
        let message = "config.json names no label that begins with \"entail\"";
        return Err(Failure::new(Code::TaskNotSupported, message).at("task"));
    };
    Ok(Arc::new(ZeroShot { reader: Reader::read(files)?, entailment }))
}

struct ZeroShot {
    reader: Reader,
    /// The number of the label that says that one text follows from another.
    entailment: usize,
}

impl Processor for ZeroShot {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::ZeroShotClassification(ZeroShotClassificationRequest { inputs, options })) =
            &request.input
        else {
            return Err(Failure::invalid("input", "is not for zero-shot-classification"));
        };
        let inputs = inputs.clone().unwrap_or_default();
        let options = options.clone().unwrap_or_default();
        let texts = inputs.text.ok_or_else(|| Failure::invalid("inputs.text", "is missing"))?;
        let labels = inputs.labels;
        check_texts("inputs.text", &texts.items)?;
        check_texts("inputs.labels", &labels)?;
        if let Some(at) = labels.iter().position(|label| label.trim().is_empty()) {
            return Err(Failure::invalid("inputs.labels", format!("has an empty label at {at}")));
        }
        let template = options.hypothesis_template.as_deref().unwrap_or(TEMPLATE);
        let hypotheses = labels
            .iter()
            .map(|label| hypothesis(template, label))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| Failure::invalid("options.hypothesis_template", why))?;
        let bytes = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        let (n_texts, n_labels) = (texts.items.len(), labels.len());
        let all = bytes(&texts.items).saturating_mul(n_labels)
            + bytes(&hypotheses).saturating_mul(n_texts);
        check_pairs("inputs.labels", n_texts.saturating_mul(n_labels), all)?;

        let cut = Cut::asked(options.truncate, Cut::OnlyFirst);
        let mut rows = Vec::with_capacity(n_texts * n_labels);
        for text in &texts.items {
            for hypothesis in &hypotheses {
                rows.push(self.reader.row(text, Some(hypothesis), cut, "inputs.text")?);
            }
        }
        let (is_list, entailment) = (texts.is_list, self.entailment);
        let is_each = options.multi_label.unwrap_or(false) || n_labels == 1;
        Ok(Prepared {
            prompt_tokens: Some(rows.iter().map(|row| row.ids.len() as u32).sum()),
            work: Work::Score(Score { rows, wanted: Vec::new() }),
            finish: Box::new(move |made| {
                let rows = scores(made)?;
                if rows.iter().any(|row| row.values.len() <= entailment.max(1)) {
                    let message = "config.json names labels that the model does not have";
                    return Err(Failure::new(Code::CorruptCheckpoint, message));
                }
                let item = |rows: &[Vectors]| {
                    let scores =
                        if is_each { each(rows, entailment) } else { among(rows, entailment) };
                    let best = best_first(&scores)?.into_iter();
                    let label =
                        |at: usize| LabelScore { label: labels[at].clone(), score: scores[at] };
                    Ok(Labels { predictions: best.map(label).collect() })
                };
                let items = rows.chunks(labels.len()).map(item).collect::<Result<_, Failure>>()?;
                Ok(Output::Labels(LabelsOutput { items, is_list }))
            }),
            seed: None,
        })
    }
}

/// How likely each label follows from the text rather than contradicts it.
fn each(rows: &[Vectors], entailment: usize) -> Vec<f64> {
    let score = |row: &Vectors| {
        let contradiction = if entailment == 0 { row.values.len() - 1 } else { 0 };
        let pair = [row.values[contradiction], row.values[entailment]];
        Function::Softmax.apply(&pair)[1]
    };
    rows.iter().map(score).collect()
}

/// How likely each label follows, of them all.
fn among(rows: &[Vectors], entailment: usize) -> Vec<f64> {
    Function::Softmax.apply(&rows.iter().map(|row| row.values[entailment]).collect::<Vec<_>>())
}

/// The template with the label in the place of `{}` (or `{0}`); `{{` and `}}` are braces.
fn hypothesis(template: &str, label: &str) -> Result<String, String> {
    let refused =
        |what: &str| Err(format!("{what}, expected a sentence with one {{}} for the label"));
    let (mut text, mut rest, mut places) = (String::new(), template, 0);
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let brace = |escaped: &str| rest.strip_prefix(escaped);
        if let Some(after) = brace("{{") {
            (text, rest) = (text + "{", after);
        } else if let Some(after) = brace("}}") {
            (text, rest) = (text + "}", after);
        } else if let Some(after) = brace("{}").or_else(|| brace("{0}")) {
            (text, rest) = (text + label, after);
            places += 1;
        } else {
            return refused("has a brace that is neither {} nor doubled");
        }
    }
    text.push_str(rest);
    match places {
        1 => Ok(text),
        0 => refused("has no {}"),
        _ => refused("has several {}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_goes_into_its_place() {
        for (template, expected) in [
            ("This is {}.", Ok("This is a {x}.")),
            ("{0}!", Ok("a {x}!")),
            ("{{{}}}", Ok("{a {x}}")),
        ] {
            assert_eq!(hypothesis(template, "a {x}").as_deref(), expected, "{template}");
        }
        for template in ["no place", "{} {}", "{name}", "{", "}", "{:>3}"] {
            assert!(hypothesis(template, "a").is_err(), "{template}");
        }
    }

    #[test]
    fn contradiction_is_the_first_label_or_else_the_last() {
        let row = |values: &[f32]| Vectors { values: values.to_vec(), dim: values.len() };
        let half = |rows: &[Vectors], entailment| (each(rows, entailment)[0] - 0.5).abs() < 1e-9;
        assert!(half(&[row(&[1.0, 9.0, 1.0])], 2));
        assert!(half(&[row(&[1.0, 9.0, 1.0])], 0));
        assert_eq!(among(&[row(&[0.0, 3.0]), row(&[7.0, 3.0])], 1), [0.5, 0.5]);
    }
}
