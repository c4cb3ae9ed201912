//! How long a text may become where the model counts its prompt too.
//!
//! Reference: `_prepare_generated_length` in `transformers/generation/utils.py`.

use proto::TextGenerationOptions;

use super::{InvalidOption, SamplingOptions, options::invalid};
use crate::text::GenerationConfig;

/// The model's `max_length`, where neither the request nor the model says how many tokens to write.
pub(super) fn of_whole_text(
    asked: &TextGenerationOptions,
    model: &GenerationConfig,
) -> Option<u32> {
    model.max_length.filter(|_| asked.max_new_tokens.or(model.max_new_tokens).is_none())
}

impl SamplingOptions {
    /// Follows the model's `max_length` and `min_length`, which count the prompt too, where nothing says how much to
    /// write.
    pub fn after_prompt(
        mut self,
        asked: &TextGenerationOptions,
        model: &GenerationConfig,
        prompt_tokens: usize,
    ) -> Result<Self, InvalidOption> {
        let prompt_tokens = u32::try_from(prompt_tokens).unwrap_or(u32::MAX);
        if let Some(length) = of_whole_text(asked, model) {
            let left = length.saturating_sub(prompt_tokens);
            if left == 0 {
                let message = format!(
                    "is {length}, and the prompt has {prompt_tokens} tokens; say options.max_new_tokens"
                );
                return Err(invalid("generation_config.max_length", message));
            }
            if asked.min_new_tokens.is_some_and(|least| least > left) {
                let message =
                    format!("must be at most {left}, which the model's max_length leaves");
                return Err(invalid("options.min_new_tokens", message));
            }
            self.max_new_tokens = left;
            self.min_new_tokens = self.min_new_tokens.min(left);
        }
        if let (None, Some(length)) = (asked.min_new_tokens, model.min_length) {
            let left = length.saturating_sub(prompt_tokens);
            self.min_new_tokens = self.min_new_tokens.max(left).min(self.max_new_tokens);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least and the most tokens to write after a prompt, or the field at fault.
    fn lengths(
        asked: &TextGenerationOptions,
        model: &GenerationConfig,
        prompt_tokens: usize,
    ) -> Result<(u32, u32), String> {
        SamplingOptions::resolve(asked, model)
            .and_then(|options| options.after_prompt(asked, model, prompt_tokens))
            .map(|options| (options.min_new_tokens, options.max_new_tokens))
            .map_err(|error| error.field)
    }

    fn asked(min_new_tokens: Option<u32>, max_new_tokens: Option<u32>) -> TextGenerationOptions {
        let none = TextGenerationOptions::default();
        TextGenerationOptions { min_new_tokens, max_new_tokens, ..none }
    }

    #[test]
    fn the_models_least_length_counts_the_prompt_and_yields_to_the_request() {
        let model = GenerationConfig { min_length: Some(10), ..GenerationConfig::default() };
        let least = |min_new_tokens, prompt_tokens| {
            lengths(&asked(min_new_tokens, Some(6)), &model, prompt_tokens).unwrap().0
        };
        assert_eq!((least(None, 7), least(None, 12), least(None, 1)), (3, 0, 6));
        assert_eq!(least(Some(2), 7), 2);
    }

    #[test]
    fn the_models_whole_length_counts_the_prompt_and_yields_to_numbers_of_new_tokens() {
        let model = GenerationConfig { max_length: Some(50), ..GenerationConfig::default() };
        let both = GenerationConfig { max_new_tokens: Some(80), ..model.clone() };
        let least = GenerationConfig { min_length: Some(48), ..model.clone() };
        let field = |name: &str| Err(name.to_owned());
        for (asked, model, prompt_tokens, expected) in [
            (asked(None, None), &model, 20, Ok((0, 30))),
            (asked(None, None), &model, 49, Ok((0, 1))),
            (asked(None, None), &model, 50, field("generation_config.max_length")),
            (asked(None, Some(90)), &model, 50, Ok((0, 90))),
            (asked(None, None), &both, 50, Ok((0, 80))),
            (asked(Some(30), None), &model, 20, Ok((30, 30))),
            (asked(Some(31), None), &model, 20, field("options.min_new_tokens")),
            (asked(Some(51), None), &model, 20, field("options.min_new_tokens")),
            (asked(None, None), &least, 20, Ok((28, 30))),
            (asked(None, None), &GenerationConfig::default(), 20, Ok((0, 256))),
        ] {
            assert_eq!(lengths(&asked, model, prompt_tokens), expected, "{asked:?}, {model:?}");
        }
        let none = GenerationConfig { max_length: Some(0), ..GenerationConfig::default() };
        let expected = field("generation_config.max_length");
        assert_eq!(lengths(&asked(None, None), &none, 20), expected);
    }
}
