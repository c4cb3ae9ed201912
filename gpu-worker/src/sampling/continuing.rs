//! How to continue a prompt, beyond the drawing of single tokens: the request's options over the model's defaults.

use proto::TextGenerationOptions;

use super::{
    BeamOptions, Constraints, InvalidOption, SamplingOptions,
    decoding::{MAX_BEAMS, early_stopping},
    options::{either, invalid, owner_of_stop},
};
use crate::text::DecodingConfig;

/// What is forbidden and forced, and whether beams are searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Continuing {
    /// `None` where the sampler's own options say everything. There always are some with beams.
    pub constraints: Option<Constraints>,
    pub beams: Option<BeamOptions>,
}

impl Continuing {
    /// `max_new_tokens` is what the model's context leaves of it.
    pub fn resolve(
        asked: &TextGenerationOptions,
        options: &SamplingOptions,
        model: &DecodingConfig,
        prompt_tokens: usize,
        max_new_tokens: usize,
    ) -> Result<Self, InvalidOption> {
        // The reference takes the prompt for what an encoder would have read.
        if let Some(size) = model.encoder_no_repeat_ngram_size.filter(|&size| size > 0) {
            let message = format!("is {size}, which is not supported for continuing a prompt");
            return Err(invalid("generation_config.encoder_no_repeat_ngram_size", message));
        }
        let beams = beams(asked, options, model)?;
        let constraints = Constraints {
            repetition_penalty: options.repetition_penalty,
            no_repeat_ngram_size: asked
                .no_repeat_ngram_size
                .or(model.no_repeat_ngram_size)
                .unwrap_or(0) as usize,
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
            renormalize: model.renormalize_logits,
            eos_token_ids: options.eos_token_ids.clone(),
        };
        let is_needed = beams.is_some()
            || constraints.no_repeat_ngram_size > 0
            || !constraints.bad_words_ids.is_empty()
            || constraints.forced_bos_token_id.is_some()
            || !constraints.forced_eos_token_ids.is_empty()
            || constraints.length_decay.is_some()
            || !constraints.suppress_tokens.is_empty()
            || !constraints.begin_suppress_tokens.is_empty();
        Ok(Self { constraints: is_needed.then_some(constraints), beams })
    }
}

fn beams(
    asked: &TextGenerationOptions,
    options: &SamplingOptions,
    model: &DecodingConfig,
) -> Result<Option<BeamOptions>, InvalidOption> {
    let num_beams = either("num_beams", asked.num_beams, model.num_beams)
        .or(1)
        .check(format!("must be from 1 to {MAX_BEAMS}"), |n| (1..=MAX_BEAMS).contains(n))?;
    if num_beams == 1 {
        return Ok(None);
    }
    let excluded = [
        ("options.do_sample", options.do_sample),
        (owner_of_stop(&asked.stop), !options.stop.is_empty()),
        ("options.logprobs", options.logprobs.is_some()),
        ("options.frequency_penalty", options.frequency_penalty != 0.0),
        ("options.presence_penalty", options.presence_penalty != 0.0),
    ];
    if let Some((field, _)) = excluded.into_iter().find(|(_, is_asked)| *is_asked) {
        let message = format!("cannot be used with {num_beams} beams; set num_beams to 1");
        return Err(invalid(field, message));
    }
    if options.n > num_beams {
        return Err(invalid("options.n", format!("must be at most num_beams, {num_beams}")));
    }
    let length_penalty = either("length_penalty", None, model.length_penalty)
        .or(1.0)
        .check("must be from -10 to 10", |penalty: &f64| penalty.abs() <= 10.0)?;
    Ok(Some(BeamOptions {
        num_beams: num_beams as usize,
        num_return_sequences: options.n as usize,
        length_penalty,
        early_stopping: early_stopping(None, model),
    }))
}
