//! The constraints of continuing a prompt: the request's over the model's defaults.

use super::{Constraints, InvalidOption, SamplingOptions, options::invalid};
use crate::text::DecodingConfig;

/// `None` where the sampler's own options say everything. `max_new_tokens` is what the model's context leaves of it.
pub fn continuing(
    options: &SamplingOptions,
    no_repeat_ngram_size: Option<u32>,
    model: &DecodingConfig,
    prompt_tokens: usize,
    max_new_tokens: usize,
) -> Result<Option<Constraints>, InvalidOption> {
    if let Some(beams) = model.num_beams.filter(|&beams| beams > 1) {
        let message = format!("is {beams}: beams are not supported for continuing a prompt");
        return Err(invalid("generation_config.num_beams", message));
    }
    let size = no_repeat_ngram_size.or(model.no_repeat_ngram_size).unwrap_or(0) as usize;
    // The reference takes the prompt for what an encoder would have read.
    if let Some(size) = model.encoder_no_repeat_ngram_size.filter(|&size| size > 0) {
        let message = format!("is {size}, which is not supported for continuing a prompt");
        return Err(invalid("generation_config.encoder_no_repeat_ngram_size", message));
    }
    let constraints = Constraints {
        repetition_penalty: options.repetition_penalty,
        no_repeat_ngram_size: size,
        encoder_no_repeat_ngram_size: 0,
        bad_words_ids: model.bad_words_ids.clone(),
        begin: prompt_tokens,
        min_length: match options.min_new_tokens as usize {
            0 => 0,
            tokens => prompt_tokens + tokens,
        },
        forced_bos_token_id: model.forced_bos_token_id.filter(|_| prompt_tokens == 1),
        forced_eos_token_ids: model.forced_eos_token_ids.clone(),
        max_length: prompt_tokens + max_new_tokens,
        length_decay: model
            .exponential_decay_length_penalty
            .map(|(start, factor)| (start as usize, factor)),
        suppress_tokens: model.suppress_tokens.clone(),
        begin_suppress_tokens: model.begin_suppress_tokens.clone(),
        renormalize: false,
        eos_token_ids: options.eos_token_ids.clone(),
    };
    let is_needed = size > 0
        || !constraints.bad_words_ids.is_empty()
        || constraints.forced_bos_token_id.is_some()
        || !constraints.forced_eos_token_ids.is_empty()
        || constraints.length_decay.is_some()
        || !constraints.suppress_tokens.is_empty()
        || !constraints.begin_suppress_tokens.is_empty();
    Ok(is_needed.then_some(constraints))
}
