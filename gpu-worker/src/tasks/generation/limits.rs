//! What a request may need at most, against what model and cache have.

use crate::{
    failure::{Code, Failure},
    models::CausalLm,
    tasks::Generate,
};

/// Why a request could never run here.
pub fn refusal(work: &Generate, model: &dyn CausalLm, cache_tokens: i64) -> Option<Failure> {
    let needed = work.prompt_ids.len() + work.max_new_tokens;
    let limit = cache_tokens.min(model.context_length()) as usize;
    if needed > limit {
        let message = format!(
            "prompt and answer may need {needed} tokens, this model's cache here holds {limit}"
        );
        return Some(
            Failure::new(Code::InputTooLong, message)
                .at("options.max_new_tokens")
                .number("tokens", needed as u64)
                .number("limit", limit as u64),
        );
    }
    // Beams go on together, so none of them can be read anew alone.
    let rereads = model.rereads_beyond().map(|most| most as usize);
    if let (Some(_), Some(most)) = (&work.beams, rereads)
        && (work.prompt_ids.len()..needed).contains(&most)
    {
        let message = format!(
            "num_beams must be 1 for an answer in which this model's text outgrows {most} tokens"
        );
        let failure = Failure::new(Code::InputTooLong, message).at("options.num_beams");
        return Some(failure.number("limit", most as u64));
    }
    // A tokenizer that does not belong to the model must not read beyond its embedding.
    let vocabulary = model.vocab_size() as u64;
    let stray = work.prompt_ids.iter().find(|&&id| u64::from(id) >= vocabulary)?;
    let message = format!("the tokenizer gives token {stray}, the model knows {vocabulary}");
    Some(Failure::new(Code::CorruptCheckpoint, message))
}
