//! Options of writing a target text: the request's over the model's over the reference's defaults, all checked.

use proto::{EarlyStoppingMode, Seq2SeqOptions, TextGenerationOptions};

use super::{
    BeamOptions, Constraints, EarlyStopping, InvalidOption, SamplingOptions,
    options::{either, invalid, owner_of_stop},
};
use crate::text::{DecodingConfig, GenerationConfig, StopRule};

const DEFAULT_MAX_NEW_TOKENS: u32 = 256;
pub(super) const MAX_BEAMS: u32 = 16;

/// How to write; every value is in its range.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// How one token is drawn where there are no beams. Its lengths and its penalty are those of `constraints`.
    pub sampling: SamplingOptions,
    pub constraints: Constraints,
    pub beams: Option<BeamOptions>,
    pub num_return_sequences: usize,
    /// The first token of every target.
    pub start: u32,
    pub seed: Option<u64>,
    pub truncate: bool,
}

impl Decoding {
    /// `longest` is the most tokens that a target can have here, its start token included.
    pub fn resolve(
        options: &Seq2SeqOptions,
        model: &GenerationConfig,
        decoding: &DecodingConfig,
        longest: usize,
    ) -> Result<Self, InvalidOption> {
        let start = model.decoder_start_token_id.or(model.bos_token_id).ok_or_else(|| {
            invalid(
                "generation_config.decoder_start_token_id",
                "is missing, and so is bos_token_id",
            )
        })?;
        let max_length = max_length(options, model)?.min(longest);
        let min_length = min_length(options, model, max_length)?;
        let num_beams = either("num_beams", options.num_beams, decoding.num_beams)
            .or(1)
            .check(format!("must be from 1 to {MAX_BEAMS}"), |n| (1..=MAX_BEAMS).contains(n))?;
        let sampling = sampling(options, model)?;
        if num_beams > 1 && sampling.do_sample {
            let message = format!("cannot be used with {num_beams} beams; set num_beams to 1");
            return Err(invalid("options.do_sample", message));
        }
        if num_beams > 1 && !sampling.stop.is_empty() {
            let message = format!("cannot be used with {num_beams} beams; set num_beams to 1");
            return Err(invalid(owner_of_stop(&options.stop), message));
        }
        let most = match (num_beams, sampling.do_sample) {
            (1, true) => MAX_BEAMS,
            (beams, _) => beams,
        };
        let returned = either(
            "num_return_sequences",
            options.num_return_sequences,
            decoding.num_return_sequences,
        );
        let num_return_sequences =
            returned.or(1).check(format!("must be from 1 to {most}"), |n| (1..=most).contains(n))?
                as usize;
        let length_penalty =
            either("length_penalty", options.length_penalty, decoding.length_penalty)
                .or(1.0)
                .check("must be from -10 to 10", |penalty: &f64| penalty.abs() <= 10.0)?;
        Ok(Self {
            constraints: constraints(options, model, decoding, [min_length, max_length])?,
            beams: (num_beams > 1).then(|| BeamOptions {
                num_beams: num_beams as usize,
                num_return_sequences,
                length_penalty,
                early_stopping: early_stopping(options.early_stopping.as_ref(), decoding),
            }),
            num_return_sequences,
            start,
            seed: options.seed,
            truncate: options.truncate.unwrap_or(false),
            sampling,
        })
    }
}

/// Counted with the start token.
fn max_length(options: &Seq2SeqOptions, model: &GenerationConfig) -> Result<usize, InvalidOption> {
    let is_positive = |count: &u32| *count >= 1;
    let is_asked = options.max_new_tokens.is_some();
    let length = if options.max_length.is_some() && !is_asked {
        either("max_length", options.max_length, None)
    } else if is_asked || model.max_new_tokens.is_some() || model.max_length.is_none() {
        let tokens = either("max_new_tokens", options.max_new_tokens, model.max_new_tokens)
            .or(DEFAULT_MAX_NEW_TOKENS)
            .check("must be at least 1", is_positive)?;
        return Ok(tokens as usize + 1);
    } else {
        either("max_length", None, model.max_length)
    };
    let length = length
        .or(2)
        .check("must be at least 2: a text begins with its start token", |&length| length >= 2)?;
    Ok(length as usize)
}

/// Counted with the start token. What only the model asks for yields to a smaller `max_length`.
fn min_length(
    options: &Seq2SeqOptions,
    model: &GenerationConfig,
    max_length: usize,
) -> Result<usize, InvalidOption> {
    let of_tokens = |tokens: u32| tokens as usize + u32::from(tokens > 0) as usize;
    let (name, asked) = match (options.min_new_tokens, options.min_length) {
        (Some(tokens), _) => ("options.min_new_tokens", of_tokens(tokens)),
        (None, Some(length)) => ("options.min_length", length as usize),
        (None, None) => {
            let own = model.min_new_tokens.map(of_tokens);
            let own = own.or(model.min_length.map(|length| length as usize)).unwrap_or(0);
            return Ok(own.min(max_length));
        }
    };
    if asked > max_length {
        let message = format!("leaves no text: the longest has {max_length} tokens with its start");
        return Err(invalid(name, message));
    }
    Ok(asked)
}

fn sampling(
    options: &Seq2SeqOptions,
    model: &GenerationConfig,
) -> Result<SamplingOptions, InvalidOption> {
    let asked = TextGenerationOptions {
        do_sample: options.do_sample,
        temperature: options.temperature,
        top_k: options.top_k,
        top_p: options.top_p,
        min_p: options.min_p,
        repetition_penalty: options.repetition_penalty,
        stop: options.stop.clone(),
        ..TextGenerationOptions::default()
    };
    let model = GenerationConfig {
        max_new_tokens: None,
        min_new_tokens: None,
        max_length: None,
        ..model.clone()
    };
    SamplingOptions::resolve(&asked, &model)
}

fn constraints(
    options: &Seq2SeqOptions,
    model: &GenerationConfig,
    decoding: &DecodingConfig,
    [min_length, max_length]: [usize; 2],
) -> Result<Constraints, InvalidOption> {
    let repetition_penalty = sampling(options, model)?.repetition_penalty;
    let size = options.no_repeat_ngram_size.or(decoding.no_repeat_ngram_size).unwrap_or(0);
    Ok(Constraints {
        repetition_penalty,
        no_repeat_ngram_size: size as usize,
        encoder_no_repeat_ngram_size: decoding.encoder_no_repeat_ngram_size.unwrap_or(0) as usize,
        bad_words_ids: decoding.bad_words_ids.clone(),
        begin: 1,
        min_length,
        forced_bos_token_id: decoding.forced_bos_token_id,
        forced_eos_token_ids: decoding.forced_eos_token_ids.clone(),
        max_length,
        length_decay: decoding
            .exponential_decay_length_penalty
            .map(|(start, factor)| (start as usize, factor)),
        suppress_tokens: decoding.suppress_tokens.clone(),
        begin_suppress_tokens: decoding.begin_suppress_tokens.clone(),
        renormalize: decoding.renormalize_logits,
        eos_token_ids: model.eos_token_ids.clone(),
    })
}

pub(super) fn early_stopping(
    asked: Option<&proto::EarlyStopping>,
    decoding: &DecodingConfig,
) -> EarlyStopping {
    match asked.map(proto::EarlyStopping::mode) {
        Some(EarlyStoppingMode::Unspecified) | None => match decoding.early_stopping {
            Some(StopRule::AtOnce) => EarlyStopping::AtOnce,
            Some(StopRule::Never) => EarlyStopping::Never,
            Some(StopRule::Heuristic) | None => EarlyStopping::Heuristic,
        },
        Some(EarlyStoppingMode::Heuristic) => EarlyStopping::Heuristic,
        Some(EarlyStoppingMode::AtOnce) => EarlyStopping::AtOnce,
        Some(EarlyStoppingMode::Never) => EarlyStopping::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> GenerationConfig {
        GenerationConfig {
            decoder_start_token_id: Some(2),
            max_length: Some(62),
            min_length: Some(11),
            ..GenerationConfig::default()
        }
    }

    fn resolve(options: &Seq2SeqOptions) -> Result<Decoding, InvalidOption> {
        let decoding = DecodingConfig { num_beams: Some(4), ..DecodingConfig::default() };
        Decoding::resolve(options, &model(), &decoding, 1024)
    }

    fn none() -> Seq2SeqOptions {
        Seq2SeqOptions::default()
    }

    #[test]
    fn lengths_count_the_start_token_and_numbers_of_new_tokens_do_not() {
        let lengths = |options: &Seq2SeqOptions| {
            let constraints = resolve(options).unwrap().constraints;
            (constraints.min_length, constraints.max_length)
        };
        assert_eq!(lengths(&none()), (11, 62));
        assert_eq!(lengths(&Seq2SeqOptions { max_length: Some(20), ..none() }), (11, 20));
        let both = Seq2SeqOptions { max_length: Some(20), max_new_tokens: Some(30), ..none() };
        assert_eq!(lengths(&both), (11, 31));
        let fewer = Seq2SeqOptions { max_new_tokens: Some(5), min_new_tokens: Some(3), ..none() };
        assert_eq!(lengths(&fewer), (4, 6));
        assert_eq!(lengths(&Seq2SeqOptions { max_new_tokens: Some(3), ..none() }), (4, 4));
        assert_eq!(lengths(&Seq2SeqOptions { max_length: Some(9999), ..none() }), (11, 1024));
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        let cases = [
            ("max_new_tokens", Seq2SeqOptions { max_new_tokens: Some(0), ..none() }),
            ("max_length", Seq2SeqOptions { max_length: Some(1), ..none() }),
            ("min_length", Seq2SeqOptions { min_length: Some(63), ..none() }),
            ("min_new_tokens", Seq2SeqOptions { min_new_tokens: Some(62), ..none() }),
            ("num_beams", Seq2SeqOptions { num_beams: Some(0), ..none() }),
            ("num_beams", Seq2SeqOptions { num_beams: Some(17), ..none() }),
            ("num_return_sequences", Seq2SeqOptions { num_return_sequences: Some(5), ..none() }),
            ("num_return_sequences", Seq2SeqOptions { num_return_sequences: Some(0), ..none() }),
            ("length_penalty", Seq2SeqOptions { length_penalty: Some(f64::NAN), ..none() }),
            ("do_sample", Seq2SeqOptions { do_sample: Some(true), ..none() }),
            ("do_sample", Seq2SeqOptions { temperature: Some(0.7), ..none() }),
            ("stop", Seq2SeqOptions { stop: vec!["a".into()], ..none() }),
            ("temperature", Seq2SeqOptions { temperature: Some(-1.0), ..none() }),
            ("repetition_penalty", Seq2SeqOptions { repetition_penalty: Some(0.0), ..none() }),
        ];
        for (name, options) in cases {
            assert_eq!(resolve(&options).unwrap_err().field, format!("options.{name}"));
        }
    }

    #[test]
    fn several_texts_need_beams_or_draws() {
        let asked = |num_beams, do_sample| {
            let options = Seq2SeqOptions {
                num_beams: Some(num_beams),
                do_sample,
                num_return_sequences: Some(3),
                ..none()
            };
            resolve(&options).map(|decoding| decoding.num_return_sequences)
        };
        assert!(asked(1, None).is_err());
        assert_eq!(asked(1, Some(true)), Ok(3));
        assert_eq!(asked(3, None), Ok(3));
    }

    #[test]
    fn without_a_start_token_the_model_is_at_fault() {
        let (model, decoding) = (GenerationConfig::default(), DecodingConfig::default());
        let refusal = Decoding::resolve(&none(), &model, &decoding, 9).unwrap_err();
        assert_eq!(refusal.field, "generation_config.decoder_start_token_id");
    }
}
