//! `text-ranking`: a model reads a query together with each candidate and says how well they fit.
//!
//! Reference: `sentence_transformers/cross_encoder/model.py`.

use std::sync::Arc;

use proto::{InferRequest, TextRankingRequest, infer_request::Input, infer_result::Output};

use super::{
    reader::{Cut, Reader},
    scores,
};
use crate::{
    failure::{Code, Failure},
    tasks::{
        Files, Prepared, Processor, Score, Work,
        labels::Function,
        ranks::{Candidates, Wanted},
    },
};

pub fn text_ranking(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    let sentences = files.json("config_sentence_transformers.json")?.unwrap_or_default();
    if let Some(prompt) = sentences.get("default_prompt_name").filter(|name| !name.is_null()) {
        let message = format!(
            "config_sentence_transformers.json: default_prompt_name = {prompt} is not supported"
        );
        return Err(Failure::new(Code::FormatNotSupported, message)
            .text("file", "config_sentence_transformers.json"));
    }
    Ok(Arc::new(TextRanking(Reader::read(files)?)))
}

struct TextRanking(Reader);

impl Processor for TextRanking {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::TextRanking(TextRankingRequest { inputs, options })) = &request.input
        else {
            return Err(Failure::invalid("input", "is not for text-ranking"));
        };
        let options = options.clone().unwrap_or_default();
        let Candidates { query, candidates } = Candidates::of(inputs.clone())?;
        let wanted = Wanted::new(options.top_k, options.return_text)?;
        let cut = Cut::asked(options.truncate, Cut::LongestFirst);
        let row = |text: &String| self.0.row(&query, Some(text), cut, "inputs.candidates");
        let rows = candidates.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        let function =
            if options.raw_scores == Some(true) { Function::None } else { Function::Sigmoid };
        Ok(Prepared {
            prompt_tokens: Some(rows.iter().map(|row| row.ids.len() as u32).sum()),
            work: Work::Score(Score { rows, wanted: Vec::new() }),
            finish: Box::new(move |made| {
                let rows = scores(made)?;
                if rows.iter().any(|row| row.values.len() != 1) {
                    let message = "the model has several labels, and only a single one can rank";
                    return Err(Failure::new(Code::TaskNotSupported, message).at("task"));
                }
                let logits: Vec<f32> = rows.iter().map(|row| row.values[0]).collect();
                Ok(Output::Ranking(wanted.rank(&function.apply(&logits), candidates)?))
            }),
            seed: None,
        })
    }
}
