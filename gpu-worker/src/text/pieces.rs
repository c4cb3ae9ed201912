//! Tokens as the vocabulary spells them, put together.

use tokenizers::{Decoder, ModelWrapper};

use super::{TextError, Tokenizer};

impl Tokenizer {
    /// The text of tokens that are given as they are spelt, as the reference's `convert_tokens_to_string`.
    pub fn join(&self, tokens: Vec<String>) -> Result<String, TextError> {
        match self.library().get_decoder() {
            Some(decoder) => decoder
                .decode(tokens)
                .map_err(|error| TextError::Decode { message: error.to_string() }),
            None => Ok(tokens.join(" ")),
        }
    }

    /// Whether the vocabulary tells tokens that begin a word from those that go on with one.
    pub fn marks_subwords(&self) -> bool {
        match self.library().get_model() {
            ModelWrapper::WordPiece(model) => !model.continuing_subword_prefix.is_empty(),
            ModelWrapper::BPE(model) => {
                model.continuing_subword_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty())
            }
            _ => false,
        }
    }
}
