//! `text-classification`: texts or pairs of texts in, labels out.
//!
//! Reference: `transformers/pipelines/text_classification.py`.

use std::sync::Arc;

use proto::{
    InferRequest, Labels, LabelsOutput, TextClassificationRequest, infer_request::Input,
    infer_result::Output,
};
use serde_json::Value;

use super::{
    reader::{Cut, Reader},
    scores,
};
use crate::{
    failure::Failure,
    tasks::{
        Files, Prepared, Processor, Score, Work,
        labels::{Function, LabelNames, top_k},
        texts::check_texts,
    },
};

pub fn text_classification(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    let config = files.json("config.json")?.unwrap_or_default();
    Ok(Arc::new(TextClassification {
        reader: Reader::read(files)?,
        function: own_function(&config),
        labels: LabelNames::of_config(&config),
    }))
}

struct TextClassification {
    reader: Reader,
    function: Option<Function>,
    labels: LabelNames,
}

/// What turns the model's logits into scores; `None`: their number decides.
fn own_function(config: &Value) -> Option<Function> {
    match config.get("problem_type").and_then(Value::as_str) {
        Some("regression") => Some(Function::None),
        Some("multi_label_classification") => Some(Function::Sigmoid),
        _ => None,
    }
}

impl Processor for TextClassification {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::TextClassification(TextClassificationRequest { inputs, options })) =
            &request.input
        else {
            return Err(Failure::invalid("input", "is not for text-classification"));
        };
        let inputs = inputs.clone().unwrap_or_default();
        let options = options.clone().unwrap_or_default();
        let texts = inputs.text.ok_or_else(|| Failure::invalid("inputs.text", "is missing"))?;
        check_texts("inputs.text", &texts.items)?;
        let pairs = inputs.text_pair.map(|pairs| pairs.items);
        if let Some(pairs) = &pairs {
            check_texts("inputs.text_pair", pairs)?;
            if pairs.len() != texts.items.len() {
                let message =
                    format!("has {} texts, inputs.text has {}", pairs.len(), texts.items.len());
                return Err(Failure::invalid("inputs.text_pair", message));
            }
        }
        let top_k = top_k(options.top_k)?.unwrap_or(usize::MAX);
        let function = match options.function_to_apply.as_deref() {
            None => self.function,
            Some(name) => Some(Function::asked(name)?),
        };
        let cut = Cut::asked(options.truncate, Cut::LongestFirst);
        let row = |(at, text): (usize, &String)| {
            let pair = pairs.as_ref().map(|pairs| pairs[at].as_str());
            self.reader.row(text, pair, cut, "inputs.text")
        };
        let rows = texts.items.iter().enumerate().map(row).collect::<Result<Vec<_>, _>>()?;
        let (labels, is_list) = (self.labels.clone(), texts.is_list);
        Ok(Prepared {
            prompt_tokens: Some(rows.iter().map(|row| row.ids.len() as u32).sum()),
            work: Work::Score(Score { rows, wanted: Vec::new() }),
            finish: Box::new(move |made| {
                let item = |logits: crate::tasks::Vectors| {
                    let by_number =
                        if logits.dim == 1 { Function::Sigmoid } else { Function::Softmax };
                    let scores = function.unwrap_or(by_number).apply(&logits.values);
                    Ok(Labels { predictions: labels.best(&scores, top_k)? })
                };
                let items = scores(made)?.into_iter().map(item).collect::<Result<_, Failure>>()?;
                Ok(Output::Labels(LabelsOutput { items, is_list }))
            }),
            seed: None,
        })
    }
}
