//! Tokens as the vocabulary spells them, put together.

use tokenizers::{Decoder, ModelWrapper};

use super::{TextError, Tokenizer};

impl Tokenizer {
    /// Whether [`Self::join`] works: not for the classes that the reference has in Python only.
    pub fn joins(&self) -> bool {
        self.library().is_some()
    }

    /// The text of tokens that are given as they are spelt, as the reference's `convert_tokens_to_string`.
    pub fn join(&self, tokens: Vec<String>) -> Result<String, TextError> {
        let failed = |message: String| TextError::Decode { message };
        let library = self.library().ok_or_else(|| failed("not by this class".to_owned()))?;
        match library.get_decoder() {
            Some(decoder) => decoder.decode(tokens).map_err(|error| failed(error.to_string())),
            None => Ok(tokens.join(" ")),
        }
    }

    /// Whether the vocabulary tells tokens that begin a word from those that go on with one.
    pub fn marks_subwords(&self) -> bool {
        match self.library().map(|library| library.get_model()) {
            Some(ModelWrapper::WordPiece(model)) => !model.continuing_subword_prefix.is_empty(),
            Some(ModelWrapper::BPE(model)) => {
                model.continuing_subword_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty())
            }
            _ => false,
        }
    }
}
