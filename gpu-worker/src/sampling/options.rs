//! Options of text generation: the request's over the model's over the reference's defaults, all checked.

use proto::TextGenerationOptions;

use super::lengths;
use crate::text::GenerationConfig;

const DEFAULT_MAX_NEW_TOKENS: u32 = 256;
const DEFAULT_TOP_K: u32 = 50;
const MAX_LOGPROBS: u32 = 20;
const MAX_CHOICES: u32 = 16;
const MAX_STOP_STRINGS: usize = 16;
const MODELS_STOP: &str = "generation_config.stop_strings";

/// An option that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidOption {
    /// `options.temperature`; `generation_config.temperature` where the model's own default is the fault.
    pub field: String,
    pub message: String,
}

/// How to generate; every value is in its range.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingOptions {
    /// At least 1. Neither the prompt nor the model's context is known here.
    pub max_new_tokens: u32,
    /// At most `max_new_tokens`.
    pub min_new_tokens: u32,
    /// False: greedy, whatever the temperature and the filters say.
    pub do_sample: bool,
    /// Above 0.
    pub temperature: f64,
    /// 0: all.
    pub top_k: u32,
    pub top_p: f64,
    pub min_p: Option<f64>,
    /// 1: all.
    pub typical_p: f64,
    /// 0: none.
    pub epsilon_cutoff: f64,
    /// 0: none.
    pub eta_cutoff: f64,
    pub repetition_penalty: f64,
    pub frequency_penalty: f64,
    pub presence_penalty: f64,
    pub stop: Vec<String>,
    /// How many likeliest tokens to report beside the chosen one.
    pub logprobs: Option<u32>,
    pub n: u32,
    pub seed: Option<u64>,
    pub return_full_text: bool,
    pub truncate: bool,
    /// Whether keys and values of earlier texts are taken over, and those of this one kept.
    pub cache: bool,
    /// Tokens that end the text.
    pub eos_token_ids: Vec<u32>,
}

impl SamplingOptions {
    /// Tokens are drawn when `do_sample` says so, in the request or else in the model's defaults; when neither speaks,
    /// when the request gives a `temperature` or a `top_p`. A temperature of 0 is greedy in every case.
    pub fn resolve(
        options: &TextGenerationOptions,
        model: &GenerationConfig,
    ) -> Result<Self, InvalidOption> {
        let max_new_tokens = match lengths::of_whole_text(options, model) {
            // The prompt counts, which is not known yet.
            Some(length) => either("max_length", None, Some(length)),
            None => either("max_new_tokens", options.max_new_tokens, model.max_new_tokens),
        }
        .or(DEFAULT_MAX_NEW_TOKENS)
        .check("must be at least 1", |&count| count >= 1)?;
        let min_new_tokens = either("min_new_tokens", options.min_new_tokens, model.min_new_tokens)
            .or(0)
            .check(format!("must be at most max_new_tokens, {max_new_tokens}"), |&count| {
                count <= max_new_tokens
            })?;
        let temperature = either("temperature", options.temperature, model.temperature)
            .or(1.0)
            .check("must be a finite number of at least 0", |&value| {
                // Finite as a float of the logits' width: more would make every token equally likely.
                (value as f32).is_finite() && value >= 0.0
            })?;
        // What is 0 as a float of the logits' width divides them as 0 would.
        let greedy = (temperature as f32) == 0.0;
        let asked = options.temperature.is_some() || options.top_p.is_some();
        let top_k = either("top_k", options.top_k, model.top_k).or(DEFAULT_TOP_K);
        if options.stop.len() > MAX_STOP_STRINGS {
            return Err(invalid(
                "options.stop",
                format!("must be at most {MAX_STOP_STRINGS} strings"),
            ));
        }
        let stop = if options.stop.is_empty() { &model.stop_strings } else { &options.stop };
        if let Some(idx) = stop.iter().position(String::is_empty) {
            let owner = owner_of_stop(&options.stop);
            return Err(invalid(format!("{owner}[{idx}]"), "must not be empty"));
        }
        let penalty = |name, value| {
            either(name, value, None)
                .or(0.0)
                .check("must be from -2 to 2", |value: &f64| value.abs() <= 2.0)
        };
        Ok(Self {
            max_new_tokens,
            min_new_tokens,
            do_sample: !greedy && options.do_sample.or(model.do_sample).unwrap_or(asked),
            temperature: if greedy { 1.0 } else { temperature },
            top_k: top_k.value,
            top_p: either("top_p", options.top_p, model.top_p)
                .or(1.0)
                .check("must be above 0 and at most 1", |&value| value > 0.0 && value <= 1.0)?,
            min_p: match either("min_p", options.min_p, model.min_p) {
                Origin { value: None, .. } => None,
                given => Some(
                    given
                        .or(0.0)
                        .check("must be from 0 to 1", |value| (0.0..=1.0).contains(value))?,
                ),
            },
            typical_p: either("typical_p", options.typical_p, model.typical_p)
                .or(1.0)
                .check("must be above 0 and at most 1", |&value| value > 0.0 && value <= 1.0)?,
            epsilon_cutoff: cutoff("epsilon_cutoff", model.epsilon_cutoff)?,
            eta_cutoff: cutoff("eta_cutoff", model.eta_cutoff)?,
            repetition_penalty: either(
                "repetition_penalty",
                options.repetition_penalty,
                model.repetition_penalty,
            )
            .or(1.0)
            .check("must be a finite number above 0", |&value| {
                (value as f32) > 0.0 && (value as f32).is_finite()
            })?,
            frequency_penalty: penalty("frequency_penalty", options.frequency_penalty)?,
            presence_penalty: penalty("presence_penalty", options.presence_penalty)?,
            stop: stop.clone(),
            logprobs: options
                .logprobs
                .map(|n| {
                    let given = Origin { owner: "options", name: "logprobs", value: n };
                    given.check(format!("must be at most {MAX_LOGPROBS}"), |&n| n <= MAX_LOGPROBS)
                })
                .transpose()?,
            n: either("n", options.n, None)
                .or(1)
                .check(format!("must be from 1 to {MAX_CHOICES}"), |n| {
                    (1..=MAX_CHOICES).contains(n)
                })?,
            seed: options.seed,
            return_full_text: options.return_full_text.unwrap_or(false),
            truncate: options.truncate.unwrap_or(false),
            cache: options.cache.unwrap_or(true),
            eos_token_ids: model.eos_token_ids.clone(),
        })
    }
}

/// A least probability, which only the model's defaults can ask for.
fn cutoff(name: &'static str, model: Option<f64>) -> Result<f64, InvalidOption> {
    either(name, None, model)
        .or(0.0)
        .check("must be at least 0 and below 1", |value| (0.0..1.0).contains(value))
}

/// A value and who gave it, so that an error can name it.
pub(super) struct Origin<T> {
    owner: &'static str,
    name: &'static str,
    pub(super) value: T,
}

pub(super) fn either<T>(
    name: &'static str,
    option: Option<T>,
    model: Option<T>,
) -> Origin<Option<T>> {
    match option {
        Some(value) => Origin { owner: "options", name, value: Some(value) },
        None => Origin { owner: "generation_config", name, value: model },
    }
}

impl<T> Origin<Option<T>> {
    pub(super) fn or(self, default: T) -> Origin<T> {
        let owner = if self.value.is_some() { self.owner } else { "options" };
        Origin { owner, name: self.name, value: self.value.unwrap_or(default) }
    }
}

impl<T> Origin<T> {
    pub(super) fn check(
        self,
        message: impl Into<String>,
        accept: impl Fn(&T) -> bool,
    ) -> Result<T, InvalidOption> {
        if accept(&self.value) {
            Ok(self.value)
        } else {
            Err(invalid(format!("{}.{}", self.owner, self.name), message))
        }
    }
}

/// Who asked for the strings that end the text, as an error names it.
pub(super) fn owner_of_stop(asked: &[String]) -> &'static str {
    if asked.is_empty() { MODELS_STOP } else { "options.stop" }
}

pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> InvalidOption {
    InvalidOption { field: field.into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &TextGenerationOptions) -> String {
        SamplingOptions::resolve(options, &GenerationConfig::default()).unwrap_err().field
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        let none = TextGenerationOptions::default;
        let cases: Vec<(&str, TextGenerationOptions)> = vec![
            ("max_new_tokens", TextGenerationOptions { max_new_tokens: Some(0), ..none() }),
            ("min_new_tokens", TextGenerationOptions { min_new_tokens: Some(257), ..none() }),
            ("temperature", TextGenerationOptions { temperature: Some(-0.1), ..none() }),
            ("temperature", TextGenerationOptions { temperature: Some(f64::NAN), ..none() }),
            ("temperature", TextGenerationOptions { temperature: Some(f64::INFINITY), ..none() }),
            ("top_p", TextGenerationOptions { top_p: Some(0.0), ..none() }),
            ("top_p", TextGenerationOptions { top_p: Some(f64::NAN), ..none() }),
            ("min_p", TextGenerationOptions { min_p: Some(1.1), ..none() }),
            ("typical_p", TextGenerationOptions { typical_p: Some(0.0), ..none() }),
            (
                "repetition_penalty",
                TextGenerationOptions { repetition_penalty: Some(0.0), ..none() },
            ),
            ("frequency_penalty", TextGenerationOptions { frequency_penalty: Some(2.1), ..none() }),
            (
                "presence_penalty",
                TextGenerationOptions { presence_penalty: Some(f64::NAN), ..none() },
            ),
            ("stop", TextGenerationOptions { stop: vec!["a".into(); 17], ..none() }),
            ("stop[1]", TextGenerationOptions { stop: vec!["a".into(), String::new()], ..none() }),
            ("logprobs", TextGenerationOptions { logprobs: Some(21), ..none() }),
            ("n", TextGenerationOptions { n: Some(0), ..none() }),
            ("n", TextGenerationOptions { n: Some(17), ..none() }),
        ];
        for (name, options) in cases {
            assert_eq!(refused(&options), format!("options.{name}"));
        }
    }

    #[test]
    fn a_default_of_the_model_that_is_no_good_is_named_as_its_own() {
        let model = GenerationConfig { top_p: Some(7.0), ..GenerationConfig::default() };
        let error =
            SamplingOptions::resolve(&TextGenerationOptions::default(), &model).unwrap_err();
        assert_eq!(error.field, "generation_config.top_p");
        let stop_strings = vec!["a".to_owned(), String::new()];
        let model = GenerationConfig { stop_strings, ..GenerationConfig::default() };
        let error =
            SamplingOptions::resolve(&TextGenerationOptions::default(), &model).unwrap_err();
        assert_eq!(error.field, "generation_config.stop_strings[1]");
    }

    #[test]
    fn the_models_stop_strings_hold_unless_the_request_has_its_own() {
        let model = GenerationConfig {
            stop_strings: vec!["User:".to_owned()],
            ..GenerationConfig::default()
        };
        let stop = |asked: &[&str]| {
            let stop = asked.iter().map(|&asked| asked.to_owned()).collect();
            let options = TextGenerationOptions { stop, ..TextGenerationOptions::default() };
            SamplingOptions::resolve(&options, &model).unwrap().stop
        };
        assert_eq!((stop(&[]), stop(&["."])), (vec!["User:".to_owned()], vec![".".to_owned()]));
    }

    #[test]
    fn draws_only_when_asked_to() {
        let draws = |do_sample, temperature, model| {
            let options = TextGenerationOptions {
                do_sample,
                temperature,
                ..TextGenerationOptions::default()
            };
            let model = GenerationConfig { do_sample: model, ..GenerationConfig::default() };
            SamplingOptions::resolve(&options, &model).unwrap().do_sample
        };
        assert!(!draws(None, None, None));
        assert!(draws(None, Some(0.7), None));
        assert!(draws(None, None, Some(true)));
        assert!(!draws(Some(false), Some(0.7), Some(true)));
        assert!(!draws(Some(true), Some(0.0), Some(true)));
        assert!(!draws(Some(true), Some(1e-300), None));
    }

    #[test]
    fn the_request_goes_before_the_model_and_the_model_before_the_defaults() {
        let model =
            GenerationConfig { top_k: Some(7), top_p: Some(0.5), ..GenerationConfig::default() };
        let options =
            TextGenerationOptions { top_p: Some(0.9), ..TextGenerationOptions::default() };
        let resolved = SamplingOptions::resolve(&options, &model).unwrap();
        assert_eq!((resolved.top_k, resolved.top_p, resolved.max_new_tokens), (7, 0.9, 256));
    }
}
