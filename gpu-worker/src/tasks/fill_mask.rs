//! `fill-mask`: a text with masks in, the tokens that fit out.
//!
//! Reference: `transformers/pipelines/fill_mask.py`. A target that is not one token is refused, where the reference takes
//! its first token.

use std::sync::Arc;

use proto::{
    FillMaskOptions, FillMaskOutput, FillMaskRequest, FilledMask, FilledToken, InferRequest,
    infer_request::Input, infer_result::Output,
};

use super::{
    Files, Made, Prepared, Processor, Score, TokenRow, Vectors, Work,
    labels::Function,
    texts::check_texts,
    token_reader::{self, TokenReader},
};
use crate::{
    failure::{Code, Failure},
    text::{TextError, Tokenizer},
};

const TOP_K: usize = 5;
/// Masks of a text: each costs a line as long as the vocabulary.
const MAX_MASKS: usize = 64;
/// Bytes of all sequences of an answer.
const MAX_ANSWER_BYTES: usize = 8 << 20;

pub fn processor(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    let reader = TokenReader::read(files)?;
    let Some(mask) = reader.tokenizer.special_id("mask_token") else {
        let message = "the tokenizer has no mask_token, without which nothing can be filled";
        return Err(Failure::new(Code::FormatNotSupported, message).text("field", "mask_token"));
    };
    Ok(Arc::new(FillMask { reader, mask }))
}

struct FillMask {
    reader: TokenReader,
    mask: u32,
}

impl Processor for FillMask {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::FillMask(FillMaskRequest { inputs, options })) = &request.input else {
            return Err(Failure::invalid("input", "is not for fill-mask"));
        };
        let text = inputs.clone().unwrap_or_default().text;
        let text = text.ok_or_else(|| Failure::invalid("inputs.text", "is missing"))?;
        check_texts("inputs.text", std::slice::from_ref(&text))?;
        let options = options.clone().unwrap_or_default();
        let targets = self.targets(&options)?;
        let encoding = self.reader.encode(&text, None)?;
        if let Some(limit) = self.reader.max_tokens.filter(|&limit| encoding.len() > limit) {
            return Err(token_reader::too_long("inputs.text", encoding.len(), limit, ""));
        }
        let masks = self.masks(&encoding.ids)?;
        let top_k = top_k(&options, text.len().max(1) * masks.len())?;
        let filling = Filling {
            tokenizer: self.reader.tokenizer.clone(),
            ids: encoding.ids.clone(),
            masks: masks.clone(),
            targets,
            top_k,
        };
        let row = TokenRow { ids: encoding.ids, type_ids: encoding.type_ids, prompt_tokens: 0 };
        Ok(Prepared {
            prompt_tokens: Some(row.ids.len() as u32),
            work: Work::Score(Score { rows: vec![row], wanted: vec![masks] }),
            finish: Box::new(move |made| filling.finish(made)),
            seed: None,
        })
    }
}

impl FillMask {
    /// Where the masks are.
    fn masks(&self, ids: &[u32]) -> Result<Vec<usize>, Failure> {
        let masks: Vec<usize> = (0..ids.len()).filter(|&place| ids[place] == self.mask).collect();
        let token = self.reader.tokenizer.token(self.mask).unwrap_or_default();
        if masks.is_empty() {
            let message = format!("has no mask; this model's is {token}");
            return Err(Failure::invalid("inputs.text", message).text("mask_token", token));
        }
        if masks.len() > MAX_MASKS {
            let message = format!("has {} masks, the limit is {MAX_MASKS}", masks.len());
            return Err(Failure::invalid("inputs.text", message).number("limit", MAX_MASKS as u64));
        }
        Ok(masks)
    }

    fn targets(&self, options: &FillMaskOptions) -> Result<Option<Vec<usize>>, Failure> {
        let Some(targets) = &options.targets else { return Ok(None) };
        if targets.items.is_empty() {
            return Err(Failure::invalid("options.targets", "is empty"));
        }
        let mut ids = Vec::with_capacity(targets.items.len());
        for (at, target) in targets.items.iter().enumerate() {
            let id = self.target(target).map_err(|failure| {
                if targets.is_list { failure.at(format!("options.targets[{at}]")) } else { failure }
            })?;
            ids.push(id as usize);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }

    fn target(&self, target: &str) -> Result<u32, Failure> {
        let tokenizer = &self.reader.tokenizer;
        if let Some(id) = tokenizer.id(target) {
            return Ok(id);
        }
        let encoding = tokenizer.encode(target, false)?;
        let refused = |why: String| Err(Failure::invalid("options.targets", why));
        match encoding.ids[..] {
            [id] if Some(id) == tokenizer.special_id("unk_token") => {
                refused(format!("{target:?} is not in the model's vocabulary"))
            }
            [id] => Ok(id),
            [] => refused(format!("{target:?} has no tokens")),
            _ => {
                let tokens: Vec<String> =
                    encoding.ids.iter().filter_map(|&id| tokenizer.token(id)).collect();
                refused(format!(
                    "{target:?} is {} tokens, expected one: {}",
                    tokens.len(),
                    tokens.join(" ")
                ))
            }
        }
    }
}

/// `bytes` is what one more token for every mask adds to the answer.
fn top_k(options: &FillMaskOptions, bytes: usize) -> Result<usize, Failure> {
    let top_k = options.top_k.map_or(TOP_K, |k| k as usize);
    if top_k == 0 {
        return Err(Failure::invalid("options.top_k", "is 0, expected at least 1"));
    }
    let limit = (MAX_ANSWER_BYTES / bytes).max(1);
    if top_k > limit {
        let message = format!("is {top_k}, the limit for a text like this is {limit}");
        return Err(Failure::invalid("options.top_k", message).number("limit", limit as u64));
    }
    Ok(top_k)
}

/// What is needed to read the scores.
struct Filling {
    tokenizer: Tokenizer,
    ids: Vec<u32>,
    masks: Vec<usize>,
    /// Sorted, without repetitions.
    targets: Option<Vec<usize>>,
    top_k: usize,
}

impl Filling {
    fn finish(&self, made: Made) -> Result<Output, Failure> {
        let rows = token_reader::scores(made, [self.masks.len()].into_iter())?;
        let Vectors { values, dim } = &rows[0];
        let masks = self.masks.iter().zip(values.chunks(*dim)).map(|(&mask, logits)| {
            let best = self.best(logits)?;
            let filled = best.into_iter().map(|(id, score)| self.filled(mask, id, score));
            Ok(FilledMask { predictions: filled.collect::<Result<_, TextError>>()? })
        });
        Ok(Output::Filled(FillMaskOutput { masks: masks.collect::<Result<_, Failure>>()? }))
    }

    /// Ids with their probabilities, likeliest first; equal ones by id.
    fn best(&self, logits: &[f32]) -> Result<Vec<(usize, f64)>, Failure> {
        let shares = Function::Softmax.apply(logits);
        let mut ids = self.targets.clone().unwrap_or_else(|| (0..shares.len()).collect());
        if ids.last().is_some_and(|&id| id >= shares.len()) {
            let message = "the tokenizer has more tokens than the model";
            return Err(Failure::new(Code::CorruptCheckpoint, message));
        }
        let likelier = |a: &usize, b: &usize| shares[*b].total_cmp(&shares[*a]).then(a.cmp(b));
        if self.top_k < ids.len() {
            ids.select_nth_unstable_by(self.top_k, likelier);
            ids.truncate(self.top_k);
        }
        ids.sort_unstable_by(likelier);
        Ok(ids.into_iter().map(|id| (id, shares[id])).collect())
    }

    fn filled(&self, mask: usize, id: usize, score: f64) -> Result<FilledToken, TextError> {
        let token = id as u32;
        let mut ids = self.ids.clone();
        ids[mask] = token;
        let padding = self.tokenizer.special_id("pad_token");
        ids.retain(|&id| Some(id) != padding);
        // With several masks the others are to be seen, and they are special.
        let sequence = self.tokenizer.decode(&ids, self.masks.len() == 1)?;
        let token_str = self.tokenizer.decode(&[token], false)?;
        Ok(FilledToken { token_str, token, score, sequence })
    }
}
